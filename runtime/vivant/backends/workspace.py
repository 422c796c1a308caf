"""Memory of a device that is kept from picture to picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vivant.backends.device import Buffer, Device, Pinned, Shape, Stream
from vivant.closing import Closing


class Workspace(Closing):
    """Buffers by name. One of a name is made once, and again only where it has to be larger.

    Allocating stops a GPU; pictures of one size, as a camera gives them, allocate once.

    Attributes:
        device: whose memory it is.
        mapped: what is uploaded stays in host memory, which the device reads as its own. It
            spares the copies where both share one memory (Jetson), and is slow elsewhere.
    """

    def __init__(self, device: Device, *, mapped: bool = False) -> None:
        self.device, self.mapped = device, mapped
        self._buffers: dict[str, Buffer] = {}
        self._pinned: dict[str, tuple[tuple[Shape, np.dtype[Any]], Pinned]] = {}

    def buffer(self, name: str, shape: Shape, dtype: DTypeLike = np.uint8) -> Buffer:
        """Return memory for an array; what the last one of this name held is undefined."""
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        held = self._buffers.get(name)
        if held is None or held.nbytes < nbytes:
            if held is not None:
                self.device.free(self._buffers.pop(name))
            held = self._buffers[name] = self.device.allocate((max(nbytes, 1),))
        return held.part(0, shape, dtype)

    def pinned(self, name: str, shape: Shape, dtype: DTypeLike = np.uint8) -> Pinned:
        """Return host memory of exactly this shape and dtype, for copies."""
        what = tuple(shape), np.dtype(dtype)
        held = self._pinned.get(name)
        if held is None or held[0] != what:
            if held is not None:
                self.device.free(self._pinned.pop(name)[1])
            held = self._pinned[name] = what, self.device.pinned(*what, mapped=self.mapped)
        return held[1]

    def uploaded(self, name: str, array: NDArray[np.generic], stream: Stream) -> Buffer:
        """Put a copy of ``array`` where the device reads it, and return where.

        Not twice for one name without a ``synchronise`` in between.
        """
        staging = self.pinned(name, array.shape, array.dtype)
        staging.array[...] = array
        if staging.mapped is not None:
            return staging.mapped
        target = self.buffer(name, array.shape, array.dtype)
        self.device.upload(staging, target, stream)
        return target

    def close(self) -> None:
        """Free everything."""
        while self._buffers:
            self.device.free(self._buffers.popitem()[1])
        while self._pinned:
            self.device.free(self._pinned.popitem()[1][1])
