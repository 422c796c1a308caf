"""Who stands where: a group together in one slot, or everyone in a slot of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vivant.artwork import Artwork
from vivant.errors import PlacementError
from vivant.people import overlap, split
from vivant.placement import (
    HIDDEN_FACE,
    Placement,
    find_subject,
    matching_slots,
    named_slot,
    place,
    shows_every_face,
)
from vivant.portrait import Portrait

OVERLAP = "people overlap in the photo: what one hides of another is missing; stand apart"


@dataclass(frozen=True)
class Part:
    """One figure to paint: one person, or a group that stays together.

    Attributes:
        portrait: whom it shows.
        placements: where they may stand, the best first.
        warnings: about what the others leave of them, one line each.
    """

    portrait: Portrait
    placements: tuple[Placement, ...]
    warnings: tuple[str, ...] = ()


def cast(
    portrait: Portrait, artwork: Artwork, *, slot: str | None = None, alternatives: int = 1
) -> tuple[Part, ...]:
    """Return who stands where in an artwork, in the order of painting: the farthest first.

    Where the artwork places people apart, each of a group gets a slot made for what the photo
    shows of them; they keep their order from left to right, and nobody hides another's face.
    Where the slots do not allow it they go together, with a warning. The artwork's fallback
    order places them apart only where no slot takes them together.

    Args:
        portrait: a photo taken apart.
        artwork: with ``people`` "together" or "apart".
        slot: everyone goes there, together; without it, to the slots that suit best.
        alternatives: how many placements to return for what goes together, at most.

    Raises:
        PlacementError: no slot takes them, neither apart nor together.
    """
    most = max(alternatives, 1)
    if slot is not None or artwork.people == "together" or portrait.shot.people < 2:
        return (Part(portrait, _places(portrait, artwork, slot)[:most]),)
    return _apart(portrait, artwork, most)


def _apart(portrait: Portrait, artwork: Artwork, most: int) -> tuple[Part, ...]:
    number = portrait.shot.people
    lacking = f"artwork '{artwork.id}': its slots do not take {number} people apart"
    if sum(slot.people[0] == 1 for slot in artwork.slots) < number:
        return (_together(portrait, artwork, most, lacking),)  # without the cost of a split
    people = split(portrait)
    lone = [_lone_part(person, artwork) for person in people]
    parts = _side_by_side([_in_own_kind(part) for part in lone], artwork)
    if not parts:
        try:
            return (_together(portrait, artwork, most, lacking),)
        except PlacementError:
            parts = _side_by_side(lone, artwork)
            if not parts:
                raise
    warnings = (OVERLAP,) if overlap(people) else ()
    return (*parts[:-1], replace(parts[-1], warnings=warnings))


def _together(portrait: Portrait, artwork: Artwork, most: int, lacking: str) -> Part:
    try:
        return Part(portrait, _places(portrait, artwork)[:most], (f"{lacking}; placed together",))
    except PlacementError as error:
        raise PlacementError(f"{lacking}; together: {error}") from error


def _places(portrait: Portrait, artwork: Artwork, slot: str | None = None) -> tuple[Placement, ...]:
    """Return every placement that a portrait can have, the best first."""
    subject = find_subject(portrait.matting.matte, portrait.shot)
    slots = [named_slot(artwork, subject, slot)] if slot else matching_slots(artwork, subject)
    picture = artwork.picture()
    canvas = picture.shape[1], picture.shape[0]
    placements = [place(subject, option, canvas) for option in slots]
    clear = tuple(
        placement
        for placement in placements
        if (occluder := artwork.occluder(placement.slot)) is None
        or shows_every_face(placement, subject.shot.faces, occluder)
    )
    hidden = "something in the painting hides a face; choose another slot"
    return clear or tuple(replace(p, warnings=(*p.warnings, hidden)) for p in placements)


def _lone_part(person: Portrait, artwork: Artwork) -> Part:
    try:
        return Part(person, _places(person, artwork))
    except PlacementError:
        return Part(person, ())  # a place together with the others may remain


def _in_own_kind(part: Part) -> Part:
    """Keep the placements in slots made for what the photo shows."""
    kind = part.portrait.shot.type
    own = tuple(placement for placement in part.placements if kind in placement.slot.shot)
    return replace(part, placements=own)


def _side_by_side(parts: Sequence[Part], artwork: Artwork) -> tuple[Part, ...]:
    """Choose one placement a part; return them in the order of painting, none where that fails.

    The middles of the chosen slots are in the order of ``parts``, which is from left to right.
    Of all such choices it is the one whose placements rank highest in everyone's own list.
    """
    ways: list[tuple[int, tuple[Part, ...]]] = [(0, ())]
    for part in parts:
        longer = []
        for rank, placement in enumerate(part.placements):
            last = replace(part, placements=(placement,))
            fitting = [
                (cost + rank, (*placed, last))
                for cost, placed in ways
                if not placed or _middle(placed[-1]) < _middle(last)
                if all(_shows_both(other, last, artwork) for other in placed)
            ]
            if fitting:
                longer.append(min(fitting, key=lambda way: way[0]))
        ways = longer
    if not ways:
        return ()
    _, chosen = min(ways, key=lambda way: way[0])
    return tuple(sorted(chosen, key=lambda part: _depth(part, artwork)))


def _middle(part: Part) -> tuple[float, str]:
    slot = part.placements[0].slot
    return slot.box[0] + slot.box[2] / 2, slot.name


def _depth(part: Part, artwork: Artwork) -> tuple[int, int]:
    slot = part.placements[0].slot
    return slot.z, artwork.slots.index(slot)


def _shows_both(one: Part, other: Part, artwork: Artwork) -> bool:
    """Return whether the nearer of two figures leaves the other's face visible."""
    far, near = sorted((one, other), key=lambda part: _depth(part, artwork))
    matte = near.portrait.matting.matte
    for face in far.portrait.shot.faces:
        box = near.placements[0].on_photo(far.placements[0].on_canvas(face.box))
        x1, y1, x2, y2 = (max(round(side), 0) for side in box)
        covered = float(matte[y1:y2, x1:x2].sum(dtype=np.int64)) / 255
        if covered > HIDDEN_FACE * (box[2] - box[0]) * (box[3] - box[1]):
            return False
    return True
