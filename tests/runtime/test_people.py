"""A group taken apart: every pixel to its owner, and no pixel twice."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vivant.people import overlap, split
from vivant.portrait import Portrait, ShotType, classify
from vivant.roles import Face, Matting

HEAD = 80  # pixels, hair to chin
SIZE = 520, 640  # rows, columns
RED, GREEN, NAVY = (170, 40, 40), (40, 120, 60), (30, 30, 60)


def figure(center, top, head=HEAD):
    """Return a clothed half-length figure's head and body, bool, and its face."""
    face, body = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    middle = (center, top + head // 2)
    cv2.ellipse(face, middle, (round(0.38 * head), head // 2), 0, 0, 360, 1, -1)
    cv2.rectangle(
        face,
        (center - head // 5, top + head // 2),
        (center + head // 5, top + round(1.3 * head)),
        1,
        -1,
    )
    shoulders = top + round(1.15 * head)
    cv2.ellipse(body, (center, shoulders + head // 2), (head, head // 2), 0, 180, 360, 1, -1)
    cv2.rectangle(body, (center - head, shoulders + head // 2), (center + head, SIZE[0]), 1, -1)
    box = center - 0.3 * head, top + 0.2 * head, center + 0.3 * head, top + 0.97 * head
    return face > 0, body > 0, Face(tuple(map(float, box)), 0.999, ((0.0, 0.0),) * 5)


def group(*members):
    """Return a portrait of (center, top, clothes) from far to near, and each one's pixels."""
    photo = np.full((*SIZE, 3), (200, 205, 210), np.uint8)
    owned, faces = [], []
    for center, top, clothes in members:
        head, body, face = figure(center, top)
        photo[body], photo[head] = clothes, (220, 170, 140)
        owned = [mask & ~(head | body) for mask in owned] + [head | body]
        faces.append(face)
    noise = np.random.default_rng(5).normal(0, 3, photo.shape)
    photo = np.clip(photo + noise, 0, 255).astype(np.uint8)
    matte = 255 * np.any(owned, axis=0).astype(np.uint8)
    matte = cv2.GaussianBlur(matte, (0, 0), 1.5)
    order = np.argsort([face.center[0] for face in faces])
    portrait = Portrait(photo, Matting(matte, 0.9), photo.copy(), classify(matte, faces))
    return portrait, [owned[index] for index in order]


def mistaken(people, owned):
    """Return the share of a group's pixels that went to somebody else."""
    found = np.argmax([person.matting.matte for person in people], axis=0)
    truth = np.argmax(owned, axis=0)
    whole = np.any(owned, axis=0)
    return np.count_nonzero((found != truth) & whole) / np.count_nonzero(whole)


APART = (160, 60, RED), (480, 60, NAVY)
BEHIND = (260, 60, RED), (370, 80, GREEN)


@pytest.mark.parametrize(
    ("members", "most"),
    [
        (((260, 60, RED), (370, 80, GREEN)), 0.005),  # one before the other
        (((370, 80, GREEN), (260, 60, RED)), 0.005),  # the other before the one
        (((320, 30, RED), (360, 200, GREEN)), 0.01),  # a child before a grown-up
        (((240, 60, NAVY), (390, 60, NAVY)), 0.02),  # no edge between: bodies decide
        (((320, 40, RED), (200, 120, GREEN), (440, 120, NAVY)), 0.005),  # two before a third
    ],
)
def test_every_pixel_goes_to_its_owner(members, most):
    portrait, owned = group(*members)
    people = split(portrait)
    assert len(people) == len(members)
    assert mistaken(people, owned) < most


@pytest.mark.parametrize("members", [BEHIND, (*BEHIND, (500, 60, NAVY))])
def test_mattes_add_up_to_the_matte_but_for_the_cut(members):
    portrait, _ = group(*members)
    mattes = np.stack([person.matting.matte for person in split(portrait)]).astype(int)
    missing = portrait.matting.matte - mattes.sum(axis=0)
    assert missing.min() >= 0
    assert missing.max() <= len(members)  # rounding
    at_cuts = cv2.dilate(((mattes > 0).sum(axis=0) > 1).astype(np.uint8), np.ones((9, 9)))
    assert not missing[at_cuts == 0].any()
    assert 0 < np.count_nonzero(at_cuts) < 0.05 * at_cuts.size


def test_each_face_is_inside_its_own_matte_and_no_other():
    portrait, _ = group(*BEHIND)
    people = split(portrait)
    for number, person in enumerate(people):
        (face,) = person.shot.faces
        assert face == portrait.shot.faces[number]
        x1, y1, x2, y2 = map(round, face.box)
        assert person.matting.matte[y1:y2, x1:x2].mean() > 240
        assert people[1 - number].matting.matte[y1:y2, x1:x2].max() < 30


def test_people_have_their_own_shots_and_share_the_pixels():
    portrait, _ = group((160, 60, RED), (480, 300, NAVY))
    tall, small = split(portrait)
    assert [person.shot.people for person in (tall, small)] == [1, 1]
    assert (tall.shot.type, small.shot.type) == (ShotType.HALF_BODY, ShotType.HALF_BODY)
    assert tall.shot.heads > small.shot.heads
    for person in (tall, small):
        assert person.photo is portrait.photo
        assert person.foreground is portrait.foreground
        assert person.matting.confidence == portrait.matting.confidence


def test_who_does_not_touch_is_not_cut():
    portrait, _ = group(*APART)
    left, right = split(portrait)
    matte = portrait.matting.matte
    np.testing.assert_array_equal(left.matting.matte[:, :320], matte[:, :320])
    np.testing.assert_array_equal(right.matting.matte[:, 320:], matte[:, 320:])
    assert not overlap((left, right))
    assert overlap(split(group(*BEHIND)[0]))


def test_a_part_without_a_face_goes_to_the_nearest_body():
    portrait, _ = group(*APART)
    portrait.matting.matte[300:330, 270:290] = 255  # a hand of the left one
    left, right = split(portrait)
    assert left.matting.matte[300:330, 270:290].min() == 255
    assert not right.matting.matte[300:330, 270:290].any()


def test_a_single_person_is_returned_as_is():
    portrait, _ = group((320, 60, RED))
    assert split(portrait) == (portrait,)
    assert split(portrait)[0] is portrait
