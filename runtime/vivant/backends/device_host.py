"""The device that needs no GPU: NumPy does the work, late, and every rule is held.

Work is queued, and done only when ``synchronise`` asks for it, so that what is read too early is
really old; new and freed memory holds a pattern that is NaN as any float. What a GPU would let
pass, and sometimes get away with, is an error here: memory used after it was freed, host memory
touched during a copy, two streams at one buffer with no event between them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vivant.backends.device import Argument, Buffer, Event, Graph, Kernel, Pinned, Shape, Stream
from vivant.backends.host_queue import (
    UNDEFINED,
    Clock,
    HostEvent,
    HostGraph,
    HostMemory,
    HostStream,
    Mark,
    Work,
    advance,
    allocated,
    span,
)
from vivant.backends.ledger import CheckedDevice, Memory, PinnedMemory, described, extent


class HostPinned(PinnedMemory):
    """Host memory whose array is withheld while the device works on it."""

    def __init__(self, device: HostDevice, array: NDArray[Any], mapped: Buffer | None) -> None:
        super().__init__(array, mapped)
        self._device = device

    @property
    def array(self) -> NDArray[Any]:
        """The memory.

        Raises:
            DeviceError: it was freed, or work on it was not waited for.
        """
        self._device.check_idle(self)
        return super().array


class HostDevice(CheckedDevice[HostMemory]):
    """A ``Device`` in NumPy."""

    kind = "cpu"
    name = "host"
    capability = (0, 0)

    def __init__(self) -> None:
        super().__init__("host")
        self._streams: list[HostStream] = []
        self._seen: Clock = {}  # what the host has waited for
        self._launched: set[tuple[str, str]] = set()  # kernels, by source and name
        self._dying: list[HostMemory] = []  # freed with work on them still queued
        self._lock = threading.RLock()

    def array(self, buffer: Buffer) -> NDArray[Any]:
        """Return the array that lies in ``buffer``: a view, not a copy.

        Work takes it before it is queued, and reads or writes it when it runs.
        """
        with self._lock:
            return self._ledger.held(buffer).view(buffer)

    def allocate(self, shape: Shape, dtype: DTypeLike = np.uint8) -> Buffer:
        """Return new memory, every byte 255."""
        with self._lock:
            self._refuse_while_capturing("memory is allocated")
            memory, buffer = allocated(shape, dtype)
            self._ledger.add(buffer, memory)
            return buffer

    def pinned(self, shape: Shape, dtype: DTypeLike = np.uint8, *, mapped: bool = False) -> Pinned:
        """Return new host memory, every byte 255."""
        with self._lock:
            self._refuse_while_capturing("memory is allocated")
            memory, whole = allocated(shape, dtype)
            alias = whole.part(0, whole.shape) if mapped else None
            pinned = HostPinned(self, memory.view(whole), alias)
            self._ledger.add(pinned, memory)
            return pinned

    def free(self, memory: Buffer | Pinned) -> None:
        """Give memory back; what is queued is still done with it."""
        with self._lock:
            self._refuse_while_capturing("memory is freed")
            self._dying.append(self._ledger.take(memory))
            self._bury()

    def upload(self, source: Pinned, target: Buffer, stream: Stream) -> None:
        """Copy from pinned memory."""
        self._copy(source, target, target.nbytes, stream)

    def download(self, source: Buffer, target: Pinned, stream: Stream) -> None:
        """Copy to pinned memory."""
        self._copy(source, target, source.nbytes, stream)

    def copy(self, source: Buffer, target: Buffer, stream: Stream) -> None:
        """Copy from buffer to buffer."""
        self._copy(source, target, source.nbytes, stream)

    def launch(
        self, kernel: Kernel, threads: int, arguments: Sequence[Argument], stream: Stream
    ) -> None:
        """Queue the kernel's oracle; nothing for no threads."""
        with self._lock:
            reads, writes = self._ledger.check_arguments(kernel, arguments)
            if (kernel.source, kernel.name) not in self._launched:
                self._refuse_while_capturing(f"{kernel.name} is loaded")
                self._launched.add((kernel.source, kernel.name))
            taken = [self.array(each) if isinstance(each, Buffer) else each for each in arguments]
            if threads > 0:
                self._put(Work(lambda: kernel.oracle(*taken), reads, writes), stream)

    def enqueue(
        self,
        work: Callable[[], None],
        reads: Sequence[Buffer],
        writes: Sequence[Buffer],
        stream: Stream,
    ) -> None:
        """Queue a library's work, which is called when it is its turn."""
        with self._lock:
            self._put(Work(work, tuple(reads), tuple(writes)), stream)

    def stream(self) -> Stream:
        """Return a new stream."""
        with self._lock:
            self._check_open()
            stream = HostStream(self, len(self._streams))
            self._streams.append(stream)
            return stream

    def event(self) -> Event:
        """Return a new event."""
        self._check_open()
        return HostEvent(self)

    def record(self, event: Event, stream: Stream) -> None:
        """Let ``event`` mark what is on ``stream`` so far."""
        with self._lock:
            onto = self._idle(stream, "an event is recorded on it")
            mark = Mark(onto, onto.put + 1, {})
            self._own(event, HostEvent).mark = mark
            onto.append(mark.run)
            advance(mark.clock, onto.after)

    def wait(self, event: Event, stream: Stream) -> None:
        """Let what is put on ``stream`` from now on begin after ``event``."""
        with self._lock:
            mark, onto = self._mark(event), self._idle(stream, "it waits for an event")
            onto.append(lambda: mark.stream.run(mark.tick))
            advance(onto.after, mark.clock)

    def elapsed(self, start: Event, end: Event) -> float:
        """Return milliseconds of the host's clock between two recorded events.

        Raises:
            Exception: of the work before them, as ``synchronise`` does.
        """
        with self._lock:
            self._refuse_while_capturing("an event is waited for")
            return (self._passed(end) - self._passed(start)) * 1000

    @contextlib.contextmanager
    def capture(self, stream: Stream) -> Iterator[Graph]:
        """Record what is put on ``stream`` inside ``with`` instead of doing it."""
        thread = threading.get_ident()
        with self._lock:
            self._refuse_while_capturing("another recording begins")
            onto = self._idle(stream, "another recording begins")
            onto.graph = graph = HostGraph(self)
            self._capturing.add(thread)
        try:
            yield graph
            graph.finished = True
        finally:
            with self._lock:
                onto.graph = None
                self._capturing.discard(thread)

    def replay(self, graph: Graph, stream: Stream) -> None:
        """Queue recorded work."""
        with self._lock:
            onto = self._idle(stream, "a graph is replayed on it")
            recorded = self._own(graph, HostGraph)
            if not recorded.finished:
                raise self._ledger.broken("the graph was not recorded to its end; record it again")
            for work in recorded.work:
                self._touched(work)  # of freed memory: before any of it is queued
            for work in recorded.work:
                self._put(work, onto)

    def synchronise(self, stream: Stream) -> None:
        """Do the work on ``stream``, and what it waits for on others.

        Raises:
            Exception: of the work, as it is; the rest of the stream's work is dropped.
        """
        with self._lock:
            self._refuse_while_capturing("a stream is waited for")
            onto = self._idle(stream, "it is waited for")
            self._run(onto, onto.put, onto.after)

    def memory_used(self) -> int:
        """Return the bytes of all buffers."""
        with self._lock:
            return sum(each.nbytes for each in self._ledger.left() if isinstance(each, Buffer))

    def close(self) -> None:
        """Give everything back; work that nobody waited for is not done.

        Raises:
            DeviceError: memory was not freed.
        """
        with self._lock:
            self._open = False
            left = self._ledger.left()
            for memory in left:
                self._ledger.take(memory)
            self._streams.clear()
            self._dying.clear()
            if left:
                raise self._ledger.leaked(left)

    def check_idle(self, pinned: HostPinned) -> None:
        """Raise ``DeviceError`` where ``pinned`` was freed or work on it was not waited for."""
        with self._lock:
            if self._unseen(self._ledger.held(pinned)):
                raise self._ledger.broken(
                    f"{described(pinned)} is touched while the device works on it; "
                    "synchronise the stream first"
                )

    def _copy(self, source: Memory, target: Memory, nbytes: int, stream: Stream) -> None:
        with self._lock:
            read, written = (self._ledger.held(each) for each in (source, target))
            self._ledger.check_copy(source, target)
            from_, to = (
                memory.view(extent(each).part(0, (nbytes,), np.uint8))
                for memory, each in ((read, source), (written, target))
            )
            self._put(Work(lambda: np.copyto(to, from_), [source], [target]), stream)

    def _put(self, work: Work, stream: Stream) -> None:
        onto, touched = self._own(stream, HostStream), self._touched(work)
        if onto.graph is not None:
            onto.graph.work.append(work)
            return
        for memory, each, writes in touched:
            self._check_order(memory, each, writes, onto)
        tick = onto.append(work.run)
        for memory, each, writes in touched:
            start, stop = span(each)
            memory.accesses[onto.number, start, stop, writes] = tick

    def _touched(self, work: Work) -> list[tuple[HostMemory, Memory, bool]]:
        reads = [(self._ledger.held(each), each, False) for each in work.reads]
        return reads + [(self._ledger.held(each), each, True) for each in work.writes]

    def _check_order(
        self, memory: HostMemory, each: Memory, writes: bool, onto: HostStream
    ) -> None:
        start, stop = span(each)
        for (number, begin, end, wrote), tick in self._unseen(memory).items():
            apart = stop <= begin or end <= start or not (writes or wrote)
            if not apart and onto.after.get(number, 0) < tick:
                raise self._ledger.broken(
                    f"{described(each)} is {'written' if writes else 'read'} on one stream and "
                    f"{'written' if wrote else 'read'} on another in no order; "
                    "record an event there and wait for it here"
                )

    def _unseen(self, memory: HostMemory) -> dict[tuple[int, int, int, bool], int]:
        """Return the work on memory that the host has not waited for, and forget the other."""
        accesses = memory.accesses
        for key in [key for key, tick in accesses.items() if self._seen.get(key[0], 0) >= tick]:
            del accesses[key]
        return accesses

    def _run(self, stream: HostStream, until: int, clock: Clock) -> None:
        try:
            stream.run(until)
        finally:
            advance(self._seen, clock)
            self._bury()

    def _bury(self) -> None:
        """Spoil freed memory that no work needs any more."""
        waiting = []
        for memory in self._dying:
            if all(self._streams[key[0]].done >= tick for key, tick in memory.accesses.items()):
                memory.data.fill(UNDEFINED)
            else:
                waiting.append(memory)
        self._dying = waiting

    def _idle(self, stream: Stream, what: str) -> HostStream:
        found = self._own(stream, HostStream)
        if found.graph is not None:
            raise self._ledger.broken(f"{what} while a stream is recorded; do it before or after")
        return found

    def _mark(self, event: Event) -> Mark:
        mark = self._own(event, HostEvent).mark
        if mark is None:
            raise self._ledger.broken("the event was never recorded; record it first")
        return mark

    def _passed(self, event: Event) -> float:
        mark = self._mark(event)
        self._run(mark.stream, mark.tick, mark.clock)
        if mark.passed is None:
            raise self._ledger.broken("work before the event failed; look at that error first")
        return mark.passed
