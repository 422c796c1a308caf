"""What a photo shows: who counts as a subject, and how much of them is visible.

Shot types follow from *heads visible*, the height of the visible person in units of their own
head: a standing adult is 7.5 heads tall (Loomis 1943, "Figure Drawing for All It's Worth"), the
navel lies at 3 and the knees at 5.5. The ratio of face to frame, which is simpler, depends on how
the photo was framed and does not tell.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vivant.roles import Face, Image, Matte, Matting

Mask = NDArray[np.bool_]

# Every threshold of the classification. They were set on a dozen photos: sensible, not measured
# accuracy.
SURE_FACE = 0.98  # probability from which a face is a face (MTCNN: true >= 0.992, false <= 0.956)
LEAST_SHARE_OF_LARGEST = 0.4  # a face less high than this beside the largest is a bystander
LEAST_COVERAGE = 0.5  # share of a face's box that the matte must hold; less: a picture on the wall
HAIR_REACH = 0.8  # how far above the face's box, in box heights, hair is looked for
HEAD_TO_BOX = (1.05, 1.8)  # least and most height of a head, in box heights
NARROWEST_ROW = 0.15  # in face widths: the subject ends where it is narrower
CUT_MARGIN = 0.01  # in frame heights: a subject that ends this near the frame's bottom is cut
CLOSE_UP_BELOW = 2.6  # heads, of a cut subject
FULL_BODY_FROM = 6.3  # heads, of a cut subject (trousers' hems out of frame)
FULL_BODY_FROM_UNCUT = 3.8  # heads, of a subject that ends inside the frame (a seated person too)


class ShotType(str, Enum):
    """How much of a person a picture shows."""

    CLOSE_UP = "close-up"
    HALF_BODY = "half-body"
    FULL_BODY = "full-body"
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Shot:
    """The shot type of a portrait, with what it was judged from.

    Attributes:
        type: what it is; *unknown* when no face is visible.
        people: how many faces belong to the subject.
        heads: heights of their head that are visible; the median in a group.
        cut: the frame's bottom cuts the subject; in a group, most of it.
        confidence: 0 (on a threshold) .. 1 (a head's height or more away from it).
        head_height: hair to chin, pixels; the median in a group.
        faces: the subject's faces, from left to right.
    """

    type: ShotType
    people: int
    heads: float
    cut: bool
    confidence: float
    head_height: float
    faces: tuple[Face, ...]


@dataclass(frozen=True)
class Portrait:
    """A photo taken apart, ready to be placed into any artwork.

    Attributes:
        photo: uint8 [H,W,3] RGB.
        matting: its matte, [H,W], and the matter's confidence.
        foreground: uint8 [H,W,3] RGB, the subject's own colours, without the old background
            where the matte is soft.
        shot: what it shows.
        timings: seconds by stage.
    """

    photo: Image
    matting: Matting
    foreground: Image
    shot: Shot
    timings: Mapping[str, float] = field(default_factory=dict)


def prominent(faces: Sequence[Face]) -> tuple[Face, ...]:
    """Return the faces that are sure to be one and not much smaller than the largest of them."""
    sure = [face for face in faces if face.probability >= SURE_FACE]
    largest = max((face.height for face in sure), default=0.0)
    return tuple(face for face in sure if face.height >= LEAST_SHARE_OF_LARGEST * largest)


def classify(matte: Matte, faces: Sequence[Face]) -> Shot:
    """Return the shot type of a photo.

    Args:
        matte: uint8 [H,W], the subject's.
        faces: found in the photo, in its pixels; those that are not ``prominent`` or not
            covered by the matte do not count.
    """
    opaque = matte >= 128
    subjects = [face for face in prominent(faces) if _coverage(opaque, face) >= LEAST_COVERAGE]
    if not subjects:
        return Shot(ShotType.UNKNOWN, 0, 0.0, cut=False, confidence=0.0, head_height=0.0, faces=())
    subjects.sort(key=lambda face: face.center[0])
    people = [
        _measure(opaque, face, left, right)
        for face, (left, right) in zip(subjects, _strips(subjects, matte.shape[1]), strict=True)
    ]
    heads = statistics.median(person.heads for person in people)
    cut = statistics.median(person.cut for person in people) >= 0.5
    shot_type, confidence = _judge(heads, cut=cut)
    return Shot(
        type=shot_type,
        people=len(people),
        heads=heads,
        cut=cut,
        confidence=confidence,
        head_height=statistics.median(person.head_height for person in people),
        faces=tuple(subjects),
    )


@dataclass(frozen=True)
class _Person:
    heads: float
    cut: bool
    head_height: float


def _measure(opaque: Mask, face: Face, left: int, right: int) -> _Person:
    """Measure the person whose ``face`` is given, between the columns ``left`` and ``right``."""
    frame_height = opaque.shape[0]
    chin = min(face.box[3], frame_height)
    shortest, tallest = (share * face.height for share in HEAD_TO_BOX)
    head_height = min(max(chin - _head_top(opaque, face), shortest), tallest)
    widths = np.count_nonzero(opaque[:, left:right], axis=1)
    rows = np.flatnonzero(widths > NARROWEST_ROW * face.width)
    bottom = int(rows[-1]) + 1 if len(rows) else round(chin)
    return _Person(
        heads=max(bottom - (chin - head_height), head_height) / head_height,
        cut=bottom >= frame_height * (1 - CUT_MARGIN),
        head_height=head_height,
    )


def _head_top(opaque: Mask, face: Face) -> float:
    """Return the row where the hair ends: climb from the box while its middle is covered."""
    x1, y1, x2, _ = face.box
    left = max(round(x1 + 0.2 * face.width), 0)
    right = max(round(x2 - 0.2 * face.width), left + 1)
    top = min(max(round(y1), 0), opaque.shape[0])
    highest = max(round(y1 - HAIR_REACH * face.height), 0)
    bare = np.flatnonzero(~opaque[highest:top, left:right].any(axis=1))
    return float(highest + bare[-1] + 1 if len(bare) else min(highest, top))


def _strips(faces: Sequence[Face], width: int) -> list[tuple[int, int]]:
    """Return, for faces from left to right, the columns that belong to each."""
    centers = [face.center[0] for face in faces]
    middles = [round((a + b) / 2) for a, b in pairwise(centers)]
    edges = [0, *(min(max(middle, 0), width) for middle in middles), width]
    return list(pairwise(edges))


def _coverage(opaque: Mask, face: Face) -> float:
    x1, y1, x2, y2 = (max(round(value), 0) for value in face.box)
    inside = opaque[y1:y2, x1:x2]
    return float(inside.mean()) if inside.size else 0.0


def _judge(heads: float, *, cut: bool) -> tuple[ShotType, float]:
    """Return the shot type and the distance, in heads and at most 1, to the nearest threshold."""
    if not cut and heads >= FULL_BODY_FROM_UNCUT:
        return ShotType.FULL_BODY, min(heads - FULL_BODY_FROM_UNCUT, 1.0)
    # A subject that ends inside the frame without being whole stands behind something.
    thresholds = (CLOSE_UP_BELOW, FULL_BODY_FROM if cut else FULL_BODY_FROM_UNCUT)
    confidence = min(1.0, *(abs(heads - threshold) for threshold in thresholds))
    if heads < CLOSE_UP_BELOW:
        return ShotType.CLOSE_UP, confidence
    return (ShotType.HALF_BODY if heads < thresholds[1] else ShotType.FULL_BODY), confidence
