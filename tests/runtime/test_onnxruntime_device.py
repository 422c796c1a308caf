"""ONNX Runtime on a device's memory gives what it gives on arrays, in order and on time."""

from __future__ import annotations

import sys
import types
from dataclasses import replace

import numpy as np
import onnx
import pytest

from vivant.backends import onnxruntime_device, open_device_engine
from vivant.backends.onnxruntime import CUDA, OnnxRuntimeEngine
from vivant.backends.onnxruntime_device import OnnxRuntimeDeviceEngine
from vivant.backends.workspace import Workspace
from vivant.errors import BackendError, DeviceError, EngineError
from vivant.tuning import Choice

SHAPES = {"pnet": (1, 60, 40, 3), "rnet": (3, 24, 24, 3), "onet": (2, 48, 48, 3)}


def image(shape, seed=0):
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)


def scaled():
    """Return a graph with uint8 [4], int32 [4] -> float32 [4]."""
    make = onnx.helper
    kinds = {"bytes": 2, "numbers": 6, "sum": 1}
    values = [make.make_tensor_value_info(name, kind, [4]) for name, kind in kinds.items()]
    nodes = [
        make.make_node("Cast", ["bytes"], ["x"], to=1),
        make.make_node("Cast", ["numbers"], ["y"], to=1),
        make.make_node("Add", ["x", "y"], ["sum"]),
    ]
    body = make.make_graph(nodes, "scaled", values[:2], values[2:])
    return make.make_model(
        body, opset_imports=[make.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


class Runner:
    """Runs an engine on arrays, with buffers that stay."""

    def __init__(self, device, engine):
        self.device, self.engine = device, engine
        self.workspace, self.stream = Workspace(device), device.stream()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.close()
        self.workspace.close()

    def put(self, inputs, sizes, suffix=""):
        buffers = {
            name: self.workspace.uploaded(name + suffix, array, self.stream)
            for name, array in inputs.items()
        }
        for name, (shape, dtype) in sizes.items():
            buffers[name] = self.workspace.buffer(name + suffix, shape, dtype)
        self.engine.bind(buffers)
        self.engine.enqueue(self.stream)
        return buffers

    def take(self, buffers, sizes):
        landing = {name: self.workspace.pinned(f"{name} down", *sizes[name]) for name in sizes}
        for name, pinned in landing.items():
            self.device.download(buffers[name], pinned, self.stream)
        self.device.synchronise(self.stream)
        return {name: pinned.array.copy() for name, pinned in landing.items()}

    def run(self, inputs, expected, suffix=""):
        sizes = {name: (array.shape, array.dtype) for name, array in expected.items()}
        return self.take(self.put(inputs, sizes, suffix), sizes)


@pytest.fixture(scope="module")
def expected(store):
    """By graph of MTCNN, an input and what ONNX Runtime makes of it on arrays."""
    found = {}
    for graph, shape in SHAPES.items():
        with OnnxRuntimeEngine(store.engine("mtcnn").read(graph), graph, threads=1) as engine:
            found[graph] = {"image": image(shape)}, engine.run({"image": image(shape)})
    return found


@pytest.mark.parametrize("graph", SHAPES)
def test_the_same_as_on_arrays(store, host_device, expected, graph):
    inputs, results = expected[graph]
    engine = open_device_engine(store.engine("mtcnn"), graph, host_device, threads=1)
    with Runner(host_device, engine) as runner:
        for _ in range(2):
            for name, result in runner.run(inputs, results).items():
                np.testing.assert_array_equal(result, results[name])


def test_bytes_and_whole_numbers(host_device):
    inputs = {
        "bytes": np.array([0, 1, 128, 255], np.uint8),
        "numbers": np.array([-(2**31), -1, 7, 2**30], np.int32),
    }
    wanted = {"sum": inputs["bytes"].astype(np.float32) + inputs["numbers"].astype(np.float32)}
    with Runner(host_device, OnnxRuntimeDeviceEngine(scaled(), "scaled", host_device)) as runner:
        np.testing.assert_array_equal(runner.run(inputs, wanted)["sum"], wanted["sum"])


def test_a_run_keeps_what_was_bound_when_it_was_enqueued(store, host_device):
    """Two runs are under way at a time, with buffers of their own."""
    engine = open_device_engine(store.engine("mtcnn"), "rnet", host_device, threads=1)
    sizes = {"regression": ((3, 4), np.float32), "probability": ((3, 1), np.float32)}
    with Runner(host_device, engine) as runner:
        first = runner.put({"image": image(SHAPES["rnet"], 1)}, sizes, " a")
        second = runner.put({"image": image(SHAPES["rnet"], 2)}, sizes, " b")
        results = [runner.take(each, sizes)["regression"] for each in (first, second)]
    with OnnxRuntimeEngine(store.engine("mtcnn").read("rnet"), "rnet", threads=1) as engine:
        for seed, result in enumerate(results, 1):
            wanted = engine.run({"image": image(SHAPES["rnet"], seed)})["regression"]
            np.testing.assert_array_equal(result, wanted)


def test_a_run_waits_for_the_work_before_it_and_is_waited_for(host_device):
    """Its own stream is ordered with that of the caller: else the host device would complain."""
    inputs = {name: np.zeros(4, dtype) for name, dtype in (("bytes", "u1"), ("numbers", "i4"))}
    sizes = {"sum": ((4,), np.float32)}
    with Runner(host_device, OnnxRuntimeDeviceEngine(scaled(), "scaled", host_device)) as runner:
        for value in range(3):
            inputs["bytes"][:] = value
            buffers = runner.put(inputs, sizes)
            assert runner.take(buffers, sizes)["sum"][0] == value
        landing = runner.workspace.pinned("landing", (4,), np.float32)
        runner.engine.enqueue(runner.stream)
        with pytest.raises(DeviceError, match="event"):
            host_device.download(buffers["sum"], landing, host_device.stream())


def test_bindings_are_kept_and_forgotten(host_device, monkeypatch):
    monkeypatch.setattr(onnxruntime_device, "MOST_BINDINGS", 8)
    with Runner(host_device, OnnxRuntimeDeviceEngine(scaled(), "scaled", host_device)) as runner:
        inputs = {"bytes": np.ones(4, np.uint8), "numbers": np.ones(4, np.int32)}
        for suffix in range(11):
            assert runner.run(inputs, {"sum": np.zeros(4, "f4")}, f" {suffix}")["sum"][0] == 2
        assert len(runner.engine._bindings) == 8
        newest = runner.engine._bound
        runner.run(inputs, {"sum": np.zeros(4, "f4")}, " 10")
        assert runner.engine._bound is newest


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "reason"),
    [
        ("sum", (5,), "f4", r"scaled: 'sum' is float32 \[4\], not float32 \[5\]"),
        ("bytes", (4,), "i1", r"'bytes' is uint8 \[4\], not int8 \[4\]"),
        ("bytes", (4, 1), "u1", r"'bytes' is uint8 \[4\], not uint8 \[4, 1\]"),
        ("more", (4,), "f4", "takes bytes, numbers, sum, not bytes, numbers, sum, more"),
    ],
)
def test_buffers_that_are_not_the_graphs_are_refused(host_device, name, shape, dtype, reason):
    with Runner(host_device, OnnxRuntimeDeviceEngine(scaled(), "scaled", host_device)) as runner:
        buffers = {
            each: runner.workspace.buffer(each, (4,), kind)
            for each, kind in (("bytes", "u1"), ("numbers", "i4"), ("sum", "f4"))
        }
        buffers[name] = runner.workspace.buffer("wrong", shape, dtype)
        with pytest.raises(EngineError, match=reason):
            runner.engine.bind(buffers)
        with pytest.raises(EngineError, match="nothing is bound"):
            runner.engine.enqueue(runner.stream)


def test_an_output_that_does_not_fit_fails_when_it_is_made(store, host_device):
    engine = open_device_engine(store.engine("mtcnn"), "rnet", host_device, threads=1)
    sizes = {"regression": ((2, 4), np.float32), "probability": ((3, 1), np.float32)}
    with Runner(host_device, engine) as runner:
        runner.put({"image": image(SHAPES["rnet"])}, sizes)
        with pytest.raises(EngineError, match=r"rnet: ONNX Runtime cannot run it .*\{3,4\}"):
            host_device.synchronise(runner.stream)


def test_a_gpu_without_its_provider_is_an_error(host_device, monkeypatch):
    monkeypatch.setattr(host_device, "kind", "cuda", raising=False)
    with pytest.raises(BackendError, match=r"CUDAExecutionProvider.*vivant\[gpu\]"):
        OnnxRuntimeDeviceEngine(scaled(), "scaled", host_device)


class FakeOnnxRuntime(types.ModuleType):
    """ONNX Runtime as far as a session for CUDA needs it; keeps what it was asked for."""

    def __init__(self, *, started=CUDA, refuses_graphs=False):
        super().__init__("onnxruntime")
        self.started, self.refuses_graphs, self.asked, self.entries = (
            started,
            refuses_graphs,
            [],
            {},
        )
        self.SessionOptions = self.RunOptions = lambda: self

    def get_available_providers(self):
        return [CUDA]

    def add_session_config_entry(self, key, value):
        self.entries[key] = value

    add_run_config_entry = add_session_config_entry

    def InferenceSession(self, graph, options, providers, enable_fallback):  # noqa: N802
        self.asked.append(dict(providers)[CUDA])
        if self.refuses_graphs and "enable_cuda_graph" in self.asked[-1]:
            raise RuntimeError("not all nodes are CUDA's")
        return self

    def get_providers(self):
        return [self.started]

    def get_inputs(self):
        return []

    get_outputs = get_inputs

    def io_binding(self):
        return self


@pytest.fixture
def as_cuda(host_device, monkeypatch):
    monkeypatch.setattr(host_device, "kind", "cuda", raising=False)

    def fake(**how):
        monkeypatch.setitem(sys.modules, "onnxruntime", FakeOnnxRuntime(**how))
        return sys.modules["onnxruntime"]

    return fake


def test_a_provider_that_falls_back_is_an_error(host_device, as_cuda):
    as_cuda(started="CPUExecutionProvider")
    with pytest.raises(BackendError, match="could not start it and fell back"):
        OnnxRuntimeDeviceEngine(b"", "scaled", host_device)


def test_cuda_works_on_the_engines_stream_and_records_what_is_static(host_device, as_cuda):
    ort = as_cuda()
    with OnnxRuntimeDeviceEngine(b"", "dynamic", host_device) as engine:
        assert ort.asked[-1]["user_compute_stream"] == str(engine._stream.handle)
        assert "enable_cuda_graph" not in ort.asked[-1]
    with OnnxRuntimeDeviceEngine(b"", "static", host_device, static=True) as engine:
        assert ort.asked[-1]["enable_cuda_graph"] == "1"
        engine.bind({})
        assert ort.entries["gpu_graph_id"] == "1"
        assert ort.entries["disable_synchronize_execution_providers"] == "1"


def test_where_recording_is_refused_it_runs_node_by_node(host_device, as_cuda):
    ort = as_cuda(refuses_graphs=True)
    with OnnxRuntimeDeviceEngine(b"", "static", host_device, static=True) as engine:
        assert ["enable_cuda_graph" in each for each in ort.asked] == [True, False]
        engine.bind({})
        assert "gpu_graph_id" not in ort.entries


def test_a_choice_of_another_library_still_opens_on_a_device(store, host_device):
    chosen = replace(store, choices={"mtcnn": Choice("fp32", "openvino")}).engine("mtcnn")
    with open_device_engine(chosen, "rnet", host_device, threads=1) as engine:
        assert isinstance(engine, OnnxRuntimeDeviceEngine)


@pytest.mark.gpu
@pytest.mark.parametrize("graph", SHAPES)
def test_cuda_agrees_with_the_cpu(store, cuda_device, expected, graph):
    inputs, results = expected[graph]
    engine = open_device_engine(store.engine("mtcnn"), graph, cuda_device)
    with Runner(cuda_device, engine) as runner:
        for _ in range(3):
            for name, result in runner.run(inputs, results).items():
                np.testing.assert_allclose(result, results[name], atol=1e-4)


@pytest.mark.gpu
def test_a_static_graph_on_cuda_reads_its_inputs_anew(cuda_device):
    """As a CUDA graph it would replay what it recorded, not what lies there now."""
    engine = OnnxRuntimeDeviceEngine(scaled(), "scaled", cuda_device, static=True)
    with Runner(cuda_device, engine) as runner:
        for suffix in ("", " elsewhere", ""):
            for value in range(4):
                inputs = {"bytes": np.full(4, value, "u1"), "numbers": np.full(4, 10, "i4")}
                result = runner.run(inputs, {"sum": np.zeros(4, "f4")}, suffix)["sum"]
                np.testing.assert_array_equal(result, value + 10)


@pytest.mark.gpu
def test_memory_stays_flat(store, cuda_device, expected):
    inputs, results = expected["rnet"]
    engine = open_device_engine(store.engine("mtcnn"), "rnet", cuda_device)
    with Runner(cuda_device, engine) as runner:
        for _ in range(5):
            runner.run(inputs, results)
        before = cuda_device.memory_used()
        for _ in range(200):
            runner.run(inputs, results)
        assert cuda_device.memory_used() - before < 2**21
