"""Figures that stand still while the visitor does not: placements from frame to frame.

Every frame is placed anew, and faces and mattes tremble. Seen one after the other, the placements
would jump. Here a figure keeps its slot and its side until others have been better for a while, and
its place on the canvas follows what was asked for as a weight follows on a spring without bounce.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from vivant.artwork import Slot
from vivant.casting import Part
from vivant.placement import Placement, find_subject, place

SETTLE_S = 0.8
"""Seconds for which other slots must have been better before the figures go there."""

FOLLOW_S = 0.5
"""Seconds in which a figure covers 63 % of the way to where it should be."""


@dataclass(frozen=True)
class Motion:
    """A figure's way from photo to canvas: ``scale * x + shift``, mirrored ``-scale * x + shift``.

    Attributes:
        scale: canvas pixels per photo pixel.
        shift: right, canvas pixels.
        drop: down, canvas pixels.
    """

    scale: float
    shift: float
    drop: float

    def towards(self, aim: Motion, share: float) -> Motion:
        """Return what lies between: 0 this one, 1 ``aim``."""
        return Motion(
            self.scale + share * (aim.scale - self.scale),
            self.shift + share * (aim.shift - self.shift),
            self.drop + share * (aim.drop - self.drop),
        )


class Steady:
    """Remembers where the figures of the frames before stood; one for each run of frames."""

    def __init__(self) -> None:
        self._slots: tuple[Slot, ...] = ()
        self._rival: tuple[Slot, ...] = ()
        self._rival_since = 0.0
        self._motions: tuple[Motion, ...] = ()
        self._seen = 0.0

    def follow(
        self, parts: Sequence[Part], canvas: tuple[int, int], now: float
    ) -> tuple[Placement, ...] | None:
        """Return where the figures stand in this frame, one placement a part.

        Args:
            parts: what ``cast`` makes of the frame.
            canvas: width and height of the artwork, pixels.
            now: seconds, of a clock that never goes back.

        Returns:
            ``None`` while their number changes: it may be one face missed for a moment.
        """
        wanted = tuple(_settled(part.placements[0]) for part in parts)
        slots = self._choose(wanted, now)
        if len(slots) != len(parts):
            return None
        share = 1 - math.exp((self._seen - now) / FOLLOW_S) if self._motions else 1.0
        self._seen = now
        placements = [_placed(part, slot, canvas) for part, slot in zip(parts, slots, strict=True)]
        aims = [_motion(placement) for placement in placements]
        befores = self._motions or aims
        self._motions = tuple(
            before.towards(aim, share) for before, aim in zip(befores, aims, strict=True)
        )
        return tuple(map(_moved, placements, self._motions))

    def _choose(self, wanted: tuple[Slot, ...], now: float) -> tuple[Slot, ...]:
        if wanted == self._slots:
            self._rival = ()
        elif wanted != self._rival:
            self._rival, self._rival_since = wanted, now
        if not self._slots or (self._rival and now - self._rival_since >= SETTLE_S):
            self._slots, self._rival, self._motions = wanted, (), ()
        return self._slots


def _settled(placement: Placement) -> Slot:
    """Return the slot with the side that was chosen in it, so that both stay."""
    return replace(placement.slot, flip="always" if placement.flip else "never")


def _placed(part: Part, slot: Slot, canvas: tuple[int, int]) -> Placement:
    first = part.placements[0]
    if _settled(first) == slot:
        return first
    return place(find_subject(part.portrait.matting.matte, part.portrait.shot), slot, canvas)


def _motion(placement: Placement) -> Motion:
    left, top, right, _ = placement.source
    x, y, _, _ = placement.target
    across = right if placement.flip else -left
    return Motion(placement.scale, x + across * placement.scale, y - top * placement.scale)


def _moved(placement: Placement, motion: Motion) -> Placement:
    left, top, right, bottom = placement.source
    scale = motion.scale
    width, height = max(round((right - left) * scale), 1), max(round((bottom - top) * scale), 1)
    x = round(motion.shift + scale * (-right if placement.flip else left))
    y = round(motion.drop + scale * top)
    if not placement.standing:  # its cut edge must reach down to what hides it
        y = max(y, placement.crop_line - height)
    return replace(placement, target=(x, y, width, height), scale=scale)
