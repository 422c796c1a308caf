from __future__ import annotations

import re

import numpy as np
import pytest

from vivant.errors import ImageError
from vivant.images import save_image


@pytest.fixture
def samples(load):
    return load("samples")


@pytest.fixture
def pictures(astronaut):
    matte = np.zeros(astronaut.shape[:2], np.uint8)
    matte[100:400, 150:350] = 255
    return {"astronaut": (astronaut, matte)}


def test_a_synthetic_sample_differs_inside_the_matte_alone(samples, pictures):
    made = list(samples.synthetic(pictures, seed=1, draws=2))
    assert {sample.group for sample in made} == set(samples.FAMILIES)
    for sample in made:
        outside = sample.mask == 0
        assert np.array_equal(sample.composite[outside], sample.target[outside])
        error = np.mean((sample.composite.astype(float) - sample.target)[~outside] ** 2)
        assert 100 <= error <= 10_000


def test_the_seed_decides(samples, pictures):
    first, again, other = (
        [sample.composite for sample in samples.synthetic(pictures, seed=seed, draws=1)]
        for seed in (1, 1, 2)
    )
    assert all(map(np.array_equal, first, again))
    assert not any(map(np.array_equal, first, other))


def test_what_cannot_be_changed_within_the_filter_is_left_out(samples, pictures):
    black = np.zeros((64, 64, 3), np.uint8)
    matte = np.full((64, 64), 255, np.uint8)
    kept = {sample.group for sample in samples.synthetic({"b": (black, matte)}, seed=1, draws=1)}
    assert not kept & {"exposure", "white balance", "gamma", "saturation"}


def test_the_sample_pictures_have_mattes_of_their_size(samples, store):
    pictures = samples.sample_pictures(store)
    assert len(pictures) == 4
    for image, matte in pictures.values():
        assert matte.shape == image.shape[:2]
        assert matte.dtype == np.uint8
        assert 0.01 < (matte > 127).mean() < 0.9


def test_own_pictures_need_a_photo_and_a_matte_of_its_size(samples, tmp_path, pictures):
    image, matte = pictures["astronaut"]
    with pytest.raises(ImageError, match="no photos with mattes"):
        samples.own_pictures(tmp_path)
    save_image(matte, tmp_path / "me_matte.png")
    with pytest.raises(ImageError, match=re.escape("no photo me.* beside it")):
        samples.own_pictures(tmp_path)
    save_image(image, tmp_path / "me.png")
    assert np.array_equal(samples.own_pictures(tmp_path)["me"][0], image)
    save_image(image[:99], tmp_path / "me.png")
    with pytest.raises(ImageError, match="not of its photo's size"):
        samples.own_pictures(tmp_path)


def test_a_folder_without_the_set_is_named(samples, tmp_path):
    with pytest.raises(ImageError, match=r"no part of iHarmony4 here \(.*HCOCO_test.txt"):
        list(samples.iharmony4(tmp_path))
