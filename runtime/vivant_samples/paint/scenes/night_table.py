"""The table before us in the night harbour: what visitors sit behind."""

from __future__ import annotations

import numpy as np

from vivant_samples.paint.brush import Canvas, strokes
from vivant_samples.paint.forms import Point, panel, tints, touch


def paint_table(rng: np.random.Generator, canvas: Canvas) -> None:
    """Lay the long table before us: cloth, carafe, glasses, fruit and a candle lamp."""
    top = [(0.115, 0.800), (0.640, 0.800), (0.735, 0.905), (0.015, 0.905)]
    fall = [(0.015, 0.900), (0.735, 0.900), (0.750, 1.03), (0.0, 1.03)]
    panel(rng, canvas, fall, ("8f8fb8", "b0a4b8", "7a80b0", "9a98bc"), width=0.022, upright=True)
    panel(rng, canvas, top, ("f2dcae", "ffeec4", "d8c0b0", "e8d0b8"), width=0.016, streak=0.05)
    for cx in np.linspace(0.03, 0.72, 12) + rng.normal(0, 0.012, 12):
        n = 5
        fold = strokes(
            cx + rng.normal(0, 0.004, n),
            0.975 + rng.normal(0, 0.01, n),
            np.pi / 2 + (cx - 0.37) * -0.12,
            0.12,
            0.012,
            tints(rng, "6a6ea4", "d8c4c0", n),
            rng.normal(0, 0.15, n),
        )
        canvas.draw(rng, fold, "flat", opacity=0.8)
    hem = [(0.014, 0.899), (0.736, 0.899), (0.737, 0.908), (0.013, 0.908)]
    panel(rng, canvas, hem, ("fff0cc", "f0d8b0"), width=0.007, relief=1.3)
    back = [(0.114, 0.796), (0.641, 0.796), (0.643, 0.803), (0.112, 0.803)]
    panel(rng, canvas, back, ("ffe0a0", "f6cc88"), width=0.006, relief=1.3)
    _still_life(rng, canvas)


def _still_life(rng: np.random.Generator, canvas: Canvas) -> None:
    """Set the table: shadows first, then bottle, candle lamp, glasses, bread and oranges."""
    for cx, cy, long, wide in (
        (0.245, 0.868, 0.10, 0.020),
        (0.345, 0.878, 0.09, 0.022),
        (0.475, 0.882, 0.13, 0.022),
        (0.590, 0.860, 0.07, 0.018),
        (0.160, 0.880, 0.07, 0.016),
        (0.418, 0.850, 0.06, 0.014),
    ):
        n = 7
        shade = strokes(
            cx + rng.normal(0.012, 0.006, n),
            cy + rng.normal(0, 0.003, n),
            0.02,
            long,
            wide,
            tints(rng, "8f7aa0", "b08a8a", n),
            0.0,
        )
        canvas.draw(rng, shade, "leaf", opacity=0.55)
    _bottle(rng, canvas, (0.235, 0.862))
    _candle(rng, canvas, (0.335, 0.872))
    for cx, base, wine in (
        (0.405, 0.846, "8a1f3a"),
        (0.155, 0.874, "8a1f3a"),
        (0.590, 0.856, "e8c060"),
    ):
        _glass(rng, canvas, (cx, base), wine)
    for cx, cy, size, tones in (
        (0.446, 0.862, 0.043, ("b8501e", "f2922e", "ffc860")),
        (0.491, 0.868, 0.045, ("a84a22", "ee8428", "ffc060")),
        (0.532, 0.865, 0.042, ("8a2a2a", "c8402e", "f09060")),
        (0.474, 0.834, 0.042, ("b8581e", "f59a34", "ffd878")),
    ):
        _fruit(rng, canvas, (cx, cy), size, tones)


def _bottle(rng: np.random.Generator, canvas: Canvas, base: Point) -> None:
    cx, cy = base
    body = [(cx - 0.021, cy - 0.115), (cx + 0.021, cy - 0.115), (cx + 0.021, cy), (cx - 0.021, cy)]
    neck = [
        (cx - 0.008, cy - 0.190),
        (cx + 0.008, cy - 0.190),
        (cx + 0.009, cy - 0.130),
        (cx - 0.009, cy - 0.130),
    ]
    slope = [
        (cx - 0.009, cy - 0.135),
        (cx + 0.009, cy - 0.135),
        (cx + 0.021, cy - 0.110),
        (cx - 0.021, cy - 0.110),
    ]
    glass = ("1f3a30", "35583a", "16282e", "1f3440")
    for part in (neck, slope, body):
        panel(rng, canvas, part, glass, width=0.011, upright=True, relief=1.2)
    label = [
        (cx - 0.021, cy - 0.080),
        (cx + 0.021, cy - 0.080),
        (cx + 0.021, cy - 0.035),
        (cx - 0.021, cy - 0.035),
    ]
    panel(rng, canvas, label, ("f0dca8", "e8c88a", "b8a088", "a890a0"), width=0.010)
    top = [
        (cx - 0.009, cy - 0.192),
        (cx + 0.009, cy - 0.192),
        (cx + 0.009, cy - 0.172),
        (cx - 0.009, cy - 0.172),
    ]
    panel(rng, canvas, top, ("9a2f2c", "c04a34"), width=0.008)
    for dx, y0, long in ((-0.013, -0.098, 0.03), (-0.004, -0.150, 0.03), (-0.013, -0.018, 0.025)):
        touch(rng, canvas, (cx + dx, cy + y0), np.pi / 2, (long, 0.006), "f6e8a0", relief=1.4)


def _candle(rng: np.random.Generator, canvas: Canvas, base: Point) -> None:
    cx, cy = base
    bowl = [(cx - 0.024, cy - 0.075), (cx + 0.024, cy - 0.075), (cx + 0.019, cy), (cx - 0.019, cy)]
    panel(
        rng,
        canvas,
        bowl,
        ("ffd060", "ffe890", "f0a040", "ffc860"),
        width=0.011,
        upright=True,
        relief=1.1,
    )
    for half, y0, tone in ((0.024, -0.076, "fff0b0"), (0.020, -0.002, "b86a34")):
        touch(rng, canvas, (cx, cy + y0), 0.0, (2 * half, 0.01), tone, relief=1.2)
    wax = [
        (cx - 0.008, cy - 0.045),
        (cx + 0.008, cy - 0.045),
        (cx + 0.008, cy - 0.006),
        (cx - 0.008, cy - 0.006),
    ]
    panel(rng, canvas, wax, ("fff0c8", "ffdc9a"), width=0.008, upright=True)
    for long, wide, tone in (
        (0.044, 0.020, "ffb030"),
        (0.030, 0.013, "fff0a0"),
        (0.016, 0.008, "fffef0"),
    ):
        touch(rng, canvas, (cx, cy - 0.058), -np.pi / 2, (long, wide), tone, relief=1.3, streak=0.0)


def _glass(rng: np.random.Generator, canvas: Canvas, base: Point, wine: str) -> None:
    cx, cy = base
    for dy, angle, long, wide, tone, brush in (
        (-0.001, 0.0, 0.034, 0.009, "c8c0c8", "dab"),
        (-0.018, np.pi / 2, 0.036, 0.005, "e8e0d8", "leaf"),
        (-0.056, np.pi / 2, 0.052, 0.033, "a8b0c8", "dab"),
        (-0.050, np.pi / 2, 0.034, 0.029, wine, "dab"),
        (-0.063, 0.0, 0.026, 0.007, "d88a70", "dab"),
        (-0.080, 0.0, 0.028, 0.006, "fff0d0", "dab"),
    ):
        touch(
            rng,
            canvas,
            (cx, cy + 1.35 * dy),
            angle,
            (1.35 * long, 1.35 * wide),
            tone,
            brush,
            relief=1.0,
        )
    touch(
        rng,
        canvas,
        (cx - 0.012, cy - 0.078),
        np.pi / 2,
        (0.042, 0.006),
        "fff4d0",
        bend=0.5,
        relief=1.4,
    )


def _fruit(
    rng: np.random.Generator,
    canvas: Canvas,
    middle: Point,
    size: float,
    tones: tuple[str, str, str],
) -> None:
    cx, cy = middle
    for dx, dy, share, tone in ((0.0, 0.0, 1.0, tones[0]), (-0.08, -0.08, 0.82, tones[1])):
        touch(
            rng,
            canvas,
            (cx + dx * size, cy + dy * size),
            0.6,
            (size * share, size * share),
            tone,
            "dab",
            relief=1.0,
            streak=0.04,
        )
    n = 9
    turn = rng.uniform(2.3, 5.2, n)
    arcs = strokes(
        cx + 0.30 * size * np.cos(turn),
        cy + 0.30 * size * np.sin(turn),
        turn + np.pi / 2,
        size * 0.5,
        size * 0.2,
        tints(rng, tones[1], tones[2], n),
        1.0,
    )
    canvas.draw(rng, arcs, "leaf", relief=1.1)
