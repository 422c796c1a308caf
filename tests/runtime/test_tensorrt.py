"""The TensorRT runner: its whole path on a module that stands in for TensorRT.

See ``fake_tensorrt`` for what that proves and what it does not.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
import threading
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import pytest

from vivant import backends
from vivant.backends import devices, lacking, open_device_engine, open_engine, tensorrt
from vivant.backends.device_host import HostDevice
from vivant.backends.onnxruntime import OnnxRuntimeEngine
from vivant.backends.staged import StagedEngine
from vivant.backends.tensorrt import TensorRtEngine, load
from vivant.backends.workspace import Workspace
from vivant.errors import BackendError, DeviceError, EngineError
from vivant.manifest import Graph, Tensor
from vivant.plans import PORTABLE, PlanRecord, write_plan
from vivant.store import EngineStore
from vivant.tuning import Choice

LIBRARIES = ("tensorrt", "tensorrt-rtx")
BRIGHT = Graph(
    file="bright.onnx",
    sha256="0" * 64,
    opset=17,
    inputs=(Tensor("image", "uint8", ("rows", "columns", 3), "RGB"),),
    outputs=(Tensor("bright", "float32", ("rows", "columns", 3), "twice as bright"),),
)
SMALL = {"image": [[1, 1, 3], [4, 4, 3], [8, 8, 3]]}
LARGE = {"image": [[6, 6, 3], [32, 32, 3], [64, 64, 3]]}


def bright(rows="rows", columns="columns"):
    """Return a graph that doubles a picture."""
    make = onnx.helper
    values = [
        make.make_tensor_value_info(name, kind, [rows, columns, 3])
        for name, kind in (("image", 2), ("bright", 1))
    ]
    nodes = [
        make.make_node("Cast", ["image"], ["float"], to=1),
        make.make_node("Add", ["float", "float"], ["bright"]),
    ]
    body = make.make_graph(nodes, "bright", values[:1], values[1:])
    return make.make_model(
        body, opset_imports=[make.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(params=LIBRARIES)
def library(request):
    return request.param


@pytest.fixture
def fake(monkeypatch):
    """The stand-in, fresh, under the names of both libraries."""
    file = Path(__file__).with_name("fake_tensorrt.py")
    spec = importlib.util.spec_from_file_location("tensorrt", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("tensorrt", "tensorrt_rtx_libs", "tensorrt_rtx_bindings"):
        monkeypatch.setitem(sys.modules, name, module)
    return module


@pytest.fixture
def happened(host_device, monkeypatch):
    """The recordings and replays on the host device, as they come."""
    found = []

    def watch(what):
        real = getattr(host_device, what)
        monkeypatch.setattr(host_device, what, lambda *given: found.append(what) or real(*given))

    watch("capture")
    watch("replay")
    return found


class Bench:
    """An engine on a device with buffers for a picture in and one out."""

    def __init__(self, device, plan, library="tensorrt", description=BRIGHT):
        self.device = device
        self.engine = TensorRtEngine(plan, "bright", description, device, library)
        self.workspace, self.stream = Workspace(device), device.stream()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.engine.close()
        self.workspace.close()

    def buffers(self, height, width, at=""):
        shape = (height, width, 3)
        return {
            "image": self.workspace.buffer(f"image{at}", shape, np.uint8),
            "bright": self.workspace.buffer(f"bright{at}", shape, np.float32),
        }

    def run(self, image, at=""):
        bound = self.buffers(*image.shape[:2], at)
        sent = self.workspace.pinned("sent", image.shape, np.uint8)
        sent.array[...] = image
        self.device.upload(sent, bound["image"], self.stream)
        self.engine.bind(bound)
        self.engine.enqueue(self.stream)
        landing = self.workspace.pinned("landing", image.shape, np.float32)
        self.device.download(bound["bright"], landing, self.stream)
        self.device.synchronise(self.stream)
        return landing.array.copy()


class TestRuns:
    def test_with_any_shape_that_it_was_built_for(self, fake, host_device, library):
        with Bench(host_device, fake._plan(bright(), [SMALL]), library) as bench:
            for height, width in ((1, 1), (4, 4), (3, 8), (4, 4)):
                image = picture(height, width, height)
                np.testing.assert_array_equal(bench.run(image), 2.0 * image)

    def test_of_fixed_shapes_ask_for_no_profile(self, fake, host_device, library):
        with Bench(host_device, fake._plan(bright(2, 5)), library) as bench:
            np.testing.assert_array_equal(bench.run(picture(2, 5)), 2.0 * picture(2, 5))
        assert "set_optimization_profile_async" not in fake._calls
        assert "set_input_shape" not in fake._calls

    def test_are_recorded_once_and_then_replayed(self, fake, host_device, happened):
        with Bench(host_device, fake._plan(bright(), [SMALL])) as bench:
            for number in range(5):
                image = picture(4, 6, number)
                np.testing.assert_array_equal(bench.run(image), 2.0 * image)
            assert happened == ["capture", "replay", "replay", "replay"]
            bench.run(picture(4, 6), at=" elsewhere")
            bench.run(picture(4, 5))
            assert happened[4:] == []  # another address and another shape are plain runs again
            bench.run(picture(4, 6))
            assert happened[4:] == ["replay"]

    def test_are_recorded_in_contexts_that_are_told_nothing_else(self, fake, host_device):
        with Bench(host_device, fake._plan(bright(), [SMALL])) as bench:
            bench.buffers(8, 8)  # memory that need not grow
            for number in range(12):
                image = picture(4, 4 + number % 3, number)
                np.testing.assert_array_equal(bench.run(image), 2.0 * image)
            recorded = list(bench.engine._kept.values())
            assert len({each.own for each in recorded} - {None}) == 3
            assert all(each.graph and each.own.execution._told == 2 for each in recorded)
            assert bench.engine._shared[0].execution._told == 6

    def test_that_are_too_many_are_not_recorded(self, fake, host_device, happened, monkeypatch):
        monkeypatch.setattr(tensorrt, "MOST_GRAPHS", 2)
        monkeypatch.setattr(tensorrt, "MOST_BINDINGS", 4)
        with Bench(host_device, fake._plan(bright(), [SMALL])) as bench:
            bench.buffers(8, 8)

            def see(*widths):
                happened.clear()
                for width in widths:
                    image = picture(4, width, width)
                    np.testing.assert_array_equal(bench.run(image), 2.0 * image)
                return happened.count("capture"), happened.count("replay")

            assert see(*(1, 2, 3) * 3) == (2, 2)
            assert see(1, 2, 3) == (0, 2)
            assert see(4, 5, 6) == (0, 0)  # with 5 the first is forgotten, with 6 the second
            assert see(6, 6) == (1, 1)

    def test_of_tensorrt_rtx_are_recorded_by_itself(self, fake, host_device, monkeypatch):
        monkeypatch.setattr(host_device, "capture", None, raising=False)
        with Bench(host_device, fake._plan(bright(), [SMALL]), "tensorrt-rtx") as bench:
            for number in range(3):
                image = picture(4, 6, number)
                np.testing.assert_array_equal(bench.run(image), 2.0 * image)
            settings = bench.engine._settings
            assert settings.cuda_graph_strategy is fake.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE

    def test_keep_what_was_bound_when_they_were_enqueued(self, fake, host_device, library):
        with Bench(host_device, fake._plan(bright(), [SMALL]), library) as bench:
            bench.run(picture(4, 4))
            bound = {at: bench.buffers(4, 4, at) for at in (" a", " b")}
            for seed, at in enumerate(bound):
                sent = bench.workspace.pinned(at, (4, 4, 3))
                sent.array[...] = picture(4, 4, seed)
                host_device.upload(sent, bound[at]["image"], bench.stream)
                bench.engine.bind(bound[at])
                bench.engine.enqueue(bench.stream)
            host_device.synchronise(bench.stream)
            for seed, at in enumerate(bound):
                result = host_device.array(bound[at]["bright"])
                np.testing.assert_array_equal(result, 2.0 * picture(4, 4, seed))

    def test_on_two_streams_have_to_be_ordered(self, fake, host_device):
        """They share the memory between the layers, which the device watches."""
        with Bench(host_device, fake._plan(bright(), [SMALL])) as bench:
            bench.run(picture(4, 4))
            bench.engine.bind(bench.buffers(4, 4, " a"))
            bench.engine.enqueue(bench.stream)
            bench.engine.bind(bench.buffers(4, 4, " b"))
            with pytest.raises(DeviceError, match="event"):
                bench.engine.enqueue(host_device.stream())

    def test_use_memory_that_does_not_grow(self, fake, host_device, monkeypatch):
        monkeypatch.setattr(tensorrt, "MOST_BINDINGS", 12)
        with Bench(host_device, fake._plan(bright(), [SMALL])) as bench:
            bench.run(picture(8, 8))
            before = host_device.memory_used()
            for number in range(40):
                image = picture(1 + number % 8, 1 + number // 8, number)
                np.testing.assert_array_equal(bench.run(image), 2.0 * image)
            assert host_device.memory_used() == before
            assert len(bench.engine._kept) == 12

    def test_share_the_memory_between_the_layers(self, fake, host_device, library):
        with Bench(
            host_device, fake._plan(bright(), [SMALL, LARGE], scratch=999), library
        ) as bench:
            for side in (4, 4, 4, 20):
                bench.run(picture(side, side))
            contexts = [*bench.engine._shared.values()]
            contexts += [each.own for each in bench.engine._kept.values() if each.own]
            assert len(contexts) == {"tensorrt": 3, "tensorrt-rtx": 2}[library]
            place = bench.engine._scratch.pointer, 999
            assert {context.execution._memory for context in contexts} == {place}
            user_managed = fake.ExecutionContextAllocationStrategy.USER_MANAGED
            assert {context.execution._strategy for context in contexts} == {user_managed}

    def test_end_before_they_are_forgotten(self, fake, host_device, monkeypatch):
        monkeypatch.setattr(tensorrt, "MOST_BINDINGS", 2)
        with Bench(host_device, fake._plan(bright(), [SMALL])) as bench:
            bench.buffers(8, 8, " first")
            bench.run(picture(4, 4), " first")
            first = host_device.array(bench.buffers(4, 4, " first")["bright"])
            first[...] = 0
            bench.engine.enqueue(bench.stream)
            bench.engine.bind(bench.buffers(4, 4))
            assert not first.any()
            bench.engine.bind(bench.buffers(4, 5))
            np.testing.assert_array_equal(first, 2.0 * picture(4, 4))

    def test_tell_the_time_of_their_layers(self, fake, host_device, library):
        with Bench(host_device, fake._plan(bright(), [SMALL]), library) as bench:
            with pytest.raises(EngineError, match="nothing is bound"):
                bench.engine.profile(bench.stream)
            bench.run(picture(4, 4))
            assert bench.engine.profile(bench.stream) == [("all of it", 0.5)]


class TestShapes:
    def test_find_the_profile_they_lie_in(self, fake, host_device):
        with Bench(host_device, fake._plan(bright(), [SMALL, LARGE])) as bench:
            for height, width, number in ((2, 2, 0), (7, 7, 0), (9, 9, 1), (64, 7, 1)):
                image = picture(height, width)
                np.testing.assert_array_equal(bench.run(image), 2.0 * image)
                assert bench.engine._bound.profile == number

    def test_outside_of_every_profile_are_refused_with_what_is_possible(self, fake, host_device):
        with Bench(host_device, fake._plan(bright(), [SMALL, LARGE])) as bench:
            with pytest.raises(
                EngineError,
                match=r"bright: the plan was built for 'image' \[1, 1, 3\] to \[8, 8, 3\] or "
                r"'image' \[6, 6, 3\] to \[64, 64, 3\], not for 'image' \[2, 9, 3\]; .*build",
            ):
                bench.engine.bind(bench.buffers(2, 9))
            np.testing.assert_array_equal(bench.run(picture(2, 2)), 2.0 * picture(2, 2))

    def test_of_outputs_have_to_be_those_that_follow(self, fake, host_device):
        with Bench(host_device, fake._plan(bright(), [SMALL])) as bench:
            wrong = {**bench.buffers(4, 4), "bright": bench.buffers(4, 5)["bright"]}
            bench.engine.bind(bench.buffers(4, 4))
            with pytest.raises(EngineError, match=r"'bright' becomes \[4, 4, 3\], not \[4, 5, 3\]"):
                bench.engine.bind(wrong)
            with pytest.raises(EngineError, match="nothing is bound"):
                bench.engine.enqueue(bench.stream)

    @pytest.mark.parametrize(
        ("name", "shape", "dtype", "reason"),
        [
            (
                "image",
                (4, 4, 4),
                np.uint8,
                r"'image' is uint8 \[any, any, 3\], not uint8 \[4, 4, 4",
            ),
            ("image", (4, 4, 3), np.float32, r"not float32 \[4, 4, 3\]"),
            ("matte", (4, 4), np.uint8, "takes image, bright, not image, bright, matte"),
        ],
    )
    def test_that_are_not_the_graphs_are_refused(
        self, fake, host_device, name, shape, dtype, reason
    ):
        with Bench(host_device, fake._plan(bright(), [SMALL])) as bench:
            wrong = {**bench.buffers(4, 4), name: bench.workspace.buffer("wrong", shape, dtype)}
            with pytest.raises(EngineError, match=reason):
                bench.engine.bind(wrong)
            with pytest.raises(EngineError, match="nothing is bound"):
                bench.engine.enqueue(bench.stream)


class TestPlans:
    def test_that_are_none_are_refused_with_the_librarys_words(self, fake, host_device, library):
        with pytest.raises(EngineError, match=rf"bright: {library} cannot load the plan \(.*MAGIC"):
            TensorRtEngine(b"no plan", "bright", BRIGHT, host_device, library)

    @pytest.mark.parametrize(
        "description",
        [
            replace(BRIGHT, outputs=()),
            replace(BRIGHT, inputs=(replace(BRIGHT.inputs[0], name="photo"),)),
            replace(BRIGHT, inputs=(replace(BRIGHT.inputs[0], dtype="float32"),)),
            replace(BRIGHT, inputs=BRIGHT.outputs, outputs=BRIGHT.inputs),
        ],
    )
    def test_of_another_graph_are_refused(self, fake, host_device, description):
        with pytest.raises(EngineError, match=r"the plan has .* where the manifest has .*build"):
            TensorRtEngine(fake._plan(bright()), "bright", description, host_device, "tensorrt")

    def test_of_a_kind_that_numpy_lacks_are_refused(self, fake, host_device, monkeypatch):
        monkeypatch.setitem(fake._ONNX, "tensor(uint8)", fake.DataType.BF16)
        with pytest.raises(EngineError, match=r"'image' is DataType\.BF16, which NumPy lacks"):
            TensorRtEngine(fake._plan(bright()), "bright", BRIGHT, host_device, "tensorrt")

    def test_bring_no_host_code(self, fake, host_device):
        with Bench(host_device, fake._plan(bright(2, 5))) as bench:
            assert bench.engine._runtime.engine_host_code_allowed is False


class TestFailures:
    """Whatever TensorRT says with False, None or an exception is an error with its reason."""

    @pytest.mark.parametrize(
        ("method", "what"),
        [
            ("create_execution_context", "create a context"),
            ("set_optimization_profile_async", "use profile 0"),
            ("set_input_shape", r"take .*4, 4, 3"),
            ("infer_shapes", r"infer its shapes \(planted in infer_shapes\)"),
            ("set_tensor_address", "take the address of 'image'"),
        ],
    )
    def test_of_binding(self, fake, host_device, library, method, what):
        with Bench(host_device, fake._plan(bright(), [SMALL]), library) as bench:
            fake._planted.append(method)
            with pytest.raises(EngineError, match=rf"bright: {library} cannot {what}.*") as caught:
                bench.engine.bind(bench.buffers(4, 4))
            assert f"planted in {method}" in str(caught.value)
            assert "\n" not in str(caught.value)
            np.testing.assert_array_equal(bench.run(picture(4, 4)), 2.0 * picture(4, 4))

    def test_of_opening(self, fake, host_device, library):
        plan = fake._plan(bright(), [SMALL])
        methods = ["deserialize_cuda_engine"]
        methods += ["set_runtime_cache"] if library == "tensorrt-rtx" else []
        for method in methods:
            fake._planted.append(method)
            with pytest.raises(EngineError, match=r"bright: .* cannot \w+ .*run 'vivant doctor'"):
                TensorRtEngine(plan, "bright", BRIGHT, host_device, library)

    @pytest.mark.parametrize("before", range(5))  # plain runs, a recording, replays
    def test_of_running(self, fake, host_device, before):
        with Bench(host_device, fake._plan(bright(), [SMALL])) as bench:
            for _ in range(before):
                bench.run(picture(4, 4))
            fake._planted.append("execute_async_v3")
            with pytest.raises(EngineError, match=r"cannot run the plan \(planted in execute_asy"):
                bench.run(picture(4, 4))
            np.testing.assert_array_equal(bench.run(picture(4, 4)), 2.0 * picture(4, 4))

    def test_that_nobody_waited_for_still_let_it_close(self, fake, host_device):
        with Bench(host_device, fake._plan(bright(), [SMALL])) as bench:
            bench.engine.bind(bench.buffers(4, 4))
            bench.engine.enqueue(bench.stream)
            fake._planted.append("execute_async_v3")
            with pytest.raises(EngineError, match="planted in execute_async_v3"):
                bench.engine.close()

    def test_report_each_reason_once(self, fake, host_device):
        with Bench(host_device, fake._plan(bright(), [SMALL])) as bench:
            fake._planted += ["set_input_shape"]
            with pytest.raises(EngineError, match="planted in set_input_shape"):
                bench.engine.bind(bench.buffers(4, 4))
            fake._planted += ["set_tensor_address"]
            with pytest.raises(EngineError) as caught:
                bench.engine.bind(bench.buffers(4, 4))
            assert "set_input_shape" not in str(caught.value)

    def test_of_importing_name_the_extra(self, monkeypatch, library):
        for name in ("tensorrt", "tensorrt_rtx_libs"):
            monkeypatch.setitem(sys.modules, name, None)
        extra = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}[library]
        with pytest.raises(BackendError, match=rf"^{library} is not here .*vivant\[{extra}\]"):
            load(library)

    def test_of_tensorrt_rtx_itself_reach_the_user(self, host_device):
        """The real library, which here can only refuse: its words come through the recorder."""
        pytest.importorskip("tensorrt_rtx_libs")
        pytest.importorskip("tensorrt_rtx_bindings")
        with pytest.raises(EngineError, match=r"tensorrt-rtx cannot load the plan \(.*magicTag"):
            TensorRtEngine(b"x" * 200, "bright", BRIGHT, host_device, "tensorrt-rtx")


@pytest.fixture
def planned(fake, store, tmp_path, library):
    """MTCNN with plans of its graphs, in the stand-in."""
    shutil.copytree(store.root, tmp_path / "engines")
    choices = {"mtcnn": Choice("fp32", library)}
    folder = EngineStore(tmp_path / "engines", choices=choices).engine("mtcnn")
    sides = {"pnet": (12, 60, 200), "rnet": (24, 24, 24), "onet": (48, 48, 48)}
    for graph, described in folder.manifest.graphs.items():
        least, usual, most = sides[graph]
        shapes = {"image": ((1, least, least, 3), (2, usual, usual, 3), (8, most, most, 3))}
        plan = fake._plan(folder.read(graph), [shapes])
        record = PlanRecord(
            library=library,
            version=fake.__version__,
            compute_capability="0.0",
            plan=f"{graph}.plan",
            plan_sha256=sha256(plan).hexdigest(),
            onnx_sha256=described.sha256,
            profiles=(shapes,),
        )
        write_plan(folder, graph, record, plan)
    return folder


@pytest.fixture
def on_the_host(monkeypatch):
    """What asks for a GPU gets the host device, and finds nothing lacking."""
    monkeypatch.setattr(devices, "open_device", lambda name: HostDevice())
    monkeypatch.setattr(backends, "lacking", lambda name: None)


class TestEngines:
    def test_open_on_a_device(self, planned, host_device):
        with open_device_engine(planned, "rnet", host_device) as engine:
            assert isinstance(engine, TensorRtEngine)
            assert engine.outputs({"image": (3, 24, 24, 3)})["regression"].shape == (3, 4)

    def test_take_arrays_and_give_arrays(self, planned, on_the_host):
        with open_engine(planned, "pnet") as engine:
            assert isinstance(engine, StagedEngine)
            with OnnxRuntimeEngine(planned.read("pnet"), "pnet", threads=1) as reference:
                for height, width in ((40, 30), (12, 12), (40, 30), (40, 30), (41, 30)):
                    image = picture(height, width).astype(np.float32)[None]
                    results, wanted = engine.run({"image": image}), reference.run({"image": image})
                    assert results.keys() == wanted.keys()
                    for name, result in results.items():
                        np.testing.assert_array_equal(result, wanted[name])

    def test_serve_several_threads(self, planned, on_the_host):
        with open_engine(planned, "rnet") as engine:
            wanted = [
                engine.run({"image": picture(24, 24, n)[None].astype("f4")}) for n in range(4)
            ]
            wrong = []

            def work(number):
                image = picture(24, 24, number)[None].astype(np.float32)
                for _ in range(5):
                    result = engine.run({"image": image})["regression"]
                    if not np.array_equal(result, wanted[number]["regression"]):
                        wrong.append(number)

            threads = [threading.Thread(target=work, args=[number]) for number in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert wrong == []

    @pytest.mark.parametrize(
        ("inputs", "reason"),
        [
            ({}, "takes image, not nothing"),
            ({"picture": np.zeros((1, 24, 24, 3), np.float32)}, "takes image, not picture"),
            ({"image": np.zeros((1, 24, 25, 3), np.float32)}, "not of shape"),
            ({"image": np.zeros((9, 24, 24, 3), np.float32)}, "the plan was built for"),
            ({"image": np.zeros((1, 24, 24, 3), np.uint8)}, "not uint8"),
        ],
    )
    def test_refuse_what_the_graph_does_not_take(self, planned, on_the_host, inputs, reason):
        with open_engine(planned, "rnet") as engine:
            with pytest.raises(EngineError, match=reason):
                engine.run(inputs)
            assert engine.run({"image": np.zeros((2, 24, 24, 3), np.float32)})

    def test_without_their_plan_close_the_device(self, planned, on_the_host, library, monkeypatch):
        opened = []
        monkeypatch.setattr(
            devices, "open_device", lambda name: opened.append(HostDevice()) or opened[0]
        )
        (planned.path / library / "rnet.plan").write_bytes(b"altered")
        with pytest.raises(
            EngineError, match=r"rnet\.plan: .*altered.*run 'vivant build mtcnn --variant"
        ):
            open_engine(planned, "rnet")
        with pytest.raises(DeviceError):
            opened[0].stream()

    def test_of_another_version_are_refused(self, planned, host_device, fake):
        fake.__version__ = "10.13.3.9"
        with pytest.raises(EngineError, match=r"built by .* 10\.3\.0, here is 10\.13\.3\.9"):
            open_device_engine(planned, "rnet", host_device)


def test_what_is_lacking_is_told(fake, monkeypatch):
    monkeypatch.setattr("vivant.gpu_state.newest_cuda", lambda: None)
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    for name, extra in (("tensorrt", "tensorrt"), ("tensorrt-rtx", "rtx")):
        assert f"pip install 'vivant[{extra}]'" in lacking(name)
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: name)
    for name in ("tensorrt", "tensorrt-rtx", "onnxruntime-cuda"):
        assert lacking(name).startswith(f"{name}: no NVIDIA driver here")
    monkeypatch.setattr("vivant.gpu_state.newest_cuda", lambda: "13.0")
    assert lacking("tensorrt") is lacking("tensorrt-rtx") is None
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "pip uninstall onnxruntime" in lacking("onnxruntime-cuda")


def test_portable_plans_are_not_for_the_host(planned, host_device, library):
    path = planned.path / library / "rnet.json"
    record = replace(PlanRecord.load(path), compute_capability=PORTABLE)
    path.write_text(record.to_json())
    with pytest.raises(EngineError, match=r"this device has 0\.0"):
        open_device_engine(planned, "rnet", host_device)


@pytest.fixture
def real(cuda_device, store, tmp_path):
    """MTCNN with plans of TensorRT's own, built for this GPU."""
    pytest.importorskip("tensorrt")
    build = pytest.importorskip("vivant_export.tensorrt_build")
    shutil.copytree(store.root, tmp_path / "engines")
    choices = {"mtcnn": Choice("fp32", "tensorrt")}
    folder = EngineStore(tmp_path / "engines", choices=choices).engine("mtcnn")
    for graph in folder.manifest.graphs:
        build.build_plan(build.find_target("tensorrt"), folder, graph, build.Settings())
    return folder


@pytest.mark.gpu
@pytest.mark.parametrize("graph", ["rnet", "onet"])
def test_a_replay_is_equal_to_the_plain_run(real, cuda_device, graph):
    side = {"rnet": 24, "onet": 48}[graph]
    with open_device_engine(real, graph, cuda_device) as engine:
        stream, workspace = cuda_device.stream(), Workspace(cuda_device)
        outputs = engine.outputs({"image": (2, side, side, 3)})
        results = {n: workspace.buffer(n, o.shape, o.dtype) for n, o in outputs.items()}
        landing = {n: workspace.pinned(f"{n} down", o.shape, o.dtype) for n, o in outputs.items()}
        by_input = {}
        for number in (0, 1, 0, 1, 0, 1):
            image = np.stack([picture(side, side, number)] * 2).astype(np.float32)
            engine.bind({"image": workspace.uploaded("image", image, stream), **results})
            engine.enqueue(stream)
            for name, result in results.items():
                cuda_device.download(result, landing[name], stream)
            cuda_device.synchronise(stream)
            got = {name: pinned.array.copy() for name, pinned in landing.items()}
            for name, first in by_input.setdefault(number, got).items():
                np.testing.assert_array_equal(got[name], first)
        with OnnxRuntimeEngine(real.read(graph), graph) as reference:
            for number, got in by_input.items():
                image = np.stack([picture(side, side, number)] * 2).astype(np.float32)
                for name, wanted in reference.run({"image": image}).items():
                    np.testing.assert_allclose(got[name], wanted, atol=1e-3)
        workspace.close()


@pytest.mark.gpu
def test_memory_on_the_gpu_stays_flat(real, cuda_device):
    with open_engine(real, "rnet") as engine:
        image = np.zeros((4, 24, 24, 3), np.float32)
        for _ in range(5):
            engine.run({"image": image})
        before = cuda_device.memory_used()
        for _ in range(300):
            engine.run({"image": image})
        assert cuda_device.memory_used() - before < 2**21
