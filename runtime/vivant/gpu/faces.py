"""Faces on a device: pictures are reduced and networks run there, boxes are chosen on the host."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vivant.backends import open_device_engine
from vivant.backends.device import Buffer, DeviceEngine, Shape, Stream
from vivant.backends.workspace import Workspace
from vivant.closing import Closing
from vivant.faces.mtcnn import BATCH, Floats, Heads, Indices, Judge, find_faces
from vivant.gpu import kernels
from vivant.roles import MIN_FACE, Face
from vivant.store import EngineStore

_ALIGNMENT = 256  # bytes: what CUDA's allocations have, and TensorRT asks for
_LEAST_BATCH = 16
_LEAST_BYTES = 1 << 16  # fetched: as much as a full batch gives


class DeviceDetector(Closing):
    """``MtcnnDetector`` for photos that lie on a device; one a workspace.

    Its memory is the workspace's, named "faces...".
    """

    def __init__(self, engines: Mapping[str, DeviceEngine], workspace: Workspace) -> None:
        """Take the engines "pnet", "rnet" and "onet"."""
        self._engines, self._workspace = engines, workspace

    @classmethod
    def open(cls, store: EngineStore, workspace: Workspace) -> DeviceDetector:
        """Open the engine ``mtcnn`` of ``store`` on the workspace's device.

        Args:
            store: where it is looked for.
            workspace: for its memory.

        Raises:
            EngineError: the engine is missing, altered or cannot be opened.
            BackendError: the inference library is not installed.
        """
        folder = store.engine("mtcnn")
        names = ("pnet", "rnet", "onet")
        engines = {name: open_device_engine(folder, name, workspace.device) for name in names}
        return cls(engines, workspace)

    def close(self) -> None:
        """Close the three engines; the memory stays the workspace's."""
        for engine in self._engines.values():
            engine.close()

    def detect(
        self, photo: Buffer, stream: Stream, *, min_face: int = MIN_FACE
    ) -> tuple[Face, ...]:
        """Return every face that passes the three networks, largest box first.

        Waits for ``stream`` once for each network.

        Args:
            photo: uint8 [H,W,3] RGB, on the device; one with a side below ``min_face`` shows no
                face.
            stream: in whose order the work is done.
            min_face: side in pixels of the smallest face looked for, 1 or more. Half of it
                takes four times as long.
        """
        return find_faces(_DeviceNetworks(self._engines, self._workspace, photo, stream), min_face)


class _DeviceNetworks:
    """Satisfies ``vivant.faces.mtcnn.Networks`` with engines that take buffers."""

    def __init__(
        self,
        engines: Mapping[str, DeviceEngine],
        workspace: Workspace,
        photo: Buffer,
        stream: Stream,
    ) -> None:
        self._engines, self._workspace = engines, workspace
        self._photo, self._stream = photo, stream
        self.height, self.width = photo.shape[:2]

    def propose(self, sizes: Sequence[tuple[int, int]]) -> Iterator[Heads]:
        """Enqueue all sizes, then wait once."""
        grids = [pnet_grid(*size) for size in sizes]
        shapes = [(1, *grid, depth) for grid in grids for depth in (1, 4)]
        outputs = _Outputs(self._workspace, "pnet", shapes)
        whole = self._boxes("pnet", np.array([[0, 0, self.width, self.height]]))
        largest = max(height * width for height, width in sizes)
        pictures = self._workspace.buffer("faces.picture", (largest, 3), np.float32)
        engine = self._engines["pnet"]
        for i, size in enumerate(sizes):
            # One picture's memory for all: the stream reads it before it writes the next.
            picture = pictures.part(0, (1, *size, 3))
            kernels.pool(self._workspace.device, self._photo, whole, picture, self._stream)
            probability, regression = outputs.buffers[2 * i : 2 * i + 2]
            engine.bind({"image": picture, "probability": probability, "regression": regression})
            engine.enqueue(self._stream)
        found = iter(outputs.fetched(self._stream))
        for scores, offsets in zip(found, found, strict=True):
            yield {"probability": scores[0, :, :, 0], "regression": offsets[0]}

    def judge(self, judge: Judge, boxes: Indices) -> Heads:
        """Enqueue all batches, then wait once."""
        # Libraries tune themselves to every shape they meet: there are few powers of two.
        count = len(boxes)
        batch = min(max(_roomy(count), _LEAST_BATCH), BATCH)
        total = -(-count // batch) * batch
        shapes = [(total, depth) for depth in judge.heads.values()]
        outputs = _Outputs(self._workspace, judge.graph, shapes)
        places = self._boxes(judge.graph, np.resize(boxes, (total, 4)))
        crops = self._workspace.buffer(
            "faces.picture", (batch, judge.side, judge.side, 3), np.float32
        )
        engine = self._engines[judge.graph]
        for first in range(0, total, batch):
            some = _rows(places, first, batch)
            kernels.pool(self._workspace.device, self._photo, some, crops, self._stream)
            heads = zip(judge.heads, outputs.buffers, strict=True)
            engine.bind(
                {"image": crops, **{name: _rows(head, first, batch) for name, head in heads}}
            )
            engine.enqueue(self._stream)
        found = outputs.fetched(self._stream)
        return {name: head[:count] for name, head in zip(judge.heads, found, strict=True)}

    def _boxes(self, name: str, boxes: Indices) -> Buffer:
        """Put boxes [N,4] on the device, int32."""
        held, name, count = self._workspace, f"faces.{name}.boxes", len(boxes)
        staging = held.pinned(name, (max(_roomy(count), BATCH), 4), np.int32)
        staging.array[:count] = boxes
        target = held.buffer(name, (count, 4), np.int32)
        held.device.upload(staging, target, self._stream)
        return target


class _Outputs:
    """What the networks write, float32: several arrays in one piece of memory, fetched at once."""

    def __init__(self, workspace: Workspace, name: str, shapes: Sequence[Shape]) -> None:
        sizes = [-(-math.prod(shape) * 4 // _ALIGNMENT) * _ALIGNMENT for shape in shapes]
        self._offsets = np.cumsum([0, *sizes]).tolist()
        self._workspace, self._shapes = workspace, shapes
        self._name = f"faces.{name}.outputs"
        self._whole = workspace.buffer(self._name, (self._offsets[-1],))
        self.buffers = [
            self._whole.part(offset, shape, np.float32)
            for offset, shape in zip(self._offsets, shapes, strict=False)
        ]

    def fetched(self, stream: Stream) -> list[Floats]:
        """Wait for ``stream``; return the arrays, in memory that the next outputs write over."""
        size = max(_roomy(self._whole.nbytes), _LEAST_BYTES)
        staging = self._workspace.pinned(self._name, (size,))
        self._workspace.device.download(self._whole, staging, stream)
        self._workspace.device.synchronise(stream)
        memory = staging.array
        return [
            memory[offset : offset + math.prod(shape) * 4].view(np.float32).reshape(shape)
            for offset, shape in zip(self._offsets, self._shapes, strict=False)
        ]


def pnet_grid(height: int, width: int) -> tuple[int, int]:
    """Return rows and columns of P-Net's outputs for a picture of at least 12x12 pixels.

    Three convolutions of 3x3 take two pixels each; after the first, pairs become one, the last
    of an odd number too.
    """
    rows, columns = (-(-(side - 2) // 2) - 4 for side in (height, width))
    return rows, columns


def _rows(array: Buffer, first: int, count: int) -> Buffer:
    """Return entries along the first axis."""
    row = array.nbytes // array.shape[0]
    return array.part(first * row, (count, *array.shape[1:]))


def _roomy(count: int) -> int:
    """Return the next power of two: host memory is made anew where its size changes."""
    return 1 << max(count - 1, 0).bit_length()
