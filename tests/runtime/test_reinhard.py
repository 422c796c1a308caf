"""Reinhard's transfer: it moves the figure towards its near background and nothing else."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vivant.colour import STATISTICS_SIDE, region_statistics, to_lab
from vivant.errors import ImageError
from vivant.harmonizers.reinhard import MOST_CAST, MOST_LIFT, SPREAD_RATIO, ReinhardHarmonizer
from vivant.roles import Image, Matte

WARM, COLD = (190, 150, 100), (60, 90, 160)


def scene(
    figure: tuple[int, int, int] = COLD,
    near: tuple[int, int, int] = WARM,
    noise: tuple[float, float] = (8, 8),
    side: int = 200,
    softness: float = 2,
) -> tuple[Image, Matte]:
    """Return a square picture of a disc on a plain ground, both with noise, and its mask."""
    rng = np.random.default_rng(7)
    mask = np.zeros((side, side), np.uint8)
    cv2.circle(mask, (side // 2, side // 2), side // 4, 255, -1)
    if softness:
        mask = cv2.GaussianBlur(mask, (0, 0), softness)
    share = (mask / 255)[..., None]
    inside = np.array(figure) + rng.normal(0, noise[0], (side, side, 1))
    outside = np.array(near) + rng.normal(0, noise[1], (side, side, 1))
    picture = share * inside + (1 - share) * outside
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8), mask


def mean_lab(picture: Image, where: np.ndarray) -> np.ndarray:
    return to_lab(picture)[where].mean(axis=0)


def test_full_strength_reaches_the_background_and_half_goes_half_the_way() -> None:
    picture, mask = scene((120, 118, 130), (138, 126, 112), softness=0)
    core = mask == 255
    half, full = ReinhardHarmonizer().harmonize(picture, mask, (0.5, 1.0))
    before, target = mean_lab(picture, core), mean_lab(picture, ~core)
    np.testing.assert_allclose(mean_lab(full, core), target, atol=1.0)
    np.testing.assert_allclose(mean_lab(half, core), (before + target) / 2, atol=1.0)


def test_a_cast_and_a_lift_are_limited() -> None:
    """A dark orange figure on a pale green ground keeps its darkness and most of its hue."""
    picture, mask = scene((110, 50, 10), (190, 230, 190), softness=0)
    core = mask == 255
    (full,) = ReinhardHarmonizer().harmonize(picture, mask, (1.0,))
    shift = mean_lab(full, core) - mean_lab(picture, core)
    assert shift[0] == pytest.approx(MOST_LIFT, abs=1.5)
    assert np.hypot(*shift[1:]) == pytest.approx(MOST_CAST, abs=1.5)


def test_darkening_is_not_limited() -> None:
    picture, mask = scene((230, 230, 230), (30, 30, 30), softness=0)
    core = mask == 255
    (full,) = ReinhardHarmonizer().harmonize(picture, mask, (1.0,))
    np.testing.assert_allclose(mean_lab(full, core), mean_lab(picture, ~core), atol=1.5)


def test_pixels_outside_the_mask_and_the_input_stay_as_they_are() -> None:
    picture, mask = scene()
    original = picture.copy()
    for harmonized in ReinhardHarmonizer().harmonize(picture, mask, (0.3, 1.0)):
        assert harmonized.dtype == np.uint8
        np.testing.assert_array_equal(harmonized[mask == 0], original[mask == 0])
        assert (harmonized[mask == 255] != original[mask == 255]).mean() > 0.9
    np.testing.assert_array_equal(picture, original)


def test_strength_zero_is_an_untouched_copy() -> None:
    picture, mask = scene()
    (untouched,) = ReinhardHarmonizer().harmonize(picture, mask, (0.0,))
    np.testing.assert_array_equal(untouched, picture)
    assert not np.shares_memory(untouched, picture)


def test_the_soft_edge_is_blended_by_the_mask() -> None:
    picture, mask = scene(noise=(0, 0))
    (full,) = ReinhardHarmonizer().harmonize(picture, mask, (1.0,))
    change = np.abs(full.astype(int) - picture).sum(axis=2)
    faint, core = (mask > 0) & (mask < 40), mask == 255
    assert change[faint].max() < 0.4 * change[core].mean()


@pytest.mark.parametrize(("noise", "least", "most"), [((30, 0), 0.5, 0.8), ((4, 40), 1.1, 1.5)])
def test_the_spread_ratio_is_bounded(noise: tuple[float, float], least: float, most: float) -> None:
    picture, mask = scene(figure=(120, 120, 120), near=(130, 130, 130), noise=noise)
    core = mask == 255
    (full,) = ReinhardHarmonizer().harmonize(picture, mask, (1.0,))
    ratio = to_lab(full)[core][:, 0].std() / to_lab(picture)[core][:, 0].std()
    assert least <= ratio <= most
    assert SPREAD_RATIO[0] - 0.1 <= ratio <= SPREAD_RATIO[1] + 0.1


def test_only_the_near_background_counts() -> None:
    picture, mask = scene()
    far = picture.copy()
    far[:15], far[-15:] = (0, 255, 0), (255, 0, 255)
    for ours, theirs in zip(
        region_statistics(picture, mask), region_statistics(far, mask), strict=True
    ):
        np.testing.assert_array_equal(ours.mean, theirs.mean)


def test_half_transparent_pixels_of_the_figure_are_no_background() -> None:
    picture, mask = scene(noise=(0, 0))
    mask[mask == 255] = 200
    _, background = region_statistics(picture, mask)
    assert background.mean[2] == pytest.approx(to_lab(picture)[0, 0, 2], abs=4)


def test_statistics_hardly_depend_on_the_picture_size() -> None:
    picture, mask = scene(noise=(0, 0), side=STATISTICS_SIDE)
    large = cv2.resize(picture, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
    large_mask = cv2.resize(mask, None, fx=3, fy=3, interpolation=cv2.INTER_LINEAR)
    for ours, theirs in zip(
        region_statistics(picture, mask), region_statistics(large, large_mask), strict=True
    ):
        np.testing.assert_allclose(ours.mean, theirs.mean, atol=0.5)
        np.testing.assert_allclose(ours.spread, theirs.spread, atol=0.5)


@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255), (0, 0, 255)])
def test_extreme_colours_stay_in_range(background: tuple[int, int, int]) -> None:
    picture, mask = scene(figure=(255, 0, 0), near=background, noise=(60, 0))
    with np.errstate(all="raise"):
        (full,) = ReinhardHarmonizer().harmonize(picture, mask, (1.0,))
    # Wrapping around 0..255 would throw single pixels to the far end of the range.
    core = mask == 255
    assert np.abs(full[core].astype(int) - picture[core]).max() < 200


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((40, 40), np.uint8), "marks no foreground"),
        (np.full((40, 40), 255, np.uint8), "leaves no background"),
        (np.zeros((20, 40), np.uint8), "40x20 for a picture of 40x40"),
    ],
)
def test_masks_that_cannot_serve_are_refused(mask: Matte, message: str) -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(ImageError, match=message):
        ReinhardHarmonizer().harmonize(picture, mask, (0.5,))
