"""The colour distance scorer: a misfit scores lower, a natural difference costs nothing."""

from __future__ import annotations

import numpy as np
import pytest

from vivant.errors import ImageError
from vivant.roles import Image, Matte
from vivant.scorers.colour_distance import (
    DISTANCE_SCALE,
    NATURAL_DISTANCE,
    ColourDistanceScorer,
    colour_distance,
    harmony,
)

GROUND = (150, 130, 110)


def pasted(colour: tuple[int, int, int]) -> tuple[Image, Matte]:
    """Return a plain rectangle of ``colour`` on a brown ground, with its mask."""
    picture = np.full((120, 160, 3), GROUND, np.uint8)
    mask = np.zeros((120, 160), np.uint8)
    mask[40:100, 60:100] = 255
    picture[mask == 255] = colour
    return picture, mask


def test_scores_fall_as_the_colours_part() -> None:
    colours = [GROUND, (150, 110, 60), (90, 60, 200), (0, 40, 255)]
    composites, masks = zip(*map(pasted, colours), strict=True)
    scores = ColourDistanceScorer().score(composites, masks)
    assert scores[0] == 1
    assert list(scores) == sorted(scores, reverse=True)
    assert 0 < scores[3] < scores[2] < 0.3


def test_a_cast_of_colour_costs_more_than_the_same_step_in_lightness() -> None:
    assert colour_distance(*pasted((190, 170, 150))) < colour_distance(*pasted((170, 130, 150)))


def test_a_natural_difference_costs_nothing() -> None:
    assert harmony(0) == harmony(NATURAL_DISTANCE) == 1
    assert harmony(NATURAL_DISTANCE + DISTANCE_SCALE) == pytest.approx(np.exp(-1))
    picture, mask = pasted((160, 145, 130))
    assert 0 < colour_distance(picture, mask) < NATURAL_DISTANCE
    assert ColourDistanceScorer().score([picture], [mask]) == (1.0,)


def test_the_spread_counts_too() -> None:
    picture, mask = pasted(GROUND)
    checks = np.indices(mask.shape).sum(axis=0) % 2 == 0
    picture[(mask == 255) & checks] = (200, 180, 160)
    picture[(mask == 255) & ~checks] = (100, 80, 60)
    assert colour_distance(picture, mask) > 4


def test_no_composites_no_scores() -> None:
    assert ColourDistanceScorer().score([], []) == ()


def test_an_empty_mask_is_refused() -> None:
    picture, mask = pasted(GROUND)
    with pytest.raises(ImageError, match="marks no foreground"):
        ColourDistanceScorer().score([picture], [np.zeros_like(mask)])


def test_a_full_mask_is_refused() -> None:
    picture, mask = pasted(GROUND)
    with pytest.raises(ImageError, match="leaves no background"):
        ColourDistanceScorer().score([picture], [np.full_like(mask, 255)])
