"""The way of an engine, from weights to the store: what passes, and what leaves nothing behind."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from safetensors.numpy import save_file  # noqa: E402

from vivant.errors import EngineError, ModelError, OutputError  # noqa: E402
from vivant.store import EngineStore  # noqa: E402
from vivant_export import exporter, verify  # noqa: E402
from vivant_export.architectures import build_network  # noqa: E402
from vivant_export.catalogue import find_model  # noqa: E402
from vivant_export.cli import export_model, verify_engine  # noqa: E402
from vivant_export.exporter import Choice  # noqa: E402
from vivant_export.mtcnn.weights import SHAPES  # noqa: E402
from vivant_export.precision import calibration  # noqa: E402
from vivant_export.seeded import seeded_state  # noqa: E402

EMPTY_GRAPH = onnx.helper.make_model(
    onnx.helper.make_graph([], "empty", [], []),
    opset_imports=[onnx.helper.make_opsetid("", 18)],
).SerializeToString()


def state_of(model, seed=5):
    if model == "mtcnn":
        return seeded_state(SHAPES, seed)
    network = build_network(find_model(model))
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    return seeded_state(shapes, seed)


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """A store with an untrained BargainNet."""
    store = EngineStore(tmp_path_factory.mktemp("engines"), allow_untrained=True)
    export_model("bargainnet", store, seed=7)
    return store


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A file of weights in BargainNet's layout."""
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_file(state_of("bargainnet"), path)
    return path


def test_the_manifest_says_what_the_engine_is(engines):
    manifest = engines.engine("bargainnet").manifest
    assert (manifest.role, manifest.precision, manifest.variant) == ("scorer", "fp32", "fp32")
    assert (manifest.weights.kind, manifest.weights.seed) == ("untrained", 7)
    assert manifest.weights.licence == "MIT"
    assert 0 <= manifest.parity["model.max_abs"] <= 1e-6
    assert manifest.graphs["model"].inputs[0].shape == ("batch", 256, 256, 3)
    assert {"torch", "onnx", "onnxscript", "onnxruntime"} <= set(manifest.tools)


def test_untrained_engines_are_refused_unless_allowed(engines):
    with pytest.raises(EngineError, match="untrained"):
        EngineStore(engines.root).engine("bargainnet")


def test_nothing_of_this_machine_is_in_the_file(engines):
    data = engines.engine("bargainnet").read("model")
    assert b'File "' not in data
    assert b"stack_trace" not in data


def test_an_engine_can_be_verified_again(engines):
    folder = engines.engine("bargainnet")
    assert verify_engine(folder) == dict(folder.manifest.parity)


def test_weights_of_the_users_are_custom(checkpoint, tmp_path):
    folder = export_model("bargainnet", EngineStore(tmp_path), weights=checkpoint)
    weights = folder.manifest.weights
    assert (weights.kind, list(weights.sha256)) == ("custom", ["mine.safetensors"])
    assert verify_engine(folder, weights=checkpoint)["model.max_abs"] <= 1e-6
    other = tmp_path / "other.safetensors"
    save_file(state_of("bargainnet", seed=6), other)
    with pytest.raises(ModelError, match=r"made from other weights \(mine\.safetensors\)"):
        verify_engine(folder, weights=other)


def test_the_engine_depends_on_its_weights(checkpoint, engines, tmp_path):
    folder = export_model("bargainnet", EngineStore(tmp_path), weights=checkpoint)
    assert folder.manifest.graphs["model"].sha256 != (
        engines.engine("bargainnet").manifest.graphs["model"].sha256
    )


@pytest.mark.parametrize("trained", [False, True])
def test_mtcnn_takes_other_weights_too(tmp_path, trained):
    path = tmp_path / "faces.safetensors"
    save_file(state_of("mtcnn"), path)
    store = EngineStore(tmp_path, allow_untrained=True)
    asked = {"weights": path} if trained else {"seed": 5}
    folder = export_model("mtcnn", store, **asked)
    assert folder.manifest.weights.kind == ("custom" if trained else "untrained")
    assert verify_engine(folder, weights=path if trained else None) == dict(folder.manifest.parity)


def renamed(state):
    state["conv9f.weight"] = state.pop("conv3f.weight")


def misshapen(state):
    state["convs.bias"] = state["convs.bias"][:-1].copy()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (renamed, r"conv3f\.weight.*conv9f\.weight"),
        (misshapen, r"convs\.bias is \[15\], not \[16\]"),
    ],
)
def test_a_checkpoint_that_does_not_fit_names_the_keys(tmp_path, damage, message):
    state = state_of("bargainnet")
    damage(state)
    save_file(state, tmp_path / "wrong.safetensors")
    with pytest.raises(ModelError, match=message):
        export_model("bargainnet", EngineStore(tmp_path), weights=tmp_path / "wrong.safetensors")
    assert EngineStore(tmp_path).models() == ()


@pytest.mark.parametrize("model", ["mtcnn", "rmbg-1.4"])
def test_the_checkpoint_of_another_model_says_which(checkpoint, tmp_path, model):
    with pytest.raises(ModelError, match=r"mine\.safetensors.*bargainnet"):
        export_model(model, EngineStore(tmp_path), weights=checkpoint)


@pytest.mark.parametrize("keep", [0, 8, 1000, -1])
def test_a_cut_off_checkpoint_is_refused(checkpoint, tmp_path, keep):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(checkpoint.read_bytes()[:keep])
    with pytest.raises(ModelError, match=r"cut\.safetensors"):
        export_model("bargainnet", EngineStore(tmp_path), weights=path)


def test_missing_weights_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("VIVANT_WEIGHTS", str(tmp_path))
    with pytest.raises(ModelError, match=r"vivant fetch rmbg-2\.0 --accept-license"):
        export_model("rmbg-2.0", EngineStore(tmp_path))
    with pytest.raises(ModelError, match="'vivant fetch birefnet'"):
        export_model("birefnet", EngineStore(tmp_path))
    with pytest.raises(ModelError, match=r"nowhere\.pth: no such file"):
        export_model("birefnet", EngineStore(tmp_path), weights=tmp_path / "nowhere.pth")


@pytest.mark.parametrize(
    "asked", [{"precision": "fp8"}, {"size": 640}, {"target": "tpu"}, {"precision": "FP32"}]
)
def test_what_is_not_on_offer_is_said(tmp_path, asked):
    ((what, value),) = asked.items()
    with pytest.raises(ModelError, match=f"rmbg-1.4: no {what} '{value}'; there is "):
        export_model("rmbg-1.4", EngineStore(tmp_path), seed=0, **asked)


def leftovers(root):
    return [path for path in root.rglob("*") if path.is_file()]


def test_a_failed_gate_leaves_no_engine(tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "measure", lambda *_: {"model.max_abs": 2e-6})
    with pytest.raises(EngineError, match=r"bargainnet fp32: model\.max_abs is 2e-06"):
        export_model("bargainnet", EngineStore(tmp_path), seed=0)
    assert leftovers(tmp_path) == []


def test_a_failed_gate_keeps_the_older_engine(engines, monkeypatch):
    before = engines.engine("bargainnet").manifest
    monkeypatch.setattr(verify, "measure", lambda *_: {"model.max_abs": float("nan")})
    with pytest.raises(EngineError):
        export_model("bargainnet", engines, seed=8)
    assert engines.engine("bargainnet").manifest == before


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(exporter, "finished", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export_model("bargainnet", EngineStore(tmp_path), seed=0)
    assert leftovers(tmp_path) == []


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left on device; free some space"):
        export_model("mtcnn", EngineStore(tmp_path))
    assert leftovers(tmp_path) == []


def test_a_graph_that_computes_something_else_is_caught(engines):
    """The gate sees a single weight that is off by a tenth."""
    folder = engines.engine("bargainnet")
    model = onnx.load_from_string(folder.read("model"))
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = np.frombuffer(weight.raw_data, np.float32).copy()
    values[len(values) // 2] += 0.1
    weight.raw_data = values.tobytes()
    network = build_network(find_model("bargainnet"))
    network.load_state_dict(
        {key: torch.from_numpy(value) for key, value in state_of("bargainnet", 7).items()}
    )
    spec = exporter.engine_spec(find_model("bargainnet"), network, size=256, target="cpu")
    good = verify.measure(spec, {"model": folder.read("model")})
    bad = verify.measure(spec, {"model": model.SerializeToString()})
    assert good["model.max_abs"] <= 1e-6 < bad["model.max_abs"]


@pytest.fixture
def one_picture(monkeypatch):
    """Calibrate and judge with a picture each."""
    for name in ("pictures", "held_out"):
        several = getattr(calibration, name)
        monkeypatch.setattr(calibration, name, lambda folder, f=several: [next(f(folder))])


def test_int8_is_measured_and_a_quarter_of_the_size(tmp_path, one_picture):
    store = EngineStore(tmp_path, allow_untrained=True)
    folder = export_model("rmbg-1.4", store, seed=1, precision="int8", size=512)
    assert folder.path.name == "int8-512"
    assert {"alpha.mean_abs", "alpha.iou_loss", "model.mean_abs"} <= set(folder.manifest.parity)
    assert (folder.path / "model.onnx").stat().st_size < 50e6 < 4 * 44_046_790
    assert folder.manifest.graphs["model"].inputs[0].shape == (1, 512, 512, 3)


@pytest.mark.parametrize(("moved", "passes"), [(0.009, True), (0.011, False), (np.nan, False)])
def test_int8_that_moves_the_matte_is_refused(tmp_path, monkeypatch, moved, passes):
    """On weights that somebody trained."""
    checkpoint = tmp_path / "mine.safetensors"
    save_file(state_of("rmbg-1.4"), checkpoint)
    accuracy = {"alpha.mean_abs": moved, "alpha.iou_loss": 0.0}
    monkeypatch.setattr(exporter, "_file", lambda *_: (EMPTY_GRAPH, accuracy))
    monkeypatch.setattr(verify, "measure", lambda *_: {})
    store = EngineStore(tmp_path / "engines")
    asked = {"weights": checkpoint, "precision": "int8"}
    if passes:
        assert export_model("rmbg-1.4", store, **asked).manifest.parity == accuracy
        return
    with pytest.raises(EngineError, match=r"rmbg-1\.4 int8: alpha\.mean_abs is"):
        export_model("rmbg-1.4", store, **asked)
    assert store.models() == ()


def test_fp16_is_judged_as_a_gpu_rounds(tmp_path):
    store = EngineStore(tmp_path, allow_untrained=True)
    folder = export_model("bargainnet", store, seed=7, precision="fp16")
    assert 1e-6 < folder.manifest.parity["model.max_abs"] <= 5e-3
    assert verify_engine(folder) == dict(folder.manifest.parity)


@pytest.mark.parametrize(
    ("model", "precision", "size", "target", "variant"),
    [
        ("rmbg-1.4", "fp32", 1024, "cpu", "fp32"),
        ("rmbg-1.4", "fp16", 512, "rtx", "fp16-512"),
        ("rmbg-1.4", "int8", 1024, "cpu", "int8"),
        ("rmbg-1.4", "int8", 1024, "rtx", "int8-tensorrt"),
        ("rmbg-2.0", "fp32", 1024, "tensorrt", "fp32"),
        ("rmbg-2.0", "fp16", 1024, "rtx", "fp16-rtx"),
        ("rmbg-2.0", "int8", 768, "tensorrt", "int8-768-tensorrt"),
    ],
)
def test_variants_are_named_after_what_differs(model, precision, size, target, variant):
    assert Choice(find_model(model), precision, size, target).variant == variant
