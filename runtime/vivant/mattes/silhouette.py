"""Where a face's body can be: a soft silhouette, in units of the face.

The outlines are proportions, not measurements: a head is 1.2 face heights (hair included), a
body 7.5 heads, shoulders two heads wide, an outstretched arm ends 3.4 face heights from the
middle. They only say where to look; the photo's colours decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.filters import Plane, blurred
from vivant.roles import Face

Mask: TypeAlias = NDArray[np.uint8]
"""uint8 [H,W], 0 or 1."""

Outline: TypeAlias = tuple[tuple[float, float], ...]
"""The right half of a symmetric outline: (x, y) in face heights, x from the face's middle, y
from the chin down."""

# fmt: off
HAIR: Outline = ((0, -1.42), (0.33, -1.36), (0.58, -1.1), (0.62, -0.7), (0.5, -0.25), (0.36, 0))
HAT: Outline = ((0, -1.75), (0.45, -1.65), (0.92, -1.3), (0.9, -0.95), (0.74, -0.6), (0.6, 0))
COLLAR: Outline = ((0, -0.2), (0.9, -0.1), (1, 0.6))
ARMS: Outline = ((0.5, 0.5), (1.2, 0.8), (1.55, 1.5), (1.6, 3), (1.2, 3.8))
BESIDE_HEAD: Outline = ((0, -2.4), (3.4, -2.4), (3.4, 0.3), (2, 0.3), (1.4, 0), (0.8, -0.2))
AROUND: Outline = (
    (0, -1.65), (0.37, -1.52), (0.64, -1.15), (0.74, -0.65), (0.64, -0.15), (0.56, 0),
    (1.72, 1.2), (1.87, 2), (1.87, 9.3),
)
SPINE: Outline = (
    (0, -1), (0.24, -0.95), (0.36, -0.75), (0.36, -0.6), (0.3, -0.2), (0.2, 0),
    (0.2, 0.16), (0.3, 0.4), (0.36, 0.65), (0.36, 2.2), (0.3, 3),
)
_HEAD: Outline = ((0, -1.15), (0.25, -1.1), (0.4, -0.95), (0.45, -0.7), (0.41, -0.3), (0.28, 0))
_BODY: Outline = (
    (0.26, -0.2), (0.34, 0.25), (0.8, 0.6), (1, 1.1), (1.05, 2.2),
    (0.8, 3.6), (0.62, 5), (0.5, 8.3), (0.5, 8.7),
)
_CORE: Outline = (
    (0, -1), (0.24, -0.95), (0.36, -0.75), (0.36, -0.6), (0.3, -0.2), (0.2, 0),
    (0.25, 0.16), (0.45, 0.4), (0.6, 0.65), (0.62, 1), (0.58, 2.2), (0.4, 3),
)
_REACH: Outline = (
    (1.3, -2.4), (2.6, -1.2), (3.4, 0.2), (3.4, 1.4), (2.9, 2.7),
    (2.2, 3.5), (1.7, 4.4), (1.4, 6), (1.4, 9.3),
)
_ARM_REACH: Outline = (
    (0.8, -0.2), (1.4, 0), (2, 0.3), (3.4, 0.3), (3.4, 1.4), (2.9, 2.7), (2, 3.6),
)

# Outline, softness of its edge in face heights, probability of person inside.
_LAYERS = (
    (_HEAD, 0.08, 0.97), (HAIR, 0.1, 0.45), (HAT, 0.12, 0.2), (_BODY, 0.2, 0.9), (ARMS, 0.25, 0.3),
)
# fmt: on
_REACH_CHANCE, _ARM_REACH_CHANCE, _BEYOND_REACH = 0.02, 0.06, 0.004
SURE = 0.995
ASIDE, ABOVE, BELOW = 3.4, 2.4, 9.3  # how far the outlines go from the chin, in face heights


@dataclass(frozen=True)
class Person:
    """A face in pixels of the working picture: its middle, chin and height.

    ``turn`` is how far the face points to the right.
    """

    x: float
    chin: float
    unit: float
    turn: float = 0.0

    def scaled(self, by: float) -> Person:
        """Return the same person in a picture ``by`` times as large."""
        return Person(self.x * by, self.chin * by, self.unit * by, self.turn * by)

    def outline(self, half: Outline) -> NDArray[np.int32]:
        """Return the closed outline in 1/16 pixels, for OpenCV's polygons."""
        points = [*half, *((-x, y) for x, y in reversed(half))]
        # A head turns about its neck: what hangs from it lies opposite to where the nose points.
        neck = [-self.turn * min(max(y / 0.2, 0), 1) for _, y in points]
        scaled = [
            (self.x + shift + x * self.unit, self.chin + y * self.unit)
            for (x, y), shift in zip(points, neck, strict=True)
        ]
        return np.round(np.array(scaled) * 16).astype(np.int32)


def locate(face: Face, left: float, top: float, scale: float) -> Person:
    """Return the person of ``face`` in the part of the photo at (left, top), scaled."""
    x = (face.center[0] - left) * scale
    chin = (face.box[3] - top) * scale
    turn = 1.5 * (face.landmarks[2][0] - face.center[0]) if len(face.landmarks) == 5 else 0.0
    limit = 0.2 * face.height
    return Person(x, chin, face.height * scale, min(max(turn, -limit), limit) * scale)


def filled(shape: tuple[int, int], people: Sequence[Person], half: Outline) -> Mask:
    """Return 1 inside the outline of any of the people."""
    mask = np.zeros(shape, np.uint8)
    for person in people:
        cv2.fillPoly(mask, [person.outline(half)], 1, shift=4)
    return mask


def silhouette(shape: tuple[int, int], people: Sequence[Person]) -> Plane:
    """Return for each pixel the probability of person that the faces alone give."""
    prior = np.full(shape, _REACH_CHANCE, np.float32)
    prior[filled(shape, people, _ARM_REACH) > 0] = _ARM_REACH_CHANCE
    for person in people:
        for half, softness, inside in _LAYERS:
            layer = filled(shape, [person], half).astype(np.float32)
            np.maximum(prior, inside * blurred(layer, softness * person.unit), out=prior)
    prior[filled(shape, people, _REACH) == 0] = _BEYOND_REACH
    prior[filled(shape, people, _CORE) > 0] = SURE
    return prior
