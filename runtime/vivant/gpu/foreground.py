"""``vivant.foreground.estimate_foreground`` on a device: the same steps, the same roundings."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TypeAlias

import numpy as np

from vivant.backends.device import Buffer, Shape, Stream
from vivant.backends.workspace import Workspace
from vivant.foreground import PASSES, reduced_shape, solved_shape
from vivant.gpu import kernels, tables
from vivant.gpu.kernels import Taps
from vivant.gpu.tables import Table

_Resize: TypeAlias = "str | tuple[Shape, Shape]"
"""A name, or the heights and widths before and after."""


def enqueue_foreground(
    workspace: Workspace,
    photo: Buffer,
    matte: Buffer,
    window: tuple[slice, slice] | None,
    stream: Stream,
) -> Buffer:
    """Put on ``stream`` the colours that the foreground has on its own.

    Not twice without a ``synchronise``.

    Args:
        workspace: for memory, named "foreground...".
        photo: uint8 [H,W,3] RGB; only read.
        matte: uint8 [H,W]; only read.
        window: rows and columns of everything not transparent, from
            ``vivant.foreground.foreground_window``; None where there is nothing.
        stream: in whose order the work is done.

    Returns:
        uint8 [H,W,3] RGB, the photo's colours outside the window; the next call writes over it.
    """
    device = workspace.device
    found = workspace.buffer("foreground.found", photo.shape)
    device.copy(photo, found, stream)
    if window is None:
        return found
    y, x = (line.start for line in window)
    shape = tuple(line.stop - line.start for line in window)
    solver = _Solver(workspace, (y, x), shape, stream)
    fore, back = solver.solve(photo, matte)
    kernels.unmix(device, photo, matte, fore, back, x, y, found, stream)
    return found


class _Solver:
    """Smooth colours of both sides of the window at ``origin`` of ``shape``, rows first."""

    def __init__(self, workspace: Workspace, origin: Shape, shape: Shape, stream: Stream) -> None:
        self._workspace, self._device, self._stream = workspace, workspace.device, stream
        self._shape, self._small = shape, solved_shape(*shape)
        self._passes = [(reduced_shape(*self._small, by), box) for by, box in PASSES]
        self._taps = self._upload(origin)

    def solve(self, photo: Buffer, matte: Buffer) -> tuple[Buffer, Buffer]:
        """Return smooth colours of foreground and background, uint8, of the window's size."""
        # A matte too faint for bytes must be none: far from the foreground it would outweigh.
        small_photo = self._resized("photo", photo, "reduced", self._small, np.uint8)
        small_matte = self._resized("matte", matte, "reduced", self._small, np.uint8)
        image = self._resized("image", small_photo, "same", self._small)
        alpha = self._resized("alpha", small_matte, "unit", self._small)
        fore, back = (
            self._resized(f"{name}.bytes", layer, "same", self._small, np.uint8)
            for name, layer in zip(("fore", "back"), self._smooth(image, alpha), strict=True)
        )
        return (
            self._resized("fore.large", fore, "enlarged", self._shape, np.uint8),
            self._resized("back.large", back, "enlarged", self._shape, np.uint8),
        )

    def _smooth(self, image: Buffer, alpha: Buffer) -> tuple[Buffer, Buffer]:
        """Return smooth colours of foreground and background, float32 [h,w,3] 0..255, reduced."""
        device, stream = self._device, self._stream
        mean, scratch = self._room("mean", (4,)), self._room("scratch", (kernels.SCRATCH,))
        kernels.mean_colour(device, image, alpha, scratch, mean, stream)
        fore, back = self._room("fore", image.shape), image
        kernels.fade(device, image, alpha, mean, fore, stream)
        for i, (shape, box) in enumerate(self._passes):
            now, weight, fore, back = (
                self._fitted(f"{name}.{i}", layer, shape)
                for name, layer in zip(
                    ("image", "alpha", "fore", "back"), (image, alpha, fore, back), strict=True
                )
            )
            fore, back = self._means(str(i), fore, back, weight, box)
            kernels.correct(device, weight, now, fore, back, stream)
        return self._means("last", fore, back, alpha, self._passes[-1][1])

    def _resized(
        self,
        name: str,
        source: Buffer,
        how: _Resize,
        shape: Shape,
        dtype: type[np.generic] = np.float32,
    ) -> Buffer:
        """Return ``source`` at another size, as the table ``how`` has it."""
        target = self._room(name, (*shape, *source.shape[2:]), dtype)
        kernels.resample(self._device, source, target, *self._taps[how], self._stream)
        return target

    def _fitted(self, name: str, layer: Buffer, shape: Shape) -> Buffer:
        before = layer.shape[:2]
        return layer if before == shape else self._resized(name, layer, (before, shape), shape)

    def _means(
        self, name: str, fore: Buffer, back: Buffer, weight: Buffer, box: int
    ) -> tuple[Buffer, Buffer]:
        """Return the mean around each pixel of the one by ``weight``, of the other by the rest."""
        found = (
            self._room(f"fore.{name}.mean", fore.shape),
            self._room(f"back.{name}.mean", back.shape),
        )
        for colours, target, inverse in zip((fore, back), found, (False, True), strict=True):
            kernels.weighted_mean(self._device, colours, weight, inverse, box, target, self._stream)
        return found

    def _room(self, name: str, shape: Shape, dtype: type[np.generic] = np.float32) -> Buffer:
        return self._workspace.buffer(f"foreground.{name}", shape, dtype)

    def _upload(self, origin: Shape) -> Mapping[_Resize, tuple[Taps, Taps]]:
        """Put the tables of all resizes on the device."""
        small, shapes = self._small, [shape for shape, _ in self._passes]
        rows, columns = (
            tables.opencv_area(*lengths).moved(start)
            for *lengths, start in zip(self._shape, small, origin, strict=True)
        )
        down, along = (tables.identity(side) for side in small)
        found: dict[_Resize, tuple[Table, Table]] = {
            "reduced": (rows, columns),
            "same": (down, along),
            "unit": (Table(down.first, down.weights / np.float32(255)), along),  # to 0..1
            "enlarged": _resizing(small, self._shape),
        }
        steps = {*((small, to) for to in shapes), *pairwise(shapes)}
        found |= {(a, b): _resizing(a, b) for a, b in steps if a != b}
        pairs = [table for pair in found.values() for table in pair]
        taps = kernels.upload_tables(self._workspace, "foreground.tables", pairs, self._stream)
        return dict(zip(found, zip(taps[::2], taps[1::2], strict=True), strict=True))


def _resizing(before: Shape, after: Shape) -> tuple[Table, Table]:
    """Return the tables for rows and columns, by OpenCV's means for fewer or for more pixels."""
    rows, columns = (
        (tables.opencv_linear if n_in < n_out else tables.opencv_area)(n_in, n_out)
        for n_in, n_out in zip(before, after, strict=True)
    )
    return rows, columns
