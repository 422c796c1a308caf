"""MTCNN against the numbers of facenet-pytorch's ``detect``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from vivant.faces.area import AreaSampler
from vivant.faces.mtcnn import MtcnnDetector
from vivant.images import load_image
from vivant_samples import PORTRAIT

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "mtcnn.json").read_text())
CASES = [
    pytest.param(int(min_face), name, expected, id=f"{name}-{min_face}")
    for min_face, photos in GOLDEN["min_face"].items()
    for name, expected in photos.items()
]


@pytest.fixture(scope="module")
def detector(store):
    with MtcnnDetector.open(store) as opened:
        yield opened


def trial_picture(folder: Path, name: str) -> Path:
    path = PORTRAIT if name == PORTRAIT.name else folder / "portraits" / name
    if not path.exists():
        pytest.skip(f"{name} may not be redistributed and is not here")
    return path


@pytest.mark.parametrize(("min_face", "name", "expected"), CASES)
def test_equals_facenet_pytorch(detector, trial_pictures, min_face, name, expected):
    photo = load_image(trial_picture(trial_pictures, name))
    if hashlib.sha256(photo.tobytes()).hexdigest() != expected["rgb_sha256"]:
        pytest.skip("this JPEG decoder differs from the one the numbers were made with")

    faces = detector.detect(photo, min_face=min_face)

    assert len(faces) == len(expected["boxes"])
    np.testing.assert_allclose([f.box for f in faces], expected["boxes"], atol=0.01)
    np.testing.assert_allclose([f.landmarks for f in faces], expected["landmarks"], atol=0.01)
    np.testing.assert_allclose([f.probability for f in faces], expected["probs"], atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (39, 500), (100, 8000), (12, 12)])
def test_a_picture_too_small_for_a_face_shows_none(detector, shape):
    assert detector.detect(np.full((*shape, 3), 128, np.uint8)) == ()


def test_noise_and_flat_colour_show_no_face(detector):
    noise = np.random.default_rng(3).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert detector.detect(noise) == ()
    assert detector.detect(np.full((240, 320, 3), 200, np.uint8)) == ()


def test_many_faces_are_all_found(detector, astronaut):
    crowd = np.tile(astronaut, (4, 6, 1))

    faces = detector.detect(crowd, min_face=60)

    assert len(faces) == 24
    assert all(face.probability > 0.99 for face in faces)


def test_a_face_cut_by_the_frame_keeps_its_box(detector, astronaut):
    cut = astronaut[:, 195:]

    (face,) = detector.detect(cut, min_face=60)

    assert face.box[0] < 10
    assert face.box[1] == pytest.approx(61, abs=12)


class TestAreaSampler:
    def naive(self, picture, height, width):
        """The definition, pixel by pixel."""
        result = np.empty((height, width, 3), np.float64)
        for i in range(height):
            top, bottom = i * picture.shape[0] // height, -(-(i + 1) * picture.shape[0] // height)
            for j in range(width):
                left, right = j * picture.shape[1] // width, -(-(j + 1) * picture.shape[1] // width)
                result[i, j] = picture[top:bottom, left:right].mean(axis=(0, 1))
        return result

    @pytest.mark.parametrize("size", [(7, 5), (31, 40), (90, 120), (1, 1)])
    def test_resize_is_the_mean_over_integer_windows(self, size):
        picture = np.random.default_rng(1).integers(0, 256, (53, 71, 3), dtype=np.uint8)
        got = AreaSampler(picture).resize(*size)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got[0], self.naive(picture, *size), rtol=1e-6)

    def test_crops_are_resized_crops(self):
        picture = np.random.default_rng(2).integers(0, 256, (60, 80, 3), dtype=np.uint8)
        boxes = np.array([[0, 0, 80, 60], [10, 20, 11, 21], [33, 5, 75, 58]])
        got = AreaSampler(picture).crops(boxes, 24)
        for crop, (x1, y1, x2, y2) in zip(got, boxes, strict=True):
            np.testing.assert_allclose(crop, self.naive(picture[y1:y2, x1:x2], 24, 24), rtol=1e-6)

    def test_the_integral_may_wrap_around(self):
        picture = np.full((4000, 4000, 3), 255, np.uint8)
        assert int(cv2.integral(picture[..., 0], sdepth=cv2.CV_64F)[-1, -1]) > 2**31
        got = AreaSampler(picture).resize(37, 41)
        np.testing.assert_array_equal(got, np.float32(255))
