"""What the GPU devices ask of the driver. On a stub: no GPU is there, and none is proven."""

from __future__ import annotations

import gc
import importlib.util
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from vivant.backends.device import Kernel
from vivant.backends.devices import lacking_device, open_device
from vivant.errors import DeviceError

NOTHING = Kernel("nothing", "source", lambda *_: None, ())
TWIN = Kernel("twin", "source", lambda *_: None, ())


@pytest.fixture
def libcuda(monkeypatch):
    """A stub of the driver library, in the place of what is installed."""
    spec = importlib.util.spec_from_file_location(
        "stub_libcuda", Path(__file__).with_name("stub_libcuda.py")
    )
    stub = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stub)
    return stub.install(monkeypatch, {"nothing": lambda *_: None, "twin": lambda *_: None})


@pytest.fixture(params=["cuda", "pycuda"])
def name(request, libcuda):
    return request.param


@pytest.fixture
def device(name):
    with open_device(name) as device:
        yield device


def test_all_is_given_back_in_its_context(name, libcuda):
    device = open_device(name)
    stream, event = device.stream(), device.event()
    device.launch(NOTHING, 1, [], stream)
    memory = device.allocate((3,)), device.pinned((3,))
    with device.capture(stream) as graph:
        device.upload(memory[1], memory[0], stream)
    device.record(event, stream)
    device.replay(graph, stream)
    for each in memory:
        device.free(each)
    assert libcuda.retained == 1
    device.close()
    assert libcuda.retained == 0
    assert [kind for kind, _ in libcuda.living if kind != "module"] == []
    assert (libcuda.mistakes, libcuda.leaked) == ([], [])


def test_it_is_the_primary_context_of_the_first_gpu(device, libcuda):
    assert (device.kind, device.name, device.capability) == ("cuda", "Stub", (8, 7))
    assert libcuda.named("cuDevicePrimaryCtxRetain") == [(0,)]


def test_streams_do_not_wait_for_the_default_stream(device, libcuda):
    stream = device.stream()
    assert libcuda.named("cuStreamCreate") == [(1,)]  # CU_STREAM_NON_BLOCKING
    assert ("cuStreamDestroy", stream.handle) in libcuda.living


def test_a_stream_waits_on_the_gpu_not_on_the_host(device, libcuda):
    one, two, event = device.stream(), device.stream(), device.event()
    device.record(event, one)
    device.wait(event, two)
    ((number, stream),) = libcuda.named("cuEventRecord")
    assert stream == one.handle
    assert libcuda.named("cuStreamWaitEvent") == [(two.handle, number, 0)]
    assert libcuda.named("cuEventSynchronize") == []


@pytest.mark.parametrize(("mapped", "flags"), [(False, 1), (True, 3)])
def test_pinned_memory_is_for_every_context(device, libcuda, mapped, flags):
    memory = device.pinned((3,), mapped=mapped)
    assert libcuda.named("cuMemHostAlloc") == [(3, flags)]
    device.free(memory)


def test_every_thread_gets_the_context(name, device, libcuda):
    found = []

    def work():
        device.synchronise(device.stream())
        found.append(list(libcuda.contexts))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    # pycuda aborts the process when a thread ends with a context on its stack.
    assert found == [[] if name == "pycuda" else [libcuda.CONTEXT]]


def test_pycuda_leaves_others_contexts_as_they_were(libcuda):
    from pycuda import driver

    theirs = driver.Context()
    theirs.handle = 99
    theirs.push()
    with open_device("pycuda") as device:
        device.synchronise(device.stream())
        assert driver.Context.get_current() is theirs
    assert driver.Context.get_current() is theirs
    assert libcuda.current() == 99
    driver.Context.pop()


def test_pycuda_leaves_no_context_behind(libcuda):
    before = list(libcuda.contexts)
    open_device("pycuda").close()
    assert libcuda.contexts == before


def test_streams_events_and_graphs_go_when_the_device_is_waited_for(device, libcuda):
    stream, event = device.stream(), device.event()
    device.record(event, stream)
    with device.capture(stream) as graph:
        pass
    device.synchronise(stream)
    before = set(libcuda.living)
    assert {kind for kind, _ in before} == {
        "cuStreamDestroy",
        "cuEventDestroy",
        "cuGraphExecDestroy",
    }
    del event, graph
    gc.collect()
    assert set(libcuda.living) == before
    device.synchronise(stream)
    assert [kind for kind, _ in libcuda.living] == ["cuStreamDestroy"]
    assert (libcuda.mistakes, libcuda.leaked) == ([], [])


def test_a_source_is_loaded_once_and_a_function_looked_up_once(device, libcuda):
    stream = device.stream()
    for kernel in (NOTHING, TWIN, NOTHING):
        device.launch(kernel, 300, [], stream)
    assert libcuda.named("cuModuleLoadData") == [(b"source",)]
    assert [name for _, name in libcuda.named("cuModuleGetFunction")] == [b"nothing", b"twin"]
    assert [call[1:3] for call in libcuda.named("launch")] == [(2, 256)] * 3


def test_arguments_are_passed_as_their_kinds(device, libcuda):
    stream, buffer = device.stream(), device.allocate((4,), np.float32)
    device.launch(NOTHING, 1, [buffer[1], None, np.int32(-5), np.float32(0.5)], stream)
    (call,) = libcuda.named("launch")
    assert [each or 0 for each in call[3]] == [buffer.pointer + 4, 0, -5, 0.5]
    device.free(buffer)


def test_memory_is_freed_after_the_work_on_it(device, libcuda):
    one, two = device.stream(), device.stream()
    memory = device.pinned((4,))
    buffer = device.allocate((4,))
    device.upload(memory, buffer, two)
    libcuda.calls.clear()
    device.free(memory)
    names = [call[0] for call in libcuda.calls if "Ctx" not in call[0]]
    assert names == ["cuStreamSynchronize", "cuStreamSynchronize", "cuMemFreeHost"]
    assert {call[0] for call in libcuda.named("cuStreamSynchronize")} == {one.handle, two.handle}
    device.free(buffer)


def test_memory_is_freed_though_the_work_on_it_failed(device, libcuda):
    stream, buffer = device.stream(), device.allocate((4,))
    libcuda.failing["cuStreamSynchronize"] = "ILLEGAL_ADDRESS"
    with pytest.raises(DeviceError):
        device.free(buffer)
    assert [kind for kind, _ in libcuda.living] == ["cuStreamDestroy"]
    libcuda.failing.clear()
    device.synchronise(stream)


FAILURES = {
    "cuMemAlloc": lambda device, stream: device.allocate((3,)),
    "cuMemHostAlloc": lambda device, stream: device.pinned((3,)),
    "cuStreamCreate": lambda device, stream: device.stream(),
    "cuEventCreate": lambda device, stream: device.event(),
    "cuStreamSynchronize": lambda device, stream: device.synchronise(stream),
    "cuModuleLoadData": lambda device, stream: device.launch(NOTHING, 1, [], stream),
    "cuModuleGetFunction": lambda device, stream: device.launch(NOTHING, 1, [], stream),
    "launch": lambda device, stream: device.launch(NOTHING, 1, [], stream),
    "cuStreamBeginCapture": lambda device, stream: device.capture(stream).__enter__(),
    "cuMemGetInfo": lambda device, stream: device.memory_used(),
}


@pytest.mark.parametrize("call", FAILURES)
def test_what_the_driver_refuses_is_raised(name, device, libcuda, call):
    stream = device.stream()
    libcuda.failing[call] = "OUT_OF_MEMORY"
    with pytest.raises(DeviceError, match=r"cuda: .*out of memory.*; give it smaller pict") as told:
        FAILURES[call](device, stream)
    assert "\n" not in str(told.value)
    libcuda.failing.clear()
    device.synchronise(stream)


def test_cudas_name_and_text_are_told(libcuda):
    with open_device("cuda") as device:
        libcuda.failing["cuMemAlloc"] = "OUT_OF_MEMORY"
        with pytest.raises(
            DeviceError, match=r"cuda: cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY \(out of memory\); give"
        ):
            device.allocate((1,))
        libcuda.failing = {"cuStreamCreate": "NOT_FOUND"}
        with pytest.raises(DeviceError, match=r"NOT_FOUND .*; run 'vivant doctor'"):
            device.stream()


def test_a_recording_that_the_driver_refuses_is_no_graph(device, libcuda):
    stream = device.stream()
    libcuda.failing["cuGraphInstantiate"] = "STREAM_CAPTURE_UNSUPPORTED"
    with (
        pytest.raises(DeviceError, match=r"CAPTURE_UNSUPPORTED .*do it once before it is recorded"),
        device.capture(stream) as graph,
    ):
        pass
    libcuda.failing.clear()
    with pytest.raises(DeviceError, match="not recorded to its end"):
        device.replay(graph, stream)
    assert "cuGraphDestroy" not in {kind for kind, _ in libcuda.living}


def test_no_gpu_is_told(libcuda):
    libcuda.failing["cuInit"] = "NO_DEVICE"
    for name in ("cuda", "pycuda"):
        assert "CUDA_ERROR_NO_DEVICE (no device); look at nvidia-smi and" in lacking_device(name)


def test_no_driver_is_told(libcuda, monkeypatch):
    def missing(module, name):
        def fail(*_):
            raise RuntimeError("Failed to dlopen libcuda.so.1")

        return fail

    monkeypatch.setattr(type(sys.modules["cuda.bindings.driver"]), "__getattr__", missing)
    for name in ("cuda", "pycuda"):
        with pytest.raises(
            DeviceError,
            match="cuda: no NVIDIA driver on this machine; install one, or choose another device",
        ):
            open_device(name)


def test_libraries_that_are_not_installed_are_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert lacking_device("cuda") == (
        "cuda-bindings is not installed; run pip install 'vivant[cuda]'"
    )
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pycuda" else find(name)
    )
    assert lacking_device("pycuda") == ("pycuda is not installed; run pip install 'vivant[pycuda]'")


def test_a_pycuda_that_cannot_be_loaded_is_told(libcuda, monkeypatch):
    def broken(name):
        raise ImportError("undefined symbol: cuCtxCreate_v2")

    monkeypatch.delattr(sys.modules["pycuda"], "driver")
    sys.modules["pycuda"].__getattr__ = broken
    with pytest.raises(DeviceError, match=r"pycuda cannot be loaded \(.*\); install it again"):
        open_device("pycuda")


def test_an_unknown_device_lists_those_there_are():
    assert lacking_device("host") is None
    assert lacking_device("tpu") == (
        "device 'tpu': this version has cuda, pycuda, host; choose one"
    )
