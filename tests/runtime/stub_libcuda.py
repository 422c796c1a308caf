"""A stub of NVIDIA's driver library, and of two libraries that call it, for tests without a GPU.

It keeps memory in NumPy, does work late and in the order it came, and notes what CUDA would
refuse. Nothing of CUDA's runs here: tests on it prove which calls are made, in which order, with
which arguments and in which context, and that answers are looked at. They do not prove that a GPU
does what the calls ask for; tests marked ``gpu`` do.
"""
# ruff: noqa: N802, N818 - the names are NVIDIA's and pycuda's

from __future__ import annotations

import ctypes
import enum
import importlib.machinery
import itertools
import sys
import threading
import types

import numpy as np

from vivant.backends import device_gpu

NO_CONTEXT_NEEDED = {
    "cuInit",
    "cuDriverGetVersion",
    "cuDeviceGet",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease",
    "cuCtxSetCurrent",
    "cuCtxPushCurrent",
    "cuCtxPopCurrent",
    "cuGetErrorString",
}


class CUresult(enum.IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_NOT_FOUND = 500
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900


class Failure(Exception):
    """A status that is not success."""

    def __init__(self, name):
        super().__init__(name)
        self.status = CUresult[f"CUDA_ERROR_{name}"]


class LibCuda:
    """The functions of libcuda that are called, by their names in C.

    ``calls`` is all of them, with arguments; ``failing`` maps a name to the status it shall give;
    ``living`` is what was made and not destroyed; ``kernels`` are Python functions by name;
    ``leaked`` is what pycuda was let go of where it could not destroy it.
    """

    CONTEXT = 77
    GRAPH_CALLS = ("cuStreamBeginCapture", "cuStreamEndCapture")

    def __init__(self):
        self.calls = []
        self.failing = {}
        self.living = {}
        self.kernels = {}
        self.retained = 0
        self.mistakes = []
        self.leaked = []
        self._memory = {}
        self._numbers = itertools.count(1000)
        self._queue = []
        self._recording = {}
        self._clock = itertools.count(1)
        self._thread = threading.local()

    def call(self, name, *arguments):
        self.calls.append((name, *arguments))
        if name in self.failing:
            raise Failure(self.failing[name])
        if name not in NO_CONTEXT_NEEDED and self.current() is None:
            raise Failure("INVALID_CONTEXT")
        return getattr(self, name)(*arguments)

    def named(self, name):
        return [call[1:] for call in self.calls if call[0] == name]

    def current(self):
        return self.contexts[-1] if self.contexts else None

    @property
    def contexts(self):
        if not hasattr(self._thread, "contexts"):
            self._thread.contexts = []
        return self._thread.contexts

    # Contexts and what there is

    def cuInit(self, flags):
        pass

    def cuDriverGetVersion(self):
        return 12060

    def cuDeviceGet(self, ordinal):
        return ordinal

    def cuDeviceGetName(self, length, device):
        return b"Stub\0" + bytes(length - 5)

    def cuDeviceGetAttribute(self, which, device):
        return {75: 8, 76: 7}[int(which)]

    def cuDevicePrimaryCtxRetain(self, device):
        self.retained += 1
        return self.CONTEXT

    def cuDevicePrimaryCtxRelease(self, device):
        self.retained -= 1

    def cuCtxSetCurrent(self, context):
        self.contexts[-1:] = [context]

    def cuCtxPushCurrent(self, context):
        self.contexts.append(context)

    def cuCtxPopCurrent(self):
        return self.contexts.pop()

    def cuGetErrorString(self, status):
        return status.name.removeprefix("CUDA_ERROR_").replace("_", " ").lower().encode()

    # Memory

    def cuMemAlloc(self, nbytes):
        self._outside_capture()
        return self._allocated("cuMemFree", nbytes)

    def cuMemFree(self, address):
        self._outside_capture()
        self._release("cuMemFree", address)

    def cuMemHostAlloc(self, nbytes, flags):
        self._outside_capture()
        return self._allocated("cuMemFreeHost", nbytes)

    def cuMemFreeHost(self, address):
        self._release("cuMemFreeHost", address)

    def cuMemHostGetDevicePointer(self, address, flags):
        return address

    def cuMemGetInfo(self):
        return 1 << 30, (1 << 30) + sum(array.nbytes for array in self._memory.values())

    def cuMemcpyHtoDAsync(self, target, source, nbytes, stream):
        self._copy(target, source, nbytes, stream)

    def cuMemcpyDtoHAsync(self, target, source, nbytes, stream):
        self._copy(target, source, nbytes, stream)

    def cuMemcpyDtoDAsync(self, target, source, nbytes, stream):
        self._copy(target, source, nbytes, stream)

    def array(self, address, nbytes):
        """Return the memory at an address, as bytes."""
        for start, memory in self._memory.items():
            if start <= address and address + nbytes <= start + memory.nbytes:
                return memory[address - start :][:nbytes]
        raise Failure("ILLEGAL_ADDRESS")

    # Streams, events, graphs

    def cuStreamCreate(self, flags):
        return self._made("cuStreamDestroy", flags)

    def cuStreamDestroy(self, stream):
        self._release("cuStreamDestroy", stream)

    def cuStreamSynchronize(self, stream):
        self._check("cuStreamDestroy", stream)
        if stream in self._recording:
            raise Failure("STREAM_CAPTURE_UNSUPPORTED")
        self._run()

    def cuEventCreate(self, flags):
        return self._made("cuEventDestroy", [])

    def cuEventDestroy(self, event):
        self._release("cuEventDestroy", event)

    def cuEventRecord(self, event, stream):
        times = self._check("cuEventDestroy", event)
        self._put(stream, lambda: times.append(next(self._clock)))

    def cuEventSynchronize(self, event):
        self._run()

    def cuEventElapsedTime(self, start, end):
        first, last = (self._check("cuEventDestroy", event) for event in (start, end))
        return float(last[-1] - first[-1])

    def cuStreamWaitEvent(self, stream, event, flags):
        self._check("cuStreamDestroy", stream)
        self._check("cuEventDestroy", event)

    def cuStreamBeginCapture(self, stream, mode):
        assert mode == CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._check("cuStreamDestroy", stream)
        self._recording[stream] = []
        self._thread.records = True

    def cuStreamEndCapture(self, stream):
        self._thread.records = False
        return self._made("cuGraphDestroy", self._recording.pop(stream))

    def cuGraphInstantiate(self, graph, flags):
        return self._made("cuGraphExecDestroy", list(self._check("cuGraphDestroy", graph)))

    def cuGraphDestroy(self, graph):
        self._release("cuGraphDestroy", graph)

    def cuGraphExecDestroy(self, graph):
        self._release("cuGraphExecDestroy", graph)

    def cuGraphLaunch(self, graph, stream):
        for work in self._check("cuGraphExecDestroy", graph):
            self._put(stream, work)

    # Kernels

    def cuModuleLoadData(self, code):
        self._outside_capture()
        return self._made("cuModuleUnload", code)

    def cuModuleUnload(self, module):
        self._release("cuModuleUnload", module)

    def cuModuleGetFunction(self, module, name):
        self._check("cuModuleUnload", module)
        if name.decode() not in self.kernels:
            raise Failure("NOT_FOUND")
        return self._made("module", self.kernels[name.decode()])

    def launch(self, function, blocks, threads, values, stream):
        kernel = self._check("module", function)
        self._put(stream, lambda: kernel(self, blocks * threads, *values))

    # The inside

    def _outside_capture(self):
        if getattr(self._thread, "records", False):
            raise Failure("STREAM_CAPTURE_UNSUPPORTED")

    def _allocated(self, kind, nbytes):
        memory = np.full(nbytes, 0xAB, np.uint8)
        self._memory[memory.ctypes.data] = memory
        self.living[kind, memory.ctypes.data] = None
        return memory.ctypes.data

    def _made(self, kind, what):
        number = next(self._numbers)
        self.living[kind, number] = what
        return number

    def _check(self, kind, number):
        if (kind, number) not in self.living:
            raise Failure("INVALID_HANDLE")
        return self.living[kind, number]

    def _release(self, kind, number):
        if (kind, number) not in self.living:
            self.mistakes.append(f"{kind} of {number}")
            raise Failure("INVALID_HANDLE")
        del self.living[kind, number]
        if number in self._memory:
            self._run()
            del self._memory[number]

    def _put(self, stream, work):
        self._check("cuStreamDestroy", stream)
        self._recording.get(stream, self._queue).append(work)

    def _copy(self, target, source, nbytes, stream):
        def work():
            self.array(target, nbytes)[:] = self.array(source, nbytes)

        self.array(target, nbytes), self.array(source, nbytes)
        self._put(stream, work)

    def _run(self):
        queue, self._queue = self._queue, []
        for work in queue:
            work()


class CUstreamCaptureMode(enum.IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


class CudaBindings(types.ModuleType):
    """``cuda.bindings.driver`` over the stub: a tuple whose first entry is the status."""

    CUresult = CUresult
    CUstreamCaptureMode = CUstreamCaptureMode
    CU_MEMHOSTALLOC_PORTABLE = 1
    CU_MEMHOSTALLOC_DEVICEMAP = 2
    CUdevice_attribute = types.SimpleNamespace(
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR=75,
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR=76,
    )
    CUstream_flags = types.SimpleNamespace(CU_STREAM_NON_BLOCKING=1)
    CUevent_flags = types.SimpleNamespace(CU_EVENT_DEFAULT=0)

    def __init__(self, library):
        super().__init__("cuda.bindings.driver")
        self._library = library

    def __getattr__(self, name):
        if not name.startswith("cu"):
            raise AttributeError(name)
        return lambda *arguments: self._answer(name, arguments)

    def _answer(self, name, arguments):
        try:
            found = self._library.call(name, *arguments)
        except Failure as failure:
            return failure.status, None
        values = found if isinstance(found, tuple) else () if found is None else (found,)
        return CUresult.CUDA_SUCCESS, *values

    def cuLaunchKernel(self, function, *rest):
        *grid, shared, stream, (values, kinds), extra = rest
        assert grid[1:3] == [1, 1]
        assert (grid[4:], shared, extra) == ([1, 1], 0, 0)
        passed = [kind(value).value for value, kind in zip(values, kinds, strict=True)]
        assert all(kind in {ctypes.c_void_p, ctypes.c_int32, ctypes.c_float} for kind in kinds)
        try:
            self._library.call("launch", function, grid[0], grid[3], passed, stream)
        except Failure as failure:
            return (failure.status,)
        return (CUresult.CUDA_SUCCESS,)


def pycuda_driver(library):  # noqa: C901 - a module, with a library of its own
    """Return ``pycuda.driver`` over the stub, with pycuda's own stack of contexts."""
    module = types.ModuleType("pycuda.driver")
    stacks = threading.local()

    class Error(Exception):
        pass

    class OutOfMemory(Error):
        pass

    def call(name, *arguments):
        try:
            return library.call(name, *arguments)
        except Failure as failure:
            text = f"{name} failed: {library.cuGetErrorString(failure.status).decode()}"
            raise (OutOfMemory if "memory" in text else Error)(text) from None

    def stack():
        if not hasattr(stacks, "contexts"):
            stacks.contexts = []
        return stacks.contexts

    class Context:
        def __init__(self):
            self.handle, self.valid = call("cuDevicePrimaryCtxRetain", 0), True

        def push(self):
            if stack():
                call("cuCtxPopCurrent")
            call("cuCtxPushCurrent", self.handle)
            stack().append(self)

        @staticmethod
        def pop():
            call("cuCtxPopCurrent")
            stack().pop()
            if stack():
                call("cuCtxPushCurrent", stack()[-1].handle)

        @staticmethod
        def get_current():
            return stack()[-1] if stack() else None

        def detach(self):
            # A primary context is released, and stays on CUDA's stack.
            assert stack()[-1] is self
            assert self.valid
            call("cuDevicePrimaryCtxRelease", 0)
            self.valid = False
            stack().pop()
            if stack():
                call("cuCtxPushCurrent", stack()[-1].handle)

    class Device:
        def __init__(self, ordinal):
            assert ordinal == 0

        def name(self):
            return "Stub"

        def compute_capability(self):
            return 8, 7

        def retain_primary_context(self):
            return Context()

    class Owned:
        """What pycuda destroys when the last reference goes, and leaks with a dead context."""

        destroy = ""
        handle = None

        def __init__(self, handle):
            self.handle, self.context = handle, Context.get_current()
            if self.context is None:
                library.mistakes.append(f"{type(self).__name__} made with no context")

        def __del__(self):
            if self.handle is not None and Context.get_current() is self.context:
                self.free()
            elif self.handle is not None:
                library.leaked.append(type(self).__name__)

        def free(self):
            if Context.get_current() is not self.context:
                library.mistakes.append(f"{type(self).__name__} dropped out of its context")
            handle, self.handle, self.context = self.handle, None, None
            call(self.destroy, handle)

    class DeviceAllocation(Owned):
        destroy = "cuMemFree"

        def __int__(self):
            return self.handle

    class HostAllocation(Owned):
        destroy = "cuMemFreeHost"

        def __init__(self, nbytes, flags):
            super().__init__(call("cuMemHostAlloc", nbytes, flags))
            self.__array_interface__ = {
                "shape": (nbytes,),
                "typestr": "|u1",
                "data": (self.handle, False),
                "version": 3,
            }

        def get_device_pointer(self):
            return call("cuMemHostGetDevicePointer", self.handle, 0)

    class Stream(Owned):
        destroy = "cuStreamDestroy"

        def __init__(self, flags=0):
            super().__init__(call("cuStreamCreate", flags))

        def synchronize(self):
            call("cuStreamSynchronize", self.handle)

        def wait_for_event(self, event):
            call("cuStreamWaitEvent", self.handle, event.handle, 0)

    class Event(Owned):
        destroy = "cuEventDestroy"

        def __init__(self, flags=0):
            super().__init__(call("cuEventCreate", flags))

        def record(self, stream):
            call("cuEventRecord", self.handle, stream.handle)

        def synchronize(self):
            call("cuEventSynchronize", self.handle)

        def time_till(self, end):
            return call("cuEventElapsedTime", self.handle, end.handle)

    class Function:
        def __init__(self, module, handle):
            self.module, self.handle = module, handle

        def __call__(self, *arguments, block, grid, stream):
            assert all(isinstance(each, np.number) for each in arguments)
            assert (block[1:], grid[1:]) == ((1, 1), (1, 1))
            values = [each.item() for each in arguments]
            call("launch", self.handle, grid[0], block[0], values, stream.handle)

    class Module(Owned):
        destroy = "cuModuleUnload"

        def get_function(self, name):
            return Function(self, call("cuModuleGetFunction", self.handle, name.encode()))

    def memcpy_htod_async(dest, src, stream):
        call("cuMemcpyHtoDAsync", dest, src.ctypes.data, src.nbytes, stream.handle)

    def memcpy_dtoh_async(dest, src, stream):
        call("cuMemcpyDtoHAsync", dest.ctypes.data, src, dest.nbytes, stream.handle)

    def memcpy_dtod_async(dest, src, size, stream):
        call("cuMemcpyDtoDAsync", dest, src, size, stream.handle)

    def pagelocked_empty(shape, dtype, mem_flags=0):
        assert dtype is np.uint8
        return np.asarray(HostAllocation(shape, mem_flags))

    for found in (Error, Context, Device, Stream, Event, Module, DeviceAllocation):
        setattr(module, found.__name__, found)
    for found in (memcpy_htod_async, memcpy_dtoh_async, memcpy_dtod_async, pagelocked_empty):
        setattr(module, found.__name__, found)
    module.MemoryError = OutOfMemory
    module.init = lambda: call("cuInit", 0)
    module.host_alloc_flags = types.SimpleNamespace(PORTABLE=1, DEVICEMAP=2)
    module.mem_alloc = lambda nbytes: DeviceAllocation(call("cuMemAlloc", nbytes))
    module.mem_get_info = lambda: call("cuMemGetInfo")
    module.module_from_buffer = lambda code: Module(call("cuModuleLoadData", code))
    return module


def install(monkeypatch, kernels):
    """Return a stub in the place of installed packages, and of the compiler."""
    library = LibCuda()
    library.kernels = kernels
    drivers = {"cuda.bindings": CudaBindings(library), "pycuda": pycuda_driver(library)}
    for name, driver in drivers.items():
        package = types.ModuleType(name)
        package.__spec__ = importlib.machinery.ModuleSpec(name, None)
        package.driver = driver
        monkeypatch.setitem(sys.modules, name, package)
        monkeypatch.setitem(sys.modules, f"{name}.driver", driver)
    monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
    monkeypatch.setattr(device_gpu, "cubin", lambda source, capability: source.encode())
    return library
