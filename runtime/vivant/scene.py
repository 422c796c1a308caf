"""An artwork while figures are painted into it, one by one, the farthest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from vivant.artwork import Artwork
from vivant.casting import Part
from vivant.composition import Composite, compose
from vivant.placement import Placement
from vivant.portrait import Shot
from vivant.roles import Image, Matte
from vivant.selection import Candidate, Selection


@dataclass(frozen=True)
class Figure:
    """Who was painted in one go: a person, or a group that stands together.

    Attributes:
        shot: what the photo shows of them.
        placement: where they stand.
        best: the candidate that was painted.
        candidates: every candidate, with its score.
    """

    shot: Shot
    placement: Placement
    best: Candidate
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True)
class Scene:
    """What is painted so far.

    Attributes:
        artwork: that the figures are painted into.
        image: uint8 [H,W,3] RGB, the figures harmonized.
        composite: the same before harmonizing.
        mask: uint8 [H,W], where figures are visible.
        figures: in the order of painting.
    """

    artwork: Artwork
    image: Image
    composite: Image
    mask: Matte
    figures: tuple[Figure, ...] = ()


def empty(artwork: Artwork) -> Scene:
    """Return the artwork with nobody in it.

    Raises:
        ImageError: its picture was damaged or removed since it was loaded.
    """
    picture = artwork.picture()
    return Scene(artwork, picture, picture, np.zeros(picture.shape[:2], np.uint8))


def lay(scene: Scene, part: Part) -> list[Composite]:
    """Return what is painted so far with ``part`` before it, once a placement."""
    return [_laid(scene.artwork, part, placement, scene.image) for placement in part.placements]


def paint(
    scene: Scene, part: Part, composites: Sequence[Composite], selection: Selection[Image]
) -> Scene:
    """Return the scene with the best of the candidates for ``part`` in it.

    Args:
        scene: that the composites were made in.
        part: the figure.
        composites: of ``lay``.
        selection: from these composites.
    """
    chosen = selection.best.placement
    placement, laid = part.placements[chosen], composites[chosen]
    first = scene.composite is scene.image  # what was laid in is already the composite
    composite = laid if first else _laid(scene.artwork, part, placement, scene.composite)
    figure = Figure(part.portrait.shot, placement, selection.best, selection.candidates)
    return Scene(
        artwork=scene.artwork,
        image=selection.image,
        composite=composite.image,
        mask=_over(laid.mask, scene.mask),
        figures=(*scene.figures, figure),
    )


def _laid(artwork: Artwork, part: Part, placement: Placement, image: Image) -> Composite:
    return compose(part.portrait, placement, image, artwork.occluder(placement.slot))


def _over(front: Matte, back: Matte) -> Matte:
    """Return where one of two masks shows, ``front`` covering ``back``."""
    seen = cv2.multiply(back, 255 - front, scale=1 / 255)
    return np.asarray(cv2.add(front, seen), np.uint8)
