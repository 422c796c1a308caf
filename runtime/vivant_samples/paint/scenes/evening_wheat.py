"""The wheat before us in the evening path: what visitors stand behind."""

from __future__ import annotations

import numpy as np

from vivant_samples.paint.brush import Canvas, Jitter, strokes
from vivant_samples.paint.fields import (
    Array,
    mix,
    rgb,
    smoothstep,
)
from vivant_samples.paint.forms import poppies, tints


def _ridge(px: Array) -> Array:
    """Return how high the wheat before us stands at each x: low at the path, high outside."""
    left = 0.80 + 0.20 * smoothstep(0.20, 0.47, px)
    right = 0.775 + 0.225 * smoothstep(1.10, 0.97, px)
    ragged = 0.012 * np.sin(31 * px) + 0.010 * np.sin(71 * px + 1)
    return np.asarray(np.where(px < 0.7, left, right) + ragged)


def paint_wheat(rng: np.random.Generator, canvas: Canvas) -> None:
    """Raise the wheat before us on both sides of the path: what visitors stand behind."""
    for count, tones, lift in (
        (1600, ("3f3a44", "5f4434"), 0.060),
        (1500, ("6d4a2c", "46503f"), 0.050),
        (1300, ("97682a", "6f5630"), 0.032),
        (650, ("d89c38", "a8702a"), 0.0),
    ):
        px = rng.uniform(-0.04, canvas.aspect + 0.04, count)
        tip = _ridge(px) + lift + rng.exponential(0.028, count) + 0.12 * rng.random(count) ** 2
        keep = (tip < 1.03) & (_ridge(px) < 0.96)
        px, tip = px[keep], tip[keep]
        order = np.argsort(tip)
        px, tip, n = px[order], tip[order], len(px)
        length = 0.20 * rng.uniform(0.85, 1.2, n)
        lean = 0.10 + rng.normal(0, 0.13, n)
        bend = 0.25 + rng.normal(0, 0.25, n)
        angle = -np.pi / 2 + lean
        color = mix(rgb(tones[0]), rgb(tones[1]), rng.random(n))
        color = Jitter(0.035, 0.03, 0.03, 0.12)(rng, color)
        cx, cy = px - np.cos(angle) * length / 2, tip - np.sin(angle) * length / 2
        width = 0.019 - 0.004 * (lift < 0.04) - 0.007 * (lift < 0.01)
        canvas.draw(rng, strokes(cx, cy, angle, length, width, color, bend), "blade", streak=0.09)
        if lift < 0.05:
            _ears(rng, canvas, px[::2], tip[::2], (angle + bend / 2)[::2], bright=lift < 0.03)
    _blooms(rng, canvas)


def _ears(
    rng: np.random.Generator, canvas: Canvas, px: Array, tip: Array, angle: Array, *, bright: bool
) -> None:
    """Set an ear on every stalk: awns, then grains left and right, from the root up."""
    n = len(px)
    tone = tints(rng, *(("d8952f", "ffd874") if bright else ("7d5226", "b87e30")), n)
    for turn in (-0.28, 0.0, 0.25):
        reach = 0.062 * rng.uniform(0.7, 1.2, n)
        spread = angle + turn + rng.normal(0, 0.06, n)
        awn = strokes(
            px + np.cos(spread) * reach * 0.7,
            tip + np.sin(spread) * reach * 0.7,
            spread,
            reach,
            0.0028,
            tone * 0.95,
            rng.normal(0.2, 0.1, n),
        )
        canvas.draw(rng, awn, "blade", streak=0.03)
    for k in range(11):
        along_ear, side = k / 10, (-1 if k % 2 else 1)
        step = -0.012 + 0.058 * along_ear
        gx = px + np.cos(angle) * step - np.sin(angle) * side * 0.0042
        gy = tip + np.sin(angle) * step + np.cos(angle) * side * 0.0042
        shade = 1.0 + 0.10 * side * -1
        grain = strokes(
            gx,
            gy,
            angle + side * 0.42,
            0.0175 * (1.1 - 0.45 * along_ear),
            0.0085 * (1.1 - 0.4 * along_ear),
            Jitter(0.03, 0.03, 0.02, 0.1)(rng, np.clip(tone * shade, 0, 1)),
            0.0,
        )
        canvas.draw(rng, grain, "leaf", relief=1.4)


def _blooms(rng: np.random.Generator, canvas: Canvas) -> None:
    """Poppies and cornflowers large in the foreground wheat."""
    n = 46
    px = rng.uniform(0, canvas.aspect, n)
    py = _ridge(px) + 0.035 + 0.17 * rng.random(n)
    keep = (_ridge(px) < 0.95) & (py < 0.99)
    poppies(rng, canvas, px[keep], py[keep], 0.026 * rng.uniform(0.7, 1.2, keep.sum()))
