"""INR-Harmonization's graphs as files, with the runtime around them, against the golden arrays."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from vivant.backends.onnxruntime import (  # noqa: E402
    CUDA,
    OnnxRuntimeEngine,
    import_onnxruntime,
)
from vivant.backends.onnxruntime_device import OnnxRuntimeDeviceEngine  # noqa: E402
from vivant.backends.workspace import Workspace  # noqa: E402
from vivant.gpu import inr_tiles  # noqa: E402
from vivant.gpu.encoder import DeviceEncoder  # noqa: E402
from vivant.gpu.inr import DeviceInr  # noqa: E402
from vivant.gpu.roles import Region  # noqa: E402
from vivant.harmonizers.inr import GRAPHS, InrHarmonizer  # noqa: E402
from vivant.harmonizers.inr_axes import LEVELS, QUARTER  # noqa: E402
from vivant.harmonizers.inr_geometry import (  # noqa: E402
    CHANNELS,
    arbitrary_layout,
    best_layout,
    patch_tiles,
    published_layout,
    quads,
)
from vivant.manifest import Graph, Manifest, Weights  # noqa: E402
from vivant.resampling import resample  # noqa: E402
from vivant_export import verify  # noqa: E402
from vivant_export.catalogue import find_model  # noqa: E402
from vivant_export.networks.hinet_procedures import FOREGROUND  # noqa: E402
from vivant_export.tensorrt_profiles import MOST_SIDE, profile_of  # noqa: E402

GOLDEN = [
    "square_256",
    "square_512",
    "square_512_split_256",
    "arbitrary_640x360",
    "arbitrary_450x302",
]


@pytest.fixture(scope="module")
def spec(inr):
    return inr.spec


@pytest.fixture(scope="module")
def halves(inr):
    return inr.halves


@pytest.fixture(scope="module")
def files(inr):
    return inr.files


@pytest.fixture(scope="module")
def harmonizer(spec, files):
    nodes = spec.preprocessing["nodes"]

    def open_graph(name, threads):
        return OnnxRuntimeEngine(files[name], name, threads=threads)

    with InrHarmonizer.of_graphs(open_graph, nodes) as harmonizer:
        yield harmonizer


def split_of(meta, height):
    """How many patches are along the shorter side."""
    if meta["mode"] == "square":
        return height // meta["split"]["split_resolution"]
    return meta["split"]["split_num"]


@pytest.mark.parametrize("name", GOLDEN)
def test_the_published_colours_and_the_published_result(harmonizer, golden, name):
    expected = golden(f"inr-harmonization_{name}")
    inputs = golden("inr-harmonization_square_512") if name.endswith("split_256") else expected
    composite, mask = inputs["composite"], inputs["mask"]
    split = split_of(expected.meta, len(mask))
    layout = published_layout(*mask.shape, split)
    prediction = harmonizer.predict(composite, mask, layout, np.ones(mask.shape, bool))

    top, left = (side // 2 - 24 for side in mask.shape)
    error = np.abs(prediction[top : top + 48, left : left + 48] - expected["prediction_crop"])
    assert error.max() < 1e-3
    assert error.mean() < 2e-5
    step = expected.meta["prediction_stride"]
    thinned = prediction[::step, ::step] - expected["prediction"].astype(np.float32)
    assert np.abs(thinned).mean() < 2.5e-4

    result = harmonizer.exact(composite, mask, split)
    used = mask > FOREGROUND
    difference = result[used].astype(int) - expected["harmonized"][used]
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) / difference.size < 2e-3
    np.testing.assert_array_equal(result[~used], composite[~used])


def test_only_what_is_wanted_changes_nothing_about_it(harmonizer, golden):
    inputs = golden("inr-harmonization_arbitrary_450x302")
    composite, mask = inputs["composite"], inputs["mask"]
    layout = arbitrary_layout(*mask.shape)
    some = harmonizer.predict(composite, mask, layout)
    every = harmonizer.predict(composite, mask, layout, np.ones(mask.shape, bool))
    np.testing.assert_allclose(some[mask > 0], every[mask > 0], rtol=0, atol=1e-3)


def test_the_cells_get_the_published_parameters(spec, harmonizer, golden):
    expected = golden("inr-harmonization_square_256")
    inputs = {
        "image": expected["composite"][np.newaxis],
        "mask": expected["mask"][np.newaxis].astype(np.float32) / 255,
    }
    encoded = harmonizer._engines["encoder"].run(inputs)
    np.testing.assert_allclose(encoded["lut3d"], expected["lut3d"], rtol=0, atol=3e-5)
    for number, level in enumerate(LEVELS):
        every, places = quads(np.ones((level.grid, level.grid), bool))
        if f"{level.name}_cells" in encoded:
            params = encoded[f"{level.name}_cells"]
        else:
            given = {"hidden": encoded["full_hidden"], "quads": every}
            params = harmonizer._engines["cells"].run(given)["full_cells"]
        expected.check_stage(f"cell_params{2 - number}", params[places].transpose(2, 0, 1)[None])


def test_every_graph_computes_what_its_module_computes(spec, files):
    measured = verify.measure(dataclasses.replace(spec, end_to_end=None), files)
    for graph in spec.graphs:
        assert measured[f"{graph.name}.max_abs"] < 1e-4
        assert len(list(graph.samples())) == 2


def test_the_engine_passes_the_gate_against_the_procedures(spec, files):
    tolerances = find_model("inr-harmonization").tolerances["fp32"]
    for quantity, value in spec.end_to_end(files).items():
        assert value <= tolerances[quantity]


def test_operators_that_every_library_has(files):
    for model in map(onnx.load_from_string, files.values()):
        operators = Counter(node.op_type for node in model.graph.node)
        unwanted = {"GridSample", "GatherND", "GatherElements", "ScatterND", "Loop", "If", "Pow"}
        assert not unwanted & set(operators)


MEASURE = """
import pickle, sys
import numpy as np
from vivant.backends.onnxruntime import OnnxRuntimeEngine
from vivant.harmonizers.inr import InrHarmonizer

def peak():
    lines = open("/proc/self/status")
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024

folder, nodes = sys.argv[1], {"quarter": 5, "half": 5, "full": 4}

def open_graph(name, threads):
    return OnnxRuntimeEngine(open(f"{folder}/{name}.onnx", "rb").read(), name, threads=threads)

side = 2048
composite = np.random.default_rng(1).integers(0, 256, (side, side, 3), np.uint8)
mask = np.zeros((side, side), np.uint8)
mask[300:1750, 300:1750] = 255  # half of the picture
with InrHarmonizer.of_graphs(open_graph, nodes, 2) as harmonizer:
    (result,) = harmonizer.harmonize(composite, mask, (1.0,))
    assert (result[mask == 255] != composite[mask == 255]).mean() > 0.9
    print(peak())
"""


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="Linux tells the peak")
def test_four_megapixels_in_one_patch_fit_into_little_memory(files, tmp_path):
    """The published code takes 7.6 GB for it."""
    for name, data in files.items():
        (tmp_path / f"{name}.onnx").write_bytes(data)
    command = [sys.executable, "-c", MEASURE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1.1e9


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_graph_becomes_a_tensorrt_plan(build_plans, spec, files, halves, precision):
    sizes = build_plans("inr-harmonization", spec, files if precision == "fp32" else halves)
    assert set(sizes) == set(GRAPHS)
    assert min(sizes.values()) > 0


@pytest.mark.parametrize("where", ["host", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("size", [(512, 512), (512, 768), (302, 450)])
def test_a_device_makes_the_pictures_of_the_host(
    request, spec, files, harmonizer, astronaut, where, size
):
    if where == "cuda" and CUDA not in import_onnxruntime().get_available_providers():
        pytest.skip("needs onnxruntime-gpu")
    device = request.getfixturevalue(f"{where}_device")
    composite = resample(astronaut, *size, "bilinear-antialiased")
    mask = np.zeros(size, np.uint8)
    cv2.circle(mask, (size[1] // 2, size[0] // 2), size[0] // 3, 255, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), 5)
    expected = harmonizer.harmonize(composite, mask, (1.0,))[0]

    graphs = {graph.name: graph for graph in spec.graphs}
    engines = {name: OnnxRuntimeDeviceEngine(data, name, device) for name, data in files.items()}
    with Workspace(device) as workspace:
        encoder = DeviceEncoder(workspace, engines.pop("encoder"), graphs["encoder"].outputs)
        params = graphs["cells"].outputs[0].shape[1]
        with DeviceInr(workspace, encoder, engines, spec.preprocessing["nodes"], params) as inr:
            stream = device.stream()
            buffers = [
                workspace.uploaded(name, array, stream)
                for name, array in (("composite", composite), ("the mask", mask))
            ]
            (made,) = inr.enqueue(*buffers, Region(*cv2.boundingRect(mask)), (1.0,), stream)
            found = workspace.pinned("found", composite.shape)
            device.download(made, found, stream)
            device.synchronise(stream)
            inr.check()
            got = found.array.copy()
    off = np.abs(got.astype(int) - expected).max(axis=2)
    assert np.mean(off[mask > 0] > 1) < 1e-3
    assert off[mask > 0].mean() < 0.01
    np.testing.assert_array_equal(got[mask == 0], composite[mask == 0])


LARGEST = MOST_SIDE, MOST_SIDE * 9 // 16
PICTURES = [(256, 256), (512, 512), (1440, 1080), (1026, 1026), (2048, 2048), (480, 3840), (33, 50)]


@pytest.fixture(scope="module")
def profiles(spec):
    """By graph, between which shapes its TensorRT plan takes each input."""
    graphs = {graph.name: Graph("", "", 0, graph.inputs, graph.outputs) for graph in spec.graphs}
    weights = Weights("untrained", "a test", "none")
    manifest = Manifest(
        "inr-harmonization", "fp32", spec.role, "fp32", graphs, weights, spec.preprocessing
    )
    return {name: profile_of(manifest, name) for name in graphs}


def assert_within(profile, shapes):
    assert shapes
    for name, shape in shapes.items():
        least, _, most = profile[name]
        assert len(least) == len(shape)
        for low, size, high in zip(least, shape, most, strict=True):
            assert low <= size <= high, f"{name}: {shape} is not within {least} .. {most}"


@pytest.mark.parametrize("size", [*PICTURES, LARGEST, LARGEST[::-1]])
def test_plans_take_what_a_device_feeds(spec, profiles, size):
    height, width = size
    layout = best_layout(height, width)
    todo = inr_tiles.plan(layout, Region(0, 0, width, height), spec.preprocessing["nodes"])
    assert_within(profiles["cells"], {"quads": todo.quads.shape})
    for band in todo.bands:
        for level, strips in band.strips.items():
            side, shrink = layout.size // level.shrink, level.shrink
            below = (CHANNELS * side // 2 * band.patches, side // 2)
            for strip in strips:
                shapes = {"params": (level.grid**2, profiles[level.name]["params"][0][1])}
                if level is not QUARTER:
                    shapes["below"] = below
                for run in {run.pixels.shape: run for run in strip.runs}.values():
                    (rows,), (window,) = run.pixels.shape, strip.pixels.shape
                    shapes["pixels"] = (rows, shrink, window, shrink, 4)
                    shapes |= {name: table.shape for name, table in run.inputs.items()}
                    assert shapes.keys() == profiles[level.name].keys()
                    assert_within(profiles[level.name], shapes)


@pytest.mark.parametrize("size", PICTURES)
def test_plans_take_what_the_host_feeds(spec, profiles, size):
    layout = best_layout(*size)
    wanted = np.ones((layout.size, layout.size), bool)
    plan = patch_tiles(layout, layout.corners[-1], wanted, spec.preprocessing["nodes"], 8192)
    for level, tiles in plan.items():
        for tile in (tiles[0], tiles[-1]):
            tables = {**tile.tables(), **(tile.below if level is not QUARTER else {})}
            shapes = {name: table.shape for name, table in tables.items()}
            assert_within(profiles[level.name], shapes)
