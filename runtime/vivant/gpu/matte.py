"""The matte on a device: resized, inferred, resized back and stretched without leaving it.

What is refused and how sure the matter is, is that of ``vivant.mattes.rmbg``; it is decided on
the host, from four numbers and the finished matte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from vivant.backends import open_device_engine
from vivant.backends.device import Buffer, DeviceEngine, Shape, Stream
from vivant.backends.workspace import Workspace
from vivant.closing import Closing
from vivant.gpu import kernels, tables
from vivant.gpu.kernels import Taps
from vivant.gpu.tables import Table
from vivant.mattes.rmbg import LEAST_CONTRAST, Pipe, check, coverage, covered, read_pipe
from vivant.resampling import BILINEAR
from vivant.roles import Face, Matting
from vivant.store import EngineStore

_Call: TypeAlias = "tuple[Shape, Taps, Taps]"
"""A call of ``kernels.resample``: the height and width after it, its rows and columns."""

_TABLES: Mapping[str, Callable[[int, int], Table]] = {
    BILINEAR: tables.bilinear,
    "bilinear-antialiased": tables.antialiased_bilinear,
    "bicubic-antialiased": tables.antialiased_bicubic,
}
"""By the names of ``vivant.resampling``."""


class DeviceMatter(Closing):
    """``RmbgMatter`` for photos that lie on a device; one a workspace.

    Its memory is the workspace's, named "matte...".
    """

    def __init__(self, engine: DeviceEngine, pipe: Pipe, workspace: Workspace) -> None:
        self._engine, self._pipe, self._workspace = engine, pipe, workspace
        self._shape: Shape = ()
        self._down: Sequence[_Call] = ()  # for photos of that height and width
        self._back: Sequence[_Call] = ()
        self._fixed: Sequence[Buffer] = ()

    @classmethod
    def open(
        cls, store: EngineStore, model: str, workspace: Workspace, *, size: int | None = None
    ) -> DeviceMatter:
        """Open the engine of ``model`` on the workspace's device.

        Args:
            store: where it is looked for.
            model: such as "rmbg-1.4".
            workspace: for its memory.
            size: side of the network's input in pixels, where it is not the model's own.

        Raises:
            EngineError: the engine is missing, altered, untrained or cannot be opened.
            BackendError: the inference library is not installed.
        """
        folder = store.engine(model, size=size)
        pipe = read_pipe(folder)
        return cls(open_device_engine(folder, "model", workspace.device), pipe, workspace)

    def close(self) -> None:
        """Close the engine; the memory stays the workspace's."""
        self._engine.close()

    def enqueue(self, photo: Buffer, stream: Stream) -> Buffer:
        """Put the matting of ``photo`` on ``stream``; once it is synchronised, call ``finish``.

        Not twice without that: the host's copies would be written over.

        Args:
            photo: uint8 [H,W,3] RGB, on the device.
            stream: in whose order the work is done.

        Returns:
            The matte, uint8 [H,W], on the device; it is the next call's to write over.
        """
        held, device, side = self._workspace, self._workspace.device, self._pipe.size
        self._prepare(photo.shape[:2], stream)
        small = held.buffer("matte.small", (1, side, side, 3))
        alpha = held.buffer("matte.alpha", (1, side, side), np.float32)
        matte = held.buffer("matte.matte", photo.shape[:2])
        if self._pipe.resize == BILINEAR:  # to the bytes that the host's engine is given
            rows, columns = self._fixed
            kernels.resample_fixed(device, photo, small[0], rows, columns, stream)
        else:
            self._resize(photo, small[0], self._down, stream)
        self._engine.bind({"image": small, "alpha": alpha})
        self._engine.enqueue(stream)
        self._measure("alpha", alpha[0], stream)
        if self._pipe.min_max:
            full = held.buffer("matte.full", matte.shape, np.float32)
            self._resize(alpha[0], full, self._back, stream)
            ends = self._measure("full", full, stream)
            kernels.stretch(device, full, ends, LEAST_CONTRAST, matte, stream)
        else:
            levels = held.buffer("matte.levels", (side, side))
            kernels.to_bytes(device, alpha[0], levels, stream)
            self._resize(levels, matte, self._back, stream)
        device.download(matte, held.pinned("matte.matte", matte.shape), stream)
        return matte

    def finish(self, faces: Sequence[Face], shape: Shape) -> Matting:
        """Return what ``enqueue`` began, after its stream was synchronised.

        Args:
            faces: of the people who should stand out; without any, nobody is looked for.
            shape: of the photo, height first.

        Raises:
            SubjectError: nothing stands out, or none of the faces does, or the whole frame does.
            EngineError: the engine does not return numbers.
        """
        low, high, sure, total = self._measured("alpha")
        check(low, high)
        matte = self._workspace.pinned("matte.matte", shape[:2]).array.copy()
        black, white = 0.0, 1.0
        if self._pipe.min_max:
            black, white = self._measured("full")[:2]
            white = max(white, black + LEAST_CONTRAST)
        # The alpha stayed on the device; the matte's levels tell what it was.
        alphas = covered(matte, faces, shape, low=black, step=(white - black) / 255)
        return Matting(matte, sure / total * coverage(alphas))

    def _prepare(self, shape: Shape, stream: Stream) -> None:
        """Have the tables for photos of this height and width on the device."""
        if self._shape == shape:
            return
        square = self._pipe.size, self._pipe.size
        down = _calls(self._pipe.resize, shape, square)
        back = _calls(self._pipe.resize_back, square, shape)
        self._fixed = kernels.upload_fixed(self._workspace, "matte.fixed", shape, square, stream)
        both = [table for _, *pair in (*down, *back) for table in pair]
        taps = iter(kernels.upload_tables(self._workspace, "matte.tables", both, stream))
        self._down = [(after, next(taps), next(taps)) for after, *_ in down]
        self._back = [(after, next(taps), next(taps)) for after, *_ in back]
        self._shape = shape

    def _resize(
        self, source: Buffer, target: Buffer, calls: Sequence[_Call], stream: Stream
    ) -> None:
        held, channels = self._workspace, source.shape[2:]
        for shape, rows, columns in calls[:-1]:
            between = held.buffer("matte.between", (*shape, *channels), source.dtype)
            kernels.resample(held.device, source, between, rows, columns, stream)
            source = between
        kernels.resample(held.device, source, target, *calls[-1][1:], stream)

    def _measure(self, name: str, alpha: Buffer, stream: Stream) -> Buffer:
        """Put the four moments of ``alpha`` on the device, and on the way to the host."""
        held = self._workspace
        scratch = held.buffer("matte.scratch", (kernels.SCRATCH,), np.float32)
        found = held.buffer(f"matte.moments.{name}", (4,), np.float32)
        kernels.moments(held.device, alpha, scratch, found, stream)
        held.device.download(found, held.pinned(f"matte.moments.{name}", (4,), np.float32), stream)
        return found

    def _measured(self, name: str) -> tuple[float, float, float, float]:
        pinned = self._workspace.pinned(f"matte.moments.{name}", (4,), np.float32)
        low, high, sure, total = pinned.array.tolist()
        return low, high, sure, total


def _calls(method: str, before: Shape, after: Shape) -> list[tuple[Shape, Table, Table]]:
    """Return the calls of ``kernels.resample`` that resize by a method of ``resampling``."""
    rows, columns = (_TABLES[method](*lengths) for lengths in zip(before, after, strict=True))
    if method == BILINEAR:
        return [(after, rows, columns)]
    # Pillow resizes the columns first, and rounds in between.
    between = before[0], after[1]
    return [
        (between, tables.identity(before[0]), columns),
        (after, rows, tables.identity(after[1])),
    ]
