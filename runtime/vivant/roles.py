"""The four roles a model can play, and the arrays that cross between them.

The studio knows these protocols and no model. A model is one small file that satisfies one
of them; coordinates are pixels of the array that was passed in, x to the right, y down,
origin at the top left corner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vivant.errors import ImageError

Image: TypeAlias = NDArray[np.uint8]
"""uint8 [H,W,3], RGB, upright, sRGB."""

Matte: TypeAlias = NDArray[np.uint8]
"""uint8 [H,W], 0 background .. 255 foreground."""

MIN_FACE = 40
"""Side in pixels of the smallest face looked for, unless told otherwise."""


@dataclass(frozen=True)
class Face:
    """One detected face: box (x1, y1, x2, y2), probability 0..1 and five landmarks (x, y).

    The landmarks are, as seen in the picture: left eye, right eye, nose, left and right
    mouth corner. A box may reach beyond the picture where the face is cut by its frame.
    """

    box: tuple[float, float, float, float]
    probability: float
    landmarks: tuple[tuple[float, float], ...]

    @property
    def width(self) -> float:
        """Of the box."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """Of the box."""
        return self.box[3] - self.box[1]

    @property
    def center(self) -> tuple[float, float]:
        """Of the box: x, y."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    def moved(self, x: float, y: float) -> Face:
        """Return the face in a picture whose origin lies at ``-x``, ``-y`` of this one."""
        return self._mapped(lambda px, py: (px + x, py + y))

    def scaled(self, scale: float) -> Face:
        """Return the face in the same picture, ``scale`` times as large."""
        return self._mapped(lambda px, py: (px * scale, py * scale))

    def _mapped(self, to: Callable[[float, float], tuple[float, float]]) -> Face:
        x1, y1, x2, y2 = self.box
        landmarks = tuple(to(*point) for point in self.landmarks)
        return replace(self, box=(*to(x1, y1), *to(x2, y2)), landmarks=landmarks)


@dataclass(frozen=True)
class Matting:
    """A matte of the photo's size and the matter's own confidence in it, 0..1."""

    matte: Matte
    confidence: float


def check_mask(composite: Image, mask: Matte) -> None:
    """Raise ``ImageError`` unless a mask is of its composite's size."""
    if composite.shape[:2] != mask.shape:
        sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (mask, composite)]
        raise ImageError("mask: {} for a picture of {}; resize the mask".format(*sizes))


class FaceDetector(Protocol):
    """Finds faces."""

    def detect(self, photo: Image, *, min_face: int = MIN_FACE) -> tuple[Face, ...]:
        """Return every face above the detector's own threshold, largest box first.

        Faces whose side is shorter than ``min_face`` pixels are not looked for.
        """
        ...


class Matter(Protocol):
    """Separates the people in a photo from what is behind them."""

    def matte(self, photo: Image, faces: Sequence[Face]) -> Matting:
        """Return the matte of the people whose ``faces`` are given.

        Raises ``SubjectError`` when nobody can be separated.
        """
        ...


class Harmonizer(Protocol):
    """Gives the foreground of a composite the colour and light of its background."""

    def harmonize(
        self, composite: Image, mask: Matte, strengths: Sequence[float]
    ) -> tuple[Image, ...]:
        """Return one picture per strength, 0 (untouched) .. 1 (the method's full effect).

        Pixels where ``mask`` is 0 come back unchanged.
        """
        ...


class Scorer(Protocol):
    """Says how well foreground and background belong together."""

    def score(self, composites: Sequence[Image], masks: Sequence[Matte]) -> tuple[float, ...]:
        """Return one harmony score per composite, 0 (pasted) .. 1 (one picture)."""
        ...
