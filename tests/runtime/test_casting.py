"""Who stands where: people of a group in slots of their own, or all together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vivant import casting
from vivant.artwork import Artwork, Slot
from vivant.casting import cast
from vivant.errors import PlacementError
from vivant.portrait import Portrait, Shot, ShotType
from vivant.roles import Face, Matting

CANVAS = 800, 600  # columns, rows
CLOSE, HALF = ShotType.CLOSE_UP, ShotType.HALF_BODY
PHOTO = 300, 200 * 3  # rows, columns: 200 a person


def slot(name, x, width=0.25, shot=(HALF,), **keys):
    return Slot(name, shot, (x, 0.4, width, 0.6), head_height=keys.pop("head_height", 0.1), **keys)


def artwork(*slots, people="apart"):
    return Artwork("test", "Test", Path(), Path("none"), CANVAS[1], slots, people=people)


@pytest.fixture(autouse=True)
def blank_picture(monkeypatch):
    picture = np.zeros((CANVAS[1], CANVAS[0], 3), np.uint8)
    monkeypatch.setattr(Artwork, "picture", lambda _: picture)


def group(people, kinds=None):
    """Return a portrait of ``people`` who do not touch, and what ``split`` makes of it."""
    photo = np.zeros((*PHOTO, 3), np.uint8)
    mattes, faces = [], []
    for number in range(people):
        x = 100 + 200 * number
        matte = np.zeros(PHOTO, np.uint8)
        matte[40:, x - 60 : x + 60] = 255
        mattes.append(matte)
        eyes = ((x - 10.0, 70.0), (x + 10.0, 70.0))
        faces.append(Face((x - 25.0, 50.0, x + 25.0, 110.0), 0.999, (*eyes, (x, 80.0), *eyes)))
    kinds = kinds or [HALF] * people

    def portrait(matte, faces, kind):
        heads = {HALF: 3.3, CLOSE: 2.0}[kind]
        shot = Shot(kind, len(faces), heads, True, 1.0, 70.0, tuple(faces))
        return Portrait(photo, Matting(matte, 1.0), photo, shot)

    single = [portrait(*one) for one in zip(mattes, [[f] for f in faces], kinds, strict=True)]
    return portrait(np.max(mattes, axis=0), faces, HALF), tuple(single)


@pytest.fixture
def seat(monkeypatch):
    """Cast a group and return, by person from left to right, the slots; or those of a group."""

    def run(artwork, people, **keys):
        whole, single = group(people, keys.pop("kinds", None))
        monkeypatch.setattr(casting, "split", lambda _: single)
        parts = cast(whole, artwork, **keys)
        return parts, {
            part.portrait.shot.faces[0].center[0]: part.placements[0].slot.name for part in parts
        }

    return run


def test_people_keep_their_order_from_left_to_right(seat):
    right, left, middle = slot("right", 0.7), slot("left", 0.0), slot("middle", 0.35)
    parts, slots = seat(artwork(right, left, middle), 3)
    assert slots == {100: "left", 300: "middle", 500: "right"}
    assert all(len(part.placements) == 1 for part in parts)
    assert not any(part.warnings for part in parts)


def test_the_better_slots_are_taken(seat):
    slots = slot("a", 0.0, priority=1), slot("b", 0.35), slot("c", 0.7, priority=1)
    assert seat(artwork(*slots), 2)[1] == {100: "a", 300: "c"}


def test_matching_rules_hold_for_each(seat):
    slots = slot("near", 0.0, shot=(CLOSE,)), slot("far", 0.35), slot("other", 0.7, shot=(CLOSE,))
    assert seat(artwork(*slots), 2, kinds=[HALF, CLOSE])[1] == {100: "far", 300: "other"}


def test_the_fallback_order_comes_after_a_slot_together(seat):
    left, close = slot("left", 0.0), slot("close", 0.5, shot=(CLOSE,))
    assert seat(artwork(left, close), 2)[1] == {100: "left", 300: "close"}
    together = slot("together", 0.2, people=(2, 3))
    assert list(seat(artwork(left, close, together), 2)[1].values()) == ["together"]


def test_slots_for_several_are_no_slots_for_one(seat):
    pair, left = slot("pair", 0.6, people=(2, 2)), slot("left", 0.0)
    parts, slots = seat(artwork(pair, left), 2)
    assert list(slots.values()) == ["pair"]
    assert "do not take 2 people apart; placed together" in parts[0].warnings[0]


def test_the_farther_are_painted_first(seat):
    slots = slot("a", 0.0, z=2), slot("b", 0.35), slot("c", 0.7)
    parts, _ = seat(artwork(*slots), 3)
    assert [part.placements[0].slot.name for part in parts] == ["b", "c", "a"]


def test_nobody_hides_anothers_face(seat):
    """A figure three times as high would stand before the one who is farther away."""
    far, near = (
        slot("far", 0.2, width=0.1),
        slot("near", 0.1, 0.5, head_height=0.3, z=1, priority=1),
    )
    pair = slot("pair", 0.5, people=(2, 2))
    assert list(seat(artwork(far, near, pair), 2)[1].values()) == ["pair"]
    aside = slot("aside", 0.9, width=0.1)
    assert seat(artwork(far, near, pair, aside), 2)[1] == {100: "near", 300: "aside"}


def test_without_any_place_it_is_said_what_there_is(seat):
    with pytest.raises(PlacementError) as raised:
        seat(artwork(slot("left", 0.0)), 2)
    message = str(raised.value)
    assert "its slots do not take 2 people apart; together: " in message
    assert "it has left (half-body, 1-1)" in message
    assert "\n" not in message


def test_a_named_slot_is_for_everyone(seat):
    _, slots = seat(artwork(slot("a", 0.0), slot("b", 0.5)), 2, slot="b")
    assert list(slots.values()) == ["b"]


def test_together_is_the_default_and_takes_alternatives(seat):
    slots = slot("a", 0.0, people=(1, 2)), slot("b", 0.5, people=(2, 3), priority=1)
    (part,), _ = seat(artwork(*slots, people="together"), 2, alternatives=2)
    assert [placement.slot.name for placement in part.placements] == ["b", "a"]
    assert part.portrait.shot.people == 2


def test_one_person_needs_no_splitting(monkeypatch):
    monkeypatch.setattr(casting, "split", None)
    _, (alone,) = group(1)
    (part,) = cast(alone, artwork(slot("a", 0.0), slot("b", 0.5)), alternatives=2)
    assert part.portrait is alone
    assert len(part.placements) == 2
