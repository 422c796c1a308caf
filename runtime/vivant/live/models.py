"""The models of a live preview: the quick relatives of those that make the picture."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant import models
from vivant.backends import Arrays, Engine, open_engine, usable_cores
from vivant.profiles import DEEP, Profile, with_matte_here
from vivant.roles import Face, FaceDetector, Harmonizer, Image, Matter, Matting
from vivant.store import EngineStore

REFRESH_S = 2.0
"""Seconds for which a colour table serves before the network looks again: light changes slowly, and
the encoder takes longer than all the rest of a preview."""

FADE_S = 0.5
"""Seconds in which the colours go 63 % of the way to a new table's."""

_NETWORK_SIDE = 512  # of the matte's network: a quarter of the pixels of its own 1024
_GRABCUT_SIDE = 320  # longest side: a sixth of the time of 640, much the same outline


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Roles:
    """The opened models of a preview.

    Attributes:
        detector: finds the faces, in every frame.
        matter: cuts the people out; not asked where there is no face.
        harmonizer: run once a frame.
        strength: of harmonizing, 0..1.
        forget: called where a run of frames begins, for models that remember those before.
    """

    detector: FaceDetector
    matter: Matter
    harmonizer: Harmonizer
    strength: float = 1.0
    forget: Callable[[], None] = _nothing


def open_roles(profile: Profile, store: EngineStore) -> Roles:
    """Open the quick relatives of a profile's models.

    Where its matte comes from a network it is the deep profile's (RMBG-1.4, or IS-Net) at 512x512,
    and the colours come from INR-Harmonization's table. Elsewhere its matter sees a small picture.

    Raises:
        EngineError: an engine is missing, altered or untrained.
        BackendError: the inference library is not installed.
    """
    detector = models.open_model(models.FACES, profile.faces, store)
    strength = profile.strengths[0]
    if not models.find(models.MATTES, profile.matte).needs_engine:
        matter = SmallMatter(models.open_model(models.MATTES, profile.matte, store), _GRABCUT_SIDE)
        harmonizer = models.open_model(models.HARMONIZERS, profile.harmonizer, store)
        return Roles(detector, matter, harmonizer, strength)
    from vivant.harmonizers.inr_lut import LutHarmonizer
    from vivant.harmonizers.inr_picture import MODEL
    from vivant.mattes.rmbg import RmbgMatter

    rmbg = RmbgMatter.open(store, with_matte_here(DEEP, store).matte, size=_NETWORK_SIDE)
    encoder = RareEncoder(open_engine(store.engine(MODEL), "encoder"))
    lut = LutHarmonizer(encoder, usable_cores())
    return Roles(detector, rmbg, lut, strength, encoder.forget)


class SmallMatter:
    """A matter that sees a smaller picture. Satisfies ``vivant.roles.Matter``."""

    def __init__(self, matter: Matter, side: int) -> None:
        """Let ``matter`` see pictures with a longest side of at most ``side`` pixels."""
        self._matter, self._side = matter, side

    def matte(self, photo: Image, faces: Sequence[Face]) -> Matting:
        """Return the matte of the reduced ``photo``, enlarged to its size."""
        height, width = photo.shape[:2]
        scale = min(self._side / max(height, width), 1.0)
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        small = np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)
        found = self._matter.matte(small, [face.scaled(scale) for face in faces])
        matte = cv2.resize(found.matte, (width, height), interpolation=cv2.INTER_LINEAR)
        return replace(found, matte=np.asarray(matte, np.uint8))


class RareEncoder:
    """INR-Harmonization's encoder, run now and then. Satisfies ``vivant.backends.Engine``.

    It returns the table alone, ``lut3d``: the last one or, while that fades in, what lies between
    it and the one before.
    """

    def __init__(self, encoder: Engine, clock: Callable[[], float] = time.monotonic) -> None:
        """Run ``encoder`` at most every ``REFRESH_S`` seconds of ``clock``."""
        self._encoder, self._clock = encoder, clock
        self.forget()

    def forget(self) -> None:
        """Look at the next picture, and use nothing of those before."""
        self._table = self._aim = np.zeros(0, np.float32)
        self._looked = self._faded = -math.inf

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return a table for ``inputs``, or for those of a moment ago."""
        now = self._clock()
        if now - self._looked >= REFRESH_S:
            self._aim, self._looked = self._encoder.run(inputs)["lut3d"], now
        if not self._table.size:
            self._table = self._aim
        share = np.float32(1 - math.exp((self._faded - now) / FADE_S))
        self._table, self._faded = self._table + share * (self._aim - self._table), now
        return {"lut3d": self._table}

    def close(self) -> None:
        """Close the encoder."""
        self._encoder.close()
