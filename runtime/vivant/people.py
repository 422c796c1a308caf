"""A group taken apart: one portrait a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from vivant.owners import find_owners
from vivant.portrait import Portrait, classify
from vivant.roles import Matte, Matting

SEAM = 0.8  # softness of the cut between two people: a Gaussian's sigma, pixels
OVERLAP = 1.0  # length of such a cut, in head heights, from which one person hides another

_ROUNDING = 1e-3  # what is whole stays whole, though weights are sums of floats


def split(portrait: Portrait) -> tuple[Portrait, ...]:
    """Return one portrait a person, from left to right; a single person's as it is.

    The new portraits share photo and foreground with the old one. Their mattes add up to at most
    its matte, and to it exactly but for a cut a few pixels wide where people touch. Each has
    the shot that its own matte shows.
    """
    faces = portrait.shot.faces
    if len(faces) < 2:
        return (portrait,)
    matte = portrait.matting.matte
    x, y, width, height = cv2.boundingRect(matte)
    region = np.s_[y : y + height, x : x + width]
    inside = [face.moved(-x, -y) for face in faces]
    owners = find_owners(portrait.photo[region], matte[region], inside)
    people = []
    for number, face in enumerate(faces):
        own = np.zeros_like(matte)
        _fill(own[region], matte[region], np.asarray(owners == number, np.uint8))
        matting = Matting(own, portrait.matting.confidence)
        people.append(replace(portrait, matting=matting, shot=classify(own, [face])))
    return tuple(people)


def overlap(people: Sequence[Portrait]) -> bool:
    """Return whether, of people that ``split`` took apart, one may hide a part of another."""
    shared = np.zeros(people[0].matting.matte.shape, np.uint8)
    for person in people:
        shared += person.matting.matte >= 32  # both sides of a soft cut
    seam = np.count_nonzero(shared > 1) / 2
    return bool(seam > OVERLAP * min(person.shot.head_height for person in people))


def _fill(own: Matte, matte: Matte, mask: Matte) -> None:
    """Write into ``own`` what of ``matte`` is under ``mask`` (0 or 1), its edge softened."""
    x, y, width, height = cv2.boundingRect(mask)
    reach = round(4 * SEAM)
    box = np.s_[max(y - reach, 0) : y + height + reach, max(x - reach, 0) : x + width + reach]
    weight = cv2.GaussianBlur(
        mask[box].astype(np.float32), (0, 0), SEAM, borderType=cv2.BORDER_REPLICATE
    )
    own[box] = matte[box] * weight + _ROUNDING
