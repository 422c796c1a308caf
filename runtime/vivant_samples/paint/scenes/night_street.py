"""The street of the night harbour: houses, quay, cafe, and the lamps that light them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from vivant_samples.paint.brush import Canvas, Jitter, along, rework, strokes
from vivant_samples.paint.fields import (
    Array,
    mix,
    noise,
    polygon,
    ramp,
    rgb,
    smoothstep,
)
from vivant_samples.paint.forms import Point, halo, panel, touch

FAR = (0.86, 0.50)

LANTERN = (1.105, 0.345)


def at(x: float, level: float) -> Point:
    """Return the point at ``x`` on the line to the vanishing point that starts at (0, level)."""
    return x, FAR[1] + (level - FAR[1]) * (FAR[0] - x) / FAR[0]


def wall(x0: float, x1: float, top: float, bottom: float) -> list[Point]:
    """Return the corners of a panel on the wall along the quay."""
    return [at(x0, top), at(x1, top), at(x1, bottom), at(x0, bottom)]


def paint_street(rng: np.random.Generator, canvas: Canvas, x: Array, y: Array) -> None:
    """Paint houses, quay and cafe from afar to near, then what stands before them."""
    _houses(rng, canvas)
    _quay(rng, canvas, x, y)
    _cafe(rng, canvas)
    _soften(rng, canvas, x)
    _lamps(rng, canvas)
    _terrace(rng, canvas)
    _lantern(rng, canvas)


def _houses(rng: np.random.Generator, canvas: Canvas) -> None:
    """Line the quay with sleeping houses, a few windows awake."""
    for x0, x1, top, tones in (
        (0.755, 0.835, 0.16, ("27427c", "35558e")),
        (0.69, 0.765, -0.06, ("2a3f78", "3d5a92")),
        (0.615, 0.70, 0.10, ("3a4a80", "50639a")),
        (0.525, 0.625, -0.20, ("2b3b72", "42568c")),
    ):
        panel(rng, canvas, wall(x0, x1, top, 0.88), tones, width=0.016, upright=True)
        panel(
            rng,
            canvas,
            wall(x0 - 0.004, x1 - 0.012, top - 0.13, top),
            ("54406a", "7a5058"),
            width=0.010,
        )
        for share in (0.3, 0.72):
            wx = x0 + (x1 - x0) * share
            for level in np.arange(top + 0.10, 0.80, 0.20):
                lit = rng.random() < 0.40
                pane = wall(wx - 0.012 * (1.1 - share * 0.3), wx + 0.010, level, level + 0.11)
                tone = ("ffb84a", "ffe08a") if lit else ("16264f", "22366a")
                panel(rng, canvas, pane, tone, width=0.007, upright=True)


def _quay(rng: np.random.Generator, canvas: Canvas, x: Array, y: Array) -> None:
    """Pave the quay stone by stone, gold by the cafe, violet and blue where night has it."""
    ground = [at(-0.02, 0.92), (0.855, 0.502), (0.875, 0.502), (1.36, 1.03), (-0.02, 1.03)]
    here = polygon(canvas.aspect, ground, 0.001)
    floor = _floor_light(x, y)
    canvas.draw(rng, along(rng, floor, 0 * x, width=0.022, ratio=3, where=here))
    canvas.draw(rng, along(rng, floor * 0.9, 0 * x, width=0.014, ratio=3, where=here))
    rows = FAR[1] + 0.5 * np.linspace(0.03, 1.04, 64) ** 1.45
    for row, below in pairwise(rows):
        step = (below - row) * 2.1
        edge = 0.868 + (row - FAR[1]) * 0.985
        first = at(0.0, 0.92)[0] if row > 0.92 else FAR[0] - (row - FAR[1]) / 0.42 * FAR[0]
        px = np.arange(max(-0.02, first), edge, step)
        px = px + rng.uniform(-0.2, 0.2, len(px)) * step
        py = row + rng.normal(0, 0.08, len(px)) * (below - row)
        color = _floor_light(px, py)
        color = mix(color, color * 0.62 + rgb("1a1f5a") * 0.12, rng.random(len(px)) ** 2)
        color = mix(color, rgb("6f8fd0"), 0.30 * (rng.random(len(px)) < 0.15))
        stones = strokes(
            px,
            py,
            rng.normal(0, 0.12, len(px)),
            step * rng.uniform(0.85, 1.15, len(px)),
            (below - row) * 1.0,
            Jitter(0.035, 0.03, 0.025, 0.15)(rng, color),
            rng.normal(-0.2, 0.2, len(px)),
        )
        canvas.draw(rng, stones, streak=0.08)
    rim = [(0.868, 0.502), (0.874, 0.502), (1.385, 1.03), (1.30, 1.03)]
    panel(rng, canvas, rim, ("8a93b8", "b9b3b8"), width=0.012, upright=True, relief=1.2)
    side = [(0.8735, 0.502), (0.876, 0.502), (1.43, 1.03), (1.385, 1.03)]
    panel(rng, canvas, side, ("1a2450", "2c3a68"), width=0.012, upright=True)


def _floor_light(x: Array, y: Array) -> Array:
    """Return the paving's colour under the cafe's and the street lantern's light."""
    depth = np.clip((y - FAR[1]) / 0.5, 0.02, 1)
    off = (x - (FAR[0] - depth * 0.72)) / depth
    cafe = np.exp(-(np.clip(off, 0, None) ** 2) / 0.55)
    pool = np.exp(-(((x - LANTERN[0]) / 0.16) ** 2 + ((y - 0.80) / 0.085) ** 2))
    night = ramp(depth, [(0.0, "4a6398"), (0.4, "43508e"), (1.0, "343a74")])
    gold = ramp(depth, [(0.0, "e8a850"), (0.5, "e29a48"), (1.0, "c9783c")])
    floor = mix(night, rgb("a0608a"), 0.55 * smoothstep(0.05, 0.5, cafe))
    floor = mix(floor, gold, smoothstep(0.28, 0.95, cafe))
    return mix(floor, rgb("f0c070"), 0.75 * pool)


def _cafe(rng: np.random.Generator, canvas: Canvas) -> None:
    """Light the cafe: yellow wall, doors and windows, blue storeys above, the awning."""
    panel(
        rng, canvas, wall(-0.03, 0.53, -0.75, 0.20), ("2c3a74", "3f4f88"), width=0.024, upright=True
    )
    panel(rng, canvas, wall(-0.03, 0.53, -0.06, 0.16), ("5a5a7c", "8a7a6a"), width=0.016)
    panel(
        rng,
        canvas,
        wall(-0.03, 0.53, 0.12, 0.92),
        ("f2b436", "e8932c", "d98a34", "b8683a"),
        width=0.020,
        upright=True,
    )
    panel(
        rng,
        canvas,
        wall(-0.03, 0.53, 0.20, 0.62),
        ("ffd653", "f8be3c", "e8a03a", "cf8038"),
        width=0.014,
    )
    panel(rng, canvas, wall(-0.03, 0.53, 0.84, 0.92), ("8a4a3a", "a8623a"), width=0.010)
    for x0, x1 in ((0.015, 0.105), (0.27, 0.335), (0.45, 0.485)):
        panel(
            rng,
            canvas,
            wall(x0 - 0.012, x1 + 0.010, 0.28, 0.76),
            ("3f6a5a", "2f5450"),
            width=0.012,
            upright=True,
        )
        panel(
            rng, canvas, wall(x0, x1, 0.32, 0.72), ("fff2b0", "ffe27a"), width=0.012, upright=True
        )
        middle = (x0 + x1) / 2
        panel(
            rng,
            canvas,
            wall(middle - 0.003, middle + 0.003, 0.32, 0.72),
            ("6a7a4a", "4a6a52"),
            width=0.006,
            upright=True,
        )
    panel(
        rng, canvas, wall(0.15, 0.235, 0.30, 0.90), ("7a3a2c", "9a4c30"), width=0.012, upright=True
    )
    panel(
        rng, canvas, wall(0.163, 0.224, 0.34, 0.90), ("fff0a0", "ffcf5a"), width=0.012, upright=True
    )
    panel(
        rng, canvas, wall(0.375, 0.425, 0.32, 0.90), ("ffdf80", "f0a840"), width=0.010, upright=True
    )
    for x0, x1, lit in ((0.10, 0.18, False), (0.27, 0.33, True), (0.40, 0.445, False)):
        panel(
            rng,
            canvas,
            wall(x0 - 0.03, x1 + 0.024, -0.36, -0.09),
            ("3f7a6a", "2f5f60"),
            width=0.012,
            upright=True,
        )
        tone = ("ffcf6a", "f0a040") if lit else ("182450", "26366a")
        panel(rng, canvas, wall(x0, x1, -0.35, -0.10), tone, width=0.012, upright=True)
    _awning(rng, canvas)


def _awning(rng: np.random.Generator, canvas: Canvas) -> None:
    front = [(FAR[0] - (FAR[0] - x) * 0.80, 0.0) for x in (-0.30, 0.53)]
    left, right = (at(x, 0.215) for x, _ in front)
    cloth = [at(-0.30, 0.10), at(0.53, 0.10), right, left]
    panel(rng, canvas, cloth, ("ffe36a", "f6c63c", "f0a83c", "d88a3a"), width=0.016, streak=0.08)
    edges = np.linspace(left[0], right[0], 34)
    for i, (x0, x1) in enumerate(pairwise(edges)):
        drop = 0.268 + 0.012 * (i % 2)
        flap = wall(x0, x1, 0.215, drop)
        tone = ("d8552c", "e8743a") if i % 2 else ("ffe9a0", "ffd870")
        panel(rng, canvas, flap, tone, width=0.008, upright=True, relief=1.2)


def _soften(rng: np.random.Generator, canvas: Canvas, x: Array) -> None:
    """Break the ruled edges of the buildings with strokes down the walls."""
    line = [at(-0.02, 0.96), at(0.84, 0.96), at(0.84, -1.0), (0.52, -0.02), (-0.02, -0.02)]
    here = polygon(canvas.aspect, line, 0.004) * (x < 0.84)
    angles = -np.pi / 2 + 0.9 * (noise(rng, canvas.aspect, (9, 6), 2) - 0.5)
    rework(rng, canvas, angles, here * np.clip(0.30 - 0.2 * x, 0, 1), width=0.006)


def _lamps(rng: np.random.Generator, canvas: Canvas) -> None:
    """Hang the cafe's lamps under the awning."""
    for lx, level in ((0.128, 0.33), (0.352, 0.335), (0.50, 0.34)):
        near = (FAR[0] - lx) / FAR[0]
        halo(
            rng,
            canvas,
            at(lx, level),
            0.062 * near + 0.008,
            ("ffc23e", "ffd75c", "ffe98c", "fff6c0", "fffdf0"),
        )


def _terrace(rng: np.random.Generator, canvas: Canvas) -> None:
    """Set small round tables and chairs along the terrace, ever smaller."""
    for cx, cy, size in ((0.565, 0.612, 0.035), (0.50, 0.645, 0.048), (0.405, 0.69, 0.066)):
        one = np.array([cx])
        for dx in (-0.75, 0.9):
            for lean, foot in ((-0.06, -0.22), (0.06, 0.22)):
                leg = strokes(
                    one + (dx + foot) * size,
                    np.array([cy + 0.62 * size]),
                    -np.pi / 2 + lean,
                    1.1 * size,
                    0.07 * size,
                    rgb("6a3a34")[None],
                )
                canvas.draw(rng, leg, "flat")
            for post in (-0.28, 0.28):
                upright = strokes(
                    one + (dx + post) * size,
                    np.array([cy - 0.2 * size]),
                    np.pi / 2,
                    1.1 * size,
                    0.09 * size,
                    rgb("8a4a36")[None],
                )
                canvas.draw(rng, upright)
            for rise, wide in ((-0.66, 0.16), (-0.38, 0.10), (0.16, 0.20)):
                bar = strokes(
                    one + dx * size,
                    np.array([cy + rise * size]),
                    0.0,
                    0.72 * size,
                    wide * size,
                    rgb("c88648" if rise < 0 else "e8b868")[None],
                    -0.25,
                )
                canvas.draw(rng, bar, "leaf", relief=1.2)
        stem = strokes(
            one,
            np.array([cy + 0.55 * size]),
            np.pi / 2,
            1.2 * size,
            0.12 * size,
            rgb("4a3448")[None],
        )
        canvas.draw(rng, stem, "flat")
        for shift, wide, tone in ((0.08, 0.52, "b8784a"), (0.0, 0.46, "fff0c0")):
            top = strokes(
                one, np.array([cy + shift * size]), 0.0, 1.5 * size, wide * size, rgb(tone)[None]
            )
            canvas.draw(rng, top, "dab", relief=1.3)


def _lantern(rng: np.random.Generator, canvas: Canvas) -> None:
    """Raise the street lantern on the quay and let it shine."""
    cx, cy = LANTERN
    halo(rng, canvas, (cx, cy), 0.105, ("4f7aa8", "a89a78", "e8b858", "ffe27a", "fffbe0"))
    post = [
        (cx - 0.005, cy + 0.035),
        (cx + 0.005, cy + 0.035),
        (cx + 0.008, 0.80),
        (cx - 0.008, 0.80),
    ]
    panel(rng, canvas, post, ("1a2440", "2c3a50"), width=0.009, upright=True, relief=1.3)
    foot = [(cx - 0.012, 0.755), (cx + 0.012, 0.755), (cx + 0.018, 0.815), (cx - 0.018, 0.815)]
    panel(rng, canvas, foot, ("1a2440", "33425a"), width=0.010, upright=True, relief=1.3)
    for dx, x_tone in ((-0.0045, "d8a850"),):
        touch(rng, canvas, (cx + dx, 0.52), np.pi / 2, (0.26, 0.003), x_tone)
    glass = [
        (cx - 0.017, cy - 0.024),
        (cx + 0.017, cy - 0.024),
        (cx + 0.010, cy + 0.026),
        (cx - 0.010, cy + 0.026),
    ]
    panel(rng, canvas, glass, ("fff6c0", "ffe890"), width=0.011, upright=True, relief=1.5)
    for y0, half, tone in (
        (cy - 0.031, 0.024, "1f2a48"),
        (cy - 0.042, 0.014, "2a3658"),
        (cy + 0.030, 0.014, "1f2a48"),
    ):
        touch(rng, canvas, (cx, y0), 0.0, (2 * half, 0.011), tone, "flat", relief=1.3)
