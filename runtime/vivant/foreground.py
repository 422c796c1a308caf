"""The colours of the foreground, without what shone through at its edge."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.filters import resized
from vivant.roles import Image, Matte

# Smooth colours are solved on a picture of this many pixels at most, whatever the photo has.
_SOLVED_PIXELS = 60_000
_MARGIN = 16  # pixels beyond the matte that get the foreground's colours
_FAINT = np.float32(1e-4)  # what counts nowhere near still has a mean

PASSES = ((4, 20), (2, 15), (1, 10), (1, 5), (1, 3))
"""By how much the small picture is reduced once more, and the side of the box there: colours from
afar first."""

_Float = NDArray[np.float32]


def estimate_foreground(photo: Image, matte: Matte) -> Image:
    """Return the colours that the foreground has on its own, uint8 [H,W,3] RGB.

    Where ``matte`` (uint8 [H,W], of the photo's size) is 255 the photo's colour stays exactly;
    where it is soft the background's share is taken out; where it is 0 the foreground's nearest
    colours are continued, so that a later resize draws no background in. Beyond the matte's
    bounding box, and a margin, the photo stays as it is.

    Blur fusion (Forte, "Approximate Fast Foreground Colour Estimation", 2021): smooth colours of
    both sides, corrected by least squares so that they mix to the photo. Here the smooth ones are
    solved on a small picture, in several passes that each correct the one before, and only soft
    pixels are corrected at full size. It leaves less of an error than one wide and one narrow
    pass at full size, at a fraction of their time and memory.

    Raises:
        ValueError: photo and matte differ in size.
    """
    if photo.shape[:2] != matte.shape:
        raise ValueError(f"matte: {matte.shape}, photo: {photo.shape[:2]}; give them one size")
    found: Image = photo.copy()
    window = foreground_window(matte)
    if window is None:
        return found
    area, opacity = photo[window], np.ascontiguousarray(matte[window])
    fore, back = (_enlarged(colours, opacity.shape) for colours in _smooth(area, opacity))
    soft = np.flatnonzero((opacity > 0) & (opacity < 255))
    layers = (layer.reshape(-1, 3)[soft].astype(np.float32) for layer in (area, fore, back))
    alpha = np.repeat(opacity.reshape(-1, 1)[soft] / np.float32(255), 3, axis=1)
    fore.reshape(-1, 3)[soft] = np.rint(_corrected(alpha, *layers)[0])
    found[window] = cv2.copyTo(area, np.asarray(opacity == 255, np.uint8), fore)
    return found


def foreground_window(matte: Matte) -> tuple[slice, slice] | None:
    """Return the rows and columns of everything not transparent, with a margin, or None."""
    rows, columns = np.flatnonzero(matte.any(axis=1)), np.flatnonzero(matte.any(axis=0))
    if not rows.size:
        return None
    spans = []
    for line, length in ((rows, matte.shape[0]), (columns, matte.shape[1])):
        first, last = int(line[0]) - _MARGIN, int(line[-1]) + _MARGIN
        spans.append(slice(max(0, first), min(length, last + 1)))
    return spans[0], spans[1]


def solved_shape(height: int, width: int) -> tuple[int, int]:
    """Return height and width of the small picture on which a window's colours are solved."""
    return reduced_shape(height, width, math.ceil(math.sqrt(height * width / _SOLVED_PIXELS)))


def reduced_shape(height: int, width: int, by: int) -> tuple[int, int]:
    """Return height and width of a picture reduced by a whole number, at least 1 each."""
    return max(1, height // by), max(1, width // by)


def _smooth(area: Image, opacity: Matte) -> tuple[_Float, _Float]:
    """Return smooth colours of foreground and background, float32 [h,w,3] 0..255, reduced."""
    shape = solved_shape(*opacity.shape)
    size = shape[::-1]
    image = cv2.resize(area, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    small = cv2.resize(opacity, size, interpolation=cv2.INTER_AREA) / np.float32(255)
    alpha = np.repeat(small.reshape(*shape, 1), 3, axis=2)
    mean = np.average(image, axis=(0, 1), weights=alpha + _FAINT).astype(np.float32)
    # Far from every opaque pixel a mean weighs almost nothing, and the overall one remains.
    fore, back = mean + alpha * (image - mean), image
    for reduction, box in PASSES:
        now_shape = reduced_shape(*shape, reduction)
        now, weight = (resized(part, now_shape, cv2.INTER_AREA) for part in (image, alpha))
        how = cv2.INTER_LINEAR if fore.size < now.size else cv2.INTER_AREA
        fore = _mean(resized(fore, now_shape, how), weight, box)
        back = _mean(resized(back, now_shape, how), 1 - weight, box)
        fore, back = _corrected(weight, now, fore, back)
    last = PASSES[-1][1]
    return _mean(fore, alpha, last), _mean(back, 1 - alpha, last)


def _mean(values: _Float, weight: _Float, box: int) -> _Float:
    """Return the weighted mean around each pixel, the plain one where nothing weighs."""
    weight = weight + _FAINT
    total, share = (
        cv2.blur(part, (box, box), borderType=cv2.BORDER_REPLICATE)
        for part in (values * weight, weight)
    )
    return np.asarray(np.divide(total, share, out=total), np.float32)


def _corrected(alpha: _Float, image: _Float, fore: _Float, back: _Float) -> tuple[_Float, _Float]:
    """Return both colours (0..255) with the smallest change of both that mixes to ``image``."""
    rest = 1 - alpha
    left = (image - alpha * fore - rest * back) / (alpha * alpha + rest * rest)
    return np.clip(fore + alpha * left, 0, 255), np.clip(back + rest * left, 0, 255)


def _enlarged(colours: _Float, shape: tuple[int, ...]) -> Image:
    rounded = np.rint(colours).astype(np.uint8)
    return np.asarray(cv2.resize(rounded, shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
