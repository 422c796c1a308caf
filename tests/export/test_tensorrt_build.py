"""Plans are built once, again where they no longer fit, and never left half done."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from onnx import TensorProto, helper

pytest.importorskip("tensorrt_rtx_libs")
pytest.importorskip("tensorrt_rtx_bindings")

from vivant import cli
from vivant.backends.tensorrt import load
from vivant.commands import build as command
from vivant.errors import BackendError, EngineError
from vivant.manifest import Graph, Manifest, Tensor, Weights
from vivant.plans import PlanRecord, read_plan
from vivant.store import EngineStore
from vivant.tuning import Choice
from vivant_export import tensorrt_build
from vivant_export.tensorrt_build import Settings, Target, build_plan, find_target

RTX = "tensorrt-rtx"
GRAPHS = ["pnet", "rnet", "onet"]


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch):
    """As on a machine without one, whatever this is."""
    monkeypatch.setattr(tensorrt_build, "lacking_device", lambda name: f"{name}: no GPU here")


@pytest.fixture
def root(store, tmp_path):
    """A store with MTCNN's engine, the test's own."""
    shutil.copytree(store.root / "mtcnn", tmp_path / "store" / "mtcnn")
    return tmp_path / "store"


@pytest.fixture
def plans(root):
    """Where its plans will be."""
    return root / "mtcnn" / "fp32" / RTX


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    """A store with MTCNN's plans."""
    root = tmp_path_factory.mktemp("finished")
    shutil.copytree(store.root / "mtcnn", root / "mtcnn")
    folder, target = EngineStore(root).engine("mtcnn"), Target(RTX, find_version(), None)
    for graph in GRAPHS:
        build_plan(target, folder, graph, Settings())
    return root


@pytest.fixture
def there(finished, plans):
    """Where its plans are."""
    shutil.copytree(finished / "mtcnn" / "fp32" / RTX, plans)
    return plans


@pytest.fixture
def vivant_build(monkeypatch, capsys, root):
    """Run ``vivant build`` on the store: (exit status, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vivant", "build", *arguments, "--store", str(root)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        captured = capsys.readouterr()
        return stop.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def built(vivant_build):
    """Run it for MTCNN: which plans were built, and why."""

    def run(*arguments):
        status, out, err = vivant_build("mtcnn", "--library", RTX, "--json", *arguments)
        assert (status, err) == (0, "")
        found = json.loads(out)["plans"]
        assert [plan["graph"] for plan in found] == GRAPHS
        return {plan["graph"]: plan["reason"] for plan in found if plan["state"] == "built"}

    return run


def state(folder):
    """What would show that a file was written."""
    return {file.name: (file.stat().st_mtime_ns, file.read_bytes()) for file in folder.iterdir()}


def find_version():
    return str(load(RTX).__version__)


def write_engine(root, model, variant="fp32", data=b"", size=1):
    """Put an engine of one graph into a store: "x", float32 [size], to "y"."""
    tensors = [(Tensor(name, "float32", (size,), "a number"),) for name in "xy"]
    graph = Graph("model.onnx", hashlib.sha256(data).hexdigest(), 17, *tensors)
    weights = Weights("custom", "a test", "none")
    manifest = Manifest(model, variant, "matte", variant[:4], {"model": graph}, weights)
    return EngineStore(root).write(manifest, {"model.onnx": data})


def onnx_of(operator, domain=""):
    """An ONNX file of one operator."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy")
    graph = helper.make_graph(
        [helper.make_node(operator, ["x"], ["y"], domain=domain)], "", [x], [y]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("house", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return model.SerializeToString()


# What is built, and when ------------------------------------------------------------------------


def test_a_plan_is_built_once(built, plans, root):
    assert built() == dict.fromkeys(GRAPHS, "there is no such plan")
    before = state(plans)
    assert sorted(before) == sorted(
        f"{graph}.{end}" for graph in GRAPHS for end in ("json", "plan")
    )
    assert built() == {}
    assert state(plans) == before
    folder = EngineStore(root).engine("mtcnn")
    target = find_target(RTX)
    for graph in GRAPHS:  # for any GPU that it is portable to
        plan = read_plan(folder, graph, RTX, target.version, (8, 9))
        assert plan == before[f"{graph}.plan"][1]


def test_the_record_says_what_was_built(built, plans, root):
    built("--workspace", "512")
    record = PlanRecord.load(plans / "rnet.json")
    onnx = (root / "mtcnn" / "fp32" / "rnet.onnx").read_bytes()
    assert record == PlanRecord(
        library=RTX,
        version=find_target(RTX).version,
        compute_capability="portable",
        plan="rnet.plan",
        plan_sha256=hashlib.sha256((plans / "rnet.plan").read_bytes()).hexdigest(),
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
        settings={"workspace": 512, "optimization_level": None},
        profiles=({"image": ((1, 24, 24, 3), (64, 24, 24, 3), (256, 24, 24, 3))},),
    )


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("version", "1.0.0", "here is"),
        ("onnx_sha256", "0" * 64, "another ONNX file"),
        ("compute_capability", "7.5", "compute capability 7.5"),
        ("profiles", [], "other shapes"),
        ("schema", 0, "schema 0"),
    ],
)
def test_what_no_longer_fits_is_built_again(built, there, key, value, reason):
    file = there / "rnet.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    before = state(there)
    (again,) = built().items()
    assert again[0] == "rnet"
    assert reason in again[1]
    after = state(there)
    assert {name for name in after if after[name] != before[name]} == {"rnet.json", "rnet.plan"}
    assert built() == {}


def test_what_is_cut_off_is_built_again(built, there):
    (there / "pnet.plan").write_bytes((there / "pnet.plan").read_bytes()[:-1])
    (there / "rnet.json").write_text('{"schema": 1, "libr')
    (there / "onet.json").unlink()
    for name, hours in (("old", 2), ("new", 0)):
        file = there / f".{name}.tmp"
        file.write_bytes(b"half of a plan")
        os.utime(file, (time.time() - 3600 * hours,) * 2)
    reasons = built()
    assert "altered or cut off" in reasons["pnet"]
    assert "record cannot be used" in reasons["rnet"]
    assert "no record" in reasons["onet"]
    assert built() == {}
    assert [file.name for file in there.glob(".*")] == [".new.tmp"]  # somebody may be writing it


def test_settings_count_where_they_are_asked_for(built, there):
    again = built("--optimization-level", "2")
    assert again == dict.fromkeys(GRAPHS, "built with optimization_level None, asked for is 2")
    assert built("--optimization-level", "2") == {}
    assert built() == {}
    assert set(built("--again")) == set(GRAPHS)


def test_an_interruption_keeps_what_is_finished(monkeypatch, vivant_build, built, plans):
    begun = []

    @contextmanager
    def bar(title):
        begun.append(title)
        second = len(begun) == 2
        yield lambda share: os.kill(os.getpid(), signal.SIGINT) if second and share < 0.3 else None

    with monkeypatch.context() as patch:
        patch.setattr(command, "_bar", bar)
        status, out, err = vivant_build("mtcnn", "--library", RTX)
    assert status == cli.INTERRUPTED
    assert "what was finished is kept" in err
    assert "pnet" in out
    assert begun == ["mtcnn/fp32/pnet", "mtcnn/fp32/rnet"]
    before = state(plans)
    assert set(before) == {"pnet.json", "pnet.plan"}
    assert set(built()) == {"rnet", "onet"}
    assert {name: state(plans)[name] for name in before} == before


def test_neither_torch_nor_onnx_is_needed(root, plans):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['torch', 'onnx', 'onnxruntime', 'mtcnn']))\n"
        f"sys.argv = ['vivant', 'build', '--library', '{RTX}', '--store', {str(root)!r}]\n"
        "from vivant.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("built in") == len(GRAPHS)
    assert len(state(plans)) == 2 * len(GRAPHS)


def test_progress_is_told(root):
    shares = []
    folder = EngineStore(root).engine("mtcnn")
    build_plan(find_target(RTX), folder, "pnet", Settings(), shares.append)
    assert shares == sorted(shares)
    assert shares[0] < 0.1
    assert shares[-1] == 1


# What cannot be built ---------------------------------------------------------------------------


def test_an_engine_that_cannot_be_built_costs_no_other(vivant_build, root, plans):
    write_engine(root, "birefnet", data=onnx_of("Unknown", "house"))
    status, out, err = vivant_build("--library", RTX, "--json")
    assert status == 1
    first, *others = json.loads(out)["plans"]
    assert first["state"] == "failed"
    assert [plan["state"] for plan in others] == ["built"] * 3
    assert "birefnet/fp32: tensorrt-rtx" in " ".join(err.split())
    assert "cannot parse it" in first["reason"]
    assert "Unknown" in first["reason"]
    assert "--target rtx" in first["reason"]
    assert not list((root / "birefnet" / "fp32" / RTX).iterdir())


def test_a_free_size_without_a_range_is_named(vivant_build, root):
    write_engine(root, "birefnet", data=onnx_of("Relu"), size="length")
    status, _, err = vivant_build("birefnet", "--library", RTX)
    assert status == 1
    assert "no range is known for 'length'" in err


def test_an_altered_graph_is_not_built(vivant_build, root, plans):
    (root / "mtcnn" / "fp32" / "rnet.onnx").write_bytes(onnx_of("Relu"))
    status, out, err = vivant_build("mtcnn", "--library", RTX)
    assert status == 1
    assert "SHA-256 is not the manifest's" in err
    assert out.count("built in") == 2
    assert not (plans / "rnet.plan").exists()


def test_what_a_library_cannot_build_says_why(root):
    """TensorRT-RTX multiplies no FP32 matrices on Turing; convolutions are no trouble."""
    turing = Target(RTX, find_target(RTX).version, (7, 5))
    folder = EngineStore(root).engine("mtcnn")
    path = build_plan(turing, folder, "pnet", Settings())
    assert PlanRecord.load(path.with_suffix(".json")).compute_capability == "7.5"
    with pytest.raises(EngineError, match=r"rnet: tensorrt-rtx .* no plan .*Turing"):
        build_plan(turing, folder, "rnet", Settings())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--library", "onnxruntime"], "there is tensorrt and tensorrt-rtx"),
        (["--precision", "fp64"], "there is fp32, fp16, int8"),
        (["mtcnn", "--precision", "fp16"], "no fp16 engine for tensorrt-rtx"),
        (["mtcnn", "--variant", "fp16"], "no variant 'fp16' of 'mtcnn' (there is fp32)"),
        (["rmbg-9"], "no engine 'rmbg-9' to build"),
    ],
)
def test_what_is_not_there(vivant_build, arguments, message):
    status, _, err = vivant_build(
        *arguments, *([] if "--library" in arguments else ["--library", RTX])
    )
    assert status == 1
    assert message in err


def test_a_variant_needs_a_model(vivant_build):
    status, _, err = vivant_build("--variant", "fp16")
    assert status == 2
    assert "--variant needs a model" in err


def test_a_missing_library_says_what_to_install(monkeypatch, vivant_build):
    for module in ("tensorrt", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, module, None)
    _, _, err = vivant_build("--library", RTX)
    assert "vivant[rtx]" in err
    status, _, err = vivant_build()
    assert status == 1
    assert "vivant[tensorrt]" in err
    assert "vivant[rtx]" in err


def test_a_store_that_cannot_be_written_to(monkeypatch, vivant_build, plans):
    def build(*_):
        raise AssertionError("built what could not be stored")

    monkeypatch.setattr(tensorrt_build, "_build", build)
    plans.write_text("in the way of the folder")
    status, _, err = vivant_build("--library", RTX)
    assert status == 1
    assert "--store" in err
    plans.unlink()
    refusing = SimpleNamespace(access=lambda *_: False, W_OK=os.W_OK)  # root may write everywhere
    monkeypatch.setattr(tensorrt_build, "os", refusing)
    status, _, err = vivant_build("--library", RTX)
    assert status == 1
    assert "no permission to write" in err


# For what machine -------------------------------------------------------------------------------


@pytest.fixture
def gpu(monkeypatch):
    """Have a GPU of some compute capability, and TensorRT 10.3."""

    def have(*capability):
        device = SimpleNamespace(capability=capability, close=lambda: None)
        monkeypatch.setattr(tensorrt_build, "lacking_device", lambda _: None)
        monkeypatch.setattr(tensorrt_build, "open_device", lambda _: device)

    monkeypatch.setattr(tensorrt_build, "load", lambda _: SimpleNamespace(__version__="10.3.0"))
    return have


def test_tensorrt_builds_for_the_gpu_that_is_here(gpu):
    with pytest.raises(BackendError, match="cuda: no GPU here"):
        find_target("tensorrt")
    gpu(8, 7)
    target = find_target("tensorrt")
    assert (target.version, target.compute_capability) == ("10.3.0", "8.7")


@pytest.mark.parametrize(
    ("capability", "for_what"), [((8, 9), "portable"), ((12, 0), "portable"), ((7, 5), "7.5")]
)
def test_tensorrt_rtx_builds_portable_plans(gpu, capability, for_what):
    assert find_target(RTX).compute_capability == "portable"
    gpu(*capability)
    assert find_target(RTX).compute_capability == for_what


class Config:
    """Of a builder: takes a timing cache that begins as one does."""

    cache = None

    def create_timing_cache(self, data):
        whole = not data or data.startswith(b"timing")
        return SimpleNamespace(serialize=lambda: b"timing " + data) if whole else None

    def set_timing_cache(self, cache, ignore_mismatch):
        assert not ignore_mismatch
        self.cache = cache
        return True

    def get_timing_cache(self):
        return self.cache


def test_a_timing_cache_is_kept_beside_the_engines(root):
    folder = EngineStore(root).engine("mtcnn")
    assert tensorrt_build._timing_cache_file(Target(RTX, "1.7", None), folder) is None
    path = tensorrt_build._timing_cache_file(Target("tensorrt", "10.3.0", (8, 7)), folder)
    assert path == root / "timing-tensorrt-10.3.0-8.7.cache"
    for expected in (b"timing ", b"timing timing "):
        config = Config()
        tensorrt_build._load_timing_cache(config, path)
        tensorrt_build._save_timing_cache(config, path)
        assert path.read_bytes() == expected


def test_a_timing_cache_that_does_not_load_is_dropped(tmp_path):
    path = tmp_path / "timing.cache"
    path.write_bytes(b"something else")
    config = Config()
    tensorrt_build._load_timing_cache(config, path)
    assert config.cache.serialize() == b"timing "
    assert not path.exists()


# Which engines ----------------------------------------------------------------------------------


@pytest.fixture
def choose(tmp_path):
    """What is built of a store of many variants, under choices by key."""
    variants = ["fp32", "fp16", "int8", "int8-tensorrt", "fp16-512", "int8-tensorrt-512"]
    for variant in variants[:-1]:
        write_engine(tmp_path, "rmbg-1.4", variant)
    for variant in ("fp32", "fp32-rtx"):
        write_engine(tmp_path, "birefnet", variant)

    def choose(library, *asked, **choices):
        made = {key.replace("_", "-"): Choice(*choice) for key, choice in choices.items()}
        made = {("rmbg-1.4" if key == "rmbg" else key): choice for key, choice in made.items()}
        folders = command._wanted(EngineStore(tmp_path, choices=made), library, *asked)
        return [f"{folder.path.parent.name}/{folder.path.name}" for folder in folders]

    return choose


def test_without_a_choice_fp32_is_built_in_the_librarys_dialect(choose):
    nothing = (None, None, None)
    assert choose("tensorrt", *nothing) == ["birefnet/fp32", "rmbg-1.4/fp32", "rmbg-1.4/fp16-512"]
    assert choose(RTX, *nothing)[0] == "birefnet/fp32-rtx"


def test_choices_are_followed(choose):
    choices = {"birefnet": ("fp32", "openvino"), "rmbg": ("fp16", "tensorrt")}
    nothing = (None, None, None)
    assert choose("tensorrt", *nothing, **choices) == ["rmbg-1.4/fp16", "rmbg-1.4/fp16-512"]
    assert choose(RTX, *nothing, **choices) == ["rmbg-1.4/fp16-512"]
    assert choose("tensorrt", "birefnet", None, None, **choices) == ["birefnet/fp32"]


def test_a_precision_is_looked_for_in_its_dialect(choose):
    assert choose("tensorrt", None, None, "int8") == ["rmbg-1.4/int8-tensorrt"]
    assert choose(RTX, "rmbg-1.4", None, "fp16") == ["rmbg-1.4/fp16", "rmbg-1.4/fp16-512"]
    assert choose(RTX, "rmbg-1.4", "int8", None) == ["rmbg-1.4/int8"]
