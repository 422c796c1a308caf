"""The trees of the spring garden: one in blossom, and a willow."""

from __future__ import annotations

import numpy as np

from vivant_samples.paint.brush import Canvas, Jitter, strokes
from vivant_samples.paint.fields import (
    mix,
    rgb,
)
from vivant_samples.paint.forms import Point, crown, tints


def _foot(rng: np.random.Generator, canvas: Canvas) -> None:
    """Root the tree: its shade on the lawn, and grass before the trunk."""
    n = 90
    shade = strokes(
        0.755 + rng.normal(0, 0.028, n),
        0.742 + rng.normal(0, 0.010, n),
        rng.normal(0, 0.2, n),
        0.030,
        0.007,
        Jitter()(rng, tints(rng, "4a6a58", "5f7a6c", n)),
    )
    canvas.draw(rng, shade, "leaf", opacity=0.8)


def _tufts(rng: np.random.Generator, canvas: Canvas) -> None:
    n = 60
    blades = strokes(
        0.737 + rng.normal(0, 0.024, n),
        0.742 + rng.normal(0, 0.006, n),
        -np.pi / 2 + rng.normal(0, 0.3, n),
        rng.uniform(0.015, 0.035, n),
        0.004,
        Jitter()(rng, tints(rng, "5a8a4e", "9cba6a", n)),
        rng.normal(0, 0.5, n),
    )
    canvas.draw(rng, blades, "leaf")


def _limb(
    rng: np.random.Generator, canvas: Canvas, points: list[Point], thick: float, thin: float
) -> None:
    """Paint a trunk or branch along a smooth line, light on its left side."""
    knots = np.array(points)
    t = np.linspace(0, 1, len(knots))
    fine = np.linspace(0, 1, 60)
    bx, by = (np.interp(fine, t, knots[:, k]) for k in (0, 1))
    bx, by = (np.convolve(np.pad(v, 6, mode="edge"), np.ones(13) / 13, "valid") for v in (bx, by))
    turn = np.arctan2(np.gradient(by), np.gradient(bx))
    width = thick + (thin - thick) * fine + 0.35 * thick * np.exp(-fine * 14) * (thick > 0.03)
    run = np.hypot(np.gradient(bx), np.gradient(by)) * 4 + 0.7 * width + 0.004
    for side, first, second in (
        (0.0, "54474e", "6a5a5c"),
        (-0.34, "42384a", "544858"),
        (-0.17, "5a4a52", "463c4a"),
        (0.12, "7a6866", "6a5a5c"),
        (0.32, "a89488", "8a7874"),
        (0.38, "cbb8a8", "a08c84"),
    ):
        kept = rng.random(60) < (0.5 if side > 0.35 else 1.0)
        bark = strokes(
            bx + np.sin(turn) * width * side,
            by - np.cos(turn) * width * side,
            turn + rng.normal(0, 0.06, 60),
            run * rng.uniform(0.7, 1.3, 60),
            width * (0.8 if side == 0 else 0.3),
            Jitter(0.03, 0.02, 0.02, 0.1)(rng, tints(rng, first, second, 60)),
        )
        canvas.draw(rng, bark.take(kept), relief=1.2, streak=0.07)


def paint_blossoms(rng: np.random.Generator, canvas: Canvas) -> None:
    """Raise the blossoming tree at the right, its branches over the path and pond."""
    pink = ("b596b4", "ecc6d2", "fff4f0")
    back = (
        (0.62, 0.13, 0.10, 0.06),
        (0.74, 0.10, 0.09, 0.08),
        (0.70, 0.26, 0.10, 0.06),
        (0.48, 0.16, 0.08, 0.045),
        (0.56, 0.045, 0.10, 0.05),
    )
    for cx, cy, wide, tall in back:
        canvas.draw(
            rng,
            crown(
                rng,
                (cx, cy),
                (wide, tall),
                ("a898bc", "d8b8cc", "f6dfe2"),
                leaf=0.013,
                light=(-0.6, -1),
                density=1.2,
            ),
        )
    _foot(rng, canvas)
    _limb(
        rng,
        canvas,
        [(0.735, 0.735), (0.722, 0.64), (0.728, 0.55), (0.705, 0.44), (0.715, 0.34)],
        0.044,
        0.026,
    )
    _tufts(rng, canvas)
    for points, thick in (
        ([(0.712, 0.40), (0.66, 0.32), (0.61, 0.25), (0.54, 0.20), (0.45, 0.19)], 0.020),
        ([(0.714, 0.36), (0.735, 0.25), (0.725, 0.14), (0.745, 0.04)], 0.020),
        ([(0.655, 0.315), (0.645, 0.22), (0.61, 0.12), (0.60, 0.04)], 0.013),
        ([(0.72, 0.42), (0.77, 0.34), (0.81, 0.29)], 0.014),
        ([(0.58, 0.225), (0.52, 0.27), (0.455, 0.295)], 0.008),
        ([(0.735, 0.25), (0.78, 0.17), (0.81, 0.12)], 0.010),
    ):
        _limb(rng, canvas, points, thick, 0.004)
    for cx, cy, wide, tall in (
        (0.40, 0.185, 0.055, 0.030),
        (0.47, 0.215, 0.06, 0.030),
        (0.53, 0.165, 0.065, 0.035),
        (0.60, 0.215, 0.07, 0.035),
        (0.45, 0.300, 0.05, 0.022),
        (0.52, 0.285, 0.045, 0.020),
        (0.62, 0.085, 0.085, 0.04),
        (0.54, 0.07, 0.07, 0.03),
        (0.73, 0.06, 0.085, 0.05),
        (0.78, 0.15, 0.06, 0.05),
        (0.69, 0.16, 0.07, 0.04),
        (0.77, 0.29, 0.055, 0.045),
        (0.68, 0.265, 0.05, 0.025),
        (0.75, 0.385, 0.04, 0.02),
        (0.63, 0.34, 0.035, 0.016),
    ):
        blossom = crown(
            rng, (cx, cy), (wide, tall), pink, leaf=0.0095, light=(-0.6, -1.0), density=1.15
        )
        canvas.draw(rng, blossom, "dab", relief=1.2)
    n = 130
    px, py = rng.uniform(0.3, 0.8, n), rng.uniform(0.05, 0.55, n)
    fall = strokes(
        px, py, rng.normal(0.4, 0.5, n), 0.008, 0.0045, tints(rng, "f2ccd6", "fff6f2", n), 0.4
    )
    canvas.draw(rng, fall.take(rng.random(n) < 0.6), "leaf", relief=1.2)


def paint_willow(rng: np.random.Generator, canvas: Canvas) -> None:
    """Let willow strands hang in from the upper left."""
    for _ in range(46):
        top_x = rng.uniform(-0.03, 0.27) ** 1.0
        drop = (0.50 - 1.25 * max(top_x, 0)) * rng.uniform(0.55, 1.05)
        if drop < 0.05:
            continue
        n = int(drop * 150)
        t = np.sort(rng.random(n))
        sway = 0.018 * np.sin(3.0 * t + top_x * 40) + 0.022 * t
        px, py = top_x + sway + rng.normal(0, 0.0035, n), -0.02 + drop * t
        tone = tints(rng, "7f9e58", "b9c97c", n) * rng.uniform(0.85, 1.05)
        tone = mix(tone, rgb("e8e8b0"), 0.6 * (rng.random(n) < 0.25))
        leaves = strokes(
            px,
            py,
            np.pi / 2 + rng.normal(0, 0.38, n),
            rng.uniform(0.014, 0.030, n),
            0.0055,
            Jitter(0.03, 0.03, 0.02, 0.1)(rng, tone),
            rng.normal(0, 0.5, n),
        )
        canvas.draw(rng, leaves, "leaf")
