"""The taps against the libraries whose resizing they are: OpenCV and Pillow."""

from __future__ import annotations

import cv2
import numpy as np
import PIL.Image
import pytest

from vivant.gpu import oracles, tables
from vivant.images import load_image
from vivant_samples import PORTRAIT

PILLOW = PIL.Image.Resampling
SIZES = ((256, 256), (100, 77), (171, 170), (512, 512), (700, 1031), (1024, 1024), (1, 1), (3, 2))


def opencv(how):
    return lambda picture, height, width: cv2.resize(picture, (width, height), interpolation=how)


def pillow(how):
    def resize(picture, height, width):
        return np.asarray(PIL.Image.fromarray(picture).resize((width, height), how))

    return resize


METHODS = {
    "bilinear": (tables.bilinear, opencv(cv2.INTER_LINEAR)),
    "opencv_linear": (tables.opencv_linear, opencv(cv2.INTER_LINEAR)),
    "opencv_area": (tables.opencv_area, opencv(cv2.INTER_AREA)),
    "opencv_cubic": (tables.opencv_cubic, opencv(cv2.INTER_CUBIC)),
    "antialiased_bilinear": (tables.antialiased_bilinear, pillow(PILLOW.BILINEAR)),
    "antialiased_bicubic": (tables.antialiased_bicubic, pillow(PILLOW.BICUBIC)),
}


@pytest.fixture(scope="module")
def portrait():
    return load_image(PORTRAIT)


def resized(picture, rows, columns, dtype=None):
    size = len(rows.first), len(columns.first)
    target = np.empty((*size, *picture.shape[2:]), dtype or picture.dtype)
    oracles.resample(
        picture,
        *(rows.first, rows.weights, rows.weights.shape[1]),
        *(columns.first, columns.weights, columns.weights.shape[1]),
        picture.shape[1],
        *size,
        target[0, 0].size,
        target,
    )
    return target


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_floats_are_the_librarys_but_for_rounding(portrait, name, size):
    table, reference = METHODS[name]
    grey = portrait[..., 1] / np.float32(255)
    found = resized(grey, *map(table, grey.shape, size))
    # OpenCV may hold places as 32-bit floats, which at place 500 are 3e-5 apart.
    assert np.abs(found - reference(grey, *size)).max() < 3e-5


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_bytes_are_the_librarys_within_a_level(portrait, name, size):
    table, reference = METHODS[name]
    rows, columns = map(table, portrait.shape, size)
    if name == "antialiased_bicubic":  # which Pillow clips between the axes
        between = resized(portrait, tables.identity(portrait.shape[0]), columns)
        found = resized(between, rows, tables.identity(size[1]))
    else:
        found = resized(portrait, rows, columns)
    assert np.abs(found.astype(int) - reference(portrait, *size)).max() <= 1


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_fixed_linear_gives_opencvs_own_bytes(portrait, size):
    for picture in (portrait, portrait[5:338, :479, 0]):
        picture = np.ascontiguousarray(picture)  # noqa: PLW2901
        found = np.empty((*size, *picture.shape[2:]), np.uint8)
        lines = map(tables.fixed_linear, picture.shape, size)
        oracles.resample_fixed(picture, *lines, picture.shape[1], *size, found[0, 0].size, found)
        np.testing.assert_array_equal(found, opencv(cv2.INTER_LINEAR)(picture, *size))


@pytest.mark.parametrize("name", METHODS)
def test_weights_add_up_to_one_within_the_source(name):
    for n_in, n_out in ((1, 1), (1, 9), (2, 3), (7, 7), (100, 33), (33, 100), (1000, 1)):
        table = METHODS[name][0](n_in, n_out)
        assert table.first.shape == (n_out,)
        assert table.first.dtype == np.int32
        assert table.weights.dtype == np.float32
        assert table.first.min() >= 0
        assert table.first.max() + table.weights.shape[1] <= n_in
        np.testing.assert_allclose(table.weights.sum(axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_a_crop_mirrored_and_cropped_again(portrait, name):
    """As a figure is laid in: part of the photo, turned round, and only its upper rows shown."""
    table, reference = METHODS[name]
    part = np.ascontiguousarray(portrait[40:390, 101:401, 2][:, ::-1] / np.float32(255))
    wanted = reference(part, 217, 270)[:150, 3:]
    rows = table(350, 217).window(0, 150).moved(40)
    columns = table(300, 270).mirrored(300).window(3, 270).moved(101)
    found = resized(portrait[..., 2] / np.float32(255), rows, columns)
    assert np.abs(found - wanted).max() < 3e-5


def test_impossible_tables_are_refused():
    table = tables.bilinear(10, 4)
    with pytest.raises(ValueError, match="outputs 2 to 5 of 4"):
        table.window(2, 5)
    with pytest.raises(ValueError, match="before the first pixel"):
        table.moved(-3)
    with pytest.raises(ValueError, match="a source of 5 entries"):
        table.mirrored(5)
