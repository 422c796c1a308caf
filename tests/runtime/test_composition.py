"""The subject laid into a picture: what is in front, what is behind, what stays as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vivant.artwork import Slot
from vivant.composition import compose
from vivant.placement import Placement
from vivant.portrait import Portrait, Shot, ShotType
from vivant.roles import Matting

RED, BLUE, GREEN = (200, 20, 10), (10, 30, 220), (0, 180, 0)
SLOT = Slot(name="spot", shot=(ShotType.HALF_BODY,), box=(0.0, 0.0, 1.0, 1.0), shadow=0.0)


def portrait():
    """A red square on green, its right column half transparent; the foreground is all red."""
    photo = np.full((40, 40, 3), GREEN, np.uint8)
    matte = np.zeros((40, 40), np.uint8)
    matte[10:30, 10:30] = 255
    matte[10:30, 30] = 128
    foreground = np.full((40, 40, 3), RED, np.uint8)
    shot = Shot(ShotType.HALF_BODY, 1, 3.0, cut=True, confidence=1, head_height=9, faces=())
    return Portrait(photo, Matting(matte, 1.0), foreground, shot)


def placement(**changes):
    placed = Placement(
        slot=SLOT,
        source=(10, 10, 31, 30),
        target=(50, 30, 21, 20),
        scale=1.0,
        flip=False,
        crop_line=100,
        standing=False,
        warnings=(),
    )
    return replace(placed, **changes)


@pytest.fixture
def picture():
    return np.full((100, 160, 3), BLUE, np.uint8)


def test_the_foregrounds_own_colour_shows_and_never_the_old_background(picture):
    result = compose(portrait(), placement(), picture)
    assert tuple(result.image[40, 60]) == RED
    assert result.mask[40, 60] == 255
    edge = result.image[40, 70].astype(int)
    expected = (np.array(RED) * 128 + np.array(BLUE) * 127) / 255
    np.testing.assert_allclose(edge, expected, atol=1)
    assert result.mask[40, 70] == 128
    assert edge[1] <= 30  # no green


def test_the_rest_is_untouched(picture):
    before = picture.copy()
    result = compose(portrait(), placement(), picture)
    np.testing.assert_array_equal(picture, before)
    np.testing.assert_array_equal(result.image[result.mask == 0], before[result.mask == 0])
    assert result.name == "spot"


def test_flip_mirrors(picture):
    result = compose(portrait(), placement(flip=True), picture)
    assert result.mask[40, 50] == 128
    assert result.mask[40, 70] == 255


@pytest.mark.parametrize("target", [(-15, 30, 21, 20), (150, 90, 21, 20), (50, -19, 21, 20)])
def test_a_subject_beyond_the_edge_is_cropped(picture, target):
    result = compose(portrait(), placement(target=target), picture)
    assert result.image.shape == picture.shape
    assert 0 < np.count_nonzero(result.mask) < 21 * 20


def test_a_subject_wholly_outside_changes_nothing(picture):
    result = compose(portrait(), placement(target=(400, 30, 21, 20)), picture)
    np.testing.assert_array_equal(result.image, picture)


def test_nothing_shows_below_the_crop_line(picture):
    result = compose(portrait(), placement(crop_line=40), picture)
    assert result.mask[39].any()
    assert not result.mask[40:].any()


def test_an_occluder_is_in_front_and_leaves_the_mask(picture):
    occluder = np.zeros((100, 160, 4), np.uint8)
    occluder[40:, :, :3] = GREEN
    occluder[40:, :, 3] = 255
    result = compose(portrait(), placement(), picture, occluder)
    assert tuple(result.image[35, 60]) == RED
    assert tuple(result.image[45, 60]) == GREEN
    assert not result.mask[40:].any()


def test_scaling_keeps_the_mask_in_step(picture):
    result = compose(portrait(), placement(target=(50, 30, 42, 40), scale=2.0), picture)
    assert np.count_nonzero(result.mask == 255) == pytest.approx(40 * 40, rel=0.1)


def test_a_standing_subject_darkens_the_ground_at_its_feet():
    picture = np.full((400, 300, 3), BLUE, np.uint8)
    standing = placement(
        standing=True, target=(100, 50, 84, 240), scale=12.0, slot=replace(SLOT, shadow=0.5)
    )
    result = compose(portrait(), standing, picture)
    below_the_feet = result.image[292, 140].astype(int)
    assert below_the_feet.sum() < 0.9 * np.array(BLUE).sum()
    assert tuple(result.image[340, 140]) == BLUE
    assert tuple(result.image[100, 20]) == BLUE
    assert result.mask[292, 140] == 0  # the shadow is the picture's, not the subject's
