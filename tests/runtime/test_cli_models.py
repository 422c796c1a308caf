"""``vivant models`` and ``vivant fetch`` as their users meet them."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from dataclasses import replace

import pytest

from vivant.manifest import Graph, Manifest, Weights
from vivant.store import EngineStore
from vivant_export import catalogue, part
from vivant_export.catalogue import MODELS, Source

DATA = b"weights" * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def vivant(tmp_path, monkeypatch, command_line):
    """The command line, on a machine with neither engines nor weights."""
    monkeypatch.setenv("VIVANT_ENGINES", str(tmp_path / "engines"))
    monkeypatch.setenv("VIVANT_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.delenv("VIVANT_OFFLINE", raising=False)
    return command_line


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def offer(tmp_path, monkeypatch):
    """Offer DATA as the weights of a model, from a server on this machine."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "weights.pth").write_bytes(DATA)
    handler = functools.partial(Quiet, directory=tmp_path / "there")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def put(name, sha256=SHA256):
        url = f"http://127.0.0.1:{server.server_port}/weights.pth"
        source = Source("https", url, "weights.pth", len(DATA), sha256)
        model = replace(MODELS[name], sources=(source,))
        monkeypatch.setattr(catalogue, "MODELS", {**MODELS, name: model})

    yield put
    server.shutdown()
    thread.join()
    server.server_close()


def one_line(err):
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def put_engine(tmp_path, variant, file):
    digest = hashlib.sha256(b"graph").hexdigest()
    manifest = Manifest(
        model="rmbg-1.4",
        variant=variant,
        role="matte",
        precision="fp32",
        graphs={"model": Graph(file, digest, 17, (), ())},
        weights=Weights("untrained", "seeded", "MIT"),
    )
    EngineStore(tmp_path / "engines").write(manifest, {file: b"graph"})


class TestModels:
    def test_what_there_is_and_what_is_here(self, vivant, tmp_path):
        put_engine(tmp_path, "fp32", "model.onnx")
        put_engine(tmp_path, "fp16-tensorrt", "model.plan")
        status, out, err = vivant("models")
        assert (status, err) == (0, "")
        lines = {line.split()[0]: line for line in out.splitlines() if line[:1].strip()}
        assert set(MODELS) <= set(lines)
        assert lines["rmbg-1.4"].endswith("exported fp32; built fp16-tensorrt")
        assert "non-commercial" in lines["rmbg-2.0"]
        assert "any use" in lines["birefnet"]
        assert lines["birefnet"].endswith("absent")

    def test_json(self, vivant, offer):
        offer("bargainnet")
        vivant("fetch", "bargainnet")
        status, out, _ = vivant("models", "--json")
        rows = {row["name"]: row for row in json.loads(out)}
        assert status == 0
        assert set(rows) == set(MODELS)
        assert rows["bargainnet"]["weights"].endswith("bargainnet/weights.pth")
        assert rows["rmbg-2.0"]["licence"]["commercial"] is False
        assert rows["rmbg-2.0"]["weights"] is None
        assert rows["rmbg-1.4"]["sizes"] == [512, 768, 1024]

    def test_another_store(self, vivant, tmp_path):
        put_engine(tmp_path, "fp32", "model.onnx")
        assert "exported" not in vivant("models", "--store", tmp_path / "empty")[1]

    def test_a_broken_engine_does_not_stop_the_list(self, vivant, tmp_path):
        put_engine(tmp_path, "fp32", "model.onnx")
        (tmp_path / "engines" / "rmbg-1.4" / "fp32" / "manifest.json").write_text("{")
        status, out, _ = vivant("models")
        assert status == 0
        assert "exported" not in out


class TestFetch:
    def test_the_file_and_who_vouches_for_it(self, vivant, offer, tmp_path):
        offer("bargainnet")
        status, out, err = vivant("fetch", "bargainnet")
        path = tmp_path / "weights" / "bargainnet" / "weights.pth"
        assert (status, err) == (0, "")
        assert out == f"{path}  the published file; licence MIT\n"
        assert path.read_bytes() == DATA

    def test_a_hash_that_nobody_publishes(self, vivant, offer):
        offer("bargainnet", sha256=None)
        assert "from now on it may not change" in vivant("fetch", "bargainnet")[1]

    def test_json(self, vivant, offer):
        offer("bargainnet")
        report = json.loads(vivant("fetch", "bargainnet", "--json")[1])
        assert report["sha256"] == SHA256
        assert report["vouched_by"] == "catalogue"
        assert report["licence"] == "MIT"

    def test_a_licence_is_to_be_accepted(self, vivant, offer, tmp_path):
        offer("rmbg-1.4")
        status, out, err = vivant("fetch", "rmbg-1.4")
        assert (status, out) == (1, "")
        assert "non-commercial use only" in one_line(err)
        assert not (tmp_path / "weights").exists()
        assert vivant("fetch", "rmbg-1.4", "--accept-license")[0] == 0
        assert vivant("fetch", "rmbg-1.4")[0] == 0

    def test_offline(self, vivant, tmp_path):
        status, _, err = vivant("fetch", "inr-harmonization", "--offline")
        assert status == 1
        path = tmp_path / "weights" / "inr-harmonization" / "Resolution_RAW_iHarmony4.pth"
        assert str(path) in one_line(err)

    def test_an_unknown_model(self, vivant):
        status, _, err = vivant("fetch", "u2net")
        assert status == 1
        assert "there are mtcnn, rmbg-1.4" in one_line(err)

    def test_a_wrong_file(self, vivant, offer, tmp_path):
        offer("bargainnet", sha256="0" * 64)
        status, _, err = vivant("fetch", "bargainnet")
        assert status == 1
        assert "SHA-256" in one_line(err)
        assert list((tmp_path / "weights" / "bargainnet").iterdir()) == []

    def test_interrupted(self, vivant, offer, tmp_path, monkeypatch):
        offer("bargainnet")
        write = part.Part.write

        def interrupt(self, data):
            write(self, data[:100])
            raise KeyboardInterrupt

        monkeypatch.setattr(part.Part, "write", interrupt)
        status, _, err = vivant("fetch", "bargainnet")
        assert status == 130
        one_line(err)
        folder = tmp_path / "weights" / "bargainnet"
        assert (folder / "weights.pth.part").stat().st_size == 100
        assert not (folder / "weights.pth").exists()
        monkeypatch.setattr(part.Part, "write", write)
        assert vivant("fetch", "bargainnet")[0] == 0
