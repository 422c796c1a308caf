"""Figures painted one by one: who covers whom, and what a harmonizer gets to see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vivant import studio as studio_module
from vivant.artwork import Artwork, Slot
from vivant.casting import Part
from vivant.placement import Placement
from vivant.portrait import Portrait, Shot, ShotType
from vivant.profiles import CLASSIC
from vivant.roles import Matting
from vivant.scene import empty, lay, paint
from vivant.selection import select
from vivant.studio import Studio

HALF = ShotType.HALF_BODY
CANVAS = 120, 200  # rows, columns
SHOT = Shot(HALF, 1, 3.0, True, 1.0, 20.0, ())


@pytest.fixture
def artwork(monkeypatch):
    picture = np.full((*CANVAS, 3), 10, np.uint8)
    picture.flags.writeable = False
    monkeypatch.setattr(Artwork, "picture", lambda _: picture)
    slots = tuple(Slot(name, (HALF,), (0, 0, 1, 1)) for name in ("far", "near"))
    return Artwork("test", "Test", Path(), Path("none"), CANVAS[0], slots)


def part(slot, x, grey):
    """Return a grey square of 60 pixels that stands at column ``x`` on the picture's bottom."""
    photo = np.full((60, 60, 3), grey, np.uint8)
    matting = Matting(np.full((60, 60), 255, np.uint8), 1.0)
    placement = Placement(
        slot, (0, 0, 60, 60), (x, CANVAS[0] - 60, 60, 60), 1.0, False, CANVAS[0], False, ()
    )
    return Part(Portrait(photo, matting, photo, SHOT), (placement,))


@pytest.fixture
def parts(artwork):
    far, near = artwork.slots
    return part(far, 40, 100), part(near, 70, 150)


class Recorder:
    """A harmonizer that adds one to the figure, and a scorer that likes it; both remember."""

    def __init__(self):
        self.composites, self.masks = [], []

    def harmonize(self, composite, mask, strengths):
        self.composites.append(composite)
        self.masks.append(mask)
        return tuple(composite + (mask > 0)[..., None].astype(np.uint8) for _ in strengths)

    def score(self, composites, masks):
        worth = 0.9 - 0.1 * len(self.masks)
        return (0.1, *(worth for _ in composites[1:]))


def painted(artwork, parts):
    recorder, scene = Recorder(), empty(artwork)
    for one in parts:
        composites = lay(scene, one)
        chosen = select(composites, recorder, recorder, strengths=(1.0,), budget_s=9)
        scene = paint(scene, one, composites, chosen)
    return scene, recorder


def test_the_nearer_covers_the_farther(artwork, parts):
    scene, _ = painted(artwork, parts)
    row = scene.image[-1, :, 0]
    np.testing.assert_array_equal(row[[20, 50, 80, 110, 150]], [10, 101, 151, 151, 10])
    np.testing.assert_array_equal(scene.mask[-1] > 0, (row != 10))
    swapped, _ = painted(artwork, parts[::-1])
    np.testing.assert_array_equal(swapped.image[-1, [50, 80, 110], 0], [101, 101, 151])


def test_the_harmonizer_sees_one_figure_at_a_time(artwork, parts):
    scene, recorder = painted(artwork, parts)
    far, near = recorder.masks
    assert np.count_nonzero(far) == np.count_nonzero(near) == 60 * 60
    assert (far[-1, 40], far[-1, 110]) == (255, 0)
    assert (near[-1, 40], near[-1, 110]) == (0, 255)
    # The second stands in a picture with the first one harmonized.
    np.testing.assert_array_equal(recorder.composites[1][-1, [50, 110], 0], [101, 150])
    assert [figure.placement.slot.name for figure in scene.figures] == ["far", "near"]
    assert [figure.best.score for figure in scene.figures] == pytest.approx([0.8, 0.7])


def test_the_composite_is_everyone_unharmonized(artwork, parts):
    scene, _ = painted(artwork, parts)
    np.testing.assert_array_equal(scene.composite[-1, [20, 50, 80, 110], 0], [10, 100, 150, 150])
    assert artwork.picture().max() == 10


def test_masks_where_a_soft_figure_covers_another(artwork, parts):
    far, near = parts
    near.portrait.matting.matte[:] = 128
    scene, _ = painted(artwork, (far, near))
    assert scene.mask[-1, 80] == 255
    assert scene.mask[-1, 110] == 128


def test_the_studio_paints_everyone_and_says_the_lowest_score(artwork, parts, monkeypatch):
    monkeypatch.setattr(studio_module, "cast", lambda *_, **__: parts)
    recorder = Recorder()
    studio = Studio(recorder, recorder, recorder, recorder, profile=CLASSIC)
    result = studio.compose(parts[0].portrait, artwork, candidates=1)
    assert [figure.placement.slot.name for figure in result.figures] == ["far", "near"]
    assert result.score == pytest.approx(0.7)
    np.testing.assert_array_equal(result.image[-1, [50, 80], 0], [101, 151])
    assert np.count_nonzero(result.mask[-1]) == 90
