"""The host device's streams: queues of work, and the clocks that tell what came before what."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vivant.backends.device import Buffer, Shape
from vivant.backends.ledger import Memory, Part, extent

Clock: TypeAlias = dict[int, int]
"""How far every stream, by number, has come: a vector clock."""

_ALIGNMENT = 256  # CUDA's
UNDEFINED = 0xFF
"""What memory holds that nothing was written to; every float made of it is NaN."""


@dataclass(eq=False)
class HostMemory:
    """An allocation.

    ``accesses`` is what the host has not yet waited for: for a stream, a range of bytes, and
    whether they are written, the number of the stream's last such work.
    """

    data: NDArray[np.uint8]
    accesses: dict[tuple[int, int, int, bool], int] = field(default_factory=dict)

    def view(self, where: Buffer) -> NDArray[Any]:
        """Return the array that lies there."""
        start = where.pointer - self.data.ctypes.data
        return self.data[start : start + where.nbytes].view(where.dtype).reshape(where.shape)


@dataclass(frozen=True)
class Work:
    """Something to do, and the memory that it reads and writes."""

    run: Callable[[], None]
    reads: Sequence[Memory]
    writes: Sequence[Memory]


@dataclass
class Mark:
    """What an event stands for since it was recorded; ``passed`` in seconds, once it has."""

    stream: HostStream
    tick: int
    clock: Clock
    passed: float | None = None

    def run(self) -> None:
        """Pass."""
        self.passed = time.perf_counter()


class HostStream(Part):
    """A queue of numbered work: ``put`` is the last one's number, ``done`` that of the last done.

    What is put on it next comes after everything in the clock ``after``.
    """

    handle = 0

    def __init__(self, device: object, number: int) -> None:
        super().__init__(device)
        self.number = number
        self.queue: deque[tuple[int, Callable[[], None]]] = deque()
        self.put = 0
        self.done = 0
        self.after: Clock = {}
        self.graph: HostGraph | None = None

    def append(self, run: Callable[[], None]) -> int:
        """Queue work; return its number."""
        self.put += 1
        self.after[self.number] = self.put
        self.queue.append((self.put, run))
        return self.put

    def run(self, until: int) -> None:
        """Do work until that of this number is done; what comes after a failure is dropped."""
        while self.queue and self.done < until:
            tick, run = self.queue.popleft()
            try:
                run()
            except BaseException:
                self.queue.clear()
                tick = self.put
                raise
            finally:
                self.done = tick


class HostEvent(Part):
    """A point in a stream's work, once recorded."""

    def __init__(self, device: object) -> None:
        super().__init__(device)
        self.mark: Mark | None = None


class HostGraph(Part):
    """Recorded work."""

    def __init__(self, device: object) -> None:
        super().__init__(device)
        self.work: list[Work] = []
        self.finished = False


def allocated(shape: Shape, dtype: DTypeLike) -> tuple[HostMemory, Buffer]:
    """Return new memory, and the buffer that is all of it."""
    found = Buffer(0, tuple(shape), np.dtype(dtype))
    raw = np.full(found.nbytes + _ALIGNMENT, UNDEFINED, np.uint8)
    data = raw[-raw.ctypes.data % _ALIGNMENT :][: found.nbytes]
    return HostMemory(data), Buffer(data.ctypes.data, found.shape, found.dtype)


def span(memory: Memory) -> tuple[int, int]:
    """Return where memory begins and ends."""
    where = extent(memory)
    return where.pointer, where.pointer + where.nbytes


def advance(clock: Clock, other: Clock) -> None:
    """Let ``clock`` have seen what ``other`` has."""
    for stream, tick in other.items():
        clock[stream] = max(tick, clock.get(stream, 0))
