"""Where a subject goes, and that it never floats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vivant.artwork import Artwork, Slot
from vivant.errors import PlacementError
from vivant.placement import find_subject, matching_slots, named_slot, place, shows_every_face
from vivant.portrait import Shot, ShotType
from vivant.roles import Face

CANVAS = (1920, 1080)
CLOSE, HALF, FULL = ShotType.CLOSE_UP, ShotType.HALF_BODY, ShotType.FULL_BODY


def slot(name="slot", shot=(HALF,), **keys):
    defaults = {"people": (1, 1), "box": (0.2, 0.4, 0.3, 0.6), "head_height": 0.15}
    return Slot(name=name, shot=shot, **{**defaults, **keys})


def artwork(*slots, fallback=(HALF, CLOSE, FULL)):
    return Artwork(
        id="test",
        title="Test",
        folder=Path(),
        image=Path("none"),
        output_height=CANVAS[1],
        slots=slots,
        fallback=fallback,
    )


def face(x=200, y=100, gaze=0.0):
    eyes = ((x - 20.0, y - 10.0), (x + 20.0, y - 10.0))
    return Face((x - 40, y - 50, x + 40, y + 50), 0.999, (*eyes, (x + 40 * gaze, y), *eyes))


def shot(kind=HALF, *, cut=True, people=1, gaze=0.0, head=120.0):
    faces = tuple(face(200, gaze=gaze) for _ in range(people))
    heads = {CLOSE: 2.2, HALF: 3.5, FULL: 7.5}.get(kind, 0.0)
    return Shot(kind, people, heads, cut=cut, confidence=1.0, head_height=head, faces=faces)


def column(height=500, width=400, left=120, right=280, top=30, bottom=None):
    matte = np.zeros((height, width), np.uint8)
    matte[top : bottom or height, left:right] = 255
    return matte


def subject(kind=HALF, **keys):
    cut = keys.pop("cut", True)
    return find_subject(column(bottom=None if cut else 450), shot(kind, cut=cut, **keys))


class TestSlots:
    def test_shot_type_first_then_priority_then_fallback(self):
        slots = (
            slot("full", (FULL,), priority=99),
            slot("close", (CLOSE,), priority=50),
            slot("half", (HALF,), priority=1),
            slot("better-half", (HALF,), priority=2),
        )
        ranked = matching_slots(artwork(*slots, fallback=(CLOSE, FULL)), subject(HALF))
        assert [s.name for s in ranked] == ["better-half", "half", "close", "full"]

    def test_people_must_fit(self):
        slots = (slot("one"), slot("some", people=(2, 3)))
        ranked = matching_slots(artwork(*slots), subject(people=2))
        assert [s.name for s in ranked] == ["some"]
        with pytest.raises(PlacementError, match=r"no slot takes a half-body of 4 people.*one \("):
            matching_slots(artwork(*slots), subject(people=4))

    @pytest.mark.parametrize("covered", [1.0, 0.5])
    def test_what_the_frame_cuts_goes_only_where_the_cut_is_hidden(self, monkeypatch, covered):
        floating = slot("floating", box=(0.2, 0.2, 0.3, 0.5))
        behind = slot("behind", box=(0.2, 0.2, 0.3, 0.5), occluder=Path("table.png"))
        at_the_edge = slot("edge", box=(0.2, 0.5, 0.3, 0.5))
        table = np.zeros((100, 100, 4), np.uint8)
        table[60:, 20 : 20 + round(30 * covered), 3] = 255
        monkeypatch.setattr(Artwork, "occluder", lambda _, s: table if s.occluder else None)

        ranked = matching_slots(artwork(floating, behind, at_the_edge), subject())

        hidden = {"edge", "behind"} if covered == 1.0 else {"edge"}
        assert {s.name for s in ranked} == hidden
        with pytest.raises(PlacementError, match="would float"):
            named_slot(artwork(floating), subject(), "floating")

    def test_who_stands_may_stand_in_the_open(self):
        open_ground = slot("open", (FULL,), box=(0.2, 0.2, 0.3, 0.5))
        ranked = matching_slots(artwork(open_ground), subject(FULL, cut=False))
        assert ranked == (open_ground,)

    def test_who_stands_is_not_cropped_in_the_open(self):
        crops_in_the_open = slot("knees", (HALF,), box=(0.2, 0.2, 0.3, 0.5))
        with pytest.raises(PlacementError, match="no slot takes a full-body"):
            matching_slots(artwork(crops_in_the_open), subject(FULL, cut=False))
        with pytest.raises(PlacementError, match="would float"):
            named_slot(artwork(crops_in_the_open), subject(FULL, cut=False), "knees")

    def test_an_unknown_slot_lists_the_known(self):
        with pytest.raises(PlacementError, match="no slot 'tabel'; it has table"):
            named_slot(artwork(slot("table")), subject(), "tabel")


class TestSubject:
    def test_an_empty_matte_is_an_error(self):
        with pytest.raises(PlacementError, match="empty"):
            find_subject(np.zeros((50, 40), np.uint8), shot())

    def test_a_subject_is_cropped_above_what_the_side_cuts(self):
        matte = column()
        matte[400:, :200] = 255  # an arm leaves the frame to the left
        found = find_subject(matte, shot())
        assert found.box == (120, 30, 280, 400)
        assert not found.side_cut

    def test_a_half_body_becomes_a_close_up_where_little_is_left(self):
        matte = column()
        matte[270:, :200] = 255
        assert find_subject(matte, shot()).type is CLOSE

    def test_a_side_cut_beside_the_head_is_kept_and_said(self):
        matte = column()
        matte[120:, :200] = 255
        found = find_subject(matte, shot())
        assert found.side_cut
        assert found.box[0] == 0
        assert "side edge" in place(found, slot(), CANVAS).warnings[0]


class TestPlace:
    def test_the_head_is_as_high_as_the_slot_says(self):
        placed = place(subject(head=120.0), slot(head_height=0.1), CANVAS)
        assert placed.scale == pytest.approx(0.1 * 1080 / 120)

    def test_a_cut_edge_meets_the_bottom_of_the_slot(self):
        placed = place(subject(), slot(box=(0.2, 0.1, 0.3, 0.9)), CANVAS)
        _, y, _, height = placed.target
        assert y + height == placed.crop_line == 1080

    def test_a_long_subject_is_cropped_there_and_keeps_its_head(self):
        placed = place(subject(), slot(box=(0.2, 0.7, 0.3, 0.3)), CANVAS)
        _, y, _, height = placed.target
        assert y == round(0.7 * 1080)
        assert y + height > placed.crop_line

    def test_feet_stand_on_the_slots_bottom(self):
        ground = slot(shot=(FULL,), box=(0.4, 0.3, 0.2, 0.6), head_height=0.05)
        placed = place(subject(FULL, cut=False), ground, CANVAS)
        assert placed.standing
        assert placed.target[1] + placed.target[3] == round(0.9 * 1080)

    def test_without_a_head_height_the_subject_fits_the_box(self):
        placed = place(subject(), slot(head_height=None), CANVAS)
        _, _, width, height = placed.target
        assert width <= 0.3 * 1920 + 1
        assert height <= 0.6 * 1080 + 1
        assert width == round(0.3 * 1920) or height == round(0.6 * 1080)

    def test_a_group_too_wide_is_made_smaller(self):
        wide = np.zeros((500, 2000), np.uint8)
        wide[30:, 100:1900] = 255
        placed = place(find_subject(wide, shot(people=3)), slot(), CANVAS)
        assert placed.target[2] == pytest.approx(1.25 * 0.3 * 1920, abs=1)

    def test_behind_an_occluder_the_subject_keeps_to_its_box(self):
        wide = np.zeros((500, 1200), np.uint8)
        wide[30:, 100:900] = 255
        wide[30:, 900:1100] = 255
        behind = slot(box=(0.3, 0.2, 0.3, 0.5), occluder=Path("table.png"))
        x, _, width, _ = place(find_subject(wide, shot()), behind, CANVAS).target
        assert x >= round(0.3 * 1920)
        assert x + width <= round(0.6 * 1920) + 1

    def test_enlarging_is_said(self):
        assert place(subject(head=120.0), slot(head_height=0.15), CANVAS).warnings == ()
        (warning,) = place(subject(head=50.0), slot(head_height=0.15), CANVAS).warnings
        assert "enlarged 3.2 times" in warning

    def test_the_subject_stays_inside_the_picture(self):
        placed = place(subject(), slot(box=(0.0, 0.4, 0.05, 0.6), head_height=0.15), CANVAS)
        assert placed.target[0] >= 0

    @pytest.mark.parametrize(
        ("rule", "gaze", "x", "expected"),
        [
            ("never", -0.5, 0.0, False),
            ("always", 0.0, 0.35, True),
            ("auto", -0.5, 0.0, True),  # on the left, looking left: away from the middle
            ("auto", 0.5, 0.0, False),
            ("auto", 0.5, 0.7, True),
            ("auto", 0.05, 0.7, False),  # looks at us
            ("auto", 0.5, 0.35, False),  # stands in the middle
        ],
    )
    def test_flip(self, rule, gaze, x, expected):
        box = (x, 0.4, 0.3, 0.6)
        assert place(subject(gaze=gaze), slot(flip=rule, box=box), CANVAS).flip is expected

    def test_anchors(self):
        box = (0.2, 0.4, 0.5, 0.6)
        left = place(subject(), slot(box=box, anchor="bottom-left"), CANVAS).target
        middle = place(subject(), slot(box=box), CANVAS).target
        right = place(subject(), slot(box=box, anchor="bottom-right"), CANVAS).target
        assert left[0] == round(0.2 * 1920)
        assert middle[0] + middle[2] / 2 == pytest.approx(0.45 * 1920, abs=1)
        assert right[0] + right[2] == round(0.7 * 1920)


class TestFaces:
    @pytest.mark.parametrize("flip", ["never", "always"])
    def test_a_box_on_the_photo_is_found_on_the_canvas(self, flip):
        placed = place(subject(), slot(flip=flip), CANVAS)
        x, y, width, height = placed.target
        left, top, right, bottom = placed.source
        assert placed.on_canvas((left, top, right, bottom)) == pytest.approx(
            (x, y, x + width, y + height), abs=2
        )
        first_tenth = placed.on_canvas((left, top, left + 16, bottom))
        edge = first_tenth[2] if flip == "always" else first_tenth[0]
        assert edge == pytest.approx(x + width if flip == "always" else x, abs=2)

    @pytest.mark.parametrize("flip", ["never", "always"])
    def test_a_box_on_the_canvas_is_found_on_the_photo(self, flip):
        placed = place(subject(), slot(flip=flip), CANVAS)
        box = (150.0, 90.0, 190.0, 130.0)
        assert placed.on_photo(placed.on_canvas(box)) == pytest.approx(box)

    def test_an_occluder_before_the_face_is_noticed(self):
        placed = place(subject(), slot(), CANVAS)
        faces = subject().shot.faces
        occluder = np.zeros((CANVAS[1], CANVAS[0], 4), np.uint8)
        _, chin = placed.on_canvas(faces[0].box)[2:]
        occluder[round(chin) :, :, 3] = 255
        assert shows_every_face(placed, faces, occluder)
        occluder[round(chin) - 60 :, :, 3] = 255
        assert not shows_every_face(placed, faces, occluder)
