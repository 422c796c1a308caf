"""Where in an artwork the subject goes: the slot, the scale, the position, the side it faces."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from vivant.artwork import Artwork, Occluder, Slot
from vivant.errors import PlacementError
from vivant.portrait import CLOSE_UP_BELOW, Shot, ShotType
from vivant.roles import Face, Matte

Box: TypeAlias = tuple[float, float, float, float]

MOST_ENLARGEMENT = 1.5  # above it the subject looks soft beside the painting: a warning
WIDTH_TOLERANCE = 1.25  # by how much a subject may exceed its slot's width, where nothing hides it
LEAST_HEADS = 1.7  # what must stay visible when a crop hides a side that the frame cuts
FACING = 0.12  # offset of the nose, in eye distances, from which a face looks to one side
PICTURE_EDGE = 0.99  # share of the picture's height from which a box ends at its bottom edge
HIDDEN_FACE = 0.15  # share of a face's box that an occluder may cover at most
OPAQUE = 0.85  # share of a crop line that an occluder must cover to hide a cut
VISIBLE = 26  # a matte value (10 %) from which a pixel belongs to the subject's outline


@dataclass(frozen=True)
class Subject:
    """The part of a photo that can be placed, pixels of the photo.

    Attributes:
        shot: what the photo shows.
        matte: uint8 [H,W] of the photo.
        box: x1, y1, x2, y2 of what can be used.
        type: the shot type of that part: what the frame's sides cut is left out where possible,
            which can make a close-up of a half-body.
        standing: the feet are in the photo, so that the subject can stand in the open.
        side_cut: the frame's side cuts the subject, and shows.
    """

    shot: Shot
    matte: Matte
    box: tuple[int, int, int, int]
    type: ShotType
    standing: bool
    side_cut: bool


@dataclass(frozen=True)
class Placement:
    """The subject's way from photo to artwork.

    Attributes:
        slot: where it stands.
        source: x1, y1, x2, y2 in the photo, pixels: the part that is used.
        target: x, y, width, height on the artwork, pixels; may reach beyond its edges.
        scale: artwork pixels per photo pixel.
        flip: mirrored left to right.
        crop_line: artwork row from which on nothing of the subject shows.
        standing: the feet stand on the slot's bottom.
        warnings: what a visitor or curator might want to know, one line each.
    """

    slot: Slot
    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]
    scale: float
    flip: bool
    crop_line: int
    standing: bool
    warnings: tuple[str, ...]

    def on_canvas(self, box: Box) -> Box:
        """Return where ``box`` (x1, y1, x2, y2 in the photo) comes to lie on the artwork."""
        left, top, right, _ = self.source
        x, y, _, _ = self.target
        near, far = (
            (right - box[2], right - box[0]) if self.flip else (box[0] - left, box[2] - left)
        )
        return (
            x + near * self.scale,
            y + (box[1] - top) * self.scale,
            x + far * self.scale,
            y + (box[3] - top) * self.scale,
        )

    def on_photo(self, box: Box) -> Box:
        """Return what part of the photo comes to lie on ``box`` (x1, y1, x2, y2) of the artwork."""
        left, top, right, _ = self.source
        x, y, _, _ = self.target
        near, far = (box[0] - x) / self.scale, (box[2] - x) / self.scale
        x1, x2 = (right - far, right - near) if self.flip else (left + near, left + far)
        return x1, top + (box[1] - y) / self.scale, x2, top + (box[3] - y) / self.scale


def find_subject(matte: Matte, shot: Shot) -> Subject:
    """Return the part of the photo that can be placed.

    Arms that leave the photo at its sides end in a straight edge. A subject that is cropped by
    its slot anyway is cropped above that edge, where enough of it is left.

    Args:
        matte: uint8 [H,W] of the photo.
        shot: what the photo shows.

    Raises:
        PlacementError: the matte is empty.
    """
    outline = cv2.boundingRect((matte >= VISIBLE).astype(np.uint8))
    if not outline[2]:
        raise PlacementError("the matte is empty: nobody to place; take the photo again")
    left, top, right, bottom = (
        outline[0],
        outline[1],
        outline[0] + outline[2],
        outline[1] + outline[3],
    )
    if shot.type is ShotType.FULL_BODY and not shot.cut:
        return Subject(shot, matte, (left, top, right, bottom), shot.type, True, False)
    bottom, heads, side_cut = _above_side_cuts(matte, shot, bottom)
    left, _, width, _ = cv2.boundingRect((matte[:bottom] >= VISIBLE).astype(np.uint8))
    is_short = shot.type is ShotType.HALF_BODY and heads < CLOSE_UP_BELOW
    kind = ShotType.CLOSE_UP if is_short else shot.type
    return Subject(shot, matte, (left, top, left + width, bottom), kind, False, side_cut)


def _above_side_cuts(matte: Matte, shot: Shot, bottom: int) -> tuple[int, float, bool]:
    """Return the lowest usable row, the heads visible above it, and whether a side cut shows."""
    if not shot.faces:
        return bottom, shot.heads, False
    # Just above the frame's edge a matte is often ragged.
    bottom -= round(0.05 * shot.head_height)
    head_top = max(face.box[3] for face in shot.faces) - shot.head_height
    margin = max(round(0.004 * matte.shape[1]), 1)
    edges = np.concatenate([matte[:bottom, :margin], matte[:bottom, -margin:]], axis=1)
    touching = np.flatnonzero((edges >= 128).any(axis=1))
    first = int(touching[0]) if len(touching) else bottom
    heads = (first - head_top) / shot.head_height
    if heads < LEAST_HEADS:
        return bottom, shot.heads, first < bottom
    return first, heads, False


def matching_slots(artwork: Artwork, subject: Subject) -> tuple[Slot, ...]:
    """Return the slots that can take ``subject``, best first.

    Slots made for this shot type and number of people come first, those of higher priority
    before others; then, shot type by shot type, the artwork's fallback order. A subject that the
    photo's frame cuts, or that the slot crops, goes only where that is hidden: at the picture's
    bottom edge or behind an occluder.

    Raises:
        PlacementError: no slot can.
    """
    order = [subject.type, *(kind for kind in artwork.fallback if kind is not subject.type)]
    people = max(subject.shot.people, 1)
    fitting = [
        slot
        for slot in artwork.slots
        if slot.people[0] <= people <= slot.people[1]
        and (_can_stand(subject, slot) or hides_cut(artwork, slot))
    ]
    ranked = []
    for kind in order:
        of_kind = [slot for slot in fitting if kind in slot.shot and slot not in ranked]
        ranked += sorted(of_kind, key=lambda slot: -slot.priority)
    if not ranked:
        crowd = "1 person" if people == 1 else f"{people} people"
        offered = ", ".join(
            f"{slot.name} ({'/'.join(map(str, slot.shot))}, {slot.people[0]}-{slot.people[1]})"
            for slot in artwork.slots
        )
        raise PlacementError(
            f"artwork '{artwork.id}': no slot takes a {subject.type} of {crowd}; it has {offered}; "
            "take the photo with as many people as a slot holds, or add a slot to artwork.toml"
        )
    return tuple(ranked)


def named_slot(artwork: Artwork, subject: Subject, name: str) -> Slot:
    """Return the slot called ``name``, whether or not it was made for ``subject``.

    Raises:
        PlacementError: there is none, or a subject cut by its photo would float in it.
    """
    for slot in artwork.slots:
        if slot.name != name:
            continue
        if not (_can_stand(subject, slot) or hides_cut(artwork, slot)):
            raise PlacementError(
                f"slot '{name}' of artwork '{artwork.id}': this {subject.type} is cropped there "
                "and would float; choose a slot at the bottom edge or with an occluder"
            )
        return slot
    names = ", ".join(slot.name for slot in artwork.slots)
    raise PlacementError(f"artwork '{artwork.id}': no slot '{name}'; it has {names}")


def _can_stand(subject: Subject, slot: Slot) -> bool:
    return subject.standing and ShotType.FULL_BODY in slot.shot


def hides_cut(artwork: Artwork, slot: Slot) -> bool:
    """Return whether the slot's bottom edge hides where the subject is cropped.

    It does at the picture's bottom edge, and where the occluder is opaque along it.
    """
    if _ends_at_edge(slot):
        return True
    occluder = artwork.occluder(slot)
    if occluder is None:
        return False
    x, y, width, height = slot.box
    rows, columns = occluder.shape[:2]
    crop_line = occluder[
        round((y + height) * rows) - 1, round(x * columns) : round((x + width) * columns), 3
    ]
    return bool(crop_line.mean() >= OPAQUE * 255)


def place(subject: Subject, slot: Slot, canvas: tuple[int, int]) -> Placement:
    """Return where the subject goes in ``slot``.

    The scale makes the head as high as the slot says. A standing subject's feet come to the
    bottom of the slot's box. Any other subject is cropped there: its hair reaches the top of the
    box, or less high where the photo shows too little of it.

    Args:
        subject: who.
        slot: one of the artwork's.
        canvas: width and height of the artwork, pixels.
    """
    left, top, right, bottom = subject.box
    box_x, box_y, box_width, box_height = (
        share * side for share, side in zip(slot.box, canvas * 2, strict=True)
    )
    standing = _can_stand(subject, slot)
    scale = _scale(slot, subject, canvas[1], (box_width, box_height))
    width, height = max(round((right - left) * scale), 1), max(round((bottom - top) * scale), 1)
    flip = _should_flip(slot, subject.shot.faces)
    center = _center(subject.matte[top:bottom, left:right]) * scale
    x = _anchored(slot.anchor, box_x, box_width, width - center if flip else center, width)
    if standing or _ends_at_edge(slot):
        x = _kept_between(x, width, 0, canvas[0])
    else:  # beyond its box an occluder need not hide the crop line
        x = _kept_between(x, width, round(box_x), round(box_x + box_width))
    crop_line = round(box_y + box_height)
    y = crop_line - height if standing else max(crop_line - height, round(box_y))
    return Placement(
        slot=slot,
        source=subject.box,
        target=(x, y, width, height),
        scale=scale,
        flip=flip,
        crop_line=crop_line,
        standing=standing,
        warnings=_warnings(subject, scale),
    )


def shows_every_face(placement: Placement, faces: tuple[Face, ...], occluder: Occluder) -> bool:
    """Return whether an occluder, uint8 [H,W,4] of the canvas' size, leaves all faces visible."""
    for face in faces:
        x1, y1, x2, y2 = (max(round(side), 0) for side in placement.on_canvas(face.box))
        covered = occluder[y1:y2, x1:x2, 3]
        if covered.size and covered.mean() > HIDDEN_FACE * 255:
            return False
    return True


def _warnings(subject: Subject, scale: float) -> tuple[str, ...]:
    warnings = []
    if subject.side_cut:
        warnings.append("the photo's side edge cuts the subject; stand nearer to its middle")
    if scale > MOST_ENLARGEMENT:
        warnings.append(f"the subject is enlarged {scale:.1f} times; a larger photo looks sharper")
    return tuple(warnings)


def _scale(slot: Slot, subject: Subject, canvas_height: int, box: tuple[float, float]) -> float:
    left, top, right, bottom = subject.box
    fit_width = box[0] / (right - left)
    if slot.head_height is None or not subject.shot.head_height:
        return min(fit_width, box[1] / (bottom - top))
    by_head = slot.head_height * canvas_height / subject.shot.head_height
    in_the_open = _can_stand(subject, slot) or _ends_at_edge(slot)
    return min(by_head, (WIDTH_TOLERANCE if in_the_open else 1.0) * fit_width)


def _should_flip(slot: Slot, faces: tuple[Face, ...]) -> bool:
    """Return whether to mirror the subject; *auto* lets it face the picture's middle."""
    if slot.flip != "auto" or not faces:
        return slot.flip == "always"
    offset = 0.5 - (slot.box[0] + slot.box[2] / 2)  # > 0: the middle is to the slot's right
    gaze = statistics.mean(_gaze(face) for face in faces)
    looks_away = (gaze > 0) != (offset > 0)
    return looks_away and abs(gaze) > FACING and abs(offset) > 0.05


def _gaze(face: Face) -> float:
    """Return the nose's offset from between the eyes, in eye distances; > 0: to the right."""
    (left_x, _), (right_x, _), (nose_x, _) = face.landmarks[:3]
    return (nose_x - (left_x + right_x) / 2) / max(right_x - left_x, 1.0)


def _center(matte: Matte) -> float:
    """Return the column of the matte's centre of mass: an arm stretched out moves it little."""
    weights = matte.sum(axis=0, dtype=np.float64)
    return float(np.average(np.arange(len(weights)) + 0.5, weights=weights))


def _anchored(anchor: str, box_x: float, box_width: float, center: float, width: int) -> int:
    if anchor == "bottom-left":
        return round(box_x)
    if anchor == "bottom-right":
        return round(box_x + box_width) - width
    return round(box_x + box_width / 2 - center)


def _kept_between(x: int, width: int, left: int, right: int) -> int:
    """Shift a subject so that it leaves its room at neither side, as far as it fits at all."""
    return x if width > right - left else min(max(x, left), right - width)


def _ends_at_edge(slot: Slot) -> bool:
    return slot.box[1] + slot.box[3] >= PICTURE_EDGE
