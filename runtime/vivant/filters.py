"""Edge-aware smoothing, and the soft edge of a matte.

Every float array here is float32. Guides are 0..1, ``[H,W,3]``; planes are ``[H,W]``.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.roles import Image

Plane = NDArray[np.float32]
_NOISE2 = 2e-3  # variance of a plain colour: sensor noise and compression


def resized(picture: NDArray[np.float32], shape: tuple[int, ...], how: int) -> NDArray[np.float32]:
    """Resize to ``shape`` (height first) with one of OpenCV's interpolations."""
    if picture.shape[:2] == shape[:2]:
        return picture
    return np.asarray(cv2.resize(picture, (shape[1], shape[0]), interpolation=how), np.float32)


def blurred(plane: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Gaussian blur whose border repeats the edge, so that a frame casts no shadow."""
    size = (2 * max(1, round(2.5 * sigma)) + 1,) * 2
    out = cv2.GaussianBlur(plane, size, max(sigma, 0.3), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32)


def guided_coefficients(
    guide: NDArray[np.float32], plane: Plane, radius: int, eps: float
) -> NDArray[np.float32]:
    """Return the local linear model of ``plane`` in the colours of ``guide``, ``[H,W,4]``.

    The first three are the weights of R, G and B, the last is the offset. Applied to a larger
    version of the guide, the model enlarges the plane along the guide's edges. He, Sun and
    Tang, "Guided Image Filtering" (2013), equations 19 to 21; the enlarging is He and Sun,
    "Fast Guided Filter" (2015).
    """

    def box(values: NDArray[np.float32]) -> NDArray[np.float32]:
        size = (2 * radius + 1, 2 * radius + 1)
        return np.asarray(cv2.blur(values, size, borderType=cv2.BORDER_REFLECT), np.float32)

    r, g, b = (np.ascontiguousarray(guide[..., i]) for i in range(3))
    mean, mean_plane = box(guide), box(plane)
    mr, mg, mb = (mean[..., i] for i in range(3))
    rr, gg, bb = box(r * r) - mr * mr + eps, box(g * g) - mg * mg + eps, box(b * b) - mb * mb + eps
    rg, rb, gb = box(r * g) - mr * mg, box(r * b) - mr * mb, box(g * b) - mg * mb
    cr, cg, cb = (box(c * plane) - m * mean_plane for c, m in ((r, mr), (g, mg), (b, mb)))

    # The symmetric 3x3 system, solved by its adjugate.
    i_rr, i_gg, i_bb = gg * bb - gb * gb, rr * bb - rb * rb, rr * gg - rg * rg
    i_rg, i_rb, i_gb = rb * gb - rg * bb, rg * gb - gg * rb, rg * rb - rr * gb
    scale = 1 / np.maximum(rr * i_rr + rg * i_rg + rb * i_rb, eps**3)
    wr = (i_rr * cr + i_rg * cg + i_rb * cb) * scale
    wg = (i_rg * cr + i_gg * cg + i_gb * cb) * scale
    wb = (i_rb * cr + i_gb * cg + i_bb * cb) * scale
    offset = mean_plane - wr * mr - wg * mg - wb * mb
    return box(np.dstack([wr, wg, wb, offset]))


def apply_coefficients(guide: NDArray[np.float32], model: NDArray[np.float32]) -> Plane:
    """Return the plane that a local linear model predicts from ``guide``, clipped to 0..1."""
    plane: Plane = model[..., 3].copy()
    for channel in range(3):
        plane += model[..., channel] * guide[..., channel]
    np.clip(plane, 0, 1, out=plane)
    return plane


def guided_filter(guide: NDArray[np.float32], plane: Plane, radius: int, eps: float) -> Plane:
    """Smooth ``plane`` (0..1) without crossing the colour edges of ``guide``."""
    return apply_coefficients(guide, guided_coefficients(guide, plane, radius, eps))


def local_alpha(
    guide: NDArray[np.float32], inside: Plane, outside: Plane, sigma: float
) -> tuple[Plane, Plane]:
    """Return where each colour lies between the nearby foreground and background, and trust.

    ``inside`` and ``outside`` weigh (0..1) the pixels that are surely one or the other; their
    mean colours within ``sigma`` pixels are F and B of I = alpha F + (1 - alpha) B, which is
    solved by least squares. Trust (0..1) is low where F and B look alike or are far away.
    """
    fore, spread_f, weight_f = _local_colour(guide, inside, sigma)
    back, spread_b, weight_b = _local_colour(guide, outside, sigma)
    axis = fore - back
    distance2 = np.einsum("hwc,hwc->hw", axis, axis)
    along = np.einsum("hwc,hwc->hw", guide - back, axis) / np.maximum(distance2, 1e-4)
    alpha = np.clip(along, 0, 1)
    miss = guide - back - alpha[..., None] * axis
    doubt = np.einsum("hwc,hwc->hw", miss, miss) + spread_f + spread_b + _NOISE2
    near = np.clip(np.minimum(weight_f, weight_b) * 100, 0, 1)
    return alpha, near * np.clip(1.25 * distance2 / (distance2 + 3 * doubt) - 0.25, 0, 1)


def _local_colour(
    guide: NDArray[np.float32], weight: Plane, sigma: float
) -> tuple[NDArray[np.float32], Plane, Plane]:
    """Return the weighted mean colour around each pixel, its variance, the weight's mean."""
    # A wide blur carries no detail: done at the resolution that sigma leaves.
    step = max(1.0, sigma / 4)
    small = (max(1, round(weight.shape[0] / step)), max(1, round(weight.shape[1] / step)))
    squares = np.einsum("hwc,hwc->hw", guide, guide)
    stack = np.dstack([guide, squares]) * weight[..., None]
    sums = blurred(resized(stack, small, cv2.INTER_AREA), sigma / step)
    total = blurred(resized(weight, small, cv2.INTER_AREA), sigma / step)
    sums /= np.maximum(total, 1e-4)[..., None]
    mean = sums[..., :3]
    sums[..., 3] = np.maximum(sums[..., 3] - np.einsum("hwc,hwc->hw", mean, mean), 0)
    sums = resized(sums, weight.shape, cv2.INTER_LINEAR)
    return sums[..., :3], sums[..., 3], resized(total, weight.shape, cv2.INTER_LINEAR)


def unit(photo: Image) -> NDArray[np.float32]:
    """Return 8-bit colours as float32 0..1."""
    return np.asarray(photo * np.float32(1 / 255), np.float32)
