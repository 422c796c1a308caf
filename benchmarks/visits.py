"""One visit to be timed: a photo's bytes in, a picture's bytes out, on the processor or a device.

Where the matte's weights are untrained, its network runs and is timed as ever, and GrabCut's matte
takes the place of what it returns: the stages behind it need a person to work on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from vivant import models
from vivant.artwork import Artwork
from vivant.errors import SubjectError
from vivant.images import encode_image
from vivant.profiles import find_profile
from vivant.roles import Image, Matter, Matting
from vivant.store import EngineStore
from vivant.studio import Studio

if TYPE_CHECKING:
    from vivant.backends.device import Buffer, Stream
    from vivant.backends.workspace import Workspace
    from vivant.gpu.matte import DeviceMatter

DEVICES = ("cpu", "cuda", "pycuda", "host")
"""Where a visit is composed: by the processor's studio, or by the device studio on one of these."""

Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Setting:
    """What is composed, and with what.

    Attributes:
        profile: the name of the profile.
        store: of the engines, and which of them are used.
        photo: the content of a picture file.
        artwork: what it is composed into.
        matting: what takes the place of an untrained matte; ``None`` where it is trained.
        device: one of ``DEVICES``.
        mapped: the device reads what is uploaded from host memory; see ``Workspace``.
    """

    profile: str
    store: EngineStore
    photo: bytes
    artwork: Artwork
    matting: Matting | None
    device: str = "cpu"
    mapped: bool = False


@dataclass(frozen=True)
class Run:
    """One visit: seconds by stage, the picture's size, and milliseconds of the device by stage."""

    seconds: Mapping[str, float]
    size: str
    gpu_ms: Mapping[str, float] = field(default_factory=dict)


class Visit(Protocol):
    """A studio that is open, and what it composes."""

    def compose(self) -> Run:
        """Compose once, from bytes to bytes."""
        ...

    def device_mb(self) -> tuple[float, float] | None:
        """Return the device's memory in use, by whomever, in MiB: before the studio, and now.

        None without a device.
        """
        ...


def open_visit(setting: Setting) -> Visit:
    """Open the studio that ``setting`` names.

    Raises:
        VivantError: a model, an engine, a library or the device is not here.
    """
    return ProcessorVisit(setting) if setting.device == "cpu" else DeviceVisit(setting)


class ProcessorVisit:
    """Composed by ``vivant.studio``."""

    def __init__(self, setting: Setting) -> None:
        store = setting.store
        profile = find_profile(setting.profile, store)
        self._setting = setting
        self._seconds: dict[str, float] = {}
        harmonizer = models.open_model(models.HARMONIZERS, profile.harmonizer, store)
        scorer = models.open_model(models.SCORERS, profile.scorer, store)
        self._studio = Studio(
            models.open_model(models.FACES, profile.faces, store),
            _matter(profile.matte, store, setting.matting),
            # The studio has one clock for both.
            SimpleNamespace(harmonize=self._timed("harmonize", harmonizer.harmonize)),
            SimpleNamespace(score=self._timed("score", scorer.score)),
            profile=profile,
        )

    def compose(self) -> Run:
        """Compose once, from bytes to bytes."""
        self._seconds.clear()
        start = time.perf_counter()
        result = self._studio.compose(self._setting.photo, self._setting.artwork)
        last = _encoded(result.image, start)
        return Run({**result.timings, **self._seconds, **last}, _size(result.image))

    def device_mb(self) -> None:
        """Return None: there is no device."""

    def _timed(self, stage: str, function: Callable[..., Returned]) -> Callable[..., Returned]:
        def call(*arguments: Any, **named: Any) -> Returned:
            start = time.perf_counter()
            returned = function(*arguments, **named)
            spent = time.perf_counter() - start
            self._seconds[stage] = self._seconds.get(stage, 0) + spent
            return returned

        return call


class DeviceVisit:
    """Composed by ``vivant.gpu.studio``, with the models that its ``open`` would open."""

    def __init__(self, setting: Setting) -> None:
        from vivant.backends.devices import open_device
        from vivant.backends.workspace import Workspace
        from vivant.gpu.faces import DeviceDetector
        from vivant.gpu.inr import DeviceInr
        from vivant.gpu.matte import DeviceMatter
        from vivant.gpu.scorer import DeviceScorer
        from vivant.gpu.studio import DeviceStudio

        store = setting.store
        profile = find_profile(setting.profile, store)
        self._setting = setting
        self._device = open_device(setting.device)
        self._before = self._device.memory_used()
        workspace = Workspace(self._device, mapped=setting.mapped)
        matter: Any = DeviceMatter.open(store, profile.matte, workspace)
        if setting.matting is not None:
            matter = SettledMatter(matter, setting.matting, workspace)
        self._studio = DeviceStudio(
            workspace,
            DeviceDetector.open(store, workspace),
            matter,
            DeviceInr.open(store, workspace),
            DeviceScorer.open(store, workspace),
            profile=profile,
        )

    def compose(self) -> Run:
        """Compose once, from bytes to bytes."""
        start = time.perf_counter()
        result = self._studio.compose(self._setting.photo, self._setting.artwork)
        seconds = {**result.timings, **_encoded(result.image, start)}
        return Run(seconds, _size(result.image), dict(self._studio.gpu_ms))

    def device_mb(self) -> tuple[float, float]:
        """Return the device's memory in use, by whomever, in MiB: before the studio, and now."""
        return self._before / 2**20, self._device.memory_used() / 2**20


class SettledMatter:
    """A ``DeviceMatter`` that runs as ever, and whose result is known already."""

    def __init__(self, matter: DeviceMatter, matting: Matting, workspace: Workspace) -> None:
        self._matter, self._matting = matter, matting
        device, stream = workspace.device, workspace.device.stream()
        self._matte = workspace.uploaded("settled matte", matting.matte, stream)
        device.synchronise(stream)

    def enqueue(self, photo: Buffer, stream: Stream) -> Buffer:
        """Let the matter do its work; return the matte that is known."""
        self._matter.enqueue(photo, stream)
        return self._matte

    def finish(self, faces: Sequence[Any], shape: tuple[int, ...]) -> Matting:
        """Let the matter finish; return what is known."""
        with suppress(SubjectError):  # what it sees means nothing
            self._matter.finish(faces, shape)
        return self._matting


def _encoded(image: Image, start: float) -> dict[str, float]:
    """Encode a picture that was begun at ``start``; return the seconds of that, and of it all."""
    composed = time.perf_counter()
    encode_image(image, "jpeg")
    end = time.perf_counter()
    return {"encode": end - composed, "end-to-end": end - start}


def _size(image: Image) -> str:
    height, width = image.shape[:2]
    return f"{width}x{height}"


def _matter(name: str, store: EngineStore, stand_in: Matting | None) -> Matter:
    matter = models.open_model(models.MATTES, name, store)
    if stand_in is None:
        return matter

    def matte(photo: Image, faces: Sequence[Any]) -> Matting:
        with suppress(SubjectError):  # what it sees means nothing
            matter.matte(photo, faces)
        return stand_in

    return SimpleNamespace(matte=matte)
