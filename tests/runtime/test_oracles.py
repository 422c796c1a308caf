"""What the kernels do, done by their oracles, against the processor's side of Vivant."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from vivant import composition, foreground, scene
from vivant.backends.workspace import Workspace
from vivant.faces.area import AreaSampler
from vivant.gpu import kernels
from vivant.harmonizers import inr_lut, inr_picture
from vivant.images import load_image
from vivant.mattes import rmbg
from vivant_samples import ARTWORKS, PORTRAIT


@pytest.fixture
def run(host_device):
    """Put arrays on the host device, launch with them, and return the last ones, the written."""

    def run(function, *arrays, written=1, **others):
        stream = host_device.stream()
        with Workspace(host_device) as workspace:
            buffers = [
                workspace.uploaded(f"{i}", np.ascontiguousarray(array), stream)
                for i, array in enumerate(arrays)
            ]
            function(host_device, *buffers, stream=stream, **others)
            host_device.synchronise(stream)
            found = [host_device.array(buffer).copy() for buffer in buffers[-written:]]
        return found[0] if written == 1 else found

    return run


@pytest.fixture(scope="module")
def given():
    """A photo with a soft matte, smooth colours of both sides, a canvas with a mask of its size."""
    photo = load_image(PORTRAIT)[3:238, 110:311]
    height, width = photo.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    alpha = np.clip(1.4 - np.hypot(y - height / 2, x - width / 2) / 70, 0, 1).astype(np.float32)
    random = np.random.default_rng(5)
    canvas = load_image(ARTWORKS / "night-harbour" / "painting.webp")[100:335, 200:401]
    return SimpleNamespace(
        photo=np.ascontiguousarray(photo),
        alpha=alpha,
        matte=(alpha * 255).astype(np.uint8),
        fore=cv2.blur(photo, (9, 9)).astype(np.float32),
        back=random.uniform(0, 255, photo.shape).astype(np.float32),
        canvas=np.ascontiguousarray(canvas),
        random=random,
    )


def floats(*shape):
    return np.full(shape, np.nan, np.float32)


def test_pool_is_the_area_sampler(run, given):
    sampler = AreaSampler(given.photo)
    height, width = given.photo.shape[:2]
    whole = np.array([[0, 0, width, height]], np.int32)
    for size in ((12, 17), (180, 90), (300, 7)):
        found = run(kernels.pool, given.photo, whole, floats(1, *size, 3))
        np.testing.assert_array_equal(found, sampler.resize(*size))
    boxes = np.array([[5, 7, 60, 41], [0, 0, 9, 230], [200, 234, 201, 235]])
    found = run(kernels.pool, given.photo, boxes.astype(np.int32), floats(3, 24, 24, 3))
    np.testing.assert_array_equal(found, sampler.crops(boxes, 24))


def test_moments_are_what_rmbg_judges_by(run, given):
    alpha = given.alpha * np.float32(0.9) + np.float32(0.02)
    low, high, sureness, total = run(kernels.moments, alpha, floats(kernels.SCRATCH), floats(4))
    assert (low, high) == (alpha.min(), alpha.max())
    np.testing.assert_allclose(sureness / total, rmbg._sureness(alpha), rtol=1e-5)
    np.testing.assert_allclose(total, alpha.sum(dtype=np.float64), rtol=1e-5)


def test_what_is_no_number_shows_in_all_moments(run, given):
    alpha = given.alpha.copy()
    alpha[200, 3] = np.nan
    assert np.isnan(run(kernels.moments, alpha, floats(kernels.SCRATCH), floats(4))).all()


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.02, 0.93), (0.5, 0.53)])
def test_stretch_is_rmbgs(run, given, low, high):
    alpha = np.float32(low) + given.alpha * np.float32(high - low)
    ends = run(kernels.moments, alpha, floats(kernels.SCRATCH), floats(4))
    target = np.zeros(alpha.shape, np.uint8)
    contrast = rmbg.LEAST_CONTRAST
    found = run(
        lambda device, a, m, t, stream: kernels.stretch(device, a, m, contrast, t, stream),
        *(alpha, ends, target),
    )
    wanted = rmbg._to_matte(alpha, alpha.shape, rmbg.Pipe(64, "bilinear", "bilinear", True))
    np.testing.assert_array_equal(found, wanted)


def test_to_bytes_is_rmbgs(run, given):
    found = run(kernels.to_bytes, given.alpha, np.zeros(given.alpha.shape, np.uint8))
    pipe = rmbg.Pipe(64, "bilinear", "bilinear", False)
    np.testing.assert_array_equal(found, rmbg._to_matte(given.alpha, given.alpha.shape, pipe))


def test_mean_colour_and_fade_are_numpys(run, given):
    image = given.photo.astype(np.float32)
    mean = run(kernels.mean_colour, image, given.alpha, floats(kernels.SCRATCH), floats(4))
    weights = given.alpha.astype(np.float64) + 1e-4
    wanted = np.average(image, axis=(0, 1), weights=np.repeat(weights[..., None], 3, axis=2))
    np.testing.assert_allclose(mean[:3], wanted, rtol=1e-5)
    np.testing.assert_allclose(mean[3], weights.sum(), rtol=1e-5)
    faded = run(kernels.fade, image, given.alpha, mean, floats(*image.shape))
    wanted = mean[:3] + given.alpha[..., None] * (image - mean[:3])
    np.testing.assert_allclose(faded, wanted, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("box", [box for _, box in foreground.PASSES])
@pytest.mark.parametrize("inverse", [False, True])
def test_weighted_mean_is_the_foregrounds(run, given, box, inverse):
    found = run(
        lambda device, values, weight, target, stream: kernels.weighted_mean(
            device, values, weight, inverse, box, target, stream
        ),
        *(given.fore, given.alpha, floats(*given.fore.shape)),
    )
    weight = np.repeat(given.alpha[..., None], 3, axis=2)
    wanted = foreground._mean(given.fore, 1 - weight if inverse else weight, box)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-4)


def test_correct_is_the_foregrounds(run, given):
    image = given.photo.astype(np.float32)
    found = run(kernels.correct, given.alpha, image, given.fore, given.back, written=2)
    weight = np.repeat(given.alpha[..., None], 3, axis=2)
    wanted = foreground._corrected(weight, image, given.fore, given.back)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-3)


def test_unmix_is_the_foregrounds_end(run, given, monkeypatch):
    monkeypatch.setattr(foreground, "_smooth", lambda area, _: (fore, back))
    rows, columns = foreground.foreground_window(given.matte)
    fore, back = (np.rint(layer[rows, columns]) for layer in (given.fore, given.back))
    x, y = columns.start, rows.start
    layers = (layer.astype(np.uint8) for layer in (fore, back))
    found = run(
        lambda device, *buffers, stream: kernels.unmix(
            device, *buffers[:4], x, y, buffers[4], stream
        ),
        *(given.photo, given.matte, *layers, given.photo),
    )
    wanted = foreground.estimate_foreground(given.photo, given.matte)
    assert (wanted != given.photo).any()
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (-50, 31), (77, -101), (300, 300)])
@pytest.mark.parametrize("hidden", [False, True])
def test_paste_is_the_compositions(run, given, x, y, hidden):
    occluder = np.dstack([given.canvas[::-1], np.roll(given.matte, 60, axis=1)])
    image, mask = given.canvas.copy(), np.zeros(given.matte.shape, np.uint8)

    def paste(device, front, alpha, hiding, image, mask, stream):
        kernels.paste(device, image, mask, front, alpha, hiding if hidden else None, x, y, stream)

    inputs = given.photo, given.matte, occluder
    found = run(paste, *inputs, image, mask, written=2)
    canvas, own = composition.overlap((x, y), given.matte.shape, image.shape)
    front, alpha = given.photo[own], given.matte[own]
    if alpha.size:
        mask[canvas] = alpha
        if hidden:
            hiding = occluder[canvas]
            front = composition._mix(front, hiding[..., :3], hiding[..., 3])
            mask[canvas] = cv2.multiply(alpha, 255 - hiding[..., 3], scale=1 / 255)
        image[canvas] = composition._mix(image[canvas], front, alpha)
    assert np.abs(found[0].astype(int) - image).max() <= 1
    np.testing.assert_array_equal(found[1], mask)


def test_darken_is_the_compositions(run, given):
    darkness = given.alpha[:100, :90] * np.float32(0.7)

    def darken(device, darkness, image, stream):
        kernels.darken(device, image, darkness, -20, 180, stream)

    found = run(darken, darkness, given.canvas)
    image = given.canvas.copy()
    ground, own = composition.overlap((-20, 180), darkness.shape, image.shape)
    image[ground] = (image[ground] * (1 - darkness[own][..., None]) + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(found, image)


def test_over_is_the_scenes_and_invert_what_it_says(run):
    front, back = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    found = run(kernels.over, front, back, np.zeros_like(front))
    np.testing.assert_array_equal(found, scene._over(front, back))
    np.testing.assert_array_equal(run(kernels.invert, front, np.zeros_like(front)), 255 - front)


def blended(composite, mask, strength, colours):
    with ThreadPoolExecutor(1) as pool:
        return inr_picture.blend(composite, mask, [strength], colours, pool)[0]


@pytest.mark.parametrize("strength", [0.35, 1.0])
def test_look_up_is_pillows_within_a_level(run, given, strength):
    steps = np.linspace(0, 1, 7, dtype=np.float32)
    plain = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"))  # every colour itself
    table = (plain**1.3 * 1.1 - 0.02 + given.random.normal(0, 0.05, plain.shape)).astype("f4")

    def look_up(device, picture, mask, table, target, stream):
        kernels.look_up(device, picture, mask, table, strength, target, stream)

    empty = np.zeros_like(given.canvas)
    found = run(look_up, given.canvas, given.matte, table, empty)
    colours = inr_lut.look_up(given.canvas, table[np.newaxis])
    wanted = blended(given.canvas, given.matte, strength, colours)
    assert (wanted != given.canvas).mean() > 0.2
    assert np.abs(found.astype(int) - wanted).max() <= 1


@pytest.mark.parametrize("strength", [0.35, 1.0])
def test_blend_is_the_harmonizers(run, given, strength):
    prediction = given.random.uniform(-1.1, 1.1, given.canvas.shape).astype(np.float32)
    x, y, width, height = cv2.boundingRect(given.matte)
    region = prediction[y : y + height, x : x + width].transpose(2, 0, 1)

    def blend(device, picture, mask, colours, target, stream):
        kernels.blend(device, picture, mask, colours, strength, target, stream, x=x, y=y)

    found = run(blend, given.canvas, given.matte, region, np.zeros_like(given.canvas))
    wanted = blended(
        given.canvas,
        given.matte,
        strength,
        lambda place: (prediction[place] + 1) * np.float32(127.5),
    )
    np.testing.assert_array_equal(found, wanted)


def test_gather_takes_the_harmonizers_tiles(run, given):
    patch = np.dstack([given.canvas, given.matte])[17 : 17 + 128, 30 : 30 + 128]
    rows, window, shrink = np.array([3, 4, 20]), slice(8, 24), 4
    wanted = patch.reshape(32, shrink, 32, shrink, 4)[rows, :, window]
    found = run(
        kernels.gather,
        *(given.canvas, given.matte),
        (17 + shrink * rows).astype(np.int32),
        (30 + shrink * np.arange(32)[window]).astype(np.int32),
        np.zeros(wanted.shape, np.uint8),
    )
    np.testing.assert_array_equal(found, wanted)


def test_scatter_writes_one_place(run, given):
    values = given.back[:40, :30].transpose(2, 0, 1)

    def scatter(device, values, target, stream):
        kernels.scatter(device, values, 10, 31, target, stream)

    wanted = np.zeros((3, 50, 61), np.float32)
    found = run(scatter, values, wanted)
    wanted[:, 10:50, 31:61] = values
    np.testing.assert_array_equal(found, wanted)
