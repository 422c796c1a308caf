"""The models of a profile, opened and warm, and one picture made with them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from vivant import models
from vivant.closing import Closing
from vivant.errors import VivantError
from vivant.facts import facts
from vivant.gpu.composition import DevicePortrait
from vivant.gpu.studio import DeviceStudio
from vivant.images import encode_image
from vivant.live import LivePreview
from vivant.portrait import Portrait
from vivant.profiles import Profile
from vivant.roles import Image
from vivant.store import EngineStore, open_store
from vivant.studio import Studio, reduce_to
from vivant_kiosk.compositions import Composition, Picture, Stage
from vivant_kiosk.settings import Settings

_GROUND = (28, 26, 23)  # what a visitor who was cut out stands before
_CUT_OUT_SIDE = 1440  # longest side of that picture

_log = logging.getLogger(__name__)


class EndedError(Exception):
    """The composition is wanted no more."""


class TooSlowError(Exception):
    """The composition took longer than it may."""


@dataclass(frozen=True)
class Engine:
    """A model in use; variant and backend are None where it needs no engine."""

    role: str
    model: str
    variant: str | None
    backend: str | None


class Room(Closing):
    """A studio, and the live preview of the same profile; for one thread.

    Attributes:
        name: of the profile.
        engines: in use.
        preview: or None, where the page has to do with a mirror.
    """

    def __init__(
        self,
        studio: Studio | DeviceStudio,
        preview: LivePreview | None,
        engines: tuple[Engine, ...],
    ) -> None:
        self._studio, self.preview, self.engines = studio, preview, engines
        self.name = studio.profile.name

    @classmethod
    def open(cls, settings: Settings, profile: str | None, device: str | None) -> Room:
        """Open the models of a profile and run each once.

        Args:
            settings: of the service.
            profile: by name; without it, the best that can run here.
            device: "cuda" or "pycuda"; without it, the processor.

        Raises:
            VivantError: a model, an engine or the device cannot be had; the message says which.
        """
        store = open_store(settings.store, allow_untrained=settings.allow_untrained)
        with ExitStack() as held:
            studio: Studio | DeviceStudio
            if device is None:
                studio = held.enter_context(Studio.open(profile, store=store))
            else:
                studio = held.enter_context(DeviceStudio.open(profile, store=store, device=device))
            studio.warm_up()
            preview = _open_preview(studio.profile.name, store) if settings.preview else None
            room = cls(studio, preview, tuple(_engines(studio.profile, store)))
            held.pop_all()
            return room

    def close(self) -> None:
        """Close the models."""
        if self.preview is not None:
            self.preview.close()
        self._studio.close()

    def compose(self, image: Image, composition: Composition, limit_s: float) -> None:
        """Compose a photo, and show the composition every stage.

        Args:
            image: uint8 [H,W,3] RGB.
            composition: to finish; its listeners are told from this thread.
            limit_s: seconds that it may take, looked at between the stages.

        Raises:
            EndedError: the composition was cancelled.
            TooSlowError: it took too long.
            VivantError: what ``Studio.prepare`` and ``Studio.compose`` raise.
        """
        deadline = time.monotonic() + limit_s

        def show(stage: str, picture: Image) -> None:
            if composition.finished:
                raise EndedError
            if time.monotonic() > deadline:
                raise TooSlowError
            composition.show(Stage(stage), _encoded(picture))

        options: dict[str, Any] = {
            "slot": composition.options.slot,
            "candidates": composition.options.candidates,
            "alternatives": composition.options.alternatives,
            "budget_s": limit_s / 2,
        }
        if isinstance(self._studio, Studio):  # on a GPU, pictures stay there until the end
            options["watch"] = show
        with self.preview.paused() if self.preview else nullcontext():
            prepared: Any = self._studio.prepare(image)
            show(
                Stage.MATTE,
                cut_out(prepared.host if isinstance(prepared, DevicePortrait) else prepared),
            )
            result = self._studio.compose(prepared, composition.artwork, **options)
        pictures = {Stage.COMPOSITE: result.composite, Stage.DONE: result.image}
        encoded = {stage: _encoded(picture) for stage, picture in pictures.items()}
        composition.finish(facts(result), encoded)


def _open_preview(profile: str, store: EngineStore) -> LivePreview | None:
    try:
        return LivePreview.open(profile, store=store)
    except VivantError as error:
        _log.warning("no live preview: %s", error)
        return None


def _engines(profile: Profile, store: EngineStore) -> Iterator[Engine]:
    for role, known in models.ROLES.items():
        name = getattr(profile, role)
        if models.find(known, name).needs_engine:
            choice = store.engine(name).choice
            yield Engine(role, name, choice.variant, choice.backend)
        else:
            yield Engine(role, name, None, None)


def cut_out(portrait: Portrait) -> Image:
    """Return the visitor before a dark ground, uint8 [H,W,3] RGB, longest side at most 1440."""
    # On a GPU, the foreground's own colours stay there.
    photo = portrait.foreground if portrait.foreground.size else portrait.photo
    colours = reduce_to(photo, _CUT_OUT_SIDE)
    matte = reduce_to(np.repeat(portrait.matting.matte[..., None], 3, 2), _CUT_OUT_SIDE)
    alpha = matte.astype(np.float32) / 255
    mixed = colours * alpha + np.array(_GROUND, np.float32) * (1 - alpha)
    return np.asarray(np.rint(mixed), np.uint8)


def _encoded(image: Image) -> Picture:
    return Picture(encode_image(image, "jpeg"), image.shape[1], image.shape[0])
