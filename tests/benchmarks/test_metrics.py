"""Values worked out by hand on pictures of a few pixels."""

from __future__ import annotations

import math
from dataclasses import astuple, replace

import numpy as np
import pytest


@pytest.fixture
def metrics(load):
    return load("metrics")


@pytest.fixture
def pair():
    """Two pixels off by 10 and 2 in every channel; the mask is full in the first alone."""
    target = np.full((1, 2, 3), 100, np.uint8)
    target[0, 1] = 200
    result = target.copy()
    result[0, 0] = 110
    result[0, 1] = 198
    return result, target, np.array([[255, 0]], np.uint8)


@pytest.mark.parametrize(
    ("protocol", "mse", "peak"),
    [
        ("idih", (100 + 4) / 2, 200),  # the whole picture; the target's largest value
        ("dovenet", (100 + 4) / 2, 198 - 110),  # the result's largest less its smallest
        ("pct-net", 100 / 2, 255),  # the foreground alone, over all pixels
        ("inr", 100 / 2, 200),
    ],
)
def test_protocols_differ_in_region_and_peak(metrics, pair, protocol, mse, peak):
    found = metrics.measure(*pair, metrics.PROTOCOLS[protocol])
    assert found.mse == pytest.approx(mse)
    assert found.fmse == pytest.approx(100)
    assert found.psnr == pytest.approx(10 * math.log10(peak**2 / mse))


def test_a_soft_mask_weighs_and_the_core_leaves_its_faint_part_out(metrics):
    target = np.zeros((1, 2, 3), np.uint8)
    result = np.full((1, 2, 3), 10, np.uint8)
    mask = np.array([[204, 51]], np.uint8)  # 0.8 and 0.2
    soft = metrics.measure(result, target, mask, metrics.PROTOCOLS["pct-net"])
    assert soft.mse == pytest.approx((80 + 20) / 2)
    assert soft.fmse == pytest.approx(100)
    lit = replace(metrics.PROTOCOLS["inr"], peak="white")
    core = metrics.measure(result, target, mask, lit)
    assert core.mse == pytest.approx(80 / 2)
    assert core.fmse == pytest.approx(80 / (0.8 + 0.2))


def test_channels_are_averaged(metrics):
    target = np.full((1, 1, 3), 50, np.uint8)
    result = target + np.array([3, 0, 0], np.uint8)
    mask = np.array([[255]], np.uint8)
    found = metrics.measure(result, target, mask, metrics.PROTOCOLS["pct-net"])
    assert (found.mse, found.fmse) == pytest.approx((3, 3))


def test_the_same_picture_twice_has_finite_figures(metrics, pair):
    _, target, mask = pair
    for protocol in metrics.PROTOCOLS.values():
        found = metrics.measure(target, target, mask, protocol)
        assert found.mse == found.fmse == 0
        assert 90 < found.psnr < 110


def test_pictures_are_averaged_one_by_one_not_pooled(metrics):
    figures = [metrics.Figures(10, 100, 40), metrics.Figures(1000, 300, 20)]
    assert astuple(metrics.mean(figures)) == pytest.approx((505, 200, 30))


def test_sizes_are_those_of_the_protocol(metrics):
    picture, mask = np.zeros((90, 120, 3), np.uint8), np.zeros((90, 120), np.uint8)
    mask[:, :60] = 130
    for name, side in {"idih": 256, "dovenet": 256, "pct-net": None, "inr": None}.items():
        protocol = metrics.PROTOCOLS[name]
        shape = (side, side) if side else (90, 120)
        assert metrics.fitted(picture, protocol).shape == (*shape, 3)
        assert metrics.fitted_mask(mask, protocol).shape == shape
    assert set(np.unique(metrics.fitted_mask(mask, metrics.PROTOCOLS["dovenet"]))) <= {0, 255}


def test_deviation_is_relative(metrics):
    ours, published = metrics.Figures(101, 200, 30), metrics.Figures(100, 200, 40)
    assert metrics.deviation(ours, published) == pytest.approx([0.01, 0, 0.25])
