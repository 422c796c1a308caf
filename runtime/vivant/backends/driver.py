"""What a GPU device needs of a library that calls the CUDA driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK = 256
"""Threads that run together."""


class Handle:
    """Something of the driver's: ``value`` is what the library calls it by."""

    def __init__(self, value: Any, destroy: Callable[[Any], object]) -> None:
        self.value = value
        self._destroy = destroy

    def destroy(self) -> None:
        """Give it back."""
        value, self.value = self.value, None
        self._destroy(value)


class Driver(Protocol):
    """The CUDA driver as one library calls it, with the primary context of the first GPU.

    That context is also ONNX Runtime's and TensorRT's. Everything is called within ``current``,
    streams, events, graphs and functions by a handle's value; what fails is a ``DeviceError``.
    """

    library: str
    name: str
    capability: tuple[int, int]

    def current(self) -> AbstractContextManager[object]:
        """Make the context this thread's, and what the library raises inside a DeviceError."""
        ...

    def allocate(self, nbytes: int) -> Handle:
        """Return memory of the device; ``int`` of its value is the address."""
        ...

    def allocate_pinned(self, nbytes: int, *, mapped: bool) -> Handle:
        """Return memory of the host; its value is an array of bytes."""
        ...

    def address(self, pinned: NDArray[np.uint8]) -> int:
        """Return where the device sees mapped memory."""
        ...

    def upload(self, source: NDArray[np.uint8], target: int, stream: Any) -> None:
        """Copy all of ``source``."""
        ...

    def download(self, source: int, target: NDArray[np.uint8], stream: Any) -> None:
        """Copy as much as ``target`` takes."""
        ...

    def copy(self, source: int, target: int, nbytes: int, stream: Any) -> None:
        """Copy on the device."""
        ...

    def load(self, code: bytes) -> Handle:
        """Return a module of machine code."""
        ...

    def function(self, module: Any, name: str) -> Any:
        """Return a function of a module."""
        ...

    def launch(
        self, function: Any, blocks: int, arguments: Sequence[np.generic], stream: Any
    ) -> None:
        """Run a function; the arguments are ``numpy.uint64`` (pointers), ``int32``, ``float32``."""
        ...

    def stream(self) -> tuple[int, Handle]:
        """Return a new stream that waits for no other, and the number CUDA knows it by."""
        ...

    def event(self) -> Handle:
        """Return a new event that keeps the time."""
        ...

    def record(self, event: Any, stream: Any) -> None:
        """Let an event mark what is on a stream so far."""
        ...

    def wait(self, event: Any, stream: Any) -> None:
        """Let a stream wait for an event."""
        ...

    def elapsed(self, start: Any, end: Any) -> float:
        """Wait for two events, and return the milliseconds between them."""
        ...

    def begin_capture(self, stream: Any) -> None:
        """Begin to record."""
        ...

    def end_capture(self, stream: Any) -> Handle:
        """Return what was recorded, to be replayed."""
        ...

    def replay(self, graph: Any, stream: Any) -> None:
        """Put recorded work on a stream."""
        ...

    def synchronise(self, stream: Any) -> None:
        """Wait for a stream."""
        ...

    def memory_used(self) -> int:
        """Return the bytes in use."""
        ...

    def close(self) -> None:
        """Give the context back; not within ``current``."""
        ...
