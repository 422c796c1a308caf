"""The host device does its work late, and sees what a GPU would let pass."""

from __future__ import annotations

import numpy as np
import pytest

from vivant.backends.device import Kernel
from vivant.backends.device_host import HostDevice
from vivant.errors import DeviceError

UNORDERED = r"on one stream and .* on another in no order; record an event there and wait for it"


def double_oracle(source, target):
    target[...] = source * 2


DOUBLE = Kernel("double", "", double_oracle, (1,))


@pytest.fixture
def stream(host_device):
    return host_device.stream()


@pytest.fixture
def other(host_device):
    return host_device.stream()


@pytest.fixture
def ones(host_device):
    """Pinned memory that is all ones."""
    memory = host_device.pinned((4,), np.float32)
    memory.array[...] = 1
    yield memory
    host_device.free(memory)


@pytest.fixture
def memory(host_device):
    """A buffer of two rows of four floats."""
    buffer = host_device.allocate((2, 4), np.float32)
    yield buffer
    host_device.free(buffer)


@pytest.fixture
def target(host_device):
    """A buffer of four floats."""
    buffer = host_device.allocate((4,), np.float32)
    yield buffer
    host_device.free(buffer)


def order(device, first, then):
    """Let what comes on one stream begin after what is on another."""
    event = device.event()
    device.record(event, first)
    device.wait(event, then)


def test_work_is_done_when_it_is_waited_for(host_device, stream, ones, memory, target):
    host_device.upload(ones, memory[0], stream)
    host_device.launch(DOUBLE, 4, [memory[0], target], stream)
    assert np.isnan(host_device.array(target)).all()
    host_device.synchronise(stream)
    np.testing.assert_array_equal(host_device.array(target), [2, 2, 2, 2])


def test_work_sees_what_pinned_memory_holds_when_it_is_done(host_device, stream, ones, target):
    kept = ones.array
    host_device.upload(ones, target, stream)
    kept[...] = 5  # too early, and the device cannot know
    host_device.synchronise(stream)
    np.testing.assert_array_equal(host_device.array(target), [5, 5, 5, 5])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_memory_that_nothing_was_written_to_is_no_number(host_device, dtype):
    buffer, pinned = host_device.allocate((3,), dtype), host_device.pinned((3,), dtype)
    assert np.isnan(host_device.array(buffer)).all()
    assert np.isnan(pinned.array).all()
    host_device.free(buffer)
    host_device.free(pinned)


def test_freed_memory_is_spoilt_once_nothing_needs_it(host_device, stream, ones):
    source, target = (host_device.allocate((4,), np.float32) for _ in range(2))
    view = host_device.array(source)
    host_device.upload(ones, source, stream)
    host_device.copy(source, target, stream)
    host_device.free(source)
    host_device.synchronise(stream)
    np.testing.assert_array_equal(host_device.array(target), [1, 1, 1, 1])
    assert np.isnan(view).all()
    host_device.free(target)


def test_memory_is_aligned_as_cudas(host_device):
    buffers = [host_device.allocate((size,)) for size in (1, 3, 1000)]
    assert [buffer.pointer % 256 for buffer in buffers] == [0, 0, 0]
    assert host_device.memory_used() == 1004
    for buffer in buffers:
        host_device.free(buffer)
    assert host_device.memory_used() == 0


def put_upload(device, pinned, buffer, stream):
    device.upload(pinned, buffer, stream)


def put_download(device, pinned, buffer, stream):
    device.download(buffer, pinned, stream)


def put_mapped(device, pinned, buffer, stream):
    device.enqueue(lambda: None, [pinned.mapped], [], stream)


@pytest.mark.parametrize("put", [put_upload, put_download, put_mapped])
def test_pinned_memory_is_withheld_during_work_on_it(host_device, stream, target, put):
    pinned = host_device.pinned((4,), np.float32, mapped=True)
    pinned.array[...] = 0
    put(host_device, pinned, target, stream)
    with pytest.raises(
        DeviceError,
        match=r"pinned float32 \[4\] is touched while the device works on it; synchronise the str",
    ):
        pinned.array  # noqa: B018 - looking at it is what is refused
    host_device.synchronise(stream)
    assert pinned.array.shape == (4,)
    host_device.free(pinned)
    with pytest.raises(DeviceError, match="was freed"):
        pinned.array  # noqa: B018


def test_waiting_for_another_stream_does_not_give_pinned_memory_back(
    host_device, stream, other, ones, target
):
    host_device.upload(ones, target, stream)
    host_device.synchronise(other)
    with pytest.raises(DeviceError, match="is touched while"):
        ones.array  # noqa: B018
    order(host_device, stream, other)
    host_device.synchronise(other)
    assert ones.array[0] == 1


def test_two_streams_may_not_write_in_no_order(host_device, stream, other, ones, target):
    host_device.upload(ones, target, stream)
    with pytest.raises(DeviceError, match=r"float32 \[4\] is written " + UNORDERED):
        host_device.upload(ones, target, other)


def test_one_stream_may_not_read_what_another_writes(host_device, stream, other, ones, memory):
    host_device.upload(ones, memory[0], stream)
    with pytest.raises(DeviceError, match=r"is read on one stream and written on another"):
        host_device.copy(memory[0], memory[1], other)
    host_device.synchronise(stream)
    host_device.copy(memory[0], memory[1], stream)
    with pytest.raises(DeviceError, match=r"is written on one stream and read on another"):
        host_device.upload(ones, memory[0], other)


def test_what_was_done_but_not_waited_for_still_races(
    host_device, stream, other, ones, memory, target
):
    host_device.upload(ones, memory[0], stream)
    order(host_device, stream, other)
    host_device.copy(memory[0], target, stream)  # after the event
    host_device.synchronise(other)
    with pytest.raises(DeviceError, match=UNORDERED):
        host_device.upload(ones, target, other)


def test_two_streams_may_read(host_device, stream, other, ones, memory, target):
    host_device.upload(ones, memory[0], stream)
    host_device.synchronise(stream)
    host_device.copy(memory[0], memory[1], stream)
    host_device.copy(memory[0], target, other)
    for each in (stream, other):
        host_device.synchronise(each)
    np.testing.assert_array_equal(host_device.array(target), host_device.array(memory[1]))


def test_two_streams_may_write_beside_each_other(host_device, stream, other, ones, memory):
    host_device.upload(ones, memory[0], stream)
    host_device.upload(ones, memory[1], other)
    with pytest.raises(DeviceError, match=UNORDERED):
        host_device.upload(ones, memory.part(12, (2,)), other)


def test_waiting_on_the_host_is_an_order(host_device, stream, other, ones, target):
    host_device.upload(ones, target, stream)
    host_device.synchronise(stream)
    host_device.upload(ones, target, other)
    host_device.synchronise(other)
    assert host_device.array(target)[0] == 1


def test_an_order_reaches_over_a_third_stream(host_device, stream, other, ones, target):
    third = host_device.stream()
    host_device.upload(ones, target, stream)
    order(host_device, stream, third)
    order(host_device, third, other)
    host_device.launch(DOUBLE, 4, [target, target], other)
    host_device.synchronise(other)
    np.testing.assert_array_equal(host_device.array(target), [2, 2, 2, 2])


def test_an_event_stands_for_what_was_there_when_it_was_recorded(
    host_device, stream, other, ones, target
):
    event = host_device.event()
    host_device.record(event, stream)
    host_device.upload(ones, target, stream)
    host_device.wait(event, other)
    with pytest.raises(DeviceError, match=UNORDERED):
        host_device.upload(ones, target, other)
    host_device.record(event, stream)
    host_device.wait(event, other)
    host_device.upload(ones, target, other)
    host_device.synchronise(other)
    assert host_device.array(target)[0] == 1


def test_a_replay_is_work_like_other(host_device, stream, other, ones, target):
    with host_device.capture(stream) as graph:
        host_device.upload(ones, target, stream)
    host_device.upload(ones, target, other)
    with pytest.raises(DeviceError, match=UNORDERED):
        host_device.replay(graph, stream)
    order(host_device, other, stream)
    host_device.replay(graph, stream)
    host_device.synchronise(stream)
    assert host_device.array(target)[0] == 1


def test_a_replay_is_queued_whole_or_not_at_all(host_device, stream, ones, target):
    freed, done = host_device.allocate((4,)), []
    with host_device.capture(stream) as graph:
        host_device.enqueue(lambda: done.append(1), [], [target], stream)
        host_device.enqueue(lambda: done.append(2), [], [freed], stream)
    host_device.free(freed)
    with pytest.raises(DeviceError, match="was freed"):
        host_device.replay(graph, stream)
    host_device.synchronise(stream)
    assert done == []


def test_another_stream_is_done_only_as_far_as_it_is_waited_for(host_device, stream, other):
    done = []
    host_device.enqueue(lambda: done.append(1), [], [], stream)
    order(host_device, stream, other)
    host_device.enqueue(lambda: done.append(2), [], [], stream)
    host_device.enqueue(lambda: done.append(3), [], [], other)
    host_device.synchronise(other)
    assert done == [1, 3]
    host_device.synchronise(stream)
    assert done == [1, 3, 2]


def test_what_work_raises_is_raised_as_it_is(host_device, stream, other, ones, target):
    done = []
    host_device.enqueue(lambda: 1 / 0, [], [target], stream)
    host_device.upload(ones, target, stream)
    order(host_device, stream, other)
    host_device.enqueue(lambda: done.append("other"), [target], [], other)
    with pytest.raises(ZeroDivisionError):
        host_device.synchronise(other)
    for each in (stream, other):
        host_device.enqueue(lambda: None, [], [], each)
        host_device.synchronise(each)  # what came after is dropped
    assert done == []
    assert np.isnan(host_device.array(target)).all()
    assert ones.array[0] == 1


def test_an_event_after_a_failure_never_passes(host_device, stream):
    start, end = host_device.event(), host_device.event()
    host_device.record(start, stream)
    host_device.enqueue(lambda: 1 / 0, [], [], stream)
    host_device.record(end, stream)
    with pytest.raises(ZeroDivisionError):
        host_device.elapsed(start, end)
    with pytest.raises(DeviceError, match="work before the event failed"):
        host_device.elapsed(start, end)


def test_what_nobody_waits_for_is_not_done():
    done = []
    with HostDevice() as device:
        device.enqueue(lambda: done.append(1), [], [], device.stream())
    assert done == []
