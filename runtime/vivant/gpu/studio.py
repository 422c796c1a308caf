"""The whole way on a device: what ``vivant.studio`` does, with the pictures on a GPU.

The photo goes up once and the finished picture comes down once. In between the host sees the
faces and the matte, by which it decides what the photo shows and where the visitor stands, and
the scores.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import numpy as np

from vivant import models
from vivant.artwork import Artwork, load_artwork
from vivant.backends.devices import open_device
from vivant.backends.workspace import Workspace
from vivant.casting import cast
from vivant.closing import Closing
from vivant.errors import DeviceError, ModelError, SubjectError, VivantError
from vivant.foreground import foreground_window
from vivant.gpu.composition import DevicePortrait
from vivant.gpu.faces import DeviceDetector
from vivant.gpu.foreground import enqueue_foreground
from vivant.gpu.inr import DeviceInr
from vivant.gpu.marks import Marks
from vivant.gpu.matte import DeviceMatter
from vivant.gpu.roles import DeviceHarmonizer, Region
from vivant.gpu.scene import Easel
from vivant.gpu.scorer import DeviceScorer
from vivant.gpu.selection import select
from vivant.portrait import Portrait, classify, prominent
from vivant.profiles import Profile, find_profile
from vivant.store import EngineStore, open_store
from vivant.studio import (
    WORKING_SIDE,
    Clock,
    Photo,
    Result,
    as_image,
    reduce_to,
    warnings_about,
)


class DeviceStudio(Closing):
    """Composes portraits into artworks on a device, as ``vivant.studio.Studio`` does on the CPU.

    Not for several threads at once: one studio composes one picture at a time.
    """

    def __init__(
        self,
        workspace: Workspace,
        detector: DeviceDetector,
        matter: DeviceMatter,
        harmonizer: DeviceHarmonizer,
        scorer: DeviceScorer,
        *,
        profile: Profile,
    ) -> None:
        """Take models opened in ``workspace``; what was opened is the caller's to close."""
        self.profile = profile
        self._workspace, self.device = workspace, workspace.device
        self._detector, self._matter = detector, matter
        self._harmonizer, self._scorer = harmonizer, scorer
        self._easel = Easel(workspace)
        self._main, self._side = self.device.stream(), self.device.stream()
        self._uploaded = self.device.event()
        self._marks = Marks(self.device)
        self._current: DevicePortrait | None = None
        self._held = ExitStack()

    @classmethod
    def open(
        cls,
        profile: str | None = None,
        *,
        store: EngineStore | str | os.PathLike[str] | None = None,
        device: str = "cuda",
        mapped: bool = False,
    ) -> DeviceStudio:
        """Open a device and, on it, the models of a profile.

        Args:
            profile: "deep" or "best"; without it, the best that can run here.
            store: the engine store, or its folder; without it, the default one.
            device: "cuda", "pycuda" or "host"; see ``vivant.backends.devices.open_device``.
            mapped: see ``Workspace``.

        Raises:
            DeviceError: the device is not here.
            ModelError: the profile is unknown, lacks something here, or has no networks.
            EngineError: an engine is altered or untrained, or there is no plan for this device.
            BackendError: the inference library is not installed.
        """
        store = store if isinstance(store, EngineStore) else open_store(store)
        chosen = find_profile(profile, store)
        if not models.find(models.MATTES, chosen.matte).needs_engine:
            raise ModelError(
                f"profile '{chosen.name}': runs on the CPU alone; choose deep or best, or no device"
            )
        with ExitStack() as held:
            opened = open_device(device)
            held.callback(opened.close)
            workspace = held.enter_context(Workspace(opened, mapped=mapped))
            detector = held.enter_context(DeviceDetector.open(store, workspace))
            matter = held.enter_context(DeviceMatter.open(store, chosen.matte, workspace))
            harmonizer = held.enter_context(DeviceInr.open(store, workspace))
            scorer = held.enter_context(DeviceScorer.open(store, workspace))
            studio = cls(workspace, detector, matter, harmonizer, scorer, profile=chosen)
            studio._held = held.pop_all()
            return studio

    def close(self) -> None:
        """Give back the models, the memory and the device that ``open`` has opened."""
        self._easel.close()
        self._held.close()

    @property
    def gpu_ms(self) -> Mapping[str, float]:
        """Milliseconds of the last picture on the device, by stage."""
        return self._marks.milliseconds()

    def warm_up(self) -> None:
        """Run every model once, so that the first visitor waits no longer than the next."""
        photo = np.full((1080, 1920, 3), 127, np.uint8)
        mask = np.zeros(photo.shape[:2], np.uint8)
        mask[270:, 640:1280] = 255
        with suppress(SubjectError):  # nobody is on it
            self.prepare(photo)
        with self._settled():
            composite = self._workspace.uploaded("warm up", photo, self._main)
            where = self._workspace.uploaded("warm up mask", mask, self._main)
            region = Region(640, 270, 640, 810)
            made = self._harmonizer.enqueue(composite, where, region, [1.0], self._main)
            self._scorer.enqueue([composite, *made], where, self._main)
            self.device.synchronise(self._main)
            self._harmonizer.check()
            self._scorer.finish()

    def prepare(self, photo: Photo) -> DevicePortrait:
        """Take a photo apart, once for any number of artworks.

        Args:
            photo: a file, its bytes, or uint8 [H,W,3] RGB; a longest side above
                ``WORKING_SIDE`` is reduced to it.

        Returns:
            The portrait, until the next photo is prepared.

        Raises:
            ImageError: it is no picture.
            SubjectError: it shows nobody.
        """
        clock, workspace, main, side = Clock(), self._workspace, self._main, self._side
        self._current = None
        self._marks.clear()
        with clock("decode"):
            image = reduce_to(as_image(photo), WORKING_SIDE)
        with self._settled():
            self.device.synchronise(main)  # the photo before may still be read
            with clock("upload"), self._marks("upload", main):
                frame = workspace.uploaded("photo", image, main)
            self.device.record(self._uploaded, main)
            self.device.wait(self._uploaded, side)
            with clock("matte"), self._marks("matte", main):
                matte = self._matter.enqueue(frame, main)
            with clock("faces"), self._marks("faces", side):  # meanwhile
                faces = prominent(self._detector.detect(frame, side))
            with clock("matte"):
                self.device.synchronise(main)
                matting = self._matter.finish(faces, image.shape)
            with clock("foreground"), self._marks("foreground", main):
                window = foreground_window(matting.matte)
                foreground = enqueue_foreground(workspace, frame, matte, window, main)
            shot = classify(matting.matte, faces)  # meanwhile
        host = Portrait(image, matting, image[:0], shot, clock.seconds)
        self._current = DevicePortrait(host, foreground, matte)
        return self._current

    def compose(
        self,
        portrait: DevicePortrait | Photo,
        artwork: Artwork | str | os.PathLike[str],
        *,
        slot: str | None = None,
        candidates: int = 3,
        alternatives: int = 1,
        budget_s: float = 10.0,
    ) -> Result:
        """Compose a portrait into an artwork; arguments and errors are those of ``Studio``.

        Raises:
            DeviceError: the portrait is not that of the last photo prepared.
        """
        if not isinstance(portrait, DevicePortrait):
            portrait = self.prepare(portrait)
        elif portrait is not self._current:
            raise DeviceError("portrait: another photo was prepared since; prepare it again")
        clock, main, easel = Clock(portrait.host.timings), self._main, self._easel
        with self._settled():
            with clock("artwork"):
                artwork = artwork if isinstance(artwork, Artwork) else load_artwork(Path(artwork))
                scene = easel.empty(artwork, main)
            with clock("placement"):
                parts = cast(portrait.host, artwork, slot=slot, alternatives=alternatives)
            for part in parts:
                with clock("composite"), self._marks("composite", main):
                    composites = easel.lay(scene, part, portrait, main)
                with clock("harmonize"), self._marks("harmonize", main):
                    selection = select(
                        self._workspace,
                        composites,
                        self._harmonizer,
                        self._scorer,
                        strengths=self.profile.strengths[:candidates],
                        budget_s=budget_s,
                        stream=main,
                    )
                with clock("composite"), self._marks("composite", main):
                    scene = easel.paint(scene, part, composites, selection, main)
            with clock("download"), self._marks("download", main):
                image, composite, mask = easel.download(scene, main)
        self.device.synchronise(main)  # the last mark
        return Result(
            image=image,
            mask=mask,
            composite=composite,
            figures=scene.figures,
            profile=self.profile.name,
            timings=clock.seconds,
            warnings=warnings_about(portrait.host, parts, scene.figures),
        )

    @contextmanager
    def _settled(self) -> Iterator[None]:
        """Leave no work behind where something fails, for its memory is the next picture's."""
        try:
            yield
        except BaseException:
            for stream in (self._main, self._side):
                with suppress(VivantError):
                    self.device.synchronise(stream)
            raise
