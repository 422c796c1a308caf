"""The flowers of the spring garden: water lilies, and the irises visitors stand behind."""

from __future__ import annotations

import numpy as np

from vivant_samples.paint.brush import Canvas, Jitter, strokes
from vivant_samples.paint.fields import (
    Array,
    mix,
    rgb,
    smoothstep,
)
from vivant_samples.paint.forms import tints, touch


def paint_lilies(
    rng: np.random.Generator, canvas: Canvas, px: Array, py: Array, size: Array
) -> None:
    """Open water lilies, five petals each, white to pink."""
    n = len(px)
    pink = rng.random((n, 1))
    for turn, tone in (
        (-0.5, "d89ab4"),
        (0.5, "d89ab4"),
        (-1.2, "f2c4d0"),
        (1.2, "f2c4d0"),
        (0.0, "fff4f0"),
    ):
        angle = -np.pi / 2 + turn
        petal = strokes(
            px + 0.22 * size * np.cos(angle),
            py - 0.10 * size + 0.16 * size * np.sin(angle),
            angle,
            size * 0.62,
            size * 0.26,
            mix(rgb(tone) * np.ones((n, 1)), rgb("fffaf0"), 0.6 * pink[:, 0]),
            turn * 0.3,
        )
        canvas.draw(rng, petal, "leaf", relief=1.4)


def _crest(px: Array) -> Array:
    """Return how high the irises stand at each x: tall at the left, a tuft at the right."""
    left = 0.800 + 0.25 * smoothstep(0.35, 0.48, px)
    right = 0.865 + 0.20 * smoothstep(0.80, 0.70, px)
    ragged = 0.012 * np.sin(34 * px) + 0.008 * np.sin(77 * px)
    return np.asarray(np.where(px < 0.58, left, right) + ragged)


def paint_irises(rng: np.random.Generator, canvas: Canvas) -> None:
    """Plant the irises before us: what visitors stand behind."""
    for count, tones, lift in (
        (480, ("1f3d3a", "2f5246"), 0.030),
        (460, ("2f5a48", "45755a"), 0.026),
        (240, ("4f8258", "72a066"), 0.022),
        (46, ("9cbc7c", "b8cc8e"), 0.030),
    ):
        px = rng.uniform(-0.03, canvas.aspect + 0.03, count)
        tip = _crest(px) + lift + rng.exponential(0.030, count)
        kept = (tip < 1.02) & (_crest(px) < 0.97)
        px, tip = px[kept], tip[kept]
        n = len(px)
        length = 0.23 * rng.uniform(0.8, 1.15, n)
        angle = -np.pi / 2 + rng.normal(0.02, 0.17, n)
        blades = strokes(
            px - np.cos(angle) * length / 2,
            tip - np.sin(angle) * length / 2,
            angle,
            length,
            0.017 * rng.uniform(0.7, 1.15, n),
            Jitter(0.03, 0.03, 0.025, 0.12)(rng, tints(rng, *tones, n)),
            rng.normal(0, 0.35, n),
        )
        canvas.draw(rng, blades, "blade", streak=0.09)
    n = 62
    px = np.linspace(0.0, canvas.aspect, n) + rng.normal(0, 0.008, n)
    py = _crest(px) + 0.012 + np.abs(rng.normal(0, 0.055, n))
    kept = (_crest(px) < 0.95) & (py < 0.985)
    order = np.argsort(py[kept])
    _iris(rng, canvas, px[kept][order], py[kept][order])


def _iris(rng: np.random.Generator, canvas: Canvas, px: Array, py: Array) -> None:
    """Paint iris blooms one by one: standards up, falls down, a yellow beard."""
    for cx, cy in zip(px, py, strict=True):
        pale = rng.random() < 0.25
        deep, body, light = (
            ("8f88b8", "d8d2e8", "fbf6f4") if pale else ("3a2f86", "6a5cc0", "a99fe6")
        )
        size = 0.030 * rng.uniform(0.85, 1.2)
        for turn, reach, long, wide, tone, bend in (
            (-2.2, 0.50, 1.05, 0.55, deep, -0.7),
            (-0.94, 0.50, 1.05, 0.55, deep, 0.7),
            (-1.57, 0.55, 1.1, 0.7, body, 0.0),
            (-1.95, 0.48, 0.9, 0.32, light, -0.5),
            (2.55, 0.55, 1.15, 0.58, body, 0.9),
            (0.60, 0.55, 1.15, 0.58, body, -0.9),
            (1.57, 0.45, 1.1, 0.62, deep, 0.0),
            (1.45, 0.50, 0.85, 0.30, light, 0.2),
            (2.6, 0.62, 0.8, 0.2, light, 0.9),
        ):
            angle = turn + rng.normal(0, 0.12)
            one = Jitter(0.03, 0.02, 0.03, 0.1)(rng, rgb(tone)[None])
            petal = strokes(
                np.array([cx + reach * size * np.cos(angle)]),
                np.array([cy + reach * size * np.sin(angle)]),
                angle,
                long * size,
                wide * size,
                one,
                bend,
            )
            canvas.draw(rng, petal, "leaf", streak=0.08, relief=1.2)
        touch(
            rng,
            canvas,
            (cx, cy + 0.2 * size),
            np.pi / 2,
            (0.4 * size, 0.16 * size),
            "f6c84a",
            relief=1.3,
        )
