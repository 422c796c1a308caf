"""An artwork on a device while figures are painted into it: ``vivant.scene`` for buffers."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vivant.artwork import Artwork
from vivant.backends.device import Buffer, Device, Pinned, Shape, Stream
from vivant.backends.workspace import Workspace
from vivant.casting import Part
from vivant.closing import Closing
from vivant.gpu import kernels
from vivant.gpu.composition import CutOut, DevicePortrait, enqueue_cut_out, enqueue_lay
from vivant.gpu.roles import Region
from vivant.placement import Placement
from vivant.roles import Image, Matte
from vivant.scene import Figure
from vivant.selection import Selection

KEPT_ARTWORKS = 4
"""How many artworks' pictures and occluders stay on a device: each 5 to 30 MB at 1440 rows."""


@dataclass(frozen=True)
class DeviceComposite:
    """An artwork with a subject in it, before harmonizing.

    Attributes:
        name: of the slot that the subject stands in.
        image: uint8 [H,W,3] RGB.
        mask: uint8 [H,W], how much of each pixel is the subject's.
        cut: the subject.
        occluder: uint8 [H,W,4] RGBA, what stands in front of it, or None.
    """

    name: str
    image: Buffer
    mask: Buffer
    cut: CutOut
    occluder: Buffer | None

    @property
    def region(self) -> Region:
        """Outside it the mask is 0."""
        return self.cut.region


@dataclass(frozen=True)
class DeviceScene:
    """What is painted so far, in memory that the next scene is painted over.

    Attributes:
        artwork: that the figures are painted into.
        blank: uint8 [H,W], zeros.
        image: uint8 [H,W,3] RGB, the figures harmonized.
        composite: the same before harmonizing.
        mask: uint8 [H,W], where figures are visible.
        figures: in the order of painting.
    """

    artwork: Artwork
    blank: Buffer
    image: Buffer
    composite: Buffer
    mask: Buffer
    figures: tuple[Figure, ...] = ()


class Easel(Closing):
    """Paints one scene at a time, and keeps the last few artworks' pictures for the next."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._device = workspace, workspace.device
        self._pictures = _Pictures(workspace.device)
        self._zeros: Buffer | None = None

    def empty(self, artwork: Artwork, stream: Stream) -> DeviceScene:
        """Return the artwork with nobody in it.

        Raises:
            ImageError: its picture was damaged or removed since it was loaded.
        """
        stored = artwork.picture()
        picture = self._pictures.held(artwork, None, stored, stream)
        blank = self._blank(stored.shape[:2], stream)
        return DeviceScene(artwork, blank, picture, picture, blank)

    def _blank(self, shape: Shape, stream: Stream) -> Buffer:
        size = math.prod(shape)
        if self._zeros is None or self._zeros.nbytes < size:
            self._zeros = self._workspace.uploaded("scene.zeros", np.zeros(size, np.uint8), stream)
        return self._zeros.part(0, shape)

    def lay(
        self, scene: DeviceScene, part: Part, portrait: DevicePortrait, stream: Stream
    ) -> list[DeviceComposite]:
        """Put ``part`` before what is painted so far, once a placement.

        Between two calls ``stream`` has to be synchronised, as selecting does.

        Args:
            scene: what is painted so far.
            part: one of those that the portrait was cast into.
            portrait: of everybody; of a part taken out of it the matte is uploaded here.
            stream: where the work goes.
        """
        # Painting the part before may still be under way, with what was uploaded for it.
        turn = f"part{len(scene.figures) % 2}"
        if part.portrait.matting is not portrait.host.matting:
            own = self._workspace.uploaded(f"{turn}.matte", part.portrait.matting.matte, stream)
            portrait = DevicePortrait(part.portrait, portrait.foreground, own)
        return [
            self._laid(scene, f"{turn}.{index}", portrait, placement, stream)
            for index, placement in enumerate(part.placements)
        ]

    def _laid(
        self,
        scene: DeviceScene,
        name: str,
        portrait: DevicePortrait,
        placement: Placement,
        stream: Stream,
    ) -> DeviceComposite:
        artwork, workspace, shape = scene.artwork, self._workspace, scene.image.shape
        stored, occluder = artwork.occluder(placement.slot), None
        if stored is not None:
            occluder = self._pictures.held(artwork, placement.slot.occluder, stored, stream)
        cut = enqueue_cut_out(workspace, name, portrait, placement, shape, stored, stream)
        image = workspace.buffer(f"{name}.image", shape)
        mask = workspace.buffer(f"{name}.mask", shape[:2])
        self._device.copy(scene.image, image, stream)
        self._device.copy(scene.blank, mask, stream)
        enqueue_lay(workspace, cut, image, mask, occluder, stream)
        return DeviceComposite(placement.slot.name, image, mask, cut, occluder)

    def paint(
        self,
        scene: DeviceScene,
        part: Part,
        composites: Sequence[DeviceComposite],
        selection: Selection[Buffer],
        stream: Stream,
    ) -> DeviceScene:
        """Return the scene with the best of the candidates for ``part`` in it.

        Args:
            scene: that the composites were made in.
            part: the figure.
            composites: of ``lay``.
            selection: from these composites.
            stream: where the work goes.
        """
        chosen = selection.best.placement
        placement, laid, workspace = part.placements[chosen], composites[chosen], self._workspace
        composite = workspace.buffer("scene.composite", scene.image.shape)
        mask = workspace.buffer(f"scene.mask{len(scene.figures) % 2}", scene.mask.shape)
        if not scene.figures:  # what was laid in is already the composite
            self._device.copy(laid.image, composite, stream)
        else:  # the mask gets what it has
            enqueue_lay(workspace, laid.cut, composite, laid.mask, laid.occluder, stream)
        kernels.over(self._device, laid.mask, scene.mask, mask, stream)
        figure = Figure(part.portrait.shot, placement, selection.best, selection.candidates)
        return DeviceScene(
            artwork=scene.artwork,
            blank=scene.blank,
            image=selection.image,
            composite=composite,
            mask=mask,
            figures=(*scene.figures, figure),
        )

    def download(self, scene: DeviceScene, stream: Stream) -> tuple[Image, Image, Matte]:
        """Return image, composite and mask of a scene on the host, once all is done."""
        image, composite, mask = (
            self._fetched(name, buffer, stream)
            for name, buffer in (
                ("scene.image", scene.image),
                ("scene.composite", scene.composite),
                ("scene.mask", scene.mask),
            )
        )
        self._device.synchronise(stream)
        return image.array.copy(), composite.array.copy(), mask.array.copy()

    def _fetched(self, name: str, buffer: Buffer, stream: Stream) -> Pinned:
        host = self._workspace.pinned(name, buffer.shape)
        self._device.download(buffer, host, stream)
        return host

    def close(self) -> None:
        """Free the artworks' pictures."""
        self._pictures.close()


class _Pictures(Closing):
    """Arrays of the artworks used last, on a device."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._artworks: OrderedDict[Path, dict[Path | None, _Held]] = OrderedDict()

    def held(
        self, artwork: Artwork, key: Path | None, array: NDArray[np.uint8], stream: Stream
    ) -> Buffer:
        """Return where ``array`` is on the device; another array of one key replaces the last.

        Args:
            artwork: that it belongs to.
            key: the occluder's path; None for the artwork's picture.
            array: as the artwork gives it, which is the same one until its file changes.
            stream: on which it is uploaded and used.
        """
        held = self._artworks.setdefault(artwork.folder, {})
        self._artworks.move_to_end(artwork.folder)
        while len(self._artworks) > KEPT_ARTWORKS:
            _, oldest = self._artworks.popitem(last=False)
            self._free(oldest)
        if key not in held or held[key].array is not array:
            if key in held:
                self._device.free(held.pop(key).buffer)
            held[key] = _Held(array, self._uploaded(array, stream))
        return held[key].buffer

    def _uploaded(self, array: NDArray[np.uint8], stream: Stream) -> Buffer:
        staging = self._device.pinned(array.shape)
        staging.array[...] = array
        target = self._device.allocate(array.shape)
        self._device.upload(staging, target, stream)
        self._device.free(staging)
        return target

    def _free(self, held: dict[Path | None, _Held]) -> None:
        while held:
            self._device.free(held.popitem()[1].buffer)

    def close(self) -> None:
        """Free everything."""
        while self._artworks:
            self._free(self._artworks.popitem()[1])


class _Held(NamedTuple):
    array: NDArray[np.uint8]
    buffer: Buffer
