"""BargainNet on a device; what it scores is told in ``vivant.scorers.bargainnet``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vivant.backends import open_device_engine
from vivant.backends.device import Buffer, DeviceEngine, Pinned, Shape, Stream
from vivant.backends.workspace import Workspace
from vivant.closing import Closing
from vivant.gpu import kernels
from vivant.gpu.kernels import Taps
from vivant.gpu.tables import antialiased_bilinear
from vivant.scorers.bargainnet import SIDE, check_regions
from vivant.store import EngineStore


class DeviceScorer(Closing):
    """``BargainNetScorer`` for composites that lie on a device; one a workspace.

    Its memory is the workspace's, named "scorer...".
    """

    def __init__(self, workspace: Workspace, engine: DeviceEngine) -> None:
        self._workspace, self._engine = workspace, engine
        self._shape: Shape = ()
        self._taps: tuple[Taps, ...] = ()  # for pictures of that shape
        self._found: tuple[Pinned, ...] = ()

    @classmethod
    def open(cls, store: EngineStore, workspace: Workspace) -> DeviceScorer:
        """Open the engine ``bargainnet`` of ``store`` on the workspace's device.

        Raises:
            EngineError: the engine is missing, altered, untrained or cannot be opened.
            BackendError: the inference library is not installed.
        """
        folder = store.engine("bargainnet")
        return cls(workspace, open_device_engine(folder, "model", workspace.device))

    def close(self) -> None:
        """Close the engine; the memory stays the workspace's."""
        self._engine.close()

    def enqueue(self, composites: Sequence[Buffer], mask: Buffer, stream: Stream) -> None:
        """Put the scoring of pictures on ``stream``, in one run.

        Not again before ``finish``.

        Args:
            composites: uint8 [H,W,3] RGB, one or more.
            mask: uint8 [H,W], of all of them.
            stream: where the work goes.
        """
        workspace, device, count = self._workspace, self._workspace.device, len(composites)
        image = workspace.buffer("scorer.image", (count, SIDE, SIDE, 3))
        foreground = workspace.buffer("scorer.foreground", (count, SIDE, SIDE))
        background = workspace.buffer("scorer.background", (count, SIDE, SIDE))
        score = workspace.buffer("scorer.score", (count,), np.float32)
        self._prepare(mask.shape, stream)
        for index, composite in enumerate(composites):
            self._resize(composite, image[index], stream)
        self._resize(mask, foreground[0], stream)
        # But for rounding, the rest of the mask resized is the rest of the resized mask.
        kernels.invert(device, foreground[0], background[0], stream)
        for index in range(1, count):
            device.copy(foreground[0], foreground[index], stream)
            device.copy(background[0], background[index], stream)
        inputs = {"image": image, "foreground": foreground, "background": background}
        self._engine.bind({**inputs, "score": score})
        self._engine.enqueue(stream)
        self._found = (
            workspace.pinned("scorer.foreground", (SIDE, SIDE)),
            workspace.pinned("scorer.score", (count,), np.float32),
        )
        for part, found in zip((foreground[0], score), self._found, strict=True):
            device.download(part, found, stream)

    def finish(self) -> tuple[float, ...]:
        """Return one score a picture, 0 .. 1, once the stream was synchronised.

        Raises:
            ImageError: the mask marks no foreground, or leaves no background.
        """
        foreground, scores = (found.array for found in self._found)
        check_regions(foreground, 255 - foreground)
        return tuple(scores.tolist())

    def _resize(self, source: Buffer, target: Buffer, stream: Stream) -> None:
        """Resize to the network's side as Pillow does, which rounds after each axis."""
        device, (every_row, columns, rows, every_column) = self._workspace.device, self._taps
        narrow = self._workspace.buffer("scorer.narrow", (source.shape[0], SIDE, *source.shape[2:]))
        kernels.resample(device, source, narrow, every_row, columns, stream)
        kernels.resample(device, narrow, target, rows, every_column, stream)

    def _prepare(self, shape: Shape, stream: Stream) -> None:
        """Have the tables for pictures of this size on the device."""
        if self._shape != shape:
            height, width = shape
            sizes = [(height, height), (width, SIDE), (height, SIDE), (SIDE, SIDE)]
            wanted = [antialiased_bilinear(*size) for size in sizes]
            self._taps = kernels.upload_tables(self._workspace, "scorer.tables", wanted, stream)
            self._shape = shape
