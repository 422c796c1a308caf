"""Only a plan that its record vouches for reaches TensorRT."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace

import pytest

from vivant.errors import EngineError, OutputError
from vivant.plans import PORTABLE, PlanRecord, obstacle, plan_folder, read_plan, write_plan
from vivant.store import EngineStore

PLAN = b"machine code" * 100
REMEDY = "run 'vivant build mtcnn --variant fp32'"
HERE = ("rnet", "tensorrt", "10.3.0", (8, 7))


@pytest.fixture
def folder(store, tmp_path):
    """MTCNN's engine, to be given plans."""
    shutil.copytree(store.root, tmp_path / "engines")
    return EngineStore(tmp_path / "engines").engine("mtcnn")


@pytest.fixture
def record(folder):
    """What vouches for ``PLAN``."""
    return PlanRecord(
        library="tensorrt",
        version="10.3.0",
        compute_capability="8.7",
        plan="rnet.plan",
        plan_sha256=hashlib.sha256(PLAN).hexdigest(),
        onnx_sha256=folder.manifest.graphs["rnet"].sha256,
        settings={"workspace": "1 GiB"},
        profiles=({"image": ((1, 24, 24, 3), (32, 24, 24, 3), (256, 24, 24, 3))},),
    )


def test_what_was_built_is_read(folder, record):
    path = write_plan(folder, "rnet", record, PLAN)
    assert path == folder.path / "tensorrt" / "rnet.plan"
    assert read_plan(folder, *HERE) == PLAN
    assert obstacle(folder, *HERE) is None
    assert PlanRecord.load(path.with_suffix(".json")) == record


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": "10.13.3.9"}, r"built by tensorrt 10\.13\.3\.9, here is 10\.3\.0"),
        ({"compute_capability": "8.9"}, r"for compute capability 8\.9, this device has 8\.7"),
        ({"compute_capability": PORTABLE}, r"for compute capability portable, this device has 8"),
        ({"onnx_sha256": "0" * 64}, "built from another ONNX file than the engine's"),
        ({"plan_sha256": "0" * 64}, "its SHA-256 is not the record's"),
        ({"plan": "onet.plan"}, r"its record is that of onet\.plan"),
        ({"library": "tensorrt-rtx"}, "built by tensorrt-rtx, not by tensorrt"),
        ({"schema": 2}, "its record cannot be used .*schema 2, this version of Vivant reads 1"),
    ],
)
def test_a_plan_for_something_else_is_refused(folder, record, change, reason):
    write_plan(folder, "rnet", record, PLAN)
    place = plan_folder(folder, "tensorrt") / "rnet.json"
    place.write_text(replace(record, **change).to_json())
    with pytest.raises(EngineError, match=rf"rnet\.plan: .*{reason}.*; {REMEDY}$"):
        read_plan(folder, *HERE)
    assert obstacle(folder, *HERE) is not None


def test_a_damaged_plan_is_refused(folder, record):
    path = write_plan(folder, "rnet", record, PLAN)
    path.write_bytes(PLAN[:-1])
    with pytest.raises(EngineError, match="the file was altered or cut off"):
        read_plan(folder, *HERE)
    path.unlink()
    with pytest.raises(EngineError, match="No such file"):
        read_plan(folder, *HERE)


def test_without_a_record_there_is_no_plan(folder, record):
    with pytest.raises(EngineError, match=r"rnet\.plan: there is no such plan; run 'vivant build"):
        read_plan(folder, *HERE)
    write_plan(folder, "rnet", record, PLAN).with_suffix(".json").unlink()
    with pytest.raises(EngineError, match="no record vouches for it"):
        read_plan(folder, *HERE)


def test_the_record_of_another_graph_vouches_for_nothing(folder, record):
    path = write_plan(folder, "rnet", record, PLAN)
    for suffix in (".plan", ".json"):
        shutil.copy(path.with_suffix(suffix), path.parent / f"onet{suffix}")
    assert "that of rnet.plan" in obstacle(folder, "onet", *HERE[1:])
    renamed = replace(record, plan="onet.plan").to_json()
    (path.parent / "onet.json").write_text(renamed)
    assert "another ONNX file" in obstacle(folder, "onet", *HERE[1:])


def test_an_engine_that_was_exported_again_needs_new_plans(folder, record):
    write_plan(folder, "rnet", record, PLAN)
    graphs = dict(folder.manifest.graphs)
    graphs["rnet"] = replace(graphs["rnet"], sha256="1" * 64)
    again = replace(folder, manifest=replace(folder.manifest, graphs=graphs))
    assert "another ONNX file" in obstacle(again, *HERE)


@pytest.mark.parametrize(
    ("capability", "usable"), [((8, 0), True), ((12, 0), True), ((7, 5), False)]
)
def test_portable_plans_are_for_ampere_and_later(folder, record, capability, usable):
    portable = replace(record, library="tensorrt-rtx", compute_capability=PORTABLE)
    write_plan(folder, "rnet", portable, PLAN)
    reason = obstacle(folder, "rnet", "tensorrt-rtx", "10.3.0", capability)
    assert (reason is None) == usable
    assert usable or "8.0 and later, this device has 7.5" in reason


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: "",
        lambda data: "[]",
        lambda data: json.dumps({**data, "version": 10}),
        lambda data: json.dumps({**data, "plan_sha256": ""}),
        lambda data: json.dumps({**data, "settings": []}),
        lambda data: json.dumps({**data, "profiles": [[]]}),
        lambda data: json.dumps({**data, "profiles": [{"image": [[1], [2]]}]}),
        lambda data: json.dumps({key: value for key, value in data.items() if key != "library"}),
    ],
)
def test_a_damaged_record_is_refused_in_one_line(folder, record, damage):
    path = write_plan(folder, "rnet", record, PLAN).with_suffix(".json")
    path.write_text(damage(json.loads(path.read_text())))
    with pytest.raises(EngineError, match=r"its record cannot be used \(.*rnet\.json: ") as caught:
        read_plan(folder, *HERE)
    assert "\n" not in str(caught.value)


def test_a_graph_that_is_none_is_an_error(folder, record):
    with pytest.raises(EngineError, match="no graph 'qnet' in the manifest"):
        read_plan(folder, "qnet", *HERE[1:])
    graphs = {"../rnet": folder.manifest.graphs["rnet"]}
    foreign = replace(folder, manifest=replace(folder.manifest, graphs=graphs))
    with pytest.raises(EngineError, match="not a plain name"):
        write_plan(foreign, "../rnet", record, PLAN)


def test_a_store_that_cannot_be_written_is_an_error(folder, record):
    (folder.path / "tensorrt").write_text("a file where the folder should be")
    with pytest.raises(OutputError, match="--store"):
        write_plan(folder, "rnet", record, PLAN)
