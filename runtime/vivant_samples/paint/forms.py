"""Things that several scenes are made of, as strokes: panels, leafy crowns, poppies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vivant_samples.paint.brush import Canvas, Jitter, Strokes, strokes
from vivant_samples.paint.fields import Array, mix, rgb

Point = tuple[float, float]


def tints(rng: np.random.Generator, first: str, second: str, n: int) -> Array:
    """Return [n,3] colours anywhere between two ``rrggbb`` codes."""
    return mix(rgb(first), rgb(second), rng.random(n))


def touch(
    rng: np.random.Generator,
    canvas: Canvas,
    place: Point,
    angle: float,
    size: Point,
    tone: str,
    brush: str = "leaf",
    *,
    bend: float = 0.0,
    relief: float = 1.0,
    streak: float = 0.06,
) -> None:
    """Set a single stroke of ``size`` (length, width) in an ``rrggbb`` tone."""
    x, y = np.array([place[0]]), np.array([place[1]])
    one = strokes(x, y, angle, *size, rgb(tone)[None], bend)
    canvas.draw(rng, one, brush, relief=relief, streak=streak)


def panel(
    rng: np.random.Generator,
    canvas: Canvas,
    corners: Sequence[Point],
    color: Sequence[str],
    *,
    width: float,
    upright: bool = False,
    streak: float = 0.05,
    relief: float = 1.0,
) -> None:
    """Fill a flat panel with a wash and parallel strokes that keep to its edges.

    ``corners`` go round from the top left; ``color`` holds two tints (or four: the last two
    for the panel's right end). ``upright`` strokes run down the panel, others across.
    """
    quad = np.array(corners, np.float64)
    across = np.linalg.norm([quad[1] - quad[0], quad[2] - quad[3]], axis=1).mean()
    down = np.linalg.norm([quad[3] - quad[0], quad[2] - quad[1]], axis=1).mean()
    run, rise = (down, across) if upright else (across, down)
    width = min(width, rise)
    length = min(run * 0.7, width * 5)
    n = int(np.ceil(4.0 * run * rise / (length * width))) + 3
    margin_run, margin_rise = min(0.5, length * 0.47 / run), min(0.5, width * 0.46 / rise)
    s, t = rng.uniform(margin_run, 1 - margin_run, n), rng.uniform(margin_rise, 1 - margin_rise, n)
    if upright:
        s, t = t, s
    s1, t1 = s[:, None], t[:, None]
    top, bottom = quad[0] + (quad[1] - quad[0]) * s1, quad[3] + (quad[2] - quad[3]) * s1
    place = top + (bottom - top) * t1
    course = bottom - top if upright else (quad[1] - quad[0]) * (1 - t1) + (quad[2] - quad[3]) * t1
    tone = tints(rng, color[0], color[1], n)
    if len(color) == 4:
        tone = mix(tone, tints(rng, color[2], color[3], n), s)
    canvas.wash(corners, np.mean([rgb(code) for code in color], axis=0) * 0.95)
    coat = strokes(
        place[:, 0],
        place[:, 1],
        np.arctan2(course[:, 1], course[:, 0]),
        length,
        width * rng.uniform(0.7, 1.05, n),
        Jitter(0.02, 0.02, 0.015, 0.08)(rng, tone),
    )
    canvas.draw(rng, coat, streak=streak, relief=relief)


def crown(
    rng: np.random.Generator,
    middle: Point,
    size: Point,
    tones: tuple[str, str, str],
    *,
    leaf: float,
    light: Point,
    density: float = 3.0,
) -> Strokes:
    """Build a leafy crown: (shadow, body, lit) tones, lit on the side the light comes from."""
    n = int(density * np.pi * size[0] * size[1] / (leaf * leaf * 0.9)) + 8
    turn, r = rng.uniform(0, 2 * np.pi, n), np.sqrt(rng.random(n)) * rng.uniform(0.85, 1.1, n)
    dx, dy = r * np.cos(turn), r * np.sin(turn)
    toward = np.array(light) / np.hypot(*light)
    sunny = dx * toward[0] + dy * toward[1] + rng.normal(0, 0.35, n)
    order = np.argsort(sunny + rng.normal(0, 0.3, n))
    color = np.where((sunny < -0.1)[:, None], rgb(tones[0]), rgb(tones[1]))
    color = mix(color, rgb(tones[2]), np.clip(sunny * 0.9 - 0.15, 0, 0.85))
    return strokes(
        middle[0] + dx * size[0],
        middle[1] + dy * size[1],
        rng.normal(0, 0.7, n) + dx * 0.6,
        leaf * rng.uniform(1.0, 2.0, n),
        leaf * rng.uniform(0.6, 1.0, n),
        Jitter(0.025, 0.025, 0.02, 0.1)(rng, color),
        dx,
    ).take(order)


def poppies(rng: np.random.Generator, canvas: Canvas, x: Array, y: Array, size: Array) -> None:
    """Paint poppies, and some cornflowers: a dark cup, ragged petals, light on the brim."""
    n = len(x)
    blue = (rng.random(n) < 0.13)[:, None]
    deep = np.where(blue, rgb("2f3f98"), rgb("8f1a20"))
    body = np.where(blue, rgb("5470cf"), tints(rng, "cf2a1e", "e84a26", n))
    brim = np.where(blue, rgb("8fa8ec"), rgb("ff8a4c"))
    tilt = rng.normal(0, 0.7, n)
    squash = rng.uniform(0.65, 1.0, n)
    for dx, dy, turn, long, wide, tone in (
        (0.0, 0.08, 0.0, 1.05, 0.95, body * 0.82),
        (-0.26, -0.02, 0.7, 0.85, 0.75, body),
        (0.26, -0.04, -0.7, 0.85, 0.75, body),
        (0.0, 0.20, 0.1, 0.85, 0.62, body),
        (0.02, -0.06, 0.9, 0.24, 0.24, deep),
        (-0.20, 0.16, 0.3, 0.55, 0.22, brim),
        (0.18, -0.24, 0.2, 0.5, 0.18, brim),
    ):
        shake = rng.normal(0, 0.10, (2, n))
        petal = strokes(
            x + (dx + shake[0]) * size,
            y + (dy + shake[1]) * size,
            turn + tilt,
            long * size,
            wide * size * squash,
            Jitter(0.03, 0.025, 0.02, 0.08)(rng, tone),
            rng.normal(-0.5, 0.4, n),
        )
        canvas.draw(
            rng, petal, "dab" if wide > 0.3 or wide == long else "leaf", streak=0.08, relief=1.3
        )


def halo(
    rng: np.random.Generator,
    canvas: Canvas,
    middle: Point,
    radius: float,
    tones: Sequence[str],
    *,
    core: float = 0.0,
) -> None:
    """Ring a light with curved strokes, from its outermost tone to its innermost.

    ``core`` is the share of the radius left free in the middle.
    """
    for k, tone in enumerate(tones):
        share = core + (1 - core) * (1 - k / len(tones)) ** 1.25
        ring = radius * share
        width = radius * 0.9 / len(tones) + 0.001
        n = max(5, int(2 * np.pi * ring / (width * 1.7)))
        turn = rng.permutation(n) * (2 * np.pi / n) + rng.normal(0, 0.12, n)
        r = np.maximum(ring - width * 0.5 + rng.normal(0, width * 0.28, n), width * 0.2)
        color = Jitter(0.025, 0.025, 0.015, 0.1)(rng, np.broadcast_to(rgb(tone), (n, 3)))
        length = np.minimum(width * 4.2, r * 1.5)
        arcs = strokes(
            middle[0] + r * np.cos(turn),
            middle[1] + r * np.sin(turn),
            turn + np.pi / 2,
            length,
            width,
            color,
            np.minimum(1.5, length / r),
        )
        canvas.draw(rng, arcs, opacity=0.35 + 0.6 * (k / max(1, len(tones) - 1)) ** 0.7, relief=0.8)
    if core == 0:
        touch(
            rng,
            canvas,
            (middle[0], middle[1]),
            0.3,
            (radius * 0.62, radius * 0.58),
            tones[-1],
            "dab",
            relief=1.0,
            streak=0.0,
        )
