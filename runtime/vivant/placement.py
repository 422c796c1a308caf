"""Where in an artwork the subject goes: the slot, the scale, the position, the side it faces."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import numpy as np

from vivant.artwork import Artwork, Slot
from vivant.errors import PlacementError
from vivant.portrait import Shot, ShotType
from vivant.roles import Face, Matte

MOST_ENLARGEMENT = 1.5  # above it the subject looks soft beside the painting: a warning
WIDTH_TOLERANCE = 1.25  # how far a subject may exceed its slot's width before it is made smaller
LEAST_HEADS = 1.7  # what must stay visible when a crop hides a side that the frame cuts
FACING = 0.12  # offset of the nose, in eye distances, from which a face looks to one side
VISIBLE = 26  # a matte value (10 %) from which a pixel belongs to the subject's outline


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
        standing: the feet are visible and stand on the slot's bottom.
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


def matching_slots(artwork: Artwork, shot: Shot) -> tuple[Slot, ...]:
    """Return the slots that can take ``shot``, best first.

    Slots made for this shot type and number of people come first, those of higher priority
    before others; then, shot type by shot type, the artwork's fallback order. A subject that the
    photo's frame cuts goes only where the cut is hidden: at the picture's bottom edge or behind
    an occluder.

    Raises:
        PlacementError: no slot can.
    """
    order = [shot.type, *(kind for kind in artwork.fallback if kind is not shot.type)]
    people = max(shot.people, 1)
    fitting = [
        slot
        for slot in artwork.slots
        if slot.people[0] <= people <= slot.people[1] and (is_standing(shot) or hides_cut(slot))
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
            f"artwork '{artwork.id}': no slot takes a {shot.type} of {crowd} (it has {offered}); "
            "take the photo with as many people as a slot holds, or add a slot to artwork.toml"
        )
    return tuple(ranked)


def named_slot(artwork: Artwork, shot: Shot, name: str) -> Slot:
    """Return the slot called ``name``, whether or not it was made for ``shot``.

    Raises:
        PlacementError: there is none, or a subject cut by its photo would float in it.
    """
    for slot in artwork.slots:
        if slot.name != name:
            continue
        if not (is_standing(shot) or hides_cut(slot)):
            raise PlacementError(
                f"slot '{name}' of artwork '{artwork.id}': a {shot.type} cut by the photo's frame "
                "would float there; choose a slot at the picture's bottom edge or with an occluder"
            )
        return slot
    names = ", ".join(slot.name for slot in artwork.slots)
    raise PlacementError(f"artwork '{artwork.id}': no slot '{name}'; it has {names}")


def is_standing(shot: Shot) -> bool:
    """Return whether the subject's feet are in the photo, so that it can stand in the open."""
    return shot.type is ShotType.FULL_BODY and not shot.cut


def hides_cut(slot: Slot) -> bool:
    """Return whether the slot's bottom edge hides where a photo's frame cut the subject."""
    _, y, _, height = slot.box
    return slot.occluder is not None or y + height >= 0.99


def place(matte: Matte, shot: Shot, slot: Slot, canvas: tuple[int, int]) -> Placement:
    """Return where the subject goes in ``slot``.

    The scale makes the head as high as the slot says. A standing subject's feet come to the
    bottom of the slot's box. Any other subject is cropped there: its hair reaches the top of the
    box, or less high where the photo shows too little of it.

    Args:
        matte: uint8 [H,W] of the photo.
        shot: what the photo shows.
        slot: one of the artwork's.
        canvas: width and height of the artwork, pixels.

    Raises:
        PlacementError: the matte is empty.
    """
    left, top, right, bottom = _outline(matte)
    warnings = []
    standing = is_standing(shot) and ShotType.FULL_BODY in slot.shot
    if not standing:
        bottom, side_cut = _hide_side_cuts(matte, shot, top, bottom)
        left, right = _columns(matte[top:bottom])
        if side_cut:
            warnings.append("the photo's side edge cuts the subject; stand nearer to its middle")
    box_x, box_y, box_width, box_height = _in_pixels(slot.box, canvas)
    width, height = right - left, bottom - top
    scale = _scale(slot, shot, canvas[1], (width, height), (box_width, box_height))
    if scale > MOST_ENLARGEMENT:
        warnings.append(f"the subject is enlarged {scale:.1f} times; a larger photo looks sharper")
    flip = _should_flip(slot, shot.faces)
    center = _center(matte[top:bottom, left:right])
    center = width - center if flip else center
    crop_line = round(box_y + box_height)
    target_width, target_height = max(round(width * scale), 1), max(round(height * scale), 1)
    y = crop_line - target_height if standing else max(crop_line - target_height, round(box_y))
    return Placement(
        slot=slot,
        source=(left, top, right, bottom),
        target=(
            _keep_inside(
                _anchor_x(slot.anchor, box_x, box_width, center * scale, target_width),
                target_width,
                canvas[0],
            ),
            y,
            target_width,
            target_height,
        ),
        scale=scale,
        flip=flip,
        crop_line=crop_line,
        standing=standing,
        warnings=tuple(warnings),
    )


def _outline(matte: Matte) -> tuple[int, int, int, int]:
    rows = np.flatnonzero((matte >= VISIBLE).any(axis=1))
    if not len(rows):
        raise PlacementError("the matte is empty: nobody to place; take the photo again")
    left, right = _columns(matte)
    return left, int(rows[0]), right, int(rows[-1]) + 1


def _columns(matte: Matte) -> tuple[int, int]:
    columns = np.flatnonzero((matte >= VISIBLE).any(axis=0))
    return (int(columns[0]), int(columns[-1]) + 1) if len(columns) else (0, matte.shape[1])


def _hide_side_cuts(matte: Matte, shot: Shot, top: int, bottom: int) -> tuple[int, bool]:
    """Return the lowest row to use, and whether a side that the frame cuts still shows.

    Arms that leave the photo at its sides end in a straight edge. As the subject is cropped at
    the slot's bottom anyway, it is cropped above that edge where enough of it is left.
    """
    if not shot.faces:
        return bottom, False
    # Just above the frame's edge a matte is often ragged.
    bottom -= round(0.05 * shot.head_height)
    chin = max(face.box[3] for face in shot.faces)
    head_top = chin - shot.head_height
    margin = max(round(0.004 * matte.shape[1]), 1)
    edges = np.concatenate([matte[:bottom, :margin], matte[:bottom, -margin:]], axis=1)
    rows = np.flatnonzero((edges >= 128).any(axis=1))
    if not len(rows):
        return bottom, False
    if rows[0] - head_top >= LEAST_HEADS * shot.head_height:
        return max(int(rows[0]), top + 1), False
    return bottom, True


def _scale(
    slot: Slot,
    shot: Shot,
    canvas_height: int,
    subject: tuple[int, int],
    box: tuple[float, float],
) -> float:
    fit_width = box[0] / subject[0]
    if slot.head_height is None or not shot.head_height:
        return min(fit_width, box[1] / subject[1])
    return min(slot.head_height * canvas_height / shot.head_height, WIDTH_TOLERANCE * fit_width)


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
    return float(weights @ (np.arange(len(weights)) + 0.5) / weights.sum())


def _anchor_x(anchor: str, box_x: float, box_width: float, center: float, width: int) -> int:
    if anchor == "bottom-left":
        return round(box_x)
    if anchor == "bottom-right":
        return round(box_x + box_width) - width
    return round(box_x + box_width / 2 - center)


def _keep_inside(x: int, width: int, canvas_width: int) -> int:
    """Shift a subject that would leave the picture at a side, as far as it fits at all."""
    return x if width > canvas_width else min(max(x, 0), canvas_width - width)


def _in_pixels(
    box: tuple[float, float, float, float], canvas: tuple[int, int]
) -> tuple[float, float, float, float]:
    return box[0] * canvas[0], box[1] * canvas[1], box[2] * canvas[0], box[3] * canvas[1]
