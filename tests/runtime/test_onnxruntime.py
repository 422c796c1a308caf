"""ONNX Runtime as a backend: what it promises, and what it refuses."""

from __future__ import annotations

import builtins
import subprocess
import sys

import numpy as np
import onnx
import pytest

from vivant.backends import usable_cores
from vivant.backends.onnxruntime import CUDA, OnnxRuntimeEngine
from vivant.errors import BackendError, EngineError


@pytest.fixture(scope="module")
def graph(store):
    return store.engine("mtcnn").read("rnet")


def test_runs_by_name(graph):
    with OnnxRuntimeEngine(graph, "rnet", threads=1) as engine:
        result = engine.run({"image": np.zeros((3, 24, 24, 3), np.float32)})
    assert result["probability"].shape == (3, 1)
    assert result["regression"].shape == (3, 4)


def test_nothing_is_reported_to_anybody(store, tmp_path):
    """The library's telemetry keeps in the home folder what it has not sent."""
    script = "import vivant; vivant.Studio.open('classic', store=sys.argv[1]).close()"
    command = [sys.executable, "-c", f"import sys; {script}", str(store.root)]
    subprocess.run(command, env={"HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_a_provider_that_is_absent_is_an_error(graph):
    import onnxruntime

    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this build has CUDA")
    with pytest.raises(BackendError, match=r"CUDAExecutionProvider.*vivant\[gpu\]"):
        OnnxRuntimeEngine(graph, "rnet", provider=CUDA)


@pytest.mark.parametrize("graph_bytes", [b"", b"not a graph", b"\x08\x08\x12\x00"])
def test_a_graph_that_is_none_is_an_error(graph_bytes):
    with pytest.raises(EngineError, match="somewhere/model: ONNX Runtime cannot open it"):
        OnnxRuntimeEngine(graph_bytes, "somewhere/model")


def test_a_missing_library_names_the_extra(graph, monkeypatch):
    real_import = builtins.__import__

    def without_onnxruntime(name, *args, **kwargs):
        if name == "onnxruntime":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_onnxruntime)
    with pytest.raises(BackendError, match=r"vivant\[cpu\]"):
        OnnxRuntimeEngine(graph, "rnet")


def test_an_idle_engine_does_not_spin(graph):
    with OnnxRuntimeEngine(graph, "rnet") as engine:
        options = engine._session.get_session_options()
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert options.intra_op_num_threads == usable_cores()


@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "{here}/weights.bin"])
def test_a_graph_that_names_another_file_is_refused(tmp_path, monkeypatch, location):
    """Only the file whose hash was checked is loaded, wherever the process runs."""
    (tmp_path / "run").mkdir()
    for folder in (tmp_path, tmp_path / "run"):
        (folder / "weights.bin").write_bytes(np.zeros(4, np.float32).tobytes())
    monkeypatch.chdir(tmp_path / "run")
    weights = onnx.TensorProto(
        name="weights", data_type=onnx.TensorProto.FLOAT, dims=[4], data_location=1
    )
    for key, value in {"location": location.format(here=tmp_path), "length": "16"}.items():
        weights.external_data.add(key=key, value=value)
    value = [onnx.helper.make_tensor_value_info(name, 1, [4]) for name in "xy"]
    node = onnx.helper.make_node("Add", ["x", "weights"], ["y"])
    body = onnx.helper.make_graph([node], "sum", value[:1], value[1:], [weights])
    model = onnx.helper.make_model(
        body, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    with pytest.raises(EngineError, match="sum: names another file"):
        OnnxRuntimeEngine(model.SerializeToString(), "sum")
