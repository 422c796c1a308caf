"""The matters around a network: what goes in, what comes back, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from vivant import models
from vivant.errors import EngineError, SubjectError
from vivant.manifest import Graph, Manifest, Weights
from vivant.mattes.rmbg import Pipe, RmbgMatter
from vivant.roles import Face
from vivant.store import EngineStore

GOLDEN = Path(__file__).parents[1] / "golden"
ISNET = Pipe(256, "bilinear", "bilinear", min_max=True)
BIREFNET = Pipe(256, "bilinear-antialiased", "bicubic-antialiased", min_max=False)


class Echo:
    """An engine that keeps what it was given and returns one alpha."""

    def __init__(self, alpha: np.ndarray) -> None:
        self.alpha = alpha.astype(np.float32)

    def run(self, inputs):
        self.image = inputs["image"]
        return {"alpha": self.alpha[np.newaxis]}

    def close(self) -> None:
        self.alpha = None


def disc(radius: int = 70, inside: float = 1.0, outside: float = 0.0) -> np.ndarray:
    alpha = np.full((256, 256), outside, np.float32)
    cv2.circle(alpha, (128, 128), radius, inside, -1)
    return alpha


def face_at(x: float, y: float, side: float = 40) -> Face:
    return Face((x - side / 2, y - side / 2, x + side / 2, y + side / 2), 0.99, ())


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (300, 400, 3), np.uint8)


class TestOfficialPipes:
    def test_rmbg_1_4(self):
        expected = np.load(GOLDEN / "rmbg-1.4_256.npz")
        engine = Echo(expected["photo_alpha"])
        got = RmbgMatter(engine, ISNET).matte(expected["photo"], ()).matte
        assert engine.image.dtype == np.uint8
        assert engine.image.shape == (1, 256, 256, 3)
        # The pipe resizes on floats, the engine takes bytes.
        given = engine.image[0, ::4, ::4].transpose(2, 0, 1) / 255 - 0.5
        assert np.abs(given - expected["photo_input"]).max() <= 0.85 / 255
        difference = got.astype(int) - expected["photo_matte"]
        assert np.abs(difference).max() <= 1
        assert np.mean(difference != 0) < 5e-3

    def test_birefnet(self):
        expected = np.load(GOLDEN / "rmbg-2.0_256.npz")
        engine = Echo(disc())
        got = RmbgMatter(engine, BIREFNET).matte(expected["photo"], ()).matte
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        given = ((engine.image[0, ::4, ::4] / 255 - mean) / std).transpose(2, 0, 1)
        # One version of Pillow rounds some values to the next level of another's.
        off = np.abs(given - expected["photo_input"])
        assert off.max() <= 1.01 / 255 / std.min()
        assert np.mean(off > 1e-5) < 0.05
        small = PIL.Image.fromarray((disc() * 255).astype(np.uint8))
        large = small.resize((330, 420), PIL.Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(got, np.asarray(large))


class TestWhatIsRefused:
    def test_nobody_is_not_stretched_into_somebody(self, photo):
        with pytest.raises(SubjectError, match="nobody stands out"):
            RmbgMatter(Echo(disc(inside=0.3)), ISNET).matte(photo, ())

    @pytest.mark.parametrize("pipe", [ISNET, BIREFNET])
    def test_a_flat_map(self, photo, pipe):
        with pytest.raises(SubjectError, match="could not be told apart"):
            RmbgMatter(Echo(np.ones((256, 256))), pipe).matte(photo, ())

    def test_something_else_than_the_face(self, photo):
        matter = RmbgMatter(Echo(disc()), ISNET)
        with pytest.raises(SubjectError, match="not the face"):
            matter.matte(photo, [face_at(30, 30)])
        with pytest.raises(SubjectError, match="not the face"):
            matter.matte(photo, [face_at(-300, 30)])

    def test_numbers_that_are_none(self, photo):
        alpha = disc()
        alpha[3, 3] = np.nan
        with pytest.raises(EngineError, match="not a number"):
            RmbgMatter(Echo(alpha), ISNET).matte(photo, ())


class TestConfidence:
    def test_a_clear_matte_around_every_face(self, photo):
        matter = RmbgMatter(Echo(disc()), ISNET)
        assert matter.matte(photo, [face_at(200, 150)]).confidence == pytest.approx(1)
        assert matter.matte(photo, ()).confidence == pytest.approx(1)

    def test_falls_with_indecision_and_with_faces_left_out(self, photo):
        unsure = RmbgMatter(Echo(disc(inside=0.75)), ISNET)
        assert unsure.matte(photo, ()).confidence == pytest.approx(0.5)
        matter = RmbgMatter(Echo(disc()), ISNET)
        half = matter.matte(photo, [face_at(200, 150), face_at(30, 30)])
        assert half.confidence == pytest.approx(0.5)


@pytest.mark.parametrize("pipe", [ISNET, BIREFNET])
def test_the_smallest_photo(pipe):
    matting = RmbgMatter(Echo(disc()), pipe).matte(np.zeros((1, 1, 3), np.uint8), ())
    assert matting.matte.shape == (1, 1)


class TestOpening:
    PREPROCESSING = {  # noqa: RUF012 - read only
        "size": 256,
        "resize": "bilinear",
        "resize_back": "bilinear",
        "min_max": True,
    }

    def store(self, root, **changes) -> EngineStore:
        manifest = Manifest(
            model="rmbg-1.4",
            variant="fp32",
            role="matte",
            precision="fp32",
            graphs={"model": Graph("model.onnx", "0" * 64, 18, (), ())},
            weights=Weights("official", "a test", "none"),
            preprocessing=self.PREPROCESSING,
        )
        store = EngineStore(root)
        store.write(replace(manifest, **changes), {"model.onnx": b""})
        return store

    def test_a_missing_engine_names_the_command(self, tmp_path):
        with pytest.raises(EngineError, match=r"vivant export rmbg-2\.0"):
            models.open_model(models.MATTES, "rmbg-2.0", EngineStore(tmp_path))

    def test_preprocessing_that_lacks_a_word(self, tmp_path):
        store = self.store(tmp_path, preprocessing={"size": 256, "resize": "bilinear"})
        with pytest.raises(EngineError, match="lacks resize_back, min_max"):
            RmbgMatter.open(store, "rmbg-1.4")

    def test_a_resize_of_another_version(self, tmp_path):
        store = self.store(tmp_path, preprocessing={**self.PREPROCESSING, "resize": "lanczos"})
        with pytest.raises(EngineError, match="cannot resize 'lanczos'"):
            RmbgMatter.open(store, "rmbg-1.4")

    def test_an_altered_graph(self, tmp_path):
        with pytest.raises(EngineError, match="SHA-256"):
            RmbgMatter.open(self.store(tmp_path), "rmbg-1.4")
