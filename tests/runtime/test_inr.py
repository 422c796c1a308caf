"""The harmonizer around HINet: what its graphs are given, and what becomes of their colours.

Stand-ins take the graphs' place. Those of the encoder and of the cells give every cell its number
in the grid for an MLP; that of the full level gives back the picture's own colours, a bit
brighter. The graphs themselves are held against HINet in ``tests/export``.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vivant.errors import EngineError, ImageError
from vivant.harmonizers.inr import GRAPHS, InrHarmonizer
from vivant.harmonizers.inr_axes import FULL, HALF, LEVELS, QUARTER
from vivant.harmonizers.inr_geometry import arbitrary_layout, quads, square_layout
from vivant.harmonizers.inr_lut import LutHarmonizer
from vivant.images import load_image, save_image
from vivant.manifest import Manifest, Weights
from vivant.store import EngineStore

NODES = {"quarter": 5, "half": 5, "full": 4}
BRIGHTER = 20
LAYOUTS = [
    square_layout(256, 256),
    square_layout(512, 256),
    arbitrary_layout(96, 131),
    arbitrary_layout(286, 300, 3),
]


class Encoder:
    def __init__(self) -> None:
        self.given = []

    def run(self, inputs):
        self.given.append(inputs)
        everywhere = {level: np.ones((level.grid, level.grid), bool) for level in (QUARTER, HALF)}
        return {
            "quarter_cells": cell_numbers(quads(everywhere[QUARTER])[0]),
            "half_cells": cell_numbers(quads(everywhere[HALF])[0]),
            "full_hidden": np.zeros((FULL.grid**2, 1), np.float32),
            "colour_weights": np.zeros(3168, np.float32),
            "colour_biases": np.zeros(99, np.float32),
        }


class Cells:
    def run(self, inputs):
        return {"full_cells": cell_numbers(inputs["quads"])}


def cell_numbers(around: np.ndarray) -> np.ndarray:
    return around[:, [5, 6, 9, 10]].reshape(-1, 1).astype(np.float32)


class LevelStandIn:
    """Gives cells' numbers, or on the full level colours, and keeps what it saw."""

    def __init__(self, level) -> None:
        self.level, self.seen = level, []

    def run(self, inputs):
        self.seen.append(inputs)
        _, rows, most = inputs["positions"].shape
        if self.level is FULL:
            flat = inputs["pixels"].reshape(-1, 4)[:, :3].astype(np.float32)
            values = (flat + BRIGHTER)[inputs["positions"].ravel()] / 127.5 - 1
        else:
            numbers = np.repeat(inputs["params"][inputs["cells"], 0], rows * most)
            values = np.repeat(numbers[:, np.newaxis], 32, axis=1)
        return {"values": values[inputs["raster"]].transpose(2, 0, 1)}


class Engines(dict):
    def __init__(self) -> None:
        super().__init__(encoder=Encoder(), cells=Cells())
        self.update({level.name: LevelStandIn(level) for level in LEVELS})
        self.closed = []
        for name, engine in self.items():
            engine.close = lambda name=name: self.closed.append(name)


@pytest.fixture
def engines() -> Engines:
    return Engines()


@pytest.fixture
def harmonizer(engines):
    with InrHarmonizer(engines, NODES, threads=2) as harmonizer:
        yield harmonizer


def picture(height: int, width: int) -> np.ndarray:
    """Anything but so bright that BRIGHTER would not fit."""
    return np.random.default_rng(4).integers(0, 230, (height, width, 3), np.uint8)


def soft_disc(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    far = np.hypot(y - height * 0.5, x - width * 0.4)
    return np.clip((height * 0.3 - far) * 30 + 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_pixel_gets_the_colour_computed_for_it(harmonizer, layout):
    composite, mask = picture(layout.height, layout.width), soft_disc(layout.height, layout.width)
    got = harmonizer.predict(composite, mask, layout)
    expected = (composite.astype(np.float32) + BRIGHTER) / 127.5 - 1
    assert got.dtype == np.float32
    np.testing.assert_allclose(got[mask > 0], expected[mask > 0], rtol=0, atol=1e-6)
    assert np.mean(got == 0) > 0.3
    whole = harmonizer.predict(composite, mask, layout, np.ones(mask.shape, bool))
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_position_meets_the_cell_that_it_lies_in(harmonizer, engines, layout):
    """The half level's output is its cells' numbers, in the raster."""
    composite, mask = picture(layout.height, layout.width), soft_disc(layout.height, layout.width)
    harmonizer.predict(composite, mask, layout)
    first = next(corner for corner in layout.corners if touched(mask, layout, corner))
    rows = np.repeat(*cells_of(layout, HALF, first, 0))
    columns = np.repeat(*cells_of(layout, HALF, first, 1))
    expected = rows[:, np.newaxis] * HALF.grid + columns
    below = engines["full"].seen[0]["below"].reshape(32, *expected.shape)
    taken = np.unique(engines["full"].seen[0]["near"] % len(expected))
    np.testing.assert_array_equal(below[3, taken], expected[taken])
    for given in engines["full"].seen:
        assert np.all(given["cells"] >= 0)
        numbers = given["params"][given["cells"], 0]
        assert np.all(np.diff(numbers) == 1)


def touched(mask, layout, corner) -> bool:
    top, left = corner
    return bool(mask[top : top + layout.size, left : left + layout.size].any())


def cells_of(layout, level, corner, axis):
    tables = layout.axes(level, corner, 4)[axis]
    return tables.cells, np.diff(tables.first)


def test_a_mask_of_one_pixel_costs_one_tile_of_one_patch(harmonizer, engines):
    layout = arbitrary_layout(96, 131)
    mask = np.zeros((96, 131), np.uint8)
    mask[50, 70] = 255
    harmonizer.predict(picture(96, 131), mask, layout)
    assert len(engines["full"].seen) == 1
    assert len(engines["full"].seen[0]["cells"]) == 1
    assert len(engines["full"].seen[0]["params"]) == 4


def test_nothing_wanted_runs_nothing(harmonizer, engines):
    mask = soft_disc(96, 131)
    nothing = np.zeros(mask.shape, bool)
    got = harmonizer.predict(picture(96, 131), mask, arbitrary_layout(96, 131), nothing)
    assert got.shape == (96, 131, 3)
    assert not got.any()
    assert not engines["encoder"].given


def test_the_encoder_is_given_bytes_and_a_mask_of_floats(harmonizer, engines):
    composite, mask = picture(256, 256), soft_disc(256, 256)
    harmonizer.harmonize(composite, mask, (1.0,))
    (given,) = engines["encoder"].given
    np.testing.assert_array_equal(given["image"], composite[np.newaxis])
    np.testing.assert_array_equal(given["mask"], mask[np.newaxis].astype(np.float32) / 255)


class TestHarmonize:
    def test_colours_come_in_by_strength_and_mask(self, harmonizer, engines):
        composite, mask = picture(90, 120), soft_disc(90, 120)
        strengths = (0.0, 0.25, 1.0)
        results = harmonizer.harmonize(composite, mask, strengths)
        for strength, result in zip(strengths, results, strict=True):
            assert result.dtype == np.uint8
            weight = strength * mask[..., np.newaxis] / 255
            expected = composite + weight * BRIGHTER
            np.testing.assert_allclose(result, expected, rtol=0, atol=0.501)
            np.testing.assert_array_equal(result[mask == 0], composite[mask == 0])
        assert len(engines["encoder"].given) == 1

    @pytest.mark.parametrize("size", [(32, 32), (40, 333), (64, 64), (256, 256), (301, 200)])
    def test_any_size(self, harmonizer, size):
        composite, mask = picture(*size), soft_disc(*size)
        (result,) = harmonizer.harmonize(composite, mask, (1.0,))
        inside = mask == 255
        np.testing.assert_array_equal(result[inside], composite[inside] + BRIGHTER)

    def test_nothing_to_do_runs_nothing(self, harmonizer, engines):
        composite, mask = picture(64, 80), soft_disc(64, 80)
        empty = np.zeros_like(mask)
        for given, strengths in ((mask, (0.0,)), (empty, (0.5, 1.0)), (mask, ())):
            results = harmonizer.harmonize(composite, given, strengths)
            assert len(results) == len(strengths)
            for result in results:
                np.testing.assert_array_equal(result, composite)
                assert result is not composite
        assert not engines["encoder"].given

    def test_the_inputs_are_left_alone(self, harmonizer):
        composite, mask = picture(64, 80), soft_disc(64, 80)
        before = composite.copy(), mask.copy()
        composite.flags.writeable = mask.flags.writeable = False
        harmonizer.harmonize(composite, mask, (0.7,))
        np.testing.assert_array_equal(composite, before[0])
        np.testing.assert_array_equal(mask, before[1])

    def test_a_mask_of_another_size(self, harmonizer):
        with pytest.raises(ImageError, match="80x64 for a picture of 64x80; resize the mask"):
            harmonizer.harmonize(picture(80, 64), soft_disc(64, 80), (1.0,))

    def test_a_picture_too_small_to_cut_up(self, harmonizer):
        with pytest.raises(ImageError, match=r"31x200.*needs 32 pixels.*choose a larger"):
            harmonizer.harmonize(picture(200, 31), soft_disc(200, 31), (1.0,))

    def test_colours_that_are_no_numbers(self, harmonizer, engines):
        run = engines["full"].run
        engines["full"].run = lambda inputs: {"values": run(inputs)["values"] * np.nan}
        with pytest.raises(EngineError, match="no numbers; export it in fp32"):
            harmonizer.harmonize(picture(64, 80), soft_disc(64, 80), (1.0,))


class TestExact:
    @pytest.mark.parametrize(
        ("size", "split"), [((256, 256), None), ((256, 256), 4), ((90, 131), 3)]
    )
    def test_a_hard_edge_at_100_of_255(self, harmonizer, size, split):
        composite, mask = picture(*size), soft_disc(*size)
        assert {100, 101} <= set(mask.flat)
        result = harmonizer.exact(composite, mask, split)
        assert result.dtype == np.uint8
        change = result.astype(int) - composite
        assert not change[mask <= 100].any()
        # Truncated, so that rounding on the way can cost a level, and does not round up.
        assert set(change[mask > 100].flat) <= {BRIGHTER - 1, BRIGHTER}

    def test_soft_has_no_edge_where_exact_has_one(self, harmonizer):
        composite, mask = np.full((90, 120, 3), 100, np.uint8), soft_disc(90, 120)
        exact = harmonizer.exact(composite, mask)
        (soft,) = harmonizer.harmonize(composite, mask, (1.0,))
        assert greatest_step(exact) >= BRIGHTER - 1
        assert greatest_step(soft) <= BRIGHTER / 4
        assert greatest_step(mask) > 20

    def test_only_what_it_uses_is_computed(self, harmonizer, engines):
        mask = np.full((96, 131), 100, np.uint8)
        composite = picture(96, 131)
        result = harmonizer.exact(composite, mask)
        np.testing.assert_array_equal(result, composite)
        assert result is not composite
        assert not engines["encoder"].given
        mask[50, 70] = 101
        harmonizer.exact(composite, mask)
        assert len(engines["full"].seen) == 1

    def test_what_it_refuses(self, harmonizer):
        with pytest.raises(ImageError, match="resize the mask"):
            harmonizer.exact(picture(80, 64), soft_disc(64, 80))
        with pytest.raises(ImageError, match="needs 32 pixels"):
            harmonizer.exact(picture(200, 31), soft_disc(200, 31))
        with pytest.raises(ImageError, match="choose a split of 1, 2, 4, 8, 16"):
            harmonizer.exact(picture(256, 256), soft_disc(256, 256), 5)


def greatest_step(picture: np.ndarray) -> int:
    """Between neighbours, along x or y."""
    levels = picture.astype(int)
    return max(np.abs(np.diff(levels, axis=axis)).max() for axis in (0, 1))


class TestCommand:
    """``vivant harmonize`` with the network, which stand-ins make."""

    @pytest.fixture
    def harmonize(self, command_line, monkeypatch, engines, tmp_path):
        """Run it on a flat picture; return exit status, message and the result, if any."""
        table = np.full((1, 3, 7, 7, 7), 0.8, np.float32)
        encoder = SimpleNamespace(run=lambda _: {"lut3d": table}, close=lambda: None)
        monkeypatch.setattr(InrHarmonizer, "open", lambda _: InrHarmonizer(engines, NODES, 1))
        monkeypatch.setattr(LutHarmonizer, "open", lambda _: LutHarmonizer(encoder, 1))
        save_image(np.full((90, 120, 3), 100, np.uint8), tmp_path / "composite.png")
        save_image(soft_disc(90, 120), tmp_path / "mask.png")
        files = [tmp_path / "composite.png", tmp_path / "mask.png", "-o", tmp_path / "out.png"]

        def run(*options):
            status, _, err = command_line("harmonize", *files, *options)
            return status, err, load_image(files[-1]) if files[-1].is_file() else None

        return run

    @pytest.mark.parametrize(
        ("options", "level", "hard"),
        [
            ((), 120, False),
            (("--mode", "soft"), 120, False),
            (("--strength", 0.5), 110, False),
            (("--mode", "exact"), 120, True),
            (("--mode", "exact", "--split", 2), 120, True),
            (("--mode", "lut"), 204, False),
            (("--mode", "lut", "--strength", 0.5), 152, False),
        ],
    )
    def test_modes(self, harmonize, options, level, hard):
        status, err, result = harmonize("--model", "inr-harmonization", *options)
        assert (status, err) == (0, "")
        assert result[45, 48].tolist() == pytest.approx([level] * 3, abs=1)
        assert result[0, 0].tolist() == [100] * 3
        assert (greatest_step(result) >= abs(level - 100) - 1) == hard

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (("--mode", "exact"), "'reinhard' has no modes"),
            (("--mode", "soft", "--model", "reinhard"), "add --model"),
            (("--split", 4), "leave --split out"),
            (("--model", "inr-harmonization", "--mode", "lut", "--split", 4), "--mode exact"),
            (("--model", "inr-harmonization", "--mode", "exact", "--strength", 1), "no strength"),
            (("--model", "inr-harmonization", "--mode", "hard"), "'hard' is not one of"),
        ],
    )
    def test_options_that_would_do_nothing(self, harmonize, options, message):
        status, err, result = harmonize(*options)
        assert status == 2
        assert message in " ".join(err.split())
        assert result is None

    def test_a_split_that_cannot_be(self, harmonize):
        options = ("--model", "inr-harmonization", "--mode", "exact", "--split", 20)
        status, err, result = harmonize(*options)
        assert status == 1
        assert "choose a split of 2 to 11" in err
        assert result is None


class TestOpen:
    def test_closing_closes_every_engine(self, engines):
        with InrHarmonizer(engines, NODES, threads=1):
            pass
        assert set(engines.closed) == set(GRAPHS)

    def test_no_engine(self, tmp_path):
        with pytest.raises(EngineError, match="run 'vivant export inr-harmonization'"):
            InrHarmonizer.open(EngineStore(tmp_path))

    @pytest.mark.parametrize("nodes", [None, {"quarter": 5, "half": 5}, {**NODES, "full": "4"}])
    def test_a_manifest_without_the_nodes(self, tmp_path, nodes):
        store = EngineStore(tmp_path)
        manifest = Manifest(
            model="inr-harmonization",
            variant="fp32",
            role="harmonizer",
            precision="fp32",
            graphs={},
            weights=Weights("custom", "a test", "none"),
            preprocessing={"nodes": nodes},
        )
        store.write(manifest, {})
        with pytest.raises(EngineError, match="lacks the nodes of quarter, half, full; run"):
            InrHarmonizer.open(store)
