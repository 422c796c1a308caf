"""Resampling by name, against plain arithmetic and Pillow."""

from __future__ import annotations

import numpy as np
import PIL.Image
import pytest

from vivant.resampling import METHODS, resample


def bilinear(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """By definition, in double precision, one axis after the other."""
    for axis, size in enumerate((height, width)):
        length = picture.shape[axis]
        where = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        first = where.astype(int)
        second = np.minimum(first + 1, length - 1)
        share = (where - first).reshape((-1,) + (1,) * (picture.ndim - axis - 1))
        low, high = (np.take(picture, index, axis).astype(float) for index in (first, second))
        picture = low + share * (high - low)
    return picture


@pytest.mark.parametrize("size", [(64, 64), (301, 500), (97, 1)])
def test_bilinear(size):
    picture = np.random.default_rng(2).integers(0, 256, (150, 211, 3), np.uint8)
    got = resample(picture, *size, "bilinear")
    assert got.dtype == np.uint8
    assert got.shape == (*size, 3)
    assert np.abs(got - bilinear(picture, *size)).max() <= 0.85
    plane = picture[..., 0].astype(np.float32) / 255
    smooth = resample(plane, *size, "bilinear")
    assert smooth.dtype == np.float32
    np.testing.assert_allclose(smooth, bilinear(plane, *size), atol=1e-4)


@pytest.mark.parametrize("method", METHODS[1:])
def test_the_others_are_pillows(method):
    plane = np.random.default_rng(3).integers(0, 256, (150, 211), np.uint8)
    name = method.split("-")[0].upper()
    wanted = PIL.Image.fromarray(plane).resize((40, 60), PIL.Image.Resampling[name])
    np.testing.assert_array_equal(resample(plane, 60, 40, method), np.asarray(wanted))
