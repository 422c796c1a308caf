"""The CUDA driver by way of NVIDIA's own bindings, CUDA 12 and 13."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivant.backends.device_gpu import GpuDevice
from vivant.backends.driver import BLOCK, Handle
from vivant.errors import DeviceError

_REMEDIES = {
    "CUDA_ERROR_OUT_OF_MEMORY": "give it smaller pictures, or end what else uses the GPU",
    "CUDA_ERROR_NO_DEVICE": "look at nvidia-smi and CUDA_VISIBLE_DEVICES",
    "CUDA_ERROR_NO_BINARY_FOR_GPU": "update the NVIDIA driver",
    "CUDA_ERROR_INVALID_IMAGE": "update the NVIDIA driver",
    "CUDA_ERROR_ILLEGAL_ADDRESS": "start the program again: this GPU does no more work for it",
    "CUDA_ERROR_LAUNCH_FAILED": "start the program again: this GPU does no more work for it",
    "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED": "do it once before it is recorded",
    "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED": "do it once before it is recorded",
}
_REMEDY = "run 'vivant doctor' to see what is missing"
_CTYPES = {np.uint64: ctypes.c_void_p, np.int32: ctypes.c_int32, np.float32: ctypes.c_float}


class CudaDevice(GpuDevice):
    """The first GPU, ``CUDA_VISIBLE_DEVICES`` considered."""

    def __init__(self) -> None:
        super().__init__(CudaDriver())


class CudaDriver:
    """A ``Driver`` whose handles are numbers."""

    library = "cuda"

    def __init__(self) -> None:
        self._cuda = cuda = load_driver()
        self._device = call(cuda, "cuDeviceGet", 0)
        self._context = call(cuda, "cuDevicePrimaryCtxRetain", self._device)
        name: bytes = call(cuda, "cuDeviceGetName", 256, self._device)
        self.name = name.split(b"\0")[0].decode()
        ask = cuda.CUdevice_attribute
        self.capability = (
            self._attribute(ask.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
            self._attribute(ask.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
        )

    def current(self) -> AbstractContextManager[object]:
        """Make the context this thread's; it stays so, as after ``cudaSetDevice``."""
        self._call("cuCtxSetCurrent", self._context)
        return contextlib.nullcontext()

    def allocate(self, nbytes: int) -> Handle:
        """Return memory of the device."""
        return self._handle("cuMemFree", self._call("cuMemAlloc", nbytes))

    def allocate_pinned(self, nbytes: int, *, mapped: bool) -> Handle:
        """Return memory of the host, for every context."""
        cuda = self._cuda
        flags = cuda.CU_MEMHOSTALLOC_PORTABLE | (cuda.CU_MEMHOSTALLOC_DEVICEMAP if mapped else 0)
        address = int(self._call("cuMemHostAlloc", nbytes, flags))
        array = np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))
        return Handle(array, lambda _: self._call("cuMemFreeHost", address))

    def address(self, pinned: NDArray[np.uint8]) -> int:
        """Return where the device sees mapped memory."""
        return int(self._call("cuMemHostGetDevicePointer", pinned.ctypes.data, 0))

    def upload(self, source: NDArray[np.uint8], target: int, stream: int) -> None:
        """Copy all of ``source``."""
        self._call("cuMemcpyHtoDAsync", target, source.ctypes.data, source.nbytes, stream)

    def download(self, source: int, target: NDArray[np.uint8], stream: int) -> None:
        """Copy as much as ``target`` takes."""
        self._call("cuMemcpyDtoHAsync", target.ctypes.data, source, target.nbytes, stream)

    def copy(self, source: int, target: int, nbytes: int, stream: int) -> None:
        """Copy on the device."""
        self._call("cuMemcpyDtoDAsync", target, source, nbytes, stream)

    def load(self, code: bytes) -> Handle:
        """Return a module of machine code."""
        return self._handle("cuModuleUnload", self._call("cuModuleLoadData", code))

    def function(self, module: int, name: str) -> int:
        """Return a function of a module."""
        return int(self._call("cuModuleGetFunction", module, name.encode()))

    def launch(
        self, function: int, blocks: int, arguments: Sequence[np.generic], stream: int
    ) -> None:
        """Run a function."""
        values = tuple(argument.item() for argument in arguments)
        kinds = tuple(_CTYPES[type(argument)] for argument in arguments)
        grid = (blocks, 1, 1, BLOCK, 1, 1, 0)
        self._call("cuLaunchKernel", function, *grid, stream, (values, kinds), 0)

    def stream(self) -> tuple[int, Handle]:
        """Return a new stream that waits for no other."""
        flags = int(self._cuda.CUstream_flags.CU_STREAM_NON_BLOCKING)
        held = self._handle("cuStreamDestroy", self._call("cuStreamCreate", flags))
        return held.value, held

    def event(self) -> Handle:
        """Return a new event that keeps the time."""
        flags = int(self._cuda.CUevent_flags.CU_EVENT_DEFAULT)
        return self._handle("cuEventDestroy", self._call("cuEventCreate", flags))

    def record(self, event: int, stream: int) -> None:
        """Let an event mark what is on a stream so far."""
        self._call("cuEventRecord", event, stream)

    def wait(self, event: int, stream: int) -> None:
        """Let a stream wait for an event."""
        self._call("cuStreamWaitEvent", stream, event, 0)

    def elapsed(self, start: int, end: int) -> float:
        """Wait for two events, and return the milliseconds between them."""
        self._call("cuEventSynchronize", start)
        self._call("cuEventSynchronize", end)
        return float(self._call("cuEventElapsedTime", start, end))

    def begin_capture(self, stream: int) -> None:
        """Begin to record."""
        begin_capture(self._cuda, stream)

    def end_capture(self, stream: int) -> Handle:
        """Return what was recorded."""
        return end_capture(self._cuda, stream)

    def replay(self, graph: int, stream: int) -> None:
        """Put recorded work on a stream."""
        self._call("cuGraphLaunch", graph, stream)

    def synchronise(self, stream: int) -> None:
        """Wait for a stream."""
        self._call("cuStreamSynchronize", stream)

    def memory_used(self) -> int:
        """Return the bytes in use."""
        free, total = self._call("cuMemGetInfo")
        return int(total) - int(free)

    def close(self) -> None:
        """Give the context back."""
        self._call("cuDevicePrimaryCtxRelease", self._device)

    def _attribute(self, which: Any) -> int:
        return int(self._call("cuDeviceGetAttribute", which, self._device))

    def _handle(self, destroy: str, value: Any) -> Handle:
        return Handle(int(value), lambda number: self._call(destroy, number))

    def _call(self, name: str, *arguments: Any) -> Any:
        return call(self._cuda, name, *arguments)


def load_driver() -> Any:  # a module, of a library without types
    """Return NVIDIA's bindings, ready to be called.

    Raises:
        DeviceError: they are not installed, or there is no driver or no GPU.
    """
    try:
        from cuda.bindings import driver
    except ImportError as error:
        raise DeviceError(
            "cuda-bindings is not installed; run pip install 'vivant[cuda]'"
        ) from error
    try:
        driver.cuDriverGetVersion()  # only a call loads the library
    except RuntimeError as error:
        raise DeviceError(
            "cuda: no NVIDIA driver on this machine; install one, or choose another device"
        ) from error
    call(driver, "cuInit", 0)
    return driver


def call(cuda: Any, name: str, *arguments: Any) -> Any:
    """Call a function of the driver, and return what it returns besides its status.

    Raises:
        DeviceError: it fails, or this machine's driver does not have it.
    """
    try:
        status, *values = getattr(cuda, name)(*arguments)
    except RuntimeError as error:
        raise DeviceError(
            f"cuda: {name} is not in this machine's driver; update the NVIDIA driver"
        ) from error
    if status != cuda.CUresult.CUDA_SUCCESS:
        _, text = cuda.cuGetErrorString(status)
        remedy = _REMEDIES.get(status.name, _REMEDY)
        raise DeviceError(f"cuda: {name}: {status.name} ({text.decode()}); {remedy}")
    return values[0] if len(values) == 1 else values


def begin_capture(cuda: Any, stream: int) -> None:
    """Begin to record; other threads may allocate meanwhile."""
    mode = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
    call(cuda, "cuStreamBeginCapture", stream, mode)


def end_capture(cuda: Any, stream: int) -> Handle:
    """Return what was recorded, to be replayed."""
    recorded = call(cuda, "cuStreamEndCapture", stream)
    try:
        graph = call(cuda, "cuGraphInstantiate", recorded, 0)
    finally:
        call(cuda, "cuGraphDestroy", recorded)
    return Handle(int(graph), lambda number: call(cuda, "cuGraphExecDestroy", number))
