"""The last look: raking light over the thick paint, the weave of the canvas, varnish."""

from __future__ import annotations

import cv2
import numpy as np

from vivant_samples.paint.brush import Canvas
from vivant_samples.paint.fields import Array


def finish(rng: np.random.Generator, canvas: Canvas, *, impasto: float = 1.0) -> Array:
    """Return the lit painting, uint8 [H,W,3] RGB."""
    scale = canvas.height / 1280
    relief = cv2.GaussianBlur(np.ascontiguousarray(canvas.relief), (0, 0), max(0.4, 1.1 * scale))
    height, width = relief.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    pitch = 2 * np.pi / max(3.2, 5.0 * scale)
    weave = (
        np.sin(x * pitch)
        * np.sin(y * pitch)
        * (0.7 + 0.6 * rng.random((height, width), np.float32))
    )
    relief = relief + 0.022 * weave
    slope_x = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=1 / 8)
    slope_y = cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=1 / 8)
    # The lamp stands at the upper left, as in most hangings.
    slope = np.tanh((slope_x * 0.6 + slope_y * 0.8) * 5 * max(scale, 0.5))
    light = 1 + 0.21 * impasto * slope
    gloss = 0.05 * impasto * np.clip(slope - 0.35, 0, 1)
    lit = np.clip(canvas.color, 0, 1) * light[..., None] + gloss[..., None]
    return np.asarray(np.clip(lit * 255 + 0.5, 0, 255), np.uint8)
