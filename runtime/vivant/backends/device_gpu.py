"""A device that does its work on a GPU: the rules once, whichever library calls the driver.

What can be checked without waiting is: whose memory and streams are handed over, that they were
not freed, that sizes and arguments fit, and that nothing is left at the end. The order of streams
is not; ``device_host`` holds that.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from vivant.backends.compiler import cubin
from vivant.backends.device import Argument, Buffer, Event, Graph, Kernel, Pinned, Shape, Stream
from vivant.backends.driver import BLOCK, Driver, Handle
from vivant.backends.ledger import CheckedDevice, Memory, Part, PinnedMemory
from vivant.errors import DeviceError


class GpuStream(Part):
    """A stream of the driver's, and the graph that is recorded from it now."""

    def __init__(self, device: GpuDevice, number: int, held: Handle) -> None:
        super().__init__(device)
        self.handle, self.held = number, held
        self.graph: GpuGraph | None = None


class GpuEvent(Part):
    """An event of the driver's."""

    def __init__(self, device: GpuDevice, held: Handle) -> None:
        super().__init__(device)
        self.held = held
        self.recorded = False


class GpuGraph(Part):
    """Recorded work, and the memory that it reads and writes."""

    def __init__(self, device: GpuDevice) -> None:
        super().__init__(device)
        self.memory: list[Memory] = []
        self.held: Handle | None = None
        self.finished = False


class GpuDevice(CheckedDevice[Handle]):
    """A ``Device`` over a driver.

    Streams, events and graphs that nobody refers to any more are given back at the next
    ``synchronise``; the garbage collector may find them in the middle of anything.
    """

    kind = "cuda"

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver.library)
        self.name, self.capability = driver.name, driver.capability
        self._driver = driver
        self._streams: weakref.WeakSet[GpuStream] = weakref.WeakSet()
        self._living: set[Handle] = set()
        self._garbage: deque[Handle] = deque()
        self._modules: dict[str, Any] = {}  # by their source
        self._functions: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def allocate(self, shape: Shape, dtype: DTypeLike = np.uint8) -> Buffer:
        """Return new memory; what it holds is undefined."""
        self._refuse_while_capturing("memory is allocated")
        found = Buffer(0, tuple(shape), np.dtype(dtype))
        with self._driver.current():
            held = self._driver.allocate(max(found.nbytes, 1))
        buffer = Buffer(int(held.value), found.shape, found.dtype)
        self._ledger.add(buffer, held)
        return buffer

    def pinned(self, shape: Shape, dtype: DTypeLike = np.uint8, *, mapped: bool = False) -> Pinned:
        """Return new host memory for copies; ``mapped`` also for the device to work on."""
        self._refuse_while_capturing("memory is allocated")
        found = Buffer(0, tuple(shape), np.dtype(dtype))
        alias = None
        with self._driver.current():
            held = self._driver.allocate_pinned(max(found.nbytes, 1), mapped=mapped)
            if mapped:
                alias = Buffer(self._driver.address(held.value), found.shape, found.dtype)
        array = held.value[: found.nbytes].view(found.dtype).reshape(found.shape)
        pinned = PinnedMemory(array, alias.part(0, alias.shape) if alias else None)
        self._ledger.add(pinned, held)
        return pinned

    def free(self, memory: Buffer | Pinned) -> None:
        """Give memory back, once the work on every stream is done."""
        self._refuse_while_capturing("memory is freed")
        held = self._ledger.take(memory)
        with self._driver.current():
            try:
                self._settle()
            finally:
                held.destroy()

    def upload(self, source: Pinned, target: Buffer, stream: Stream) -> None:
        """Copy from pinned memory."""
        onto, (pinned, _) = self._used(stream, source, target)
        self._ledger.check_copy(source, target)
        with self._driver.current():
            self._driver.upload(pinned.value[: target.nbytes], target.pointer, onto)

    def download(self, source: Buffer, target: Pinned, stream: Stream) -> None:
        """Copy to pinned memory."""
        onto, (_, pinned) = self._used(stream, source, target)
        self._ledger.check_copy(source, target)
        with self._driver.current():
            self._driver.download(source.pointer, pinned.value[: source.nbytes], onto)

    def copy(self, source: Buffer, target: Buffer, stream: Stream) -> None:
        """Copy from buffer to buffer."""
        onto, _ = self._used(stream, source, target)
        self._ledger.check_copy(source, target)
        with self._driver.current():
            self._driver.copy(source.pointer, target.pointer, source.nbytes, onto)

    def launch(
        self, kernel: Kernel, threads: int, arguments: Sequence[Argument], stream: Stream
    ) -> None:
        """Run a kernel, in blocks of 256 threads; not at all for no threads."""
        reads, writes = self._ledger.check_arguments(kernel, arguments)
        function = self._function(kernel)
        onto, _ = self._used(stream, *reads, *writes)
        if threads > 0:
            with self._driver.current():
                passed = [_passed(argument) for argument in arguments]
                self._driver.launch(function, -(-threads // BLOCK), passed, onto)

    def enqueue(
        self,
        work: Callable[[], None],
        reads: Sequence[Buffer],
        writes: Sequence[Buffer],
        stream: Stream,
    ) -> None:
        """Call ``work``, which puts a library's work on ``stream``."""
        self._used(stream, *reads, *writes)
        with self._driver.current():
            work()

    def stream(self) -> Stream:
        """Return a new stream that waits for no other."""
        self._check_open()
        with self._driver.current():
            number, held = self._driver.stream()
        stream = GpuStream(self, number, held)
        self._keep(stream, held)
        self._streams.add(stream)
        return stream

    def event(self) -> Event:
        """Return a new event."""
        self._check_open()
        with self._driver.current():
            event = GpuEvent(self, self._driver.event())
        self._keep(event, event.held)
        return event

    def record(self, event: Event, stream: Stream) -> None:
        """Let ``event`` mark what is on ``stream`` so far."""
        marked, onto = self._own(event, GpuEvent), self._idle(stream, "an event is recorded on it")
        with self._driver.current():
            self._driver.record(marked.held.value, onto.held.value)
        marked.recorded = True

    def wait(self, event: Event, stream: Stream) -> None:
        """Let what is put on ``stream`` from now on begin after ``event``."""
        mark, onto = self._recorded(event), self._idle(stream, "it waits for an event")
        with self._driver.current():
            self._driver.wait(mark, onto.held.value)

    def elapsed(self, start: Event, end: Event) -> float:
        """Return milliseconds of the GPU's clock between two recorded events."""
        self._refuse_while_capturing("an event is waited for")
        marks = self._recorded(start), self._recorded(end)
        with self._driver.current():
            return self._driver.elapsed(*marks)

    @contextlib.contextmanager
    def capture(self, stream: Stream) -> Iterator[Graph]:
        """Record what this thread puts on ``stream`` inside ``with`` instead of doing it."""
        thread = threading.get_ident()
        self._refuse_while_capturing("another recording begins")
        onto, graph = self._idle(stream, "another recording begins"), GpuGraph(self)
        with self._driver.current():
            self._driver.begin_capture(onto.held.value)
        onto.graph = graph
        self._capturing.add(thread)
        try:
            yield graph
            graph.finished = True
        finally:
            onto.graph = None
            self._capturing.discard(thread)
            # What went wrong inside says more than that the recording is now invalid.
            errors = () if graph.finished else (DeviceError,)
            with contextlib.suppress(*errors), self._driver.current():
                graph.held = self._driver.end_capture(onto.held.value)
                self._keep(graph, graph.held)

    def replay(self, graph: Graph, stream: Stream) -> None:
        """Put recorded work on ``stream``."""
        recorded = self._own(graph, GpuGraph)
        if not recorded.finished or recorded.held is None:
            raise self._ledger.broken("the graph was not recorded to its end; record it again")
        self._idle(stream, "a graph is replayed on it")
        onto, _ = self._used(stream, *recorded.memory)
        with self._driver.current():
            self._driver.replay(recorded.held.value, onto)

    def synchronise(self, stream: Stream) -> None:
        """Wait until all work on ``stream`` is done."""
        self._refuse_while_capturing("a stream is waited for")
        onto = self._idle(stream, "it is waited for")
        with self._driver.current():
            self._driver.synchronise(onto.held.value)
            self._sweep()

    def memory_used(self) -> int:
        """Return the bytes of the GPU's memory that are in use, by whomever."""
        self._check_open()
        with self._driver.current():
            return self._driver.memory_used()

    def close(self) -> None:
        """Wait for all work, and give everything back.

        Raises:
            DeviceError: memory was not freed.
        """
        if not self._open:
            return
        self._open = False
        left = self._ledger.left()
        try:
            with self._driver.current():
                self._settle()
                self._sweep()
                self._functions.clear()  # pycuda's keep their module
                self._modules.clear()
                for held in [*(self._ledger.take(memory) for memory in left), *self._living]:
                    held.destroy()
        finally:
            self._living.clear()
            self._driver.close()
        if left:
            raise self._ledger.leaked(left)

    def _function(self, kernel: Kernel) -> Any:
        """Return a kernel to launch, compiled and loaded when first asked for."""
        key = kernel.source, kernel.name
        with self._lock:
            if key not in self._functions:
                self._refuse_while_capturing(f"{kernel.name} is loaded")
                with self._driver.current():
                    if kernel.source not in self._modules:
                        module = self._driver.load(cubin(kernel.source, self.capability))
                        self._modules[kernel.source] = module.value
                        self._living.add(module)
                    module = self._modules[kernel.source]
                    self._functions[key] = self._driver.function(module, kernel.name)
            return self._functions[key]

    def _used(self, stream: Stream, *memory: Memory) -> tuple[Any, list[Handle]]:
        """Return what a stream and memory are to the driver; a recorded graph remembers them."""
        onto = self._own(stream, GpuStream)
        held = [self._ledger.held(each) for each in memory]
        if onto.graph is not None:
            onto.graph.memory += memory
        return onto.held.value, held

    def _keep(self, owner: object, held: Handle) -> None:
        self._living.add(held)
        weakref.finalize(owner, self._garbage.append, held).atexit = False

    def _sweep(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                held = self._garbage.popleft()
                self._living.discard(held)
                held.destroy()

    def _settle(self) -> None:
        for stream in list(self._streams):
            if stream.graph is None:
                self._driver.synchronise(stream.held.value)

    def _idle(self, stream: Stream, what: str) -> GpuStream:
        found = self._own(stream, GpuStream)
        if found.graph is not None:
            raise self._ledger.broken(f"{what} while a stream is recorded; do it before or after")
        return found

    def _recorded(self, event: Event) -> Any:
        found = self._own(event, GpuEvent)
        if not found.recorded:
            raise self._ledger.broken("the event was never recorded; record it first")
        return found.held.value


def _passed(argument: Argument) -> np.generic:
    if argument is None or isinstance(argument, Buffer):
        pointer: np.generic = np.uint64(argument.pointer if argument else 0)
        return pointer
    return argument
