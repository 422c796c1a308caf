"""The curator's preview shows each slot where it is, at its scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from PIL import ImageColor

from vivant.artwork import Artwork, Slot
from vivant.portrait import ShotType
from vivant.preview import COLOURS, draw_slots
from vivant.roles import Image

GREY = (128, 128, 128)


def artwork(folder: Path, *slots: Slot) -> Artwork:
    PIL.Image.new("RGB", (600, 400), GREY).save(folder / "painting.png")
    return Artwork("id", "Title", folder, folder / "painting.png", 400, slots)


def rows_of(preview: Image, number: int) -> np.ndarray:
    """Return the rows between the box's sides where the slot's colour is drawn."""
    colour = np.array(ImageColor.getrgb(COLOURS[number]))
    return np.flatnonzero((preview[:, 200:400] == colour).all(axis=2).any(axis=1))


def test_the_box_and_only_its_surroundings_are_drawn(tmp_path: Path) -> None:
    slot = Slot("here", (ShotType.CLOSE_UP,), (0.25, 0.5, 0.5, 0.5), head_height=0.2)
    work = artwork(tmp_path, slot)
    preview = draw_slots(work)
    assert preview.shape == (400, 600, 3)
    np.testing.assert_array_equal(preview[300, [150, 448]], [ImageColor.getrgb(COLOURS[0])] * 2)
    assert (preview[:100] == GREY).all()
    assert (work.picture() == GREY).all()


@pytest.mark.parametrize(
    ("shot", "hair"),
    [(ShotType.FULL_BODY, 380 - 7.5 * 20), (ShotType.HALF_BODY, 380 - 4 * 20)],
)
def test_the_figure_is_as_high_as_its_heads(tmp_path: Path, shot: ShotType, hair: float) -> None:
    slot = Slot("here", (shot,), (0.3, 0.25, 0.4, 0.70), head_height=0.05)
    inside = rows_of(draw_slots(artwork(tmp_path, slot)), 0)
    below_the_edge = inside[inside > 110]
    assert below_the_edge.min() == pytest.approx(hair, abs=4)


def test_slots_have_colours_of_their_own_and_labels_do_not_overlap(tmp_path: Path) -> None:
    box = (0.3, 0.5, 0.4, 0.4)
    slots = [Slot(name, (ShotType.HALF_BODY,), box, people=(2, 3)) for name in ("one", "two")]
    one = draw_slots(artwork(tmp_path, slots[0]))
    both = draw_slots(artwork(tmp_path, *slots))
    label = slice(165, 200), slice(180, 330)
    np.testing.assert_array_equal(both[label], one[label])
    assert rows_of(both, 1).size


def test_occluders_are_tinted(tmp_path: Path) -> None:
    table = np.zeros((400, 600, 4), np.uint8)
    table[350:] = 255
    PIL.Image.fromarray(table).save(tmp_path / "table.png")
    slot = Slot(
        "here", (ShotType.HALF_BODY,), (0.3, 0.2, 0.4, 0.4), occluder=tmp_path / "table.png"
    )
    preview = draw_slots(artwork(tmp_path, slot)).astype(int)
    assert (preview[340, :100] == GREY).all()
    red, green, _ = preview[380, 50]
    assert red > 160
    assert green < 90


def test_a_slot_before_others_says_so(tmp_path: Path) -> None:
    slots = [
        Slot("here", (ShotType.CLOSE_UP,), (0.25, 0.5, 0.5, 0.5), head_height=0.2, z=z)
        for z in (0, 3)
    ]
    plain, ordered = (draw_slots(artwork(tmp_path, slot)) for slot in slots)
    label, figure = np.s_[150:200, 150:], np.s_[210:]
    assert (plain[label] != ordered[label]).any()
    np.testing.assert_array_equal(plain[figure], ordered[figure])
