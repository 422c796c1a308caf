"""The harmonizer around HINet on a device, against the one on the host.

The same stand-ins take the graphs' place in both. That of a level has a term for every input, so
that a table that is wrong anywhere changes colours. The graphs themselves are held against each
other in ``tests/export``.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import pytest

from vivant.backends.workspace import Workspace
from vivant.errors import EngineError, ImageError
from vivant.gpu import inr as module
from vivant.gpu import inr_tiles
from vivant.gpu.encoder import DeviceEncoder
from vivant.gpu.inr import DeviceInr
from vivant.gpu.inr_tiles import plan
from vivant.gpu.roles import Region
from vivant.harmonizers import inr as host_module
from vivant.harmonizers.inr import GRAPHS, InrHarmonizer
from vivant.harmonizers.inr_axes import FULL, HALF, LEVELS, QUARTER
from vivant.harmonizers.inr_geometry import best_layout, published_layout, quads
from vivant.manifest import Tensor
from vivant.store import EngineStore

NODES = {"quarter": 5, "half": 5, "full": 4}
OUTPUTS = tuple(
    Tensor(name, "float32", shape, "")
    for name, shape in (
        ("quarter_cells", (QUARTER.grid**2, 1)),
        ("half_cells", (HALF.grid**2, 1)),
        ("full_hidden", (FULL.grid**2, 1)),
        ("colour_weights", (3168,)),
        ("colour_biases", (99,)),
        ("lut3d", (1, 3, 7, 7, 7)),
    )
)
SIZES = [
    (256, 256),  # whole cells; the table is taken as it is
    (512, 512),  # on the half level it is
    (96, 131),
    (302, 450),  # starts are truncated
    (65, 115),
    (301, 200),
    (40, 333),
]


class StandIn:
    """A graph, to be run with arrays or with a device's buffers."""

    def __init__(self, compute, outputs, device=None) -> None:
        self.compute, self.outputs, self.device = compute, outputs, device
        self.runs, self.closed = 0, False

    def run(self, inputs):
        self.runs += 1
        return {name: np.asarray(a, np.float32) for name, a in self.compute(inputs).items()}

    def bind(self, buffers) -> None:
        self.buffers = dict(buffers)

    def enqueue(self, stream) -> None:
        """Compute on the host, at once: a device in earnest is waited for."""
        device, buffers = self.device, self.buffers
        device.synchronise(stream)
        inputs = {name: read(device, b, stream) for name, b in buffers.items()}
        for name in self.outputs:
            del inputs[name]
        for name, array in self.run(inputs).items():
            assert array.shape == buffers[name].shape
            write(device, array, buffers[name], stream)

    def close(self) -> None:
        self.closed = True


def read(device, buffer, stream):
    held = device.pinned(buffer.shape, buffer.dtype)
    device.download(buffer, held, stream)
    device.synchronise(stream)
    array = held.array.copy()
    device.free(held)
    return array


def write(device, array, buffer, stream) -> None:
    held = device.pinned(buffer.shape, buffer.dtype)
    held.array[...] = array
    device.upload(held, buffer, stream)
    device.synchronise(stream)
    device.free(held)


def encode(inputs):
    """Every cell has its number in the grid, and all a share in the picture."""
    assert inputs["image"].dtype == np.uint8
    share = (inputs["image"][0] * (inputs["mask"][0][..., None] / 255.0)).mean()
    numbers = {
        f"{level.name}_cells": cell_numbers(quads(np.ones((level.grid,) * 2, bool))[0], level)
        for level in (QUARTER, HALF)
    }
    return {
        **{name: number + share for name, number in numbers.items()},
        "full_hidden": np.arange(FULL.grid**2)[:, None] / FULL.grid**2 - share,
        "colour_weights": np.linspace(0, share, 3168),
        "colour_biases": np.linspace(-1, share, 99),
        "lut3d": np.zeros((1, 3, 7, 7, 7)),
    }


def cell_numbers(around, level):
    return around[:, [5, 6, 9, 10]].reshape(-1, 1) / level.grid**2


def make_cells(inputs):
    return {"full_cells": inputs["hidden"][inputs["quads"][:, [5, 6, 9, 10]].ravel()]}


def compute_level(level, inputs):
    """Return something of everything that a level's graph is given, smooth in all of it."""
    pixels = inputs["pixels"].mean(axis=(1, 3)) / 255
    x = (pixels.reshape(-1, 4) @ (0.5, -0.3, 0.4, 0.2))[inputs["positions"]]  # [C,rows,K]
    if level is not QUARTER:
        below, window = inputs["below"], pixels.shape[1]
        lines = 0.75 * below[inputs["near"]] + 0.25 * below[inputs["far"]]
        given = np.repeat(lines, 2, axis=-1).reshape(-1, 32)
        assert len(given) == len(pixels) * window
        x += (given @ np.linspace(-0.2, 0.3, 32))[inputs["positions"]]
    x += inputs["params"][inputs["cells"]][..., np.newaxis]
    for bend, kind in ((3, "node"), (0.02, "table")):
        at = "nodes" if kind == "node" else "table"
        y_values, x_values = (np.sin(bend * inputs[f"{axis}_{at}"]) for axis in "yx")
        x += (inputs[f"y_{kind}_basis"] @ y_values)[:, np.newaxis]
        x += np.einsum("ckn,cn->ck", inputs[f"x_{kind}_basis"], x_values)[:, np.newaxis]
    if level is FULL:
        x += inputs["colour_weights"].mean() + inputs["colour_biases"].mean()
    channels = np.arange(3 if level is FULL else 32)
    values = np.sin(x.reshape(-1, 1) + 0.4 * channels)
    return {"values": values[inputs["raster"]].transpose(2, 0, 1)}


def stand_ins(device=None):
    made = {
        "encoder": StandIn(encode, [output.name for output in OUTPUTS], device),
        "cells": StandIn(make_cells, ["full_cells"], device),
    }
    for level in LEVELS:
        compute = functools.partial(compute_level, level)
        made[level.name] = StandIn(compute, ["values"], device)
    assert tuple(made) == GRAPHS
    return made


class Harmonized:
    """The harmonizer on a device, with stand-ins for its graphs."""

    def __init__(self, device) -> None:
        self.engines = stand_ins(device)
        self.workspace = Workspace(device)
        encoder = DeviceEncoder(self.workspace, self.engines["encoder"], OUTPUTS)
        others = {name: engine for name, engine in self.engines.items() if name != "encoder"}
        self.harmonizer = DeviceInr(self.workspace, encoder, others, NODES, 1)

    def __call__(self, composite, mask, strengths, region=None):
        """Return the device's pictures."""
        device = self.workspace.device
        stream = device.stream()
        buffers = [
            self.workspace.uploaded(name, array, stream)
            for name, array in (("composite", composite), ("the mask", mask))
        ]
        region = region or Region(*cv2.boundingRect(mask))
        made = self.harmonizer.enqueue(*buffers, region, strengths, stream)
        device.synchronise(stream)
        self.harmonizer.check()
        return [read(device, picture, stream) for picture in made]

    def close(self) -> None:
        self.harmonizer.close()
        self.workspace.close()


@pytest.fixture(params=["host", pytest.param("cuda", marks=pytest.mark.gpu)])
def harmonized(request):
    harmonized = Harmonized(request.getfixturevalue(f"{request.param}_device"))
    yield harmonized
    harmonized.close()


def picture(height: int, width: int) -> np.ndarray:
    rough = np.random.default_rng(4).integers(0, 256, (5, 7, 3), np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)


def soft_disc(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    far = np.hypot(y - height * 0.5, x - width * 0.4)
    return np.clip((height * 0.3 - far) * 30 + 128, 0, 255).astype(np.uint8)


def check_against_the_host(harmonized, composite, mask, region=None) -> None:
    strengths = (0.4, 1.0)
    with InrHarmonizer(stand_ins(), NODES, threads=1) as host:
        expected = host.harmonize(composite, mask, strengths)
    pictures = harmonized(composite, mask, strengths, region)
    assert len(pictures) == 2
    for got, wanted in zip(pictures, expected, strict=True):
        off = np.abs(got.astype(int) - wanted)
        assert off.max() <= 1
        assert np.mean(off[mask > 0] > 0) < 0.02
        np.testing.assert_array_equal(got[mask == 0], composite[mask == 0])
        assert np.mean(got[mask == 255] != composite[mask == 255]) > 0.9


@pytest.mark.parametrize("size", SIZES)
def test_the_colours_are_those_of_the_host(harmonized, size):
    check_against_the_host(harmonized, picture(*size), soft_disc(*size))


def test_more_than_the_mask_may_be_asked_for(harmonized):
    composite, mask = picture(150, 190), soft_disc(150, 190)
    for region in (Region(0, 0, 190, 150), Region(13, 21, 160, 111)):
        check_against_the_host(harmonized, composite, mask, region)


def test_one_picture_after_the_other(harmonized):
    for size in ((96, 131), (200, 210), (64, 80), (200, 210)):
        check_against_the_host(harmonized, picture(*size), soft_disc(*size))


@pytest.mark.parametrize("size", [(256, 256), (302, 450)])
def test_in_many_strips_and_bands(harmonized, monkeypatch, size):
    monkeypatch.setattr(module, "plan", functools.partial(plan, area=400))
    monkeypatch.setattr(inr_tiles, "MOST_PATCHES", 2)
    check_against_the_host(harmonized, picture(*size), soft_disc(*size))
    most = max(
        run.pixels.shape[0] * strip.columns
        for band in module.plan(best_layout(*size), Region(0, 0, *size[::-1]), NODES).bands
        for strips in band.strips.values()
        for strip in strips
        for run in strip.runs
    )
    assert most <= 400


def test_where_patches_are_read_a_pixel_off(harmonized, monkeypatch):
    """As the best layout of few sizes has it."""
    assert not published_layout(65, 115).aligned
    for user in (module, host_module):
        monkeypatch.setattr(user, "best_layout", published_layout)
    check_against_the_host(harmonized, picture(65, 115), soft_disc(65, 115))


def test_the_network_runs_once_for_all_strengths(harmonized):
    composite, mask = picture(96, 131), soft_disc(96, 131)
    harmonized(composite, mask, (0.2, 0.5, 1.0))
    runs = {name: engine.runs for name, engine in harmonized.engines.items()}
    assert runs["encoder"] == runs["cells"] == 1
    harmonized(composite, mask, (0.3,))
    assert harmonized.engines["full"].runs == 2 * runs["full"]


def test_nothing_wanted_runs_nothing(harmonized):
    composite, mask = picture(64, 80), np.zeros((64, 80), np.uint8)
    for got in harmonized(composite, mask, (0.5, 1.0), Region(10, 20, 0, 0)):
        np.testing.assert_array_equal(got, composite)
    assert not harmonized.engines["encoder"].runs


def test_a_picture_too_small_to_cut_up(harmonized):
    with pytest.raises(ImageError, match=r"31x200.*needs 32 pixels.*choose a larger"):
        harmonized(picture(200, 31), soft_disc(200, 31), (1.0,))


def test_colours_that_are_no_numbers(harmonized):
    composite, mask = picture(64, 80), soft_disc(64, 80)
    full = harmonized.engines["full"]
    compute = full.compute
    full.compute = lambda inputs: {"values": compute(inputs)["values"] * np.nan}
    with pytest.raises(EngineError, match="no numbers; export it in fp32"):
        harmonized(composite, mask, (1.0,))
    full.compute = compute
    check_against_the_host(harmonized, composite, mask)


def test_closing_closes_every_engine(host_device):
    harmonized = Harmonized(host_device)
    harmonized.close()
    assert all(engine.closed for engine in harmonized.engines.values())


def test_no_engine(host_device, tmp_path):
    with (
        Workspace(host_device) as workspace,
        pytest.raises(EngineError, match="run 'vivant export inr-harmonization'"),
    ):
        DeviceInr.open(EngineStore(tmp_path), workspace)


class TestPlan:
    def test_a_run_is_a_row_of_cells_of_all_patches_side_by_side(self):
        """A person in a picture of Full HD, in twelve patches."""
        found = plan(best_layout(1080, 1920), Region(660, 80, 600, 1000), NODES)
        assert [band.patches for band in found.bands] == [3] * 4
        strips = [strip for band in found.bands for part in band.strips.values() for strip in part]
        assert len(strips) == 3 * 4
        assert sum(len(strip.runs) for strip in strips) == 117

    @pytest.mark.parametrize("size", [*SIZES, (1080, 1920), (1024, 1024)])
    def test_every_pixel_of_the_region_is_computed_once(self, size):
        height, width = size
        region = Region(width // 5, height // 7, width // 2, height // 2)
        found = plan(best_layout(height, width), region, NODES, area=3000)
        times = np.zeros((region.height, region.width), int)
        for band in found.bands:
            for strip in band.strips[FULL]:
                for run in strip.runs:
                    rows = slice(run.row, run.row + run.pixels.shape[0])
                    times[rows, strip.column : strip.column + strip.columns] += 1
        assert np.all(times == 1)

    def test_every_table_lies_as_tensorrt_wants_it(self):
        found = plan(best_layout(302, 450), Region(100, 50, 200, 200), NODES)
        tables = [found.quads]
        for band in found.bands:
            for strips in band.strips.values():
                for strip in strips:
                    for run in strip.runs:
                        tables += [strip.pixels, run.pixels, *run.inputs.values()]
        assert len(tables) > 500
        assert all(table.offset % 256 == 0 for table in tables)
        ends = [t.offset + int(np.prod(t.shape)) * t.dtype.itemsize for t in tables]
        assert max(ends) <= len(found.block)

    @pytest.mark.parametrize("size", [(1080, 1920), (2048, 2048), (4096, 6144)])
    def test_side_by_side_are_no_more_than_fit_where_one_large_patch_does(self, size):
        layout = best_layout(*size)
        found = plan(layout, Region(0, 0, *size[::-1]), NODES)
        assert max(band.patches for band in found.bands) * layout.size**2 <= 2048**2
        assert sum(band.patches for band in found.bands) == len(layout.corners)
