"""The colours of the foreground, without what shone through at its edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.filters import resized, unit
from vivant.roles import Image, Matte

_PASSES = (90, 6)  # box sizes in pixels: colours from afar first, then the detail
_BAND = 16  # pixels around the soft edge in which the colours are solved
_TINY = np.float32(1e-4)

_Float = NDArray[np.float32]


def estimate_foreground(photo: Image, matte: Matte) -> Image:
    """Return the colours that the foreground has on its own, uint8 [H,W,3] RGB.

    Where ``matte`` (uint8 [H,W], of the photo's size) is 255 the photo's colour stays exactly;
    where it is soft the background's share is taken out; where it is 0 the foreground's nearest
    colours are continued, so that a later resize draws no background in. Outside the reach of
    the far blur the photo remains as it is. Blur fusion in two passes: Forte, "Approximate Fast
    Foreground Colour Estimation" (2021), equations 4 to 6.
    """
    if photo.shape[:2] != matte.shape:
        raise ValueError(f"matte: {matte.shape}, photo: {photo.shape[:2]}; give them one size")
    found = photo.copy()
    window = _window(matte)
    if window is None:
        return found
    area, opacity = photo[window], matte[window]
    image, alpha = unit(area), unit(opacity)[..., None]
    fore, back = _far_colours(image, alpha)
    fore, _ = _fuse(image, fore, back, alpha, _PASSES[1])
    result = np.round(fore * 255).astype(np.uint8)
    found[window] = np.where(opacity[..., None] == 255, area, result)
    return found


def _window(matte: Matte) -> tuple[slice, slice] | None:
    """Return the rows and columns of everything not transparent, with a margin, or None."""
    rows, columns = np.flatnonzero(matte.any(axis=1)), np.flatnonzero(matte.any(axis=0))
    if not rows.size:
        return None
    height, width = matte.shape
    top, left = max(0, rows[0] - _BAND), max(0, columns[0] - _BAND)
    bottom, right = min(height, rows[-1] + 1 + _BAND), min(width, columns[-1] + 1 + _BAND)
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _box(values: _Float, size: int) -> _Float:
    out = cv2.blur(values, (size, size), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32).reshape(values.shape)


def _mean(values: _Float, weight: _Float, size: int) -> _Float:
    return _box(values * weight, size) / (_box(weight, size) + _TINY)


def _fuse(
    image: _Float, fore: _Float, back: _Float, alpha: _Float, size: int
) -> tuple[_Float, _Float]:
    """Return foreground and mean background colours that explain ``image`` (0..1)."""
    fore, back = _mean(fore, alpha, size), _mean(back, 1 - alpha, size)
    rest = image - alpha * fore - (1 - alpha) * back
    return np.clip(fore + alpha * rest, 0, 1), back


def _far_colours(image: _Float, alpha: _Float) -> tuple[_Float, _Float]:
    """The first pass, at a quarter of the size: its box is far wider than what that loses."""
    height, width = alpha.shape[:2]
    small = (max(1, height // 4), max(1, width // 4))
    image = resized(image, small, cv2.INTER_AREA)
    alpha = resized(alpha, small, cv2.INTER_AREA).reshape(*small, 1)
    fore, back = _fuse(image, image, image, alpha, max(3, _PASSES[0] // 4))
    return resized(fore, (height, width), cv2.INTER_LINEAR), resized(
        back, (height, width), cv2.INTER_LINEAR
    )
