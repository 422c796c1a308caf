from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from vivant.errors import BackendError
from vivant.machine import MachineState
from vivant.manifest import Graph, Tensor
from vivant.store import EngineStore


@pytest.fixture
def ways(load):
    return load("gpu_ways")


@pytest.fixture
def peers(load):
    return load("peers_gpu")


@pytest.fixture
def task(ways):
    """The second network of MTCNN, on two faces."""
    image = np.random.default_rng(1).random((2, 24, 24, 3), np.float32)
    return ways.Task("faces", "mtcnn", "rnet", "24x24", {"image": image})


class Runner:
    """Takes memory when it is made and in its first runs, as allocators do."""

    def __init__(self, taken, memory, failing=False):
        self.memory, self.taken, self.failing = memory, list(taken), failing
        self.used_before = self.used()
        self.memory["used"] += self.taken.pop(0)

    def run(self):
        if self.failing:
            raise RuntimeError("out of memory\nat length")
        self.memory["used"] += self.taken.pop(0) if self.taken else 0
        return 2.5

    def outputs(self):
        return {"y": np.ones(1, np.float32)}

    def used(self):
        return self.memory["used"]


class TestKept:
    def test_the_memory_of_each_is_its_own(self, ways):
        """Two are made, then take turns; one's memory is not the other's."""
        memory = {"used": 1000}
        first = ways.kept(lambda: Runner([100, 20, 3], memory))
        second = ways.kept(lambda: Runner([7000, 500], memory))
        for _ in range(3):
            ran, other = first(), second()
        assert ran.device_bytes == 123
        assert other.device_bytes == 7500
        assert ran.gpu_ms == [2.5] * 4
        assert len(ran.wall_ms) == 4
        assert ran.outputs["y"].tolist() == [1]

    def test_the_host_has_no_memory_to_tell(self, ways):
        class Host(Runner):
            def used(self):
                return None

        assert ways.kept(lambda: Host([0], {"used": 0}))().device_bytes is None

    def test_what_fails_is_left_out_with_one_line(self, ways):
        with pytest.raises(BackendError, match=r"^RuntimeError: out of memory$"):
            ways.kept(lambda: Runner([0], {"used": 0}, failing=True))

    def test_a_library_that_is_not_here(self, ways):
        def missing():
            raise ImportError("no module named 'tensorrt'")

        with pytest.raises(BackendError, match="ImportError: no module"):
            ways.kept(missing)


class TestEngineRunner:
    def test_it_computes_what_the_engine_does(self, ways, store, task):
        from vivant.backends import open_engine

        runner = ways.EngineRunner(store, task, "host", "fp32", "onnxruntime")
        assert runner.run() >= 0
        with open_engine(store.engine("mtcnn"), "rnet") as engine:
            expected = engine.run(task.inputs)
        found = runner.outputs()
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
        assert runner.used() is None

    def test_free_sizes_are_the_inputs(self, ways):
        graph = Graph(
            "model.onnx",
            "0" * 64,
            18,
            (Tensor("x", "uint8", ("batch", 8, "width"), ""),),
            (Tensor("y", "float32", ("batch", 4), ""), Tensor("z", "int32", ("width",), "")),
        )
        task = ways.Task("", "", "", "", {"x": np.zeros((3, 8, 5), np.uint8)})
        assert ways.shapes(graph, task) == {
            "y": ((3, 4), np.dtype(np.float32)),
            "z": ((5,), np.dtype(np.int32)),
        }


class TestTorchRunner:
    @pytest.fixture
    def module(self):
        torch = pytest.importorskip("torch")
        with torch.random.fork_rng():
            torch.manual_seed(1)
            layers = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Sigmoid()
            return torch.nn.Sequential(*layers).eval(), ("y",)

    @pytest.fixture
    def picture(self, ways):
        x = np.random.default_rng(2).random((1, 3, 8, 8), np.float32)
        return ways.Task("matte", "some", "model", "8x8", {"x": x})

    def test_full_precision(self, ways, module, picture):
        import torch

        runner = ways.TorchRunner(module, picture, "host", half=False, compiled=False)
        assert runner.run() > 0
        expected = module[0](torch.from_numpy(picture.inputs["x"])).detach().numpy()
        np.testing.assert_array_equal(runner.outputs()["y"], expected)

    def test_half_precision_rounds_and_no_more(self, ways, module, picture):
        full = ways.TorchRunner(module, picture, "host", half=False, compiled=False)
        full.run()
        expected = full.outputs()["y"]
        half = ways.TorchRunner(module, picture, "host", half=True, compiled=False)
        half.run()
        found = half.outputs()["y"]
        assert found.dtype == np.float32
        assert 0 < np.abs(found - expected).max() < 2e-3

    def test_without_a_gpu_it_says_so(self, ways, module, picture, monkeypatch):
        import torch

        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(BackendError, match=r"sees no GPU; .* 'vivant doctor'"):
            ways.TorchRunner(module, picture, "cuda", half=False, compiled=False)


class TestWays:
    def test_int8_only_where_it_is(self, peers, tmp_path):
        store = EngineStore(tmp_path)
        names = [way.name for way in peers.ways(store, "rmbg-1.4", "cuda")]
        assert names[0] == peers.BASE
        assert "torch eager, fp16" in names
        assert "torch.compile, fp16" in names
        assert "onnxruntime-cuda, fp16" in names
        assert "tensorrt, fp32" in names
        assert "tensorrt-rtx, fp16" in names
        assert not any("int8" in name for name in names)
        folder = tmp_path / "rmbg-1.4" / "int8-tensorrt"
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
        assert "tensorrt, int8" in [way.name for way in peers.ways(store, "rmbg-1.4", "cuda")]

    def test_the_host_has_what_runs_there(self, peers, tmp_path):
        names = [way.name for way in peers.ways(EngineStore(tmp_path), "bargainnet", "host")]
        assert names == [peers.BASE, "onnxruntime, fp32"]

    def test_backends_are_known(self, peers):
        from vivant.backends import BACKENDS

        assert set(peers.OURS) <= set(BACKENDS)

    def test_the_tasks_are_what_the_graphs_take(self, peers):
        tasks = peers.tasks()
        assert list(tasks) == list(peers.MODELS)
        assert tasks["matte"].inputs["image"].shape == (1, 1024, 1024, 3)
        assert tasks["harmonize"].inputs["mask"].dtype == np.float32
        assert 0.1 < tasks["harmonize"].inputs["mask"].mean() < 0.9
        assert {array.dtype for array in tasks["score"].inputs.values()} == {np.dtype(np.uint8)}

    def test_engines_that_have_to_be_there(self, peers):
        assert peers.engines(["score"], made=False) == [("bargainnet", "fp32")]
        assert ("rmbg-1.4", "fp16") in peers.engines(["matte"], made=True)


class TestParity:
    def test_as_a_share_of_the_largest(self, peers):
        reference = {"a": np.array([0.0, 10.0]), "b": np.array([1.0])}
        found = {"a": np.array([0.5, 10.0], np.float16), "b": np.array([1.01])}
        assert peers.parity(found, reference).value == pytest.approx(0.05)
        assert peers.parity(reference, reference).value == 0

    @pytest.mark.parametrize(
        ("found", "words"),
        [([np.nan], "y is not numbers"), ([np.inf], "not numbers"), ([1, 2], "y is [2], not [1]")],
    )
    def test_what_cannot_be_compared_is_said(self, peers, found, words):
        parity = peers.parity({"y": np.array(found, float)}, {"y": np.ones(1)})
        assert parity.value is None
        assert words in parity.meaning


class TestRows:
    @pytest.fixture
    def rows(self, peers, ways, load, store, task, monkeypatch):
        """Interleaved, each in a process of its own: one that runs, and one that cannot."""
        given = [
            peers.Way("onnxruntime", "fp32", {"variant": "fp32", "backend": "onnxruntime"}),
            peers.Way("tensorrt", "fp16", {"variant": "fp16", "backend": "tensorrt"}),
        ]
        monkeypatch.setattr(peers, "ways", lambda *_: given)
        monkeypatch.setattr(peers, "tasks", lambda: {"faces": task})
        monkeypatch.setattr(peers, "BASE", given[0].name)
        state = MachineState("a processor", None, (), None, ())
        monkeypatch.setattr(peers.machine, "state", lambda: state)
        settings = load("comparison").Settings(store, 1, 3)
        return list(peers.rows(settings, ["faces"], "host"))

    def test_one_for_every_way(self, rows, peers, load, capsys, tmp_path):
        ran, missing = rows
        assert ran["ratio"] == 1
        assert ran["rounds"] == 3
        assert ran["ours_ms"] <= ran["p95_ms"]
        assert ran["ours_ms"] <= ran["wall_ms"]
        assert ran["parity"] < 1e-5
        assert ran["device_mb"] is None
        assert ran["state"]["processor"] == "a processor"
        assert "no variant 'fp16' of 'mtcnn'" in missing["missing"]
        assert missing["ours_ms"] is None
        for row in rows:
            peers.print_row(row)
        printed = capsys.readouterr().out
        assert "fp16 in tensorrt\n  not here: " in printed
        assert "1.00x of onnxruntime, fp32" in printed

        load("report").write_json(tmp_path / "rows.json", rows)
        text = load("tables").filled(
            "<!-- begin gpu -->\n<!-- end -->", json.loads((tmp_path / "rows.json").read_text())
        )
        assert "| faces | 24x24 | fp16, tensorrt | not here: " in text
        assert "| 1.00x |" in text


def test_gpu_rows_stay_out_of_the_originals_table(load, peers, task):
    interleave = load("interleave")
    ran = load("gpu_ways").Ran({"y": np.ones(1)}, [9.0, 1.0, 3.0], [9.0, 2.0, 4.0], 2**21)
    timing = interleave.Timing((1.0, 1.0), (1.0, 1.0), 50.0, ran)
    base = dataclasses.replace(timing, result=dataclasses.replace(ran, gpu_ms=[9.0, 4.0, 6.0]))
    way = peers.Way("tensorrt", "fp16", {"variant": "fp16", "backend": "tensorrt"})
    done = interleave.Interleaved({way.name: timing, peers.BASE: base}, {})
    row = peers._row(task, way, done, {"y": np.ones(1)}, "cuda")
    assert (row["ours_ms"], row["peer_ms"], row["ratio"]) == (2, 5, 3)
    assert (row["wall_ms"], row["device_mb"], row["parity"]) == (3, 2, 0)
    card = {"name": "A card", "sm_mhz": 100.0, "driver": None}
    known = ("sm_max_mhz", "memory_mhz", "memory_max_mhz", "power_w", "power_limit_w")
    cards = [{**card, **dict.fromkeys((*known, "temperature_c"), 1.0)}]
    where = {"machine": "m", "libraries": {}, "state": {"cards": cards, "board": None}}
    tables = load("tables")
    assert tables.peers([{**row, **where}], "") == ""
    text = tables.gpu([{**row, **where}], "")
    assert "| 2.00 ms | 3.00 ms | 3.00 ms | 3.00x | 2 MB | 0: " in text
    assert "A card, driver ?, 100 of 1 MHz" in text
