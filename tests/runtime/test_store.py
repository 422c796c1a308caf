"""The engine store vouches for what it hands out."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from vivant.errors import EngineError, OutputError
from vivant.manifest import Manifest
from vivant.store import EngineStore, default_root


@pytest.fixture
def copy(store, tmp_path):
    """A copy of the store to break."""
    shutil.copytree(store.root, tmp_path / "engines")
    return EngineStore(tmp_path / "engines")


def edit(store, change):
    path = store.root / "mtcnn" / "fp32" / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_reads_what_was_written(store):
    folder = store.engine("mtcnn")
    assert folder.manifest.weights.kind == "official"
    assert set(folder.manifest.graphs) == {"pnet", "rnet", "onet"}
    assert folder.read("pnet").startswith(b"\x08")
    assert Manifest.load(folder.path / "manifest.json") == folder.manifest
    assert store.models() == ("mtcnn",)
    assert store.variants("mtcnn") == ("fp32",)


def test_a_missing_engine_names_the_command(tmp_path):
    with pytest.raises(EngineError, match="vivant export mtcnn"):
        EngineStore(tmp_path / "nowhere").engine("mtcnn")


def test_a_missing_variant_names_those_there_are(store):
    with pytest.raises(EngineError, match=r"no variant 'int8'.*there is fp32"):
        store.engine("mtcnn", "int8")


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:-1] + b"x", lambda _: b""])
def test_an_altered_graph_is_refused(copy, damage):
    file = copy.root / "mtcnn" / "fp32" / "rnet.onnx"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(EngineError, match=r"rnet\.onnx.*SHA-256.*vivant export mtcnn"):
        copy.engine("mtcnn").read("rnet")


def test_a_missing_graph_is_refused(copy):
    (copy.root / "mtcnn" / "fp32" / "rnet.onnx").unlink()
    with pytest.raises(EngineError, match=r"rnet\.onnx: No such file"):
        copy.engine("mtcnn").read("rnet")


def test_an_unknown_graph_lists_the_known(store):
    with pytest.raises(EngineError, match=r"no graph .model.*pnet, rnet, onet"):
        store.engine("mtcnn").read("model")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(schema=2), "schema 2"),
        (lambda d: d.pop("weights"), "no key 'weights'"),
        (lambda d: d["weights"].update(kind="stolen"), "weights.kind is 'stolen'"),
        (lambda d: d.update(role=7), "role is 7"),
        (lambda d: d["graphs"]["pnet"].update(file="../../../etc/passwd"), "not a plain file name"),
        (lambda d: d["graphs"]["pnet"].update(inputs=[3]), "graphs.pnet.inputs"),
        (lambda d: d.update(model="rmbg-1.4"), "describes rmbg-1.4/fp32, not this folder"),
    ],
)
def test_a_foreign_manifest_is_refused(copy, change, message):
    edit(copy, change)
    with pytest.raises(EngineError, match=message):
        copy.engine("mtcnn")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1}', "\ud800"])
def test_a_broken_manifest_is_refused(copy, text):
    path = copy.root / "mtcnn" / "fp32" / "manifest.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(EngineError, match=r"manifest\.json: .*export the engine again"):
        copy.engine("mtcnn")


def test_untrained_engines_are_refused_unless_allowed(copy):
    edit(copy, lambda d: d["weights"].update(kind="untrained"))
    with pytest.raises(EngineError, match="--allow-untrained"):
        copy.engine("mtcnn")
    allowed = EngineStore(copy.root, allow_untrained=True)
    assert allowed.engine("mtcnn").manifest.weights.kind == "untrained"


def test_writing_replaces_the_whole_engine(copy):
    folder = copy.engine("mtcnn")
    files = {f"{name}.onnx": folder.read(name) for name in folder.manifest.graphs}
    (folder.path / "stale.onnx").write_bytes(b"old")

    copy.write(dataclasses.replace(folder.manifest, role="again"), files)

    assert copy.engine("mtcnn").manifest.role == "again"
    assert not (folder.path / "stale.onnx").exists()
    assert [path.name for path in folder.path.parent.iterdir()] == ["fp32"]


def test_a_write_that_fails_leaves_the_old_engine(copy, monkeypatch):
    folder = copy.engine("mtcnn")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        copy.write(folder.manifest, {"pnet.onnx": b""})
    assert copy.engine("mtcnn").read("pnet")
    assert [path.name for path in folder.path.parent.iterdir()] == ["fp32"]


def test_a_store_that_is_a_file_is_an_error(store, tmp_path):
    (tmp_path / "engines").write_text("not a folder")
    with pytest.raises(OutputError, match="--store"):
        EngineStore(tmp_path / "engines").write(store.engine("mtcnn").manifest, {})


def test_the_default_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("VIVANT_ENGINES", str(tmp_path))
    assert default_root() == tmp_path
