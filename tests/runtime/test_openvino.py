"""OpenVINO as a backend: the same numbers as ONNX Runtime, and nothing in silence."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from vivant.backends.onnxruntime import OnnxRuntimeEngine
from vivant.errors import BackendError, EngineError

openvino = pytest.importorskip("openvino", reason="the extra [openvino] is not installed")

from vivant.backends.openvino import DEVICE, OpenVinoEngine  # noqa: E402  (after the skip)


@pytest.fixture(scope="module")
def folder(store):
    return store.engine("mtcnn")


def pictures(count, side, seed=0):
    return np.random.default_rng(seed).random((count, side, side, 3), np.float32) * 255


@pytest.mark.parametrize(("graph", "side"), [("pnet", 47), ("rnet", 24), ("onet", 48)])
def test_computes_what_onnx_runtime_computes(folder, graph, side):
    image = {"image": pictures(1 if graph == "pnet" else 5, side)}
    with (
        OnnxRuntimeEngine(folder.read(graph), graph, threads=1) as expected,
        OpenVinoEngine(folder.read(graph), graph, threads=1) as engine,
    ):
        wanted, got = expected.run(image), engine.run(image)
    assert got.keys() == wanted.keys()
    for name, values in wanted.items():
        np.testing.assert_allclose(got[name], values, rtol=0, atol=2e-5)


def test_float32_is_float32_where_the_processor_could_do_less(folder):
    with OpenVinoEngine(folder.read("rnet"), "rnet") as engine:
        precision = engine._model.get_property("INFERENCE_PRECISION_HINT")
    assert precision.to_string() == "f32"


def test_bfloat16_is_computed_or_refused(folder):
    capable = "BF16" in openvino.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    if not capable:
        with pytest.raises(BackendError, match="rnet: this processor does not compute in bfloat16"):
            OpenVinoEngine(folder.read("rnet"), "rnet", bf16=True)
        return
    with OpenVinoEngine(folder.read("rnet"), "rnet", bf16=True) as engine:
        precision = engine._model.get_property("INFERENCE_PRECISION_HINT")
    assert precision.to_string() == "bf16"


def test_a_processor_without_bfloat16_refuses_it(folder, monkeypatch):
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    with pytest.raises(BackendError, match="bfloat16; run 'vivant tune' again"):
        OpenVinoEngine(folder.read("rnet"), "rnet", bf16=True)


def test_results_are_the_callers_own(folder):
    with OpenVinoEngine(folder.read("rnet"), "rnet", threads=1) as engine:
        first = engine.run({"image": pictures(2, 24)})["probability"]
        kept = first.copy()
        engine.run({"image": pictures(2, 24, seed=1)})
    np.testing.assert_array_equal(first, kept)


def test_several_threads_run_one_engine(folder):
    found: dict[int, np.ndarray] = {}
    with OpenVinoEngine(folder.read("rnet"), "rnet", threads=1) as engine:
        expected = [engine.run({"image": pictures(3, 24, seed)})["regression"] for seed in range(6)]

        def run(seed):
            for _ in range(20):
                found[seed] = engine.run({"image": pictures(3, 24, seed)})["regression"]

        workers = [threading.Thread(target=run, args=[seed]) for seed in range(6)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    for seed, values in enumerate(expected):
        np.testing.assert_array_equal(found[seed], values)


@pytest.mark.parametrize("graph", [b"", b"not a graph", b"\x08\x08\x12\x00"])
def test_a_graph_that_is_none_is_an_error(graph):
    with pytest.raises(EngineError, match="somewhere/model: OpenVINO cannot open it") as caught:
        OpenVinoEngine(graph, "somewhere/model")
    assert "\n" not in str(caught.value)


def test_inputs_of_another_graph_are_an_error(folder):
    with (
        OpenVinoEngine(folder.read("rnet"), "rnet") as engine,
        pytest.raises(EngineError, match="rnet: OpenVINO cannot run it") as caught,
    ):
        engine.run({"picture": pictures(1, 24)})
    assert "\n" not in str(caught.value)


def test_weights_in_another_file_are_refused():
    with pytest.raises(EngineError, match="sum: names another file"):
        OpenVinoEngine(b"\x08\x08 location weights.bin", "sum")
