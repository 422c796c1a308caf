"""One camera frame into one artwork: what ``vivant.live`` does over and over."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from vivant.artwork import Artwork
from vivant.casting import Part, cast
from vivant.composition import compose
from vivant.errors import ImageError, PlacementError, SubjectError
from vivant.foreground import estimate_foreground
from vivant.live.models import Roles
from vivant.live.steady import Steady
from vivant.placement import Placement
from vivant.portrait import Portrait, classify, prominent
from vivant.roles import Image, Matte

PATIENCE_S = 0.7
"""Seconds for which the last preview stays when nobody is found: a head may only have turned."""

_LEAST_FACE = 1 / 24  # side of the smallest face looked for, in longest sides of the frame


class State(str, Enum):
    """What a preview shows."""

    WAITING = "waiting"
    NOBODY = "nobody"
    NO_PLACE = "no place"
    VISITOR = "visitor"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Preview:
    """What the visitor sees now.

    Attributes:
        image: uint8 [H,W,3] RGB; the artwork alone unless the state is *visitor*.
        state: *visitor*; *waiting* for the first frame; *nobody* that could be found or cut out;
            *no place* in this artwork for whoever is there.
        message: what stands in the way, or would make a better picture, one line; or empty.
        slots: names of the slots that are taken, the farthest first.
        number: counts the previews; the later one has the larger number.
        latency_s: seconds from the frame's arrival until its preview was ready.
        timings: seconds by stage.
    """

    image: Image
    state: State
    message: str = ""
    slots: tuple[str, ...] = ()
    number: int = 0
    latency_s: float = 0.0
    timings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Frame:
    """A camera's picture, uint8 [H,W,3] RGB, and when it came, ``time.monotonic`` seconds."""

    photo: Image
    arrived: float


class Painter:
    """Paints frame after frame into one artwork, and remembers where the figures stood."""

    def __init__(self, roles: Roles, artwork: Artwork, slot: str | None = None) -> None:
        """Prepare ``artwork``, which has a preview's size, and decode its pictures.

        Raises:
            ImageError: a picture of the artwork was damaged or removed.
            PlacementError: it has no slot called ``slot``.
        """
        names = [option.name for option in artwork.slots]
        if slot is not None and slot not in names:
            raise PlacementError(f"artwork '{artwork.id}': no slot '{slot}'; it has {names}")
        self._roles, self._artwork, self._slot = roles, artwork, slot
        self._picture = artwork.picture()
        for option in artwork.slots:
            artwork.occluder(option)
        self._steady, self._seen = Steady(), -math.inf

    def empty(self) -> Preview:
        """Return the artwork alone."""
        return Preview(self._picture, State.WAITING)

    def paint(self, frame: Frame) -> Preview | None:
        """Return the preview of a frame, or ``None`` where the last one should stay a little.

        What a visitor can mend, too dark or too many people, is a state of the preview and no
        error. Errors of the models come through.
        """
        laps = _Laps()
        try:
            preview = self._visitor(frame, laps)
            self._seen = frame.arrived
        except (SubjectError, PlacementError) as error:
            if frame.arrived - self._seen < PATIENCE_S:
                return None
            self._steady = Steady()
            self._roles.forget()
            state = State.NOBODY if isinstance(error, SubjectError) else State.NO_PLACE
            preview = Preview(self._picture, state, str(error))
        if preview is None:
            return None
        latency = time.monotonic() - frame.arrived
        return replace(preview, latency_s=latency, timings=laps.seconds)

    def _visitor(self, frame: Frame, laps: _Laps) -> Preview | None:
        portrait = self._prepare(frame.photo, laps)
        parts = cast(portrait, self._artwork, slot=self._slot)
        height, width = self._picture.shape[:2]
        placements = self._steady.follow(parts, (width, height), frame.arrived)
        laps("placement")
        if placements is None:
            return None
        image, mask = self._laid(parts, placements)
        laps("composite")
        image = self._harmonized(image, mask)
        laps("harmonize")
        advice = "; ".join(warning for part in parts for warning in part.warnings)
        slots = tuple(placement.slot.name for placement in placements)
        return Preview(image, State.VISITOR, advice, slots)

    def _laid(self, parts: Sequence[Part], placements: Sequence[Placement]) -> tuple[Image, Matte]:
        """Return the composite of all figures, and where they are; harmonized they are as one."""
        image, mask = self._picture, np.zeros(self._picture.shape[:2], np.uint8)
        for part, placement in zip(parts, placements, strict=True):
            occluder = self._artwork.occluder(placement.slot)
            _, image, own = compose(part.portrait, placement, image, occluder)
            mask = np.maximum(mask, own)
        return image, mask

    def _prepare(self, photo: Image, laps: _Laps) -> Portrait:
        least = max(round(_LEAST_FACE * max(photo.shape[:2])), 1)
        faces = prominent(self._roles.detector.detect(photo, min_face=least))
        laps("faces")
        if not faces:
            raise SubjectError("no face found; step before the camera and face it")
        matting = self._roles.matter.matte(photo, faces)
        laps("matte")
        foreground = estimate_foreground(photo, matting.matte)
        laps("foreground")
        return Portrait(photo, matting, foreground, classify(matting.matte, faces))

    def _harmonized(self, image: Image, mask: Matte) -> Image:
        roles = self._roles
        try:
            return roles.harmonizer.harmonize(image, mask, [roles.strength])[0]
        except ImageError as error:  # too little of the figure shows, or of the painting
            raise PlacementError(f"artwork '{self._artwork.id}': {error}") from error


class _Laps:
    """Seconds by stage, each from the end of the one before; stages of one name add up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now
