"""Night harbour: a cafe terrace in lamplight, a quay, stars and lamps on the water."""

from __future__ import annotations

import numpy as np

from vivant_samples.paint.brush import Canvas, Jitter, along, missed, strokes
from vivant_samples.paint.fields import (
    Array,
    flow,
    grid,
    mix,
    noise,
    polygon,
    ramp,
    rgb,
    smoothstep,
)
from vivant_samples.paint.finish import finish
from vivant_samples.paint.forms import Point, halo, panel, tints, touch
from vivant_samples.paint.painting import Painting, alpha
from vivant_samples.paint.scenes.night_street import FAR, paint_street
from vivant_samples.paint.scenes.night_table import paint_table

ASPECT = 1.5
MOON = (1.235, 0.150)
STARS = (
    (0.645, 0.075, 1.0),
    (0.80, 0.195, 0.8),
    (0.93, 0.07, 1.15),
    (1.035, 0.235, 0.7),
    (1.40, 0.285, 0.9),
    (1.42, 0.07, 0.8),
    (0.70, 0.31, 0.6),
    (1.11, 0.055, 0.6),
    (0.90, 0.345, 0.55),
    (1.29, 0.345, 0.55),
    (0.765, 0.04, 0.5),
    (1.47, 0.18, 0.5),
    (1.20, 0.29, 0.5),
)
SHORE_LAMPS = (0.90, 0.945, 0.985, 1.05, 1.09, 1.165, 1.215, 1.285, 1.335, 1.41, 1.46)


def paint(height: int) -> Painting:
    """Paint the scene ``height`` pixels high."""
    rng = np.random.default_rng(1889)
    x, y = grid(ASPECT)
    canvas = Canvas(ASPECT, height, rgb("1b2a55"))
    _sky(rng, canvas, x, y)
    _far_shore(rng, canvas)
    _water(rng, canvas, x, y)
    paint_street(rng, canvas, x, y)
    canvas.start_layer()
    paint_table(rng, canvas)
    return Painting(finish(rng, canvas), {"table.webp": alpha(canvas.cover)})


def _sky(rng: np.random.Generator, canvas: Canvas, x: Array, y: Array) -> None:
    """Paint the deep night, streaming round its stars, and the crescent moon."""
    stream = y + 0.16 * noise(rng, ASPECT, (1.6, 2.6), 2)
    sky = ramp(
        y, [(0.0, "14235c"), (0.16, "1e3f8c"), (0.32, "2f62a6"), (0.43, "4f86b0"), (0.50, "86a8a6")]
    )
    swirl = noise(rng, ASPECT, (1.8, 5.0), 3)
    sky = mix(sky, rgb("6f9fd0"), smoothstep(0.55, 0.75, swirl) * 0.5)
    sky = mix(sky, rgb("101c50"), smoothstep(0.45, 0.25, swirl) * 0.5)
    for cx, cy, size in (*STARS, (*MOON, 2.6)):
        far = np.hypot(x - cx, y - cy) / (0.05 * size)
        stream = stream + 0.10 * size * np.exp(-(far**2))
        sky = mix(sky, rgb("a9d0d8"), 0.55 * np.exp(-((far / 0.95) ** 2)))
    angles = flow(stream)
    lively = Jitter(0.035, 0.035, 0.02, 0.2)
    above = smoothstep(0.54, 0.52, y)
    for width, ratio in ((0.040, 3.5), (0.022, 5.0), (0.012, 6.0)):
        layer = along(rng, sky, angles, width=width, ratio=ratio, jitter=lively, where=above)
        canvas.draw(rng, layer, streak=0.07)
    fine = above * missed(canvas, sky, 0.05)
    canvas.draw(rng, along(rng, sky, angles, width=0.007, ratio=6, jitter=lively, where=fine))
    for cx, cy, size in STARS:
        halo(rng, canvas, (cx, cy), 0.034 * size, ("7fb0cc", "cfe3c0", "fff3b0", "fffdf0"))
    halo(rng, canvas, MOON, 0.105, ("5f92c4", "8fbccc", "c4dcc0", "e6ebb4"), core=0.45)
    halo(rng, canvas, MOON, 0.052, ("9cc4c8", "7fb0cc", "6fa4cc"))
    _crescent(rng, canvas)


def _crescent(rng: np.random.Generator, canvas: Canvas) -> None:
    turn = np.linspace(-1.5, 1.5, 30)
    for color, thick in (("f6c54a", 1.0), ("ffe680", 0.75), ("fff6c8", 0.4)):
        girth = 0.023 * thick * np.cos(turn / 1.62)
        r = 0.038 - 0.0115 * np.cos(turn / 1.62)
        px, py = MOON[0] + r * np.cos(turn + 0.3), MOON[1] + r * np.sin(turn + 0.3)
        tone = Jitter(0.015, 0.015, 0.01, 0.1)(rng, rgb(color) * np.ones((30, 1)))
        arcs = strokes(px, py, turn + 0.3 + np.pi / 2, 0.020, girth + 0.003, tone, 0.55)
        canvas.draw(rng, arcs, "leaf", relief=1.2)


def _far_shore(rng: np.random.Generator, canvas: Canvas) -> None:
    """Lay the other shore: low hills, a town asleep, a church tower."""
    for x0, x1, top, color in (
        (0.78, 1.52, 0.468, ("2c4f86", "3b6494")),
        (0.80, 1.1, 0.480, ("22407a", "2d4f84")),
        (1.0, 1.52, 0.482, ("1e3770", "29497e")),
    ):
        slab = [(x0, top + 0.008), (x1, top), (x1, 0.505), (x0, 0.505)]
        panel(rng, canvas, slab, color, width=0.012)
    for place in np.arange(0.86, 1.5, 0.026):
        cx = place + rng.uniform(-0.008, 0.008)
        wide, top = rng.uniform(0.010, 0.018), rng.uniform(0.462, 0.484)
        house = [(cx - wide, top), (cx + wide, top), (cx + wide, 0.505), (cx - wide, 0.505)]
        panel(rng, canvas, house, ("1a2f66", "27427a"), width=0.008, upright=True)
    for half, top in ((0.008, 0.435), (0.004, 0.415)):
        tower = [(1.02 - half, top), (1.02 + half, top), (1.02 + half, 0.5), (1.02 - half, 0.5)]
        panel(rng, canvas, tower, ("1b2f66", "26407a"), width=0.008, upright=True)


def _water(rng: np.random.Generator, canvas: Canvas, x: Array, y: Array) -> None:
    """Paint the harbour: the sky's colours lying flat, lamps drawn out, the moon's glitter."""
    depth = np.clip((y - FAR[1]) / 0.5, 0, 1)
    water = ramp(
        depth,
        [(0.0, "5a87a8"), (0.08, "39689c"), (0.3, "24498a"), (0.65, "182f6c"), (1.0, "111f50")],
    )
    ripple = noise(rng, ASPECT, (3.0, 26.0), 2)
    water = mix(water, rgb("4f8ab8"), smoothstep(0.55, 0.8, ripple) * 0.45)
    water = mix(water, rgb("2c7a88"), smoothstep(0.45, 0.25, ripple) * 0.3)
    here = polygon(ASPECT, [(0.70, 0.503), (1.53, 0.503), (1.53, 1.03), (0.9, 1.03)], 0.001)
    angles = 0.10 * np.sin(14 * x + 60 * np.sqrt(depth + 0.01))
    lively = Jitter(0.03, 0.03, 0.02, 0.2)
    for width, ratio in ((0.026, 4.0), (0.014, 6.0), (0.009, 6.0)):
        thin = here if width > 0.01 else here * 0.5
        canvas.draw(
            rng, along(rng, water, angles, width=width, ratio=ratio, where=thin, jitter=lively)
        )
    for cx in SHORE_LAMPS:
        _glitter(rng, canvas, cx, 0.008, rng.uniform(0.14, 0.30), 70, ("e8953a", "ffd970"))
    _glitter(rng, canvas, MOON[0], 0.034, 0.47, 300, ("bcd6b0", "fff0a8"))
    for cx in SHORE_LAMPS:
        halo(rng, canvas, (cx, 0.494), 0.012, ("d8934a", "ffc860", "fff0a8"))
    for cx, cy, size, tones in (
        (1.245, 0.665, 0.105, ("8a2f2a", "c2563a")),
        (1.43, 0.605, 0.075, ("1f5a5c", "3f8a80")),
        (1.02, 0.560, 0.045, ("2a3a70", "4a5f98")),
    ):
        _boat(rng, canvas, (cx, cy), size, tones)


def _glitter(
    rng: np.random.Generator,
    canvas: Canvas,
    cx: float,
    wide: float,
    run: float,
    n: int,
    tones: tuple[str, str],
) -> None:
    """Draw a light out over the water in level dabs that spread and thin towards us."""
    t = np.sort(rng.random(n) ** 1.25)
    px = cx + rng.normal(0, 1, n) * wide * (0.35 + 0.9 * t)
    dabs = strokes(
        px,
        0.506 + run * t,
        rng.normal(0, 0.09, n),
        (0.010 + 0.034 * t) * rng.uniform(0.4, 1.4, n),
        0.003 + 0.0055 * t,
        Jitter(0.04, 0.03, 0.02, 0.1)(rng, tints(rng, *tones, n)),
        rng.normal(0, 0.35, n),
    )
    canvas.draw(rng, dabs.take(rng.random(n) > 0.45 * t), "leaf", relief=1.3)


def _boat(
    rng: np.random.Generator, canvas: Canvas, place: Point, size: float, tones: tuple[str, str]
) -> None:
    """Moor a fishing boat: its dark mirror image, hull, gunwale, mast and furled sail."""
    cx, cy = place
    n = 70
    t = rng.random(n)
    dark = strokes(
        cx + rng.normal(0, 0.42, n) * size * (1 - 0.5 * t),
        cy + size * (0.14 + 0.5 * t),
        rng.normal(0, 0.08, n),
        size * 0.4,
        size * 0.07,
        tints(rng, "13244f", tones[0], n) * 0.8,
        rng.normal(0, 0.3, n),
    )
    canvas.draw(rng, dark, "leaf", opacity=0.8)
    for k in range(7):
        drop = k / 6
        half = size * (0.92 - 0.34 * drop**1.5)
        hull = mix(rgb(tones[1]), rgb(tones[0]) * 0.55, drop)[None]
        plank = strokes(
            np.array([cx]),
            np.array([cy - size * 0.10 + size * 0.32 * drop]),
            0.0,
            2 * half,
            size * 0.12,
            Jitter(0.02, 0.02, 0.02, 0.1)(rng, hull),
            -0.62 + 0.25 * drop,
        )
        canvas.draw(rng, plank, "leaf" if k else "flat", streak=0.08, relief=1.2)
    touch(
        rng,
        canvas,
        (cx, cy - size * 0.14),
        0.0,
        (1.9 * size, size * 0.055),
        "f0cf90",
        bend=-0.66,
        relief=1.3,
    )
    for dx, dy, angle, long, wide, tone in (
        (-0.08, -0.85, -np.pi / 2 + 0.03, 1.75, 0.05, "4a3340"),
        (0.26, -0.40, -0.22, 1.05, 0.12, "b9a58c"),
        (0.28, -0.36, -0.20, 0.95, 0.06, "e8d3a8"),
        (-0.42, -0.6, -1.05, 1.25, 0.015, "2a2a50"),
        (0.36, -0.8, 1.12, 1.45, 0.015, "2a2a50"),
    ):
        touch(
            rng,
            canvas,
            (cx + dx * size, cy + dy * size),
            angle,
            (long * size, wide * size),
            tone,
            relief=1.2,
        )
