"""Shot types, from figures drawn to the canon of proportions."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vivant.portrait import ShotType, classify, prominent
from vivant.roles import Face

HEAD = 60  # pixels, hair to chin


def figure(height, width=500, *, top=20, center=250, head=HEAD, heads=7.5):
    """Draw a standing person's matte in a frame, with the face that a detector would give."""
    matte = np.zeros((height, width), np.uint8)
    half = head // 2
    cv2.ellipse(matte, (center, top + half), (round(0.38 * head), half), 0, 0, 360, 255, -1)
    shoulders = top + round(1.3 * head)
    cv2.rectangle(matte, (center - head // 5, top + half), (center + head // 5, shoulders), 255, -1)
    hips, feet = top + 4 * head, top + round(heads * head)
    cv2.rectangle(matte, (center - head, shoulders), (center + head, min(hips, feet)), 255, -1)
    if feet > hips:
        for x in (center - head // 2, center + head // 2):
            cv2.rectangle(matte, (x - head // 4, hips), (x + head // 4, feet), 255, -1)
    return matte, face(center, top, head)


def face(center, top, head, probability=0.999):
    box = (center - 0.3 * head, top + 0.25 * head, center + 0.3 * head, top + head)
    return Face(tuple(map(float, box)), probability, ((0.0, 0.0),) * 5)


@pytest.mark.parametrize(
    ("frame_height", "expected", "cut"),
    [
        (20 + 2 * HEAD, ShotType.CLOSE_UP, True),
        (20 + 4 * HEAD, ShotType.HALF_BODY, True),
        (20 + 6 * HEAD, ShotType.HALF_BODY, True),
        (20 + 7 * HEAD, ShotType.FULL_BODY, True),
        (20 + 9 * HEAD, ShotType.FULL_BODY, False),
    ],
)
def test_heads_visible_decide(frame_height, expected, cut):
    matte, found = figure(frame_height)
    shot = classify(matte, [found])
    visible = min(frame_height - 20, 7.5 * HEAD) / HEAD
    assert shot.type is expected
    assert shot.cut is cut
    assert shot.people == 1
    assert shot.heads == pytest.approx(visible, abs=0.2)
    assert shot.head_height == pytest.approx(HEAD, abs=3)


def test_the_frame_does_not_matter():
    """The same person in a wider frame is the same shot."""
    near, near_face = figure(20 + 4 * HEAD, width=200, center=100)
    wide, wide_face = figure(20 + 4 * HEAD, width=1600, center=800)
    assert classify(near, [near_face]).heads == classify(wide, [wide_face]).heads


def test_a_child_is_a_full_body_too():
    matte, found = figure(700, heads=4.6)
    assert classify(matte, [found]).type is ShotType.FULL_BODY


def test_confidence_falls_towards_a_threshold():
    sure = classify(*pair(figure(20 + 4 * HEAD)))
    unsure = classify(*pair(figure(20 + round(2.65 * HEAD))))
    assert sure.confidence > 0.9
    assert unsure.confidence < 0.2


def test_no_face_is_unknown():
    matte, _ = figure(400)
    shot = classify(matte, [])
    assert (shot.type, shot.people, shot.confidence) == (ShotType.UNKNOWN, 0, 0.0)


def test_a_face_that_the_matte_leaves_out_does_not_count():
    matte, found = figure(400)
    on_the_wall = face(60, 30, HEAD)
    shot = classify(matte, [found, on_the_wall])
    assert shot.people == 1
    assert shot.faces == (found,)


def test_unsure_and_small_faces_do_not_count():
    unsure, small, sure = face(9, 9, 60, 0.97), face(9, 9, 20), face(9, 9, 60)
    assert prominent([unsure, small, sure]) == (sure,)
    assert prominent([]) == ()


def test_a_group_is_judged_by_its_median():
    left, left_face = figure(260, center=120)
    right, right_face = figure(260, center=380, top=40)
    shot = classify(np.maximum(left, right), [right_face, left_face])
    assert shot.people == 2
    assert shot.faces == (left_face, right_face)
    assert shot.type is ShotType.HALF_BODY


def test_a_face_beyond_the_frame_is_measured_inside_it():
    matte, _ = figure(200, top=-20)
    cut = face(250, -20, HEAD)
    shot = classify(matte, [cut])
    assert shot.people == 1
    assert shot.heads > 1


def pair(drawn):
    return drawn[0], [drawn[1]]


def test_a_face_moves_and_grows_with_its_picture():
    face = Face((10.0, 20.0, 30.0, 50.0), 0.99, ((15.0, 30.0), (25.0, 30.0)))
    assert face.moved(-5, 10) == Face((5.0, 30.0, 25.0, 60.0), 0.99, ((10.0, 40.0), (20.0, 40.0)))
    assert face.scaled(2) == Face((20.0, 40.0, 60.0, 100.0), 0.99, ((30.0, 60.0), (50.0, 60.0)))
