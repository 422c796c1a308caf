"""What the benchmarks run on: pictures that every checkout has."""

from __future__ import annotations

import cv2
import numpy as np

from vivant.images import load_image
from vivant.roles import Image
from vivant_samples import PORTRAIT


def sample_frame() -> Image:
    """Return the sample portrait as a camera would frame it: 1920x1080, mirrored at its sides."""
    portrait = cv2.resize(load_image(PORTRAIT), (1080, 1080), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.copyMakeBorder(portrait, 0, 0, 420, 420, cv2.BORDER_REFLECT), np.uint8)
