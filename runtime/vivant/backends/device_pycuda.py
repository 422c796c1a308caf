"""The CUDA driver by way of pycuda; what pycuda does not have, graphs, by NVIDIA's bindings."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivant.backends import device_cuda
from vivant.backends.device_gpu import GpuDevice
from vivant.backends.driver import BLOCK, Handle
from vivant.errors import DeviceError
from vivant.files import one_line

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, for which pycuda has no name
_MEMORY_REMEDY = "give it smaller pictures, or end what else uses the GPU"
_REMEDY = "start the program again; if it comes again, run 'vivant doctor'"


class PycudaDevice(GpuDevice):
    """The first GPU, ``CUDA_VISIBLE_DEVICES`` considered."""

    def __init__(self) -> None:
        super().__init__(PycudaDriver())


class PycudaDriver:
    """A ``Driver`` whose handles are pycuda's objects.

    pycuda gives an object back when the last reference to it goes, in whatever context and thread
    that happens; so ``Handle.destroy`` lets go of it within ``current``. It keeps a stack of
    contexts for each thread, and aborts the process when a thread ends with one on it.
    """

    library = "pycuda"

    def __init__(self) -> None:
        self._pycuda = pycuda = load_driver()
        self._cuda = device_cuda.load_driver()
        with self._errors():
            device = pycuda.Device(0)
            self.name: str = device.name()
            major, minor = device.compute_capability()
            self.capability = (int(major), int(minor))
            self._context: Any = device.retain_primary_context()

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """Make the context this thread's until the end of ``with``."""
        with self._errors():
            self._context.push()
            try:
                yield
            finally:
                self._pycuda.Context.pop()

    def allocate(self, nbytes: int) -> Handle:
        """Return memory of the device."""
        return Handle(self._pycuda.mem_alloc(nbytes), lambda memory: memory.free())

    def allocate_pinned(self, nbytes: int, *, mapped: bool) -> Handle:
        """Return memory of the host, for every context."""
        flags = self._pycuda.host_alloc_flags
        wanted = flags.PORTABLE | (flags.DEVICEMAP if mapped else 0)
        array = self._pycuda.pagelocked_empty(nbytes, np.uint8, mem_flags=wanted)
        return Handle(array, lambda array: array.base.free())

    def address(self, pinned: NDArray[np.uint8]) -> int:
        """Return where the device sees mapped memory."""
        base: Any = pinned.base
        return int(base.get_device_pointer())

    def upload(self, source: NDArray[np.uint8], target: int, stream: Any) -> None:
        """Copy all of ``source``."""
        self._pycuda.memcpy_htod_async(target, source, stream)

    def download(self, source: int, target: NDArray[np.uint8], stream: Any) -> None:
        """Copy as much as ``target`` takes."""
        self._pycuda.memcpy_dtoh_async(target, source, stream)

    def copy(self, source: int, target: int, nbytes: int, stream: Any) -> None:
        """Copy on the device."""
        self._pycuda.memcpy_dtod_async(target, source, nbytes, stream)

    def load(self, code: bytes) -> Handle:
        """Return a module of machine code."""
        return Handle(self._pycuda.module_from_buffer(code), _let_go)

    def function(self, module: Any, name: str) -> Any:
        """Return a function of a module."""
        return module.get_function(name)

    def launch(
        self, function: Any, blocks: int, arguments: Sequence[np.generic], stream: Any
    ) -> None:
        """Run a function."""
        function(*arguments, block=(BLOCK, 1, 1), grid=(blocks, 1, 1), stream=stream)

    def stream(self) -> tuple[int, Handle]:
        """Return a new stream that waits for no other."""
        stream = self._pycuda.Stream(_NON_BLOCKING)
        return int(stream.handle), Handle(stream, _let_go)

    def event(self) -> Handle:
        """Return a new event that keeps the time."""
        return Handle(self._pycuda.Event(), _let_go)

    def record(self, event: Any, stream: Any) -> None:
        """Let an event mark what is on a stream so far."""
        event.record(stream)

    def wait(self, event: Any, stream: Any) -> None:
        """Let a stream wait for an event."""
        stream.wait_for_event(event)

    def elapsed(self, start: Any, end: Any) -> float:
        """Wait for two events, and return the milliseconds between them."""
        start.synchronize()
        end.synchronize()
        return float(start.time_till(end))

    def begin_capture(self, stream: Any) -> None:
        """Begin to record."""
        device_cuda.begin_capture(self._cuda, stream.handle)

    def end_capture(self, stream: Any) -> Handle:
        """Return what was recorded."""
        return device_cuda.end_capture(self._cuda, stream.handle)

    def replay(self, graph: int, stream: Any) -> None:
        """Put recorded work on a stream."""
        device_cuda.call(self._cuda, "cuGraphLaunch", graph, stream.handle)

    def synchronise(self, stream: Any) -> None:
        """Wait for a stream."""
        stream.synchronize()

    def memory_used(self) -> int:
        """Return the bytes in use."""
        free, total = self._pycuda.mem_get_info()
        return int(total) - int(free)

    def close(self) -> None:
        """Give the context back."""
        with self._errors():
            self._context.push()
            self._context.detach()
        # pycuda forgets the context, but leaves it on the thread's stack: that of CUDA.
        if self._pycuda.Context.get_current() is None:
            device_cuda.call(self._cuda, "cuCtxPopCurrent")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except self._pycuda.MemoryError as error:
            raise DeviceError(f"pycuda: {one_line(str(error))}; {_MEMORY_REMEDY}") from error
        except self._pycuda.Error as error:
            raise DeviceError(f"pycuda: {one_line(str(error))}; {_REMEDY}") from error


def load_driver() -> Any:  # a module, of a library without types
    """Return pycuda's driver module, ready to be called.

    Raises:
        DeviceError: pycuda is not installed, or there is no driver or no GPU.
    """
    if importlib.util.find_spec("pycuda") is None:
        raise DeviceError("pycuda is not installed; run pip install 'vivant[pycuda]'")
    device_cuda.load_driver()
    try:
        from pycuda import driver
    except ImportError as error:
        raise DeviceError(
            f"pycuda cannot be loaded ({one_line(str(error))}); install it again, so that it is "
            "built for the CUDA that is here"
        ) from error
    driver.init()
    return driver


def _let_go(_: Any) -> None:
    """Do nothing: the caller held the last reference."""
