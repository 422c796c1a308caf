"""Placements from frame to frame."""

from __future__ import annotations

import numpy as np
import pytest

from vivant.artwork import load_artwork
from vivant.casting import cast
from vivant.live.steady import FOLLOW_S, SETTLE_S, Steady
from vivant.portrait import Portrait, classify
from vivant.roles import Face, Matting
from vivant_samples import ARTWORKS

CANVAS = (1920, 1280)
STEP = 0.1  # seconds between frames


def portrait(dx=0, size=80.0, bottom=360, nose=0.5):
    """A half body, or with a ``bottom`` above the frame's a close-up behind a desk."""
    x, shape = 320 + dx, (360, 640)
    left, top = x - size / 2, 110 - size / 2
    points = ((0.3, 0.4), (0.7, 0.4), (nose, 0.6), (0.35, 0.8), (0.65, 0.8))
    landmarks = tuple((left + a * size, top + b * size) for a, b in points)
    faces = (Face((left, top, left + size, top + size), 0.999, landmarks),)
    matte = np.zeros(shape, np.uint8)
    matte[50:180, x - 50 : x + 50] = 255
    matte[180:bottom, x - 120 : x + 120] = 255
    photo = np.zeros((*shape, 3), np.uint8)
    return Portrait(photo, Matting(matte, 1.0), photo, classify(matte, faces))


@pytest.fixture(scope="module")
def artwork():
    return load_artwork(ARTWORKS / "night-harbour")


@pytest.fixture
def follow(artwork):
    """Follow one portrait after the other, ``STEP`` seconds apart."""
    steady, now = Steady(), 0.0

    def step(*args, **kwargs):
        nonlocal now
        now += STEP
        placements = steady.follow(cast(portrait(*args, **kwargs), artwork), CANVAS, now)
        return placements[0] if placements else None

    return step


def head(placement, dx=0):
    """Where the face lies on the canvas."""
    return np.array(placement.on_canvas((280 + dx, 70, 360 + dx, 150)))


def test_the_first_frame_is_placed_as_the_picture_would_be(follow, artwork):
    asked = cast(portrait(), artwork)[0].placements[0]
    placed = follow()
    assert placed.slot.name == asked.slot.name
    assert (placed.target, placed.scale, placed.flip) == (asked.target, asked.scale, asked.flip)


def test_jitter_is_calmed(follow, artwork):
    rng = np.random.default_rng(1)
    noise = [(int(dx), 80 + float(ds)) for dx, ds in rng.normal(0, 3, (60, 2))]
    calm = [follow(dx, size) for dx, size in noise]
    wild = [cast(portrait(dx, size), artwork)[0].placements[0] for dx, size in noise]
    assert {placement.slot.name for placement in calm} == {"by-the-table"}

    def trembling(placements):
        return np.std(np.diff([p.scale for p in placements[10:]]))

    assert trembling(calm) < trembling(wild) / 3


def test_a_still_visitor_stands_still(follow):
    assert len({follow().target for _ in range(10)}) == 1


def test_a_step_aside_is_seen_and_then_taken_back(follow):
    start = head(follow())
    stepped = head(follow(60), 60)
    for _ in range(round(6 * FOLLOW_S / STEP)):
        settled = head(follow(60), 60)
    assert stepped[0] - start[0] > 30
    np.testing.assert_allclose(settled, start, atol=2)


def test_another_slot_must_stay_better_for_a_while(follow):
    close = {"size": 130.0}
    home = follow().slot.name
    other = cast_slot(follow, close)
    assert other != home
    for _ in range(3):
        assert follow().slot.name == other  # and back again only after as long
    for _ in range(round(SETTLE_S / STEP) + 1):
        back = follow()
    assert back.slot.name == home


def cast_slot(follow, kind):
    """Show ``kind`` until its slot is taken; return that slot's name."""
    names = [follow(**kind).slot.name for _ in range(round(SETTLE_S / STEP) + 2)]
    assert len(set(names[:-2])) == 1
    return names[-1]


def test_a_glance_aside_does_not_mirror(follow):
    before = follow(nose=0.5)
    glances = [follow(nose=nose) for nose in (0.2, 0.8, 0.2, 0.8)]
    assert {glance.flip for glance in glances} == {before.flip}


def test_a_cut_edge_is_never_shown(follow):
    placement = follow()
    for bottom in (300, 250, 330):
        placement = follow(bottom=bottom)
        _, y, _, height = placement.target
        assert placement.standing or y + height >= placement.crop_line


def test_while_the_number_of_figures_changes_nothing_is_said(artwork):
    steady = Steady()
    parts = cast(portrait(), artwork)
    assert steady.follow(parts, CANVAS, 1.0) is not None
    assert steady.follow(parts * 2, CANVAS, 1.1) is None
    assert steady.follow(parts * 2, CANVAS, 1.2 + SETTLE_S) is not None
