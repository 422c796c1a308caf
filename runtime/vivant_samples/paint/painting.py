"""What a scene hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from vivant_samples.paint.fields import Array, smoothstep


@dataclass(frozen=True)
class Painting:
    """A painting, uint8 [H,W,3] RGB, and its occluders' alphas by name, uint8 [H,W]."""

    image: Array
    occluders: Mapping[str, Array] = field(default_factory=dict)


def alpha(cover: Array) -> Array:
    """Return stroke coverage as a crisp alpha, uint8: paint is either there or not."""
    return np.round(smoothstep(0.1, 0.6, cover) * 255).astype(np.uint8)
