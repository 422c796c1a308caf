"""Memory and order on a device: what inference libraries and our kernels share.

Work is put on *streams*, which do it in order; two streams are ordered by *events* alone. What the
host sees of it is seen after ``synchronise``. Three devices keep these rules in three ways: the
CUDA driver by NVIDIA's bindings (``device_cuda``) or by pycuda (``device_pycuda``), and the host
(``device_host``), which needs no GPU, does the work in NumPy, and raises where a rule is broken
that a GPU would let pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Buffer:
    """An array in a device's memory, C-contiguous.

    Attributes:
        pointer: address of its first element on the device.
        shape: of the array.
        dtype: of its elements.
        owner: the allocation that it is a part of; None where it is one itself.
    """

    pointer: int
    shape: Shape
    dtype: np.dtype[Any]
    owner: Buffer | None = None

    @property
    def nbytes(self) -> int:
        """Its size."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def allocation(self) -> Buffer:
        """What was allocated and is freed: its owner, or itself."""
        return self.owner or self

    def __getitem__(self, index: int) -> Buffer:
        """Return one entry along the first axis: the same memory."""
        if not 0 <= index < self.shape[0]:
            raise IndexError(f"{index} of {self.shape[0]}")
        part = Buffer(0, self.shape[1:], self.dtype)
        start = self.pointer + index * part.nbytes
        return Buffer(start, part.shape, self.dtype, self.allocation)

    def part(self, offset: int, shape: Shape, dtype: DTypeLike | None = None) -> Buffer:
        """Return an array that begins ``offset`` bytes into this one: the same memory.

        Raises:
            ValueError: it would not lie within.
        """
        kind = np.dtype(dtype if dtype is not None else self.dtype)
        found = Buffer(self.pointer + offset, tuple(shape), kind, self.allocation)
        if offset < 0 or offset + found.nbytes > self.nbytes or found.pointer % kind.itemsize:
            raise ValueError(f"{kind} {list(shape)} at {offset}: not within {self.nbytes} bytes")
        return found


class Pinned(Protocol):
    """An array in host memory from which, and to which, a device copies without waiting."""

    @property
    def array(self) -> NDArray[Any]:
        """The memory, to read and write while no copy of it is under way, and until it is freed."""
        ...

    @property
    def mapped(self) -> Buffer | None:
        """The same memory as the device sees it, where it was asked to be; needs no copies."""
        ...


class Stream(Protocol):
    """A queue of work on a device; ``handle`` is what CUDA knows it by, 0 on the host."""

    handle: int


class Event(Protocol):
    """A point in a stream's work."""


class Graph(Protocol):
    """Recorded work, to be replayed with the same buffers."""


@dataclass(frozen=True)
class Kernel:
    """A function that runs on a device.

    Attributes:
        name: in the CUDA source; ``extern "C"``, on a one-dimensional grid of threads.
        source: CUDA C++, all there is to compile.
        oracle: the same in NumPy: takes the arguments, buffers as arrays that may be written to.
        outputs: which arguments it writes to, by position.
    """

    name: str
    source: str
    oracle: Callable[..., None]
    outputs: tuple[int, ...]


Argument: TypeAlias = "Buffer | np.int32 | np.float32 | None"
"""Of a kernel: None is a null pointer."""


class Device(Protocol):
    """A place that has memory and does work.

    ``kind`` is "cuda" or "cpu", as ONNX Runtime calls where memory lies; ``name`` is for people;
    ``capability`` is the compute capability, such as (8, 9), (0, 0) on the host.

    Every method raises ``DeviceError`` where the device fails or a rule is broken that it checks.
    Methods may be called from several threads. Streams, events, graphs and memory are a device's
    own: another device refuses them.
    """

    kind: str
    name: str
    capability: tuple[int, int]

    def allocate(self, shape: Shape, dtype: DTypeLike = np.uint8) -> Buffer:
        """Return new memory; what it holds is undefined."""
        ...

    def pinned(self, shape: Shape, dtype: DTypeLike = np.uint8, *, mapped: bool = False) -> Pinned:
        """Return new host memory for copies; ``mapped`` also for the device to work on."""
        ...

    def free(self, memory: Buffer | Pinned) -> None:
        """Give memory back, once the work that was put on streams before is done with it."""
        ...

    def upload(self, source: Pinned, target: Buffer, stream: Stream) -> None:
        """Copy from host to device: the first ``target.nbytes`` bytes of ``source``."""
        ...

    def download(self, source: Buffer, target: Pinned, stream: Stream) -> None:
        """Copy from device to host: into the first ``source.nbytes`` bytes of ``target``."""
        ...

    def copy(self, source: Buffer, target: Buffer, stream: Stream) -> None:
        """Copy on the device: all of ``source``, which has as many bytes as ``target``."""
        ...

    def launch(
        self, kernel: Kernel, threads: int, arguments: Sequence[Argument], stream: Stream
    ) -> None:
        """Run a kernel with at least ``threads`` threads, not at all with none.

        It is compiled and loaded when it is first launched, which is not while a stream is
        recorded.
        """
        ...

    def enqueue(
        self,
        work: Callable[[], None],
        reads: Sequence[Buffer],
        writes: Sequence[Buffer],
        stream: Stream,
    ) -> None:
        """Let a library put its work on ``stream``; it reads and writes these buffers.

        ``work`` is called at once on a GPU, where it only queues something, and when it is its
        turn on the host, where it does it: it keeps all that it needs.
        """
        ...

    def stream(self) -> Stream:
        """Return a new stream that waits for no other; it goes when nobody refers to it."""
        ...

    def event(self) -> Event:
        """Return a new event; it goes when nobody refers to it."""
        ...

    def record(self, event: Event, stream: Stream) -> None:
        """Let ``event`` mark what is on ``stream`` so far."""
        ...

    def wait(self, event: Event, stream: Stream) -> None:
        """Let what is put on ``stream`` from now on begin after ``event``."""
        ...

    def elapsed(self, start: Event, end: Event) -> float:
        """Wait until two recorded events have passed; return the milliseconds between them."""
        ...

    def capture(self, stream: Stream) -> AbstractContextManager[Graph]:
        """Record what is put on ``stream`` inside ``with`` instead of doing it.

        The thread that records may not allocate, free or wait meanwhile, and nobody records an
        event on this stream or lets it wait for one. The graph keeps the addresses and shapes
        that it was recorded with: those buffers have to outlive its last replay.
        """
        ...

    def replay(self, graph: Graph, stream: Stream) -> None:
        """Put recorded work on ``stream``."""
        ...

    def synchronise(self, stream: Stream) -> None:
        """Wait until all work on ``stream`` is done."""
        ...

    def memory_used(self) -> int:
        """Return the bytes of the device's memory that are in use, by whomever."""
        ...

    def close(self) -> None:
        """Give the device back, and memory that is still there.

        Raises:
            DeviceError: memory was still there. It lists which.
        """
        ...


class DeviceEngine(Protocol):
    """An opened graph that reads and writes a device's memory.

    One thread uses it at a time.
    """

    def bind(self, buffers: Mapping[str, Buffer]) -> None:
        """Set where every input and output lies, by name; their shapes are this run's.

        Binding the same buffers again costs nothing.

        Raises:
            EngineError: a name, dtype or shape is not the graph's.
        """
        ...

    def enqueue(self, stream: Stream) -> None:
        """Put a run, with what is bound, on ``stream``."""
        ...

    def close(self) -> None:
        """Give back what the engine holds; the bound buffers stay their owner's."""
        ...
