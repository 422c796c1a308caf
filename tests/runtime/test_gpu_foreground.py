"""Foreground colours estimated on a device are those estimated on the host."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vivant.backends.workspace import Workspace
from vivant.foreground import estimate_foreground, foreground_window
from vivant.gpu.foreground import enqueue_foreground

DEVICES = ["host_device", pytest.param("cuda_device", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def workspace(request):
    with Workspace(request.getfixturevalue(request.param)) as opened:
        yield opened


@pytest.fixture
def estimate(workspace):
    """Estimate on the device, from arrays to an array."""
    stream = workspace.device.stream()

    def estimated(photo, matte):
        here = (
            workspace.uploaded(name, np.ascontiguousarray(picture), stream)
            for name, picture in (("photo", photo), ("matte", matte))
        )
        found = enqueue_foreground(workspace, *here, foreground_window(matte), stream)
        copy = workspace.pinned("copy", found.shape)
        workspace.device.download(found, copy, stream)
        workspace.device.synchronise(stream)
        return copy.array.copy()

    return estimated


def person(height: int, width: int) -> np.ndarray:
    """Someone whose hair flies: a soft matte that touches the frame's bottom."""
    matte = np.zeros((512, 512), np.uint8)
    cv2.ellipse(matte, (224, 130), (70, 100), 0, 0, 360, 255, -1, cv2.LINE_AA)
    cv2.ellipse(matte, (230, 480), (150, 230), 0, 0, 360, 255, -1, cv2.LINE_AA)
    for angle in np.linspace(0, 6.28, 60):
        end = (int(224 + 130 * np.cos(angle)), int(130 + 120 * np.sin(angle)))
        cv2.line(matte, (224, 130), end, 160, 1, cv2.LINE_AA)
    matte = cv2.GaussianBlur(matte, (0, 0), 1.5)
    matte[50, 500] = 1  # a speck far away
    return cv2.resize(matte, (width, height), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("size", [(512, 512), (1080, 1440), (137, 211), (900, 400)])
def test_the_same_colours(estimate, astronaut, size):
    photo = cv2.resize(astronaut, size[::-1], interpolation=cv2.INTER_CUBIC)
    matte = person(*size)
    expected = estimate_foreground(photo, matte)
    assert np.any(expected != photo)

    found = estimate(photo, matte)

    difference = np.abs(found.astype(int) - expected)
    # Where the host rounds twice, OpenCV's way between, a pixel in a million may be two off.
    assert difference.max() <= 2
    assert np.mean(difference > 1) < 1e-5
    assert difference.mean() < 0.1
    np.testing.assert_array_equal(found[matte == 255], photo[matte == 255])


def test_outside_the_window_is_the_photo(estimate, astronaut):
    matte = np.zeros((512, 512), np.uint8)
    matte[200:260, 300:390] = 140
    found = estimate(astronaut, matte)
    beyond = np.ones(matte.shape, bool)
    beyond[200 - 16 : 260 + 16, 300 - 16 : 390 + 16] = False
    np.testing.assert_array_equal(found[beyond], astronaut[beyond])
    assert np.abs(found.astype(int) - estimate_foreground(astronaut, matte)).max() <= 1


def test_one_photo_after_another(estimate, astronaut):
    for width in (512, 200, 400):
        photo, matte = astronaut[:, :width], person(512, 512)[:, :width]
        difference = estimate(photo, matte).astype(int) - estimate_foreground(photo, matte)
        assert np.abs(difference).max() <= 1


@pytest.mark.parametrize("value", [0, 255])
def test_flat_mattes_leave_the_photo(estimate, astronaut, value):
    found = estimate(astronaut, np.full((512, 512), value, np.uint8))
    np.testing.assert_array_equal(found, astronaut)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (3, 2), (5, 400)])
def test_small_pictures(estimate, shape):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (*shape, 3)).astype(np.uint8)
    matte = rng.integers(1, 256, shape).astype(np.uint8)
    difference = estimate(photo, matte).astype(int) - estimate_foreground(photo, matte)
    assert np.abs(difference).max() <= 1


def test_specks_too_faint_for_the_small_picture(estimate):
    photo = np.random.default_rng(1).integers(0, 256, (900, 1000, 3)).astype(np.uint8)
    matte = np.zeros((900, 1000), np.uint8)
    matte[[10, 850], [10, 900]] = 1
    difference = estimate(photo, matte).astype(int) - estimate_foreground(photo, matte)
    assert np.abs(difference).max() <= 1
