"""The colours of a figure and of the background near it, in CIE Lab.

Only what surrounds a figure lights it, hence the ring. Harmonizer and scorer share these
statistics, so that what one moves is what the other measures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.errors import ImageError
from vivant.roles import Image, Matte, check_mask

RING_RADIUS = 0.12
"""How far the ring reaches from the figure, as a share of the picture's shorter side."""

STATISTICS_SIDE = 512
"""Statistics are taken with the longer side at most this many pixels."""

_LEAST_PIXELS = 16
"""A region of fewer pixels has no statistics to speak of."""

_Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class LabStatistics:
    """Mean and standard deviation of a region's colours: float32 [3], L 0..100, a, b."""

    mean: _Floats
    spread: _Floats


def region_statistics(composite: Image, mask: Matte) -> tuple[LabStatistics, LabStatistics]:
    """Return the statistics of the foreground and of the background near it.

    Both are weighted by the soft mask, at reduced size. The ring reaches ``RING_RADIUS``
    from the mask's core (128 and more), so there is one wherever there is background.

    Raises:
        ImageError: The mask is not of the composite's size, marks no foreground, or leaves
            no background.
    """
    check_mask(composite, mask)
    composite, mask = _reduce(composite), _reduce(mask)
    outside = mask < 128
    if np.count_nonzero(~outside) < _LEAST_PIXELS:
        raise ImageError("mask: marks no foreground; check the matte or enlarge the slot")
    if np.count_nonzero(outside) < _LEAST_PIXELS:
        raise ImageError("mask: leaves no background to take the light from; shrink the slot")

    radius = max(2.0, RING_RADIUS * min(mask.shape))
    distance = cv2.distanceTransform(outside.astype(np.uint8), cv2.DIST_L2, 5)
    ring = np.where(outside & (distance <= radius), 255 - mask, np.uint8(0))
    lab = to_lab(composite)
    return _statistics(lab, mask), _statistics(lab, ring)


def to_lab(image: Image) -> _Floats:
    """Return CIE Lab (D65) as float32 [H,W,3]: L 0..100, a and b about -127..127."""
    scaled = image.astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2Lab), np.float32)


def _statistics(lab: _Floats, weights: NDArray[np.uint8]) -> LabStatistics:
    inside = weights > 0
    colours, share = lab[inside].astype(np.float64), weights[inside].astype(np.float64)
    mean = np.average(colours, axis=0, weights=share)
    variance = np.average((colours - mean) ** 2, axis=0, weights=share)
    return LabStatistics(mean.astype(np.float32), np.sqrt(variance).astype(np.float32))


def _reduce(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Shrink [H,W] or [H,W,3] to ``STATISTICS_SIDE``; smaller ones stay as they are."""
    height, width = array.shape[:2]
    factor = STATISTICS_SIDE / max(height, width)
    if factor >= 1:
        return array
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.asarray(cv2.resize(array, size, interpolation=cv2.INTER_AREA), np.uint8)
