"""The pictures that calibrate INT8, and those that judge it."""

from __future__ import annotations

import numpy as np
import pytest

from vivant.errors import ImageError, ModelError
from vivant.images import save_image
from vivant_export.precision.calibration import (
    DEFAULT_HELD_OUT,
    DEFAULT_PICTURES,
    MOST,
    held_out,
    pictures,
)


@pytest.fixture(scope="module")
def default():
    return list(pictures())


def flat(value: int) -> np.ndarray:
    return np.full((2, 3, 3), value, np.uint8)


def fill(folder, values) -> None:
    for value in values:
        save_image(flat(value), folder / f"{value:03}.png")


def values_of(images) -> list[int]:
    return [int(image[0, 0, 0]) for image in images]


def test_the_default_set_is_varied_pictures(default):
    assert len(default) == DEFAULT_PICTURES
    for image in default:
        assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)
        assert 128 <= min(image.shape[:2]) <= max(image.shape[:2]) <= 1024
        assert image.std() > 20
    assert len({image.shape for image in default}) > DEFAULT_PICTURES // 2
    brightness = [image.mean() for image in default]
    assert max(brightness) > 2 * min(brightness)


def test_the_default_set_is_the_same_each_time(default):
    for image, again in zip(default, pictures(), strict=True):
        np.testing.assert_array_equal(image, again)


def test_the_default_set_does_not_judge_what_it_calibrated(default):
    judges = list(held_out())
    assert len(judges) == DEFAULT_HELD_OUT
    seen = {image.tobytes() for image in default}
    assert not any(image.tobytes() in seen for image in judges)


def test_a_folder_is_split_in_two(tmp_path):
    fill(tmp_path, range(7))
    (tmp_path / "notes.txt").write_text("no picture")
    assert values_of(pictures(tmp_path)) == [0, 2, 4, 6]
    assert values_of(held_out(tmp_path)) == [1, 3, 5]


def test_of_a_large_folder_some_are_taken_evenly(tmp_path):
    fill(tmp_path, range(256))
    chosen = values_of(pictures(tmp_path))
    assert len(chosen) == MOST
    assert set(np.diff(chosen)) == {4}


def test_a_folder_that_is_missing_or_too_empty_is_an_error_at_once(tmp_path):
    with pytest.raises(ModelError, match="gone: No such file"):
        pictures(tmp_path / "gone")
    save_image(flat(1), tmp_path / "one.jpg")
    for ask in (pictures, held_out):
        with pytest.raises(ModelError, match="has 1 pictures"):
            ask(tmp_path)


def test_a_broken_picture_is_named(tmp_path):
    fill(tmp_path, range(2))
    (tmp_path / "000.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match=r"000\.png"):
        list(pictures(tmp_path))
