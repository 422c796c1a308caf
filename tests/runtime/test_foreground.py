import cv2
import numpy as np
import pytest

from vivant.foreground import estimate_foreground


def scene(height=240, width=200, softness=7.0):
    """A patterned disc before a striped wall: photo, alpha, its true colours."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    fore = np.stack([150 + 60 * np.sin(x / 23), 70 + 30 * np.cos(y / 19), 40 + x * 0.1], 2)
    back = np.stack([30 + y * 0.2, 190 + 40 * np.sin(y / 15), 120 + 90 * np.sin(x / 17)], 2)
    distance = np.hypot(x - width / 2, y - height / 2)
    alpha = np.clip((70 - distance) / softness + 0.5, 0, 1)
    matte = np.round(alpha * 255).astype(np.uint8)
    share = (matte / 255)[..., None]
    photo = np.round(share * fore + (1 - share) * back).astype(np.uint8)
    return photo, matte, fore


@pytest.mark.parametrize("enlarged", [1, 4])
def test_soft_pixels_lose_the_background(enlarged):
    photo, matte, fore = (
        cv2.resize(layer, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_LINEAR)
        for layer in scene()
    )
    found = estimate_foreground(photo, matte)
    soft = (matte > 25) & (matte < 230)
    naive = np.abs(photo[soft] - fore[soft]).mean()
    error = np.abs(found[soft] - fore[soft]).mean()
    assert naive > 40
    assert error < 0.2 * naive


def test_hair_keeps_no_rim():
    photo, _, _ = scene()
    matte = np.zeros(photo.shape[:2], np.uint8)
    cv2.circle(matte, (100, 120), 50, 255, -1)
    for angle in np.linspace(0, 6.28, 40):
        end = (int(100 + 80 * np.cos(angle)), int(120 + 80 * np.sin(angle)))
        cv2.line(matte, (100, 120), end, 200, 1, cv2.LINE_AA)
    share = (matte / 255)[..., None]
    photo = np.round(share * (60, 40, 20) + (1 - share) * (240, 240, 250)).astype(np.uint8)
    found = estimate_foreground(photo, matte)
    strands = (matte > 60) & (matte < 255)
    truth = np.array((60, 40, 20))
    assert np.abs(found[strands] - truth).mean() < 0.25 * np.abs(photo[strands] - truth).mean()


def test_opaque_pixels_stay_exactly():
    photo, matte, _ = scene()
    found = estimate_foreground(photo, matte)
    np.testing.assert_array_equal(found[matte == 255], photo[matte == 255])


def test_just_outside_the_foreground_continues():
    photo, matte, fore = scene()
    found = estimate_foreground(photo, matte)
    ring = (cv2.dilate(matte, np.ones((7, 7))) > 0) & (matte == 0)
    assert np.abs(found[ring] - fore[ring]).mean() < 25
    assert np.abs(photo[ring] - fore[ring]).mean() > 60


def test_a_smaller_composite_shows_no_rim():
    photo, matte, fore = scene()
    black = np.zeros_like(photo)
    black[:] = (0, 0, 255)
    share = cv2.resize(matte, (50, 60), interpolation=cv2.INTER_AREA)[..., None] / 255

    def composite(colours):
        small = cv2.resize(colours, (50, 60), interpolation=cv2.INTER_AREA)
        return share * small + (1 - share) * (0, 0, 255)

    best = composite(fore.astype(np.float32))
    error = np.abs(composite(estimate_foreground(photo, matte)) - best).max()
    assert error < 0.35 * np.abs(composite(photo) - best).max()


@pytest.mark.parametrize("value", [0, 255])
def test_flat_mattes_leave_the_photo(value):
    photo, matte, _ = scene()
    found = estimate_foreground(photo, np.full_like(matte, value))
    np.testing.assert_array_equal(found, photo)
    assert found is not photo


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (3, 2), (5, 400)])
def test_small_pictures(shape):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    matte = rng.integers(1, 256, shape).astype(np.uint8)
    found = estimate_foreground(photo, matte)
    assert found.shape == photo.shape
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[matte == 255], photo[matte == 255])


def test_sizes_must_agree():
    with pytest.raises(ValueError, match="give them one size"):
        estimate_foreground(np.zeros((4, 4, 3), np.uint8), np.zeros((5, 4), np.uint8))
