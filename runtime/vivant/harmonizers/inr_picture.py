"""What the ways to apply INR-Harmonization share: what the encoder sees, how colours come in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.backends import Arrays, Engine
from vivant.resampling import BILINEAR, resample
from vivant.roles import Image, Matte

MODEL = "inr-harmonization"
"""The engine's name in the store."""

Place: TypeAlias = tuple[slice, slice]
"""Rows and columns of a picture."""

Colours: TypeAlias = Callable[[Place], NDArray[np.float32]]
"""Returns new colours at a place, float32 [h,w,3] RGB, 0..255; they may be written over."""

SIDE = 256
"""Of the encoder's input, pixels."""

_AREA = 1 << 16  # pixels of a strip, so that its floats stay in a core's cache


def encode(encoder: Engine, composite: Image, mask: Matte) -> Arrays:
    """Return what the encoder says about a picture, which it sees at 256x256."""
    small = resample(composite, SIDE, SIDE, BILINEAR)
    weight = resample(np.asarray(mask / np.float32(255)), SIDE, SIDE, BILINEAR)
    return encoder.run({"image": small[np.newaxis], "mask": weight[np.newaxis]})


def blend(
    composite: Image, mask: Matte, strengths: Sequence[float], colours: Colours, pool: Executor
) -> tuple[Image, ...]:
    """Return one picture per strength: the composite with ``colours`` by strength and mask.

    Pixels where the mask is 0 keep the composite's bytes. Beside the results nothing of the
    picture's size is allocated.

    Args:
        composite: uint8 [H,W,3] RGB.
        mask: uint8 [H,W].
        strengths: for each picture, 0..1.
        colours: asked for each strip of the mask's box, once.
        pool: works on the strips.
    """
    results: tuple[Image, ...] = tuple(composite.copy() for _ in strengths)

    def work(place: Place) -> None:
        old = composite[place]
        change = colours(place)
        change -= old
        change *= cv2.cvtColor(mask[place], cv2.COLOR_GRAY2RGB)
        for strength, result in zip(strengths, results, strict=True):
            result[place] = cv2.add(change * np.float32(strength / 255), old, dtype=cv2.CV_8U)

    on_strips(mask, work, pool)
    return results


def on_strips(mask: NDArray[np.uint8], work: Callable[[Place], None], pool: Executor) -> None:
    """Do ``work`` on strips of rows that make up the box of what is not 0 in ``mask``."""
    x, y, width, height = cv2.boundingRect(mask)
    rows = max(1, _AREA // max(1, width))
    tops = range(y, y + height, rows)
    places = [(slice(top, min(top + rows, y + height)), slice(x, x + width)) for top in tops]
    deque(pool.map(work, places), maxlen=0)
