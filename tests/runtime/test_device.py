"""Every device keeps the same rules: the host, the GPU by two libraries, and those on a stub."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path

import numpy as np
import pytest

from vivant.backends.device import Buffer, Kernel
from vivant.backends.devices import lacking_device, open_device
from vivant.errors import DeviceError

SOURCE = """
extern "C" __global__ void add(float *target, const float *other, float factor, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) target[i] += factor * (other ? other[i] : 1.0f);
}
extern "C" __global__ void unused(float *target) {}
"""


def add_oracle(target, other, factor, n):
    flat = target.reshape(-1)
    flat[:n] += factor * (1 if other is None else other.reshape(-1)[:n])


def add_on_stub(library, threads, target, other, factor, n):
    for i in range(min(threads, n)):
        found = library.array(target + 4 * i, 4).view(np.float32)
        found += np.float32(factor) * (
            library.array(other + 4 * i, 4).view(np.float32) if other else 1
        )


ADD = Kernel("add", SOURCE, add_oracle, (0,))
UNUSED = Kernel("unused", SOURCE, lambda target: None, (0,))


@pytest.fixture
def libcuda(monkeypatch):
    """A stub of the driver library, in the place of what is installed."""
    spec = importlib.util.spec_from_file_location(
        "stub_libcuda", Path(__file__).with_name("stub_libcuda.py")
    )
    stub = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stub)
    library = stub.install(monkeypatch, {"add": add_on_stub, "unused": lambda *_: None})
    yield library
    assert library.mistakes == []


@pytest.fixture(
    params=[
        "host",
        "cuda on the stub",
        "pycuda on the stub",
        pytest.param("cuda", marks=pytest.mark.gpu),
        pytest.param("pycuda", marks=pytest.mark.gpu),
    ]
)
def opening(request):
    """Return a function that opens a device."""
    name, _, stub = request.param.partition(" ")
    if stub:
        request.getfixturevalue("libcuda")
    elif reason := lacking_device(name):
        pytest.skip(reason)
    return lambda: open_device(name)


class Bench:
    """A device, a stream, and short ways to put arrays on the device and get them back."""

    def __init__(self, device):
        self.device = device
        self.stream = device.stream()
        self.memory = []

    def buffer(self, shape, dtype=np.float32):
        self.memory.append(self.device.allocate(shape, dtype))
        return self.memory[-1]

    def pinned(self, shape, dtype=np.float32, **keywords):
        self.memory.append(self.device.pinned(shape, dtype, **keywords))
        return self.memory[-1]

    def put(self, array, stream=None):
        array = np.asarray(array)
        staging = self.pinned(array.shape, array.dtype)
        target = self.buffer(array.shape, array.dtype)
        staging.array[...] = array
        self.device.upload(staging, target, stream or self.stream)
        return target

    def get(self, buffer, stream=None):
        target = self.pinned(buffer.shape, buffer.dtype)
        self.device.download(buffer, target, stream or self.stream)
        self.device.synchronise(stream or self.stream)
        return target.array.copy()

    def add(self, target, other, factor=1.0, n=None, stream=None):
        count = int(np.prod(target.shape)) if n is None else n
        arguments = [target, other, np.float32(factor), np.int32(count)]
        self.device.launch(ADD, count, arguments, stream or self.stream)

    def free(self, memory):
        self.memory.remove(memory)
        self.device.free(memory)


@pytest.fixture
def bench(opening):
    """A bench on an open device; what a test leaves there is freed, and nothing else."""
    device = opening()
    bench = Bench(device)
    yield bench
    for memory in bench.memory:
        device.free(memory)
    device.close()


def numbers(*shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1


def test_copies_come_back_as_they_went(bench):
    array = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    there = bench.put(array)
    twin = bench.buffer((2, 3, 5), np.uint8)
    bench.device.copy(there, twin, bench.stream)
    np.testing.assert_array_equal(bench.get(twin), array)


def test_a_part_is_the_same_memory(bench):
    whole = bench.put(numbers(4, 6))
    np.testing.assert_array_equal(bench.get(whole[2]), numbers(4, 6)[2])
    np.testing.assert_array_equal(bench.get(whole.part(8, (3,))), [3, 4, 5])
    bench.device.copy(whole[0], whole[3], bench.stream)
    np.testing.assert_array_equal(bench.get(whole)[3], numbers(6))
    assert bench.get(whole.part(0, (4,), np.uint8)).tobytes() == np.float32(1).tobytes()


def test_pinned_memory_may_be_larger_than_what_is_copied(bench):
    staging = bench.pinned((5,))
    staging.array[...] = numbers(5)
    target = bench.buffer((2,))
    bench.device.upload(staging, target, bench.stream)
    bench.device.synchronise(bench.stream)
    staging.array[...] = 0
    bench.device.download(target, staging, bench.stream)
    bench.device.synchronise(bench.stream)
    np.testing.assert_array_equal(staging.array, [1, 2, 0, 0, 0])


def test_an_empty_buffer_is_a_buffer(bench):
    empty = bench.put(np.zeros((0, 3), np.float32))
    assert bench.get(empty).shape == (0, 3)


@pytest.mark.parametrize("count", [1, 255, 256, 257, 1000])
def test_a_kernel_runs_once_for_every_thread(bench, count):
    target, other = bench.put(numbers(1000)), bench.put(numbers(1000))
    bench.add(target, other, 0.5, count)
    expected = numbers(1000) * np.where(np.arange(1000) < count, np.float32(1.5), 1)
    np.testing.assert_array_equal(bench.get(target), expected)


def test_a_kernel_takes_no_buffer_for_a_buffer(bench):
    target = bench.put(numbers(7))
    bench.add(target, None, 2)
    np.testing.assert_array_equal(bench.get(target), numbers(7) + 2)


def test_a_kernel_for_no_threads_is_not_run(bench):
    target = bench.put(numbers(3))
    arguments = [target, None, np.float32(1), np.int32(3)]
    bench.device.launch(ADD, 0, arguments, bench.stream)
    np.testing.assert_array_equal(bench.get(target), numbers(3))


def test_a_kernel_works_on_parts(bench):
    target = bench.put(numbers(2, 4))
    bench.add(target[1], target[0])
    np.testing.assert_array_equal(bench.get(target)[1], numbers(4) + numbers(2, 4)[1])


def test_mapped_memory_needs_no_copies(bench):
    memory = bench.pinned((3,), mapped=True)
    assert bench.pinned((3,)).mapped is None
    memory.array[...] = numbers(3)
    bench.add(memory.mapped, None, 1)
    bench.device.synchronise(bench.stream)
    np.testing.assert_array_equal(memory.array, numbers(3) + 1)


def test_an_event_orders_streams(bench):
    device, other, event = bench.device, bench.device.stream(), bench.device.event()
    there = bench.put(numbers(300), bench.stream)
    device.record(event, bench.stream)
    device.wait(event, other)
    bench.add(there, None, 1, stream=other)
    np.testing.assert_array_equal(bench.get(there, other), numbers(300) + 1)


def test_time_passes_between_events(bench):
    start, middle, end = (bench.device.event() for _ in range(3))
    bench.device.record(start, bench.stream)
    target = bench.put(numbers(500))
    bench.device.record(middle, bench.stream)
    bench.add(target, None)
    bench.device.record(end, bench.stream)
    whole = bench.device.elapsed(start, end)
    parts = bench.device.elapsed(start, middle), bench.device.elapsed(middle, end)
    assert min(parts) > 0
    assert whole == pytest.approx(sum(parts), abs=0.01)


def test_a_library_puts_its_work_on_a_stream(bench):
    target, called = bench.put(numbers(2)), []
    bench.device.enqueue(lambda: called.append(1), [], [target], bench.stream)
    bench.device.synchronise(bench.stream)
    assert called == [1]


def test_recorded_work_is_done_only_when_it_is_replayed(bench):
    target, other = bench.put(numbers(4)), bench.put(numbers(4))
    bench.add(target, other, 0)
    bench.device.synchronise(bench.stream)
    with bench.device.capture(bench.stream) as graph:
        bench.add(target, other)
        bench.device.copy(target, other, bench.stream)
    np.testing.assert_array_equal(bench.get(target), numbers(4))
    for times in (2, 4):
        bench.device.replay(graph, bench.stream)
        np.testing.assert_array_equal(bench.get(target), numbers(4) * times)
    replayed_elsewhere = bench.device.stream()
    bench.device.replay(graph, replayed_elsewhere)
    np.testing.assert_array_equal(bench.get(target, replayed_elsewhere), numbers(4) * 8)


def test_copies_of_pinned_memory_can_be_recorded(bench):
    staging, target, result = bench.pinned((3,)), bench.buffer((3,)), bench.pinned((3,))
    with bench.device.capture(bench.stream) as graph:
        bench.device.upload(staging, target, bench.stream)
        bench.device.download(target, result, bench.stream)
    for offset in range(2):
        staging.array[...] = numbers(3) + offset
        bench.device.replay(graph, bench.stream)
        bench.device.synchronise(bench.stream)
        np.testing.assert_array_equal(result.array, numbers(3) + offset)


def test_a_recording_that_fails_leaves_the_device_in_order(bench):
    target = bench.put(numbers(2))
    bench.add(target, None, 0)
    graphs = []

    def record():
        with bench.device.capture(bench.stream) as graph:
            graphs.append(graph)
            bench.add(target, None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        record()
    with pytest.raises(DeviceError, match="not recorded to its end; record it again"):
        bench.device.replay(graphs[0], bench.stream)
    np.testing.assert_array_equal(bench.get(target), numbers(2))


def test_another_thread_uses_the_device(bench):
    found = []

    def work():
        stream = bench.device.stream()
        target = bench.put(numbers(3), stream)
        bench.add(target, None, stream=stream)
        found.append(bench.get(target, stream))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(found[0], numbers(3) + 1)


def test_one_thread_records_while_another_allocates(bench):
    found = []

    def work():
        stream = bench.device.stream()
        bench.device.free(bench.device.allocate((4,)))
        found.append(bench.get(bench.put(numbers(2), stream), stream))

    with bench.device.capture(bench.stream):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    np.testing.assert_array_equal(found[0], numbers(2))


def test_memory_in_use_is_counted(bench):
    before = bench.device.memory_used()
    large = bench.buffer((1 << 25,), np.uint8)
    assert bench.device.memory_used() >= before + large.nbytes
    bench.free(large)
    assert bench.device.memory_used() < before + large.nbytes


def test_what_is_left_is_listed_and_freed(opening):
    device = opening()
    device.free(device.allocate((9,)))
    kept = [device.allocate((2, 3), np.float32), device.pinned((4,), mapped=True)]
    with pytest.raises(
        DeviceError,
        match=r"closed before float32 \[2, 3\], pinned uint8 \[4\] was freed; free all memory",
    ):
        device.close()
    device.close()
    with pytest.raises(DeviceError, match="closed"):
        device.allocate((1,))
    assert len(kept) == 2


def test_a_long_list_is_cut_short(opening):
    device = opening()
    kept = [device.allocate((1,)) for _ in range(10)]
    with pytest.raises(DeviceError, match="and 2 more was freed"):
        device.close()
    assert len(kept) == 10


class Other:
    """Of another device, or made up."""

    handle = 0


def made_up(bench):
    buffer = bench.buffer((3,))
    return Buffer(buffer.pointer, buffer.shape, buffer.dtype)


def freed(bench, make="buffer"):
    memory = getattr(bench, make)((3,))
    bench.free(memory)
    return memory


def too_far(bench):
    buffer = bench.buffer((3,))
    return Buffer(buffer.pointer + 4, buffer.shape, buffer.dtype, buffer)


def launched(bench, *arguments):
    bench.device.launch(ADD, 3, arguments, bench.stream)


def replay_after_free(bench):
    target = bench.put(numbers(3))
    bench.add(target, None)
    with bench.device.capture(bench.stream) as graph:
        bench.add(target, None)
    bench.device.synchronise(bench.stream)
    bench.free(target)
    bench.device.replay(graph, bench.stream)


def replay_inside(bench):
    with bench.device.capture(bench.stream) as graph:
        bench.device.replay(graph, bench.device.stream())


def inside(act):
    """Return a function that does something while the bench's stream is recorded."""

    def broken(bench):
        memory, event = bench.buffer((3,)), bench.device.event()
        bench.device.record(event, bench.stream)
        other = bench.device.stream()
        with bench.device.capture(bench.stream):
            act(bench, {"memory": memory, "event": event, "other": other})

    return broken


F, N = np.float32(1), np.int32(3)

BROKEN = {
    "use after free: copy": (
        lambda b: b.device.copy(freed(b), b.buffer((3,)), b.stream),
        r"float32 \[3\] was freed; free it after its last use",
    ),
    "use after free: part": (lambda b: b.get(freed(b).part(4, (1,))), r"float32 \[3\] was freed"),
    "use after free: launch": (lambda b: b.add(freed(b), None), "was freed"),
    "use after free: enqueue": (
        lambda b: b.device.enqueue(lambda: None, [freed(b)], [], b.stream),
        "was freed",
    ),
    "use after free: pinned": (
        lambda b: b.device.upload(freed(b, "pinned"), b.buffer((3,)), b.stream),
        r"pinned float32 \[3\] was freed",
    ),
    "use after free: array": (
        lambda b: freed(b, "pinned").array,
        r"pinned float32 \[3\] was freed; free it after its last use",
    ),
    "double free": (lambda b: b.device.free(freed(b)), "is freed twice; free it once"),
    "double free: pinned": (
        lambda b: b.device.free(freed(b, "pinned")),
        r"pinned float32 \[3\] is freed twice",
    ),
    "free of a part": (
        lambda b: b.device.free(b.buffer((3,))[0]),
        r"float32 \[\] is a part of an allocation; free the whole",
    ),
    "free of mapped memory's alias": (
        lambda b: b.device.free(b.pinned((3,), mapped=True).mapped),
        "is a part of an allocation",
    ),
    "made-up buffer": (lambda b: b.get(made_up(b)), "is not this device's memory; allocate it"),
    "made-up part": (lambda b: b.get(too_far(b)), "reaches beyond its allocation"),
    "made-up pinned": (
        lambda b: b.device.upload(Other(), b.buffer((3,)), b.stream),
        "a Other is not this device's memory",
    ),
    "foreign stream": (
        lambda b: b.device.synchronise(Other()),
        "the stream is not this device's; make it here",
    ),
    "foreign event": (lambda b: b.device.record(Other(), b.stream), "the event is not this dev"),
    "foreign graph": (lambda b: b.device.replay(Other(), b.stream), "the graph is not this dev"),
    "upload of too little": (
        lambda b: b.device.upload(b.pinned((2,)), b.buffer((3,)), b.stream),
        r"a copy of pinned float32 \[2\] to float32 \[3\] is one of 8 bytes to 12; give both one",
    ),
    "download of too much": (
        lambda b: b.device.download(b.buffer((3,)), b.pinned((2,)), b.stream),
        "12 bytes to 8",
    ),
    "copy of sizes that differ": (
        lambda b: b.device.copy(b.buffer((3,)), b.buffer((4,)), b.stream),
        "12 bytes to 16",
    ),
    "argument: int": (
        lambda b: launched(b, b.buffer((3,)), None, F, 3),
        "add: argument 3 is of type int; give a Buffer, numpy.int32, numpy.float32 or None",
    ),
    "argument: float64": (
        lambda b: launched(b, b.buffer((3,)), None, np.float64(1), N),
        "argument 2 is of type float64",
    ),
    "argument: array": (
        lambda b: launched(b, b.buffer((3,)), np.zeros(3), F, N),
        "argument 1 is of type ndarray",
    ),
    "argument: written number": (
        lambda b: launched(b, F, None, F, N),
        "argument 0 is of type float32; give a Buffer or None",
    ),
    "arguments: too few": (launched, "add: 0 arguments are too few; give all"),
    "event never recorded": (
        lambda b: b.device.wait(b.device.event(), b.stream),
        "the event was never recorded; record it first",
    ),
    "replay after free": (replay_after_free, "was freed; free it after its last use"),
    "replay inside the recording": (replay_inside, "not recorded to its end"),
    "recorded: allocate": (inside(lambda b, _: b.buffer((3,))), "memory is allocated while a str"),
    "recorded: pinned": (inside(lambda b, _: b.pinned((3,))), "memory is allocated while a str"),
    "recorded: free": (inside(lambda b, has: b.device.free(has["memory"])), "memory is freed whi"),
    "recorded: synchronise": (
        inside(lambda b, _: b.device.synchronise(b.stream)),
        "a stream is waited for while a stream is recorded; do it before or after",
    ),
    "recorded: synchronise another": (
        inside(lambda b, has: b.device.synchronise(has["other"])),
        "a stream is waited for while a stream is recorded",
    ),
    "recorded: elapsed": (
        inside(lambda b, has: b.device.elapsed(has["event"], has["event"])),
        "an event is waited for while a stream is recorded",
    ),
    "recorded: record": (
        inside(lambda b, has: b.device.record(has["event"], b.stream)),
        "an event is recorded on it while",
    ),
    "recorded: wait": (
        inside(lambda b, has: b.device.wait(has["event"], b.stream)),
        "it waits for an event while",
    ),
    "recorded: capture": (
        inside(lambda b, has: b.device.capture(has["other"]).__enter__()),
        "another recording begins while",
    ),
    "recorded: first launch": (
        inside(lambda b, has: b.device.launch(UNUSED, 1, [has["memory"]], b.stream)),
        "unused is loaded while a stream is recorded; do it before or after",
    ),
}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_broken_rule_is_told_in_one_line(bench, rule):
    act, message = BROKEN[rule]
    with pytest.raises(DeviceError, match=message) as raised:
        act(bench)
    assert "\n" not in str(raised.value)
    np.testing.assert_array_equal(bench.get(bench.put(numbers(3))), numbers(3))


def test_a_device_refuses_what_is_anothers(opening):
    with opening() as one, opening() as other:
        bench = Bench(one)
        theirs, stream = bench.buffer((3,)), other.stream()
        mine = other.allocate((3,), np.float32)
        with pytest.raises(DeviceError, match="not this device's memory"):
            other.copy(theirs, mine, stream)
        with pytest.raises(DeviceError, match="the stream is not this device's"):
            other.copy(mine, mine, bench.stream)
        one.free(theirs)
        other.free(mine)


@pytest.mark.gpu
def test_both_libraries_do_the_same():
    if reason := lacking_device("pycuda"):
        pytest.skip(reason)
    generator = np.random.default_rng(3)
    first, second = generator.normal(size=(2, 12345)).astype(np.float32)
    found = []
    for name in ("cuda", "pycuda"):
        with open_device(name) as device:
            bench = Bench(device)
            target, other = bench.put(first), bench.put(second)
            twin = bench.buffer(target.shape)
            bench.add(target, other, 0.3)
            device.copy(target, twin, bench.stream)
            found.append((device.name, device.capability, bench.get(twin)))
            for memory in bench.memory:
                device.free(memory)
    assert found[0][:2] == found[1][:2]
    np.testing.assert_array_equal(found[0][2], found[1][2])
    np.testing.assert_allclose(found[0][2], first + np.float32(0.3) * second, atol=1e-6)
