"""Resampling as the authors of the networks do it, by the names that manifests use."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.float32])

BILINEAR = "bilinear"
_PILLOW = {
    "bilinear-antialiased": PIL.Image.Resampling.BILINEAR,
    "bicubic-antialiased": PIL.Image.Resampling.BICUBIC,
}
METHODS = (BILINEAR, *_PILLOW)
"""What ``resample`` knows.

- "bilinear": between the nearest pixels, centres at half, without antialiasing: PyTorch's
  ``interpolate(mode="bilinear", align_corners=False)``
- "bilinear-antialiased", "bicubic-antialiased": Pillow's filters, which widen to take in every
  pixel when they shrink
"""


def resample(picture: Pixels, height: int, width: int, method: str) -> Pixels:
    """Resize by one of ``METHODS``.

    Args:
        picture: uint8 [H,W,3] or [H,W], or float32 [H,W].
        height: of the result.
        width: of the result.
        method: a name.

    Returns:
        The same dtype. On bytes OpenCV computes "bilinear" in short integers: it comes within
        0.8 levels of the exact value, where rounding alone takes 0.5.
    """
    if method != BILINEAR:
        image = PIL.Image.fromarray(picture).resize((width, height), _PILLOW[method])
        return np.asarray(image, picture.dtype)
    result = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(result, picture.dtype)
