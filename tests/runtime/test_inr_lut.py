"""INR-Harmonization's colour table, against the plain statement of what it must do."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from vivant.errors import EngineError, ImageError
from vivant.harmonizers.inr_lut import LutHarmonizer, look_up
from vivant.store import EngineStore


class Encoder:
    """Stands in for the encoder's graph."""

    def __init__(self, table: np.ndarray) -> None:
        self.table, self.given, self.closed = table, [], False

    def run(self, inputs):
        self.given.append(inputs)
        return {"lut3d": self.table}

    def close(self) -> None:
        self.closed = True


def random_table(low: float = 0.0, high: float = 1.0) -> np.ndarray:
    return np.random.default_rng(7).uniform(low, high, (1, 3, 7, 7, 7)).astype(np.float32)


def identity_table() -> np.ndarray:
    return np.stack(np.meshgrid(*[np.linspace(0, 1, 7, dtype=np.float32)] * 3, indexing="ij"))[None]


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, (height, width, 3), np.uint8)


def soft_disc(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    far = np.hypot(y - height * 0.5, x - width * 0.4)
    return np.clip((height * 0.3 - far) * 30 + 128, 0, 255).astype(np.uint8)


def trilinear(table: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Levels 0..255 by the corners of each colour's cell, the table indexed [channel,r,g,b]."""
    place = colours.astype(np.float64) / 255 * 6
    low = np.minimum(place.astype(int), 5)
    total = np.zeros(colours.shape)
    for corner in product((0, 1), repeat=3):
        weight = np.prod(np.where(corner, place - low, 1 - (place - low)), axis=-1, keepdims=True)
        r, g, b = np.moveaxis(low + corner, -1, 0)
        total += weight * np.moveaxis(table[0][:, r, g, b], 0, -1)
    return np.clip(total, 0, 1) * 255


WHOLE = (slice(None), slice(None))


@pytest.mark.parametrize("table", [random_table(), random_table(-1, 1.9)])
def test_the_table_is_absolute_colour_by_red_green_and_blue(table):
    colours = picture(60, 80)
    got = look_up(colours, table)(WHOLE)
    assert got.dtype == np.float32
    expected = trilinear(table, colours)
    assert np.abs(got - expected).max() < 0.75  # rounding takes 0.5
    assert np.abs(got - expected).mean() < 0.27


def test_the_table_is_read_as_the_authors_read_it():
    """``grid_sample`` of a volume, whose x, y and z are its last, middle and first axis."""
    torch = pytest.importorskip("torch")
    colours, table = picture(60, 80), random_table()
    grid = torch.from_numpy(colours.astype(np.float32) / 255 * 2 - 1).flip(-1)[None, None]
    sampled = torch.nn.functional.grid_sample(
        torch.from_numpy(table), grid, padding_mode="border", align_corners=True
    )
    expected = sampled[0, :, 0].permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(look_up(colours, table)(WHOLE), expected, rtol=0, atol=0.75)


def test_the_table_of_no_change_changes_nothing():
    levels = np.arange(256, dtype=np.uint8)
    colours = np.stack([levels, levels[::-1], np.roll(levels, 77)], axis=-1)[np.newaxis]
    np.testing.assert_array_equal(look_up(colours, identity_table())(WHOLE), colours)


def test_a_place_of_the_picture_gets_its_own_colours():
    colours, table = picture(60, 80), random_table()
    place = (slice(7, 20), slice(30, 71))
    whole = look_up(colours, table)(WHOLE)
    np.testing.assert_array_equal(look_up(colours, table)(place), whole[place])


@pytest.mark.parametrize("size", [(1, 1), (9, 500), (301, 200), (700, 900)])
def test_colours_come_in_by_strength_and_mask(size):
    composite, mask, table = picture(*size), soft_disc(*size), random_table()
    mask[0, 0] = 200
    encoder, strengths = Encoder(table), (0.0, 0.25, 1.0)
    with LutHarmonizer(encoder, threads=2) as harmonizer:
        results = harmonizer.harmonize(composite, mask, strengths)
    change = trilinear(table, composite) - composite
    for strength, result in zip(strengths, results, strict=True):
        assert result.dtype == np.uint8
        expected = composite + strength * mask[..., np.newaxis] / 255 * change
        np.testing.assert_allclose(result, expected, rtol=0, atol=0.5 + 0.75 * strength)
        np.testing.assert_array_equal(result[mask == 0], composite[mask == 0])
    (given,) = encoder.given
    assert given["image"].shape == (1, 256, 256, 3)
    assert given["image"].dtype == np.uint8
    assert given["mask"].shape == (1, 256, 256)
    assert given["mask"].dtype == np.float32
    assert encoder.closed


def test_nothing_to_do_runs_nothing():
    composite, mask = picture(64, 80), soft_disc(64, 80)
    encoder = Encoder(random_table())
    with LutHarmonizer(encoder, threads=1) as harmonizer:
        for given, strengths in ((mask, (0.0,)), (np.zeros_like(mask), (0.5, 1.0)), (mask, ())):
            results = harmonizer.harmonize(composite, given, strengths)
            assert len(results) == len(strengths)
            for result in results:
                np.testing.assert_array_equal(result, composite)
                assert result is not composite
    assert not encoder.given


def test_what_it_refuses(tmp_path):
    with LutHarmonizer(Encoder(random_table() * np.nan), threads=1) as harmonizer:
        with pytest.raises(ImageError, match="80x64 for a picture of 64x80; resize the mask"):
            harmonizer.harmonize(picture(80, 64), soft_disc(64, 80), (1.0,))
        with pytest.raises(EngineError, match="no numbers; export it in fp32"):
            harmonizer.harmonize(picture(64, 80), soft_disc(64, 80), (1.0,))
    with pytest.raises(EngineError, match="run 'vivant export inr-harmonization'"):
        LutHarmonizer.open(EngineStore(tmp_path))
