"""Figures painted on a device, with networks made up of a few nodes: the same as on the host."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from vivant import manifest, scene, selection
from vivant.artwork import Artwork, load_artwork
from vivant.backends.workspace import Workspace
from vivant.casting import Part
from vivant.errors import ImageError
from vivant.foreground import estimate_foreground
from vivant.gpu import selection as gpu_selection
from vivant.gpu.composition import DevicePortrait
from vivant.gpu.lut import DeviceLut
from vivant.gpu.scene import KEPT_ARTWORKS, Easel
from vivant.gpu.scorer import DeviceScorer
from vivant.harmonizers.inr_lut import LutHarmonizer
from vivant.placement import find_subject, place
from vivant.portrait import Portrait, classify
from vivant.roles import Matting
from vivant.scorers.bargainnet import BargainNetScorer
from vivant.store import EngineStore
from vivant_samples import ARTWORKS

DEVICES = ["host_device", pytest.param("cuda_device", marks=pytest.mark.gpu)]
STRENGTHS = (0.5, 1.0)


def write_engine(store, model, graph, inputs, outputs, nodes, constants):
    """Put an engine of one graph into a store; tensors are name, dtype, shape."""

    def value(tensor):
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(tensor[1]))
        return helper.make_tensor_value_info(tensor[0], dtype, tensor[2])

    made = helper.make_graph(
        nodes,
        model,
        [value(tensor) for tensor in inputs],
        [value(tensor) for tensor in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    data = helper.make_model(made, opset_imports=opset, ir_version=9).SerializeToString()
    described = manifest.Graph(
        file=f"{graph}.onnx",
        sha256=hashlib.sha256(data).hexdigest(),
        opset=18,
        inputs=tuple(manifest.Tensor(*tensor, "see the test") for tensor in inputs),
        outputs=tuple(manifest.Tensor(*tensor, "see the test") for tensor in outputs),
    )
    store.write(
        manifest.Manifest(
            model=model,
            variant="fp32",
            role="any",
            precision="fp32",
            graphs={graph: described},
            weights=manifest.Weights("custom", "the test", "none"),
        ),
        {f"{graph}.onnx": data},
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """An encoder whose table makes figures warmer, and a scorer that likes red and small ones."""
    store = EngineStore(tmp_path_factory.mktemp("engines"))
    rng = np.random.default_rng(5)
    grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 7, dtype=np.float32)] * 3, indexing="ij"))
    warm = np.array([0.12, 0.02, -0.1], np.float32).reshape(3, 1, 1, 1)
    table = (grid + warm + rng.uniform(-0.02, 0.02, grid.shape).astype(np.float32))[np.newaxis]
    write_engine(
        store,
        "inr-harmonization",
        "encoder",
        [("image", "uint8", (1, 256, 256, 3)), ("mask", "float32", (1, 256, 256))],
        [("lut3d", "float32", (1, 3, 7, 7, 7)), ("mean", "float32", ())],
        [
            helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["levels"], ["light"], keepdims=0),
            helper.make_node("ReduceMean", ["mask"], ["share"], keepdims=0),
            helper.make_node("Mul", ["light", "share"], ["mean"]),
            helper.make_node("Mul", ["mean", "little"], ["shift"]),
            helper.make_node("Add", ["table", "shift"], ["lut3d"]),
        ],
        {"table": table, "little": np.float32(0.002)},
    )
    region = ("batch", 256, 256)
    write_engine(
        store,
        "bargainnet",
        "model",
        [
            ("image", "uint8", (*region, 3)),
            ("foreground", "uint8", region),
            ("background", "uint8", region),
        ],
        [("score", "float32", ("batch",))],
        [
            helper.make_node("Cast", ["image"], ["levels"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["foreground"], ["front"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["background"], ["rest"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["levels", "taste"], ["redness"]),
            helper.make_node("Mul", ["redness", "front"], ["red"]),
            helper.make_node("Mul", ["rest", "little"], ["room"]),
            helper.make_node("Add", ["red", "room"], ["liked"]),
            helper.make_node("ReduceMean", ["liked", "axes"], ["much"], keepdims=0),
            helper.make_node("Sigmoid", ["much"], ["score"]),
        ],
        {
            "taste": np.array([2e-4, 0, -2e-4], np.float32),
            "little": np.float32(1e-4),
            "axes": np.array([1, 2], np.int64),
        },
    )
    return store


@pytest.fixture(scope="module")
def portrait(astronaut, astronaut_face):
    """The sample portrait with the matte of a head and shoulders, drawn, its edge soft."""
    matte = np.zeros(astronaut.shape[:2], np.uint8)
    cv2.ellipse(matte, (224, 125), (75, 100), 0, 0, 360, 255, -1)
    cv2.ellipse(matte, (224, 470), (200, 260), 0, 0, 360, 255, -1)
    matte = cv2.GaussianBlur(matte, (0, 0), 2)
    foreground = estimate_foreground(astronaut, matte)
    return Portrait(astronaut, Matting(matte, 0.9), foreground, classify(matte, [astronaut_face]))


@pytest.fixture(scope="module")
def harbour():
    return replace(load_artwork(ARTWORKS / "night-harbour"), output_height=480)


def part(portrait, artwork, *slots):
    """Return the portrait as a part with a placement in each of ``slots``."""
    height, width = artwork.picture().shape[:2]
    subject = find_subject(portrait.matting.matte, portrait.shot)
    named = {slot.name: slot for slot in artwork.slots}
    places = tuple(place(subject, named[slot], (width, height)) for slot in slots)
    return Part(portrait, places)


@pytest.fixture(scope="module")
def couple(portrait, harbour):
    """Two parts, as if two people had been split: each has some of the matte."""
    parts = []
    for slot, columns in (("by-the-table", np.s_[:, 330:]), ("by-the-water", np.s_[:, :150])):
        matte = portrait.matting.matte.copy()
        matte[columns] = 0
        matte[300:340, 180:300] = 0  # a belt
        one = replace(portrait, matting=Matting(matte, 0.9))
        parts.append(part(one, harbour, slot))
    # They overlap: what the nearer one hides is seen in the masks.
    near = parts[1].placements[0]
    shifted = replace(near, target=(150, *near.target[1:]), flip=not near.flip)
    return parts[0], replace(parts[1], placements=(shifted,))


def on_host(store, artwork, parts):
    painted = scene.empty(artwork)
    with (
        LutHarmonizer.open(store, threads=1) as harmonizer,
        BargainNetScorer.open(store, threads=1) as scorer,
    ):
        for one in parts:
            laid = scene.lay(painted, one)
            chosen = selection.select(laid, harmonizer, scorer, strengths=STRENGTHS, budget_s=9)
            painted = scene.paint(painted, one, laid, chosen)
    return painted.image, painted.composite, painted.mask, painted.figures


class Stage:
    """What paints on a device, opened once."""

    def __init__(self, device, store, *, mapped=False):
        self.device = device
        self.workspace = Workspace(device, mapped=mapped)
        self.easel = Easel(self.workspace)
        self.harmonizer = DeviceLut.open(store, self.workspace)
        self.scorer = DeviceScorer.open(store, self.workspace)
        self.stream = device.stream()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for opened in (self.scorer, self.harmonizer, self.easel, self.workspace):
            opened.close()

    def portrait(self, portrait):
        uploaded = [
            self.workspace.uploaded(name, array, self.stream)
            for name, array in (("fore", portrait.foreground), ("matte", portrait.matting.matte))
        ]
        return DevicePortrait(portrait, *uploaded)

    def paint(self, whole, artwork, parts, budget_s=9.0):
        stream, painted = self.stream, self.easel.empty(artwork, self.stream)
        there = self.portrait(whole)
        for one in parts:
            laid = self.easel.lay(painted, one, there, stream)
            chosen = gpu_selection.select(
                self.workspace,
                laid,
                self.harmonizer,
                self.scorer,
                strengths=STRENGTHS,
                budget_s=budget_s,
                stream=stream,
            )
            painted = self.easel.paint(painted, one, laid, chosen, stream)
        return (*self.easel.download(painted, stream), painted.figures)


@pytest.fixture(params=DEVICES)
def any_stage(store, request):
    """What paints on the host device and, where there is one, on a GPU."""
    with Stage(request.getfixturevalue(request.param), store) as stage:
        yield stage


@pytest.fixture
def stage(store, host_device):
    with Stage(host_device, store) as stage:
        yield stage


def assert_same(got, wanted):
    """Hold two results against each other: two levels apart at most, mostly none."""
    for found, expected in zip(got[:3], wanted[:3], strict=True):
        assert found.dtype == np.uint8
        off = np.abs(found.astype(int) - expected)
        assert off.max() <= 2
        assert np.count_nonzero(off > 1) <= 1e-4 * np.count_nonzero(wanted[2])
    assert len(got[3]) == len(wanted[3])
    for found, expected in zip(got[3], wanted[3], strict=True):
        assert (found.shot, found.placement) == (expected.shot, expected.placement)
        assert found.best.name == expected.best.name
        for one, other in zip(found.candidates, expected.candidates, strict=True):
            assert one.name == other.name
            assert one.score == (other.score and pytest.approx(other.score, abs=2e-3))


def test_one_figure_behind_an_occluder(any_stage, store, portrait, harbour):
    parts = (part(portrait, harbour, "by-the-table"),)
    got = any_stage.paint(portrait, harbour, parts)
    assert_same(got, on_host(store, harbour, parts))
    image, composite, mask, figures = got
    assert figures[0].best.strength > 0
    assert (image != composite).any(axis=2)[mask > 128].mean() > 0.9
    np.testing.assert_array_equal(image[mask == 0], composite[mask == 0])


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_a_group_of_two_with_a_matte_each(
    store, portrait, harbour, couple, request, device, mapped
):
    with Stage(request.getfixturevalue(device), store, mapped=mapped) as stage:
        got = stage.paint(portrait, harbour, couple)
        assert_same(got, on_host(store, harbour, couple))
        again = stage.paint(portrait, harbour, couple[::-1])
        assert_same(again, on_host(store, harbour, couple[::-1]))
    assert (got[1] != again[1]).any()  # who is in front


@pytest.mark.parametrize("mapped", [False, True])
def test_three_of_whom_two_cast_a_shadow(store, host_device, portrait, harbour, couple, mapped):
    (place,) = part(portrait, harbour, "by-the-table").placements
    places = [replace(place, target=(x, 120, 80, 100), scale=0.5, standing=True) for x in (20, 300)]
    parts = (couple[0], *(Part(portrait, (place,)) for place in places))
    expected = on_host(store, harbour, parts)
    with Stage(host_device, store, mapped=mapped) as stage:
        assert_same(stage.paint(portrait, harbour, parts), expected)


def test_of_alternatives_the_best_is_kept(any_stage, store, portrait, harbour):
    one = part(portrait, harbour, "by-the-table", "by-the-water")
    for placements in (one.placements, one.placements[::-1]):
        parts = (replace(one, placements=placements),)
        got = any_stage.paint(portrait, harbour, parts)
        assert_same(got, on_host(store, harbour, parts))
        assert len(got[3][0].candidates) == 6


def test_what_the_budget_does_not_reach_is_not_made(stage, portrait, harbour):
    one = part(portrait, harbour, "by-the-table", "by-the-water")
    figures = stage.paint(portrait, harbour, (one,), budget_s=0.0)[3]
    assert [each.score is None for each in figures[0].candidates] == [False] * 3 + [True] * 3


def test_the_host_waits_once_a_figure_and_at_the_end(stage, portrait, harbour, couple, monkeypatch):
    waits, wait = [], stage.device.synchronise
    monkeypatch.setattr(stage.device, "synchronise", lambda stream: waits.append(wait(stream)))
    stage.paint(portrait, harbour, couple)
    assert len(waits) == 3


def test_a_subject_out_of_sight_is_refused_and_the_next_is_painted(stage, store, portrait, harbour):
    one = part(portrait, harbour, "by-the-table")
    away = replace(one.placements[0], target=(9000, 300, 80, 100))
    with pytest.raises(ImageError, match="marks no foreground"):
        stage.paint(portrait, harbour, (replace(one, placements=(away,)),))
    assert_same(stage.paint(portrait, harbour, (one,)), on_host(store, harbour, (one,)))


def test_pictures_after_the_first_need_no_more_memory(stage, portrait, harbour, couple):
    stage.paint(portrait, harbour, couple)
    used = stage.device.memory_used()
    for _ in range(2):
        stage.paint(portrait, harbour, couple)
    assert stage.device.memory_used() == used


def test_the_last_few_artworks_stay_on_the_device(stage, monkeypatch):
    picture = np.full((64, 80, 3), 10, np.uint8)
    monkeypatch.setattr(Artwork, "picture", lambda self: pictures[self.id])
    artworks = [Artwork(str(n), "", Path(str(n)), Path("none"), 64, ()) for n in range(9)]
    pictures = {artwork.id: picture + np.uint8(n) for n, artwork in enumerate(artworks)}
    first = stage.easel.empty(artworks[0], stage.stream).image
    used = stage.device.memory_used()
    for artwork in artworks[1:]:
        stage.easel.empty(artwork, stage.stream)
        assert stage.easel.empty(artworks[0], stage.stream).image is first
    assert stage.device.memory_used() - used == (KEPT_ARTWORKS - 1) * picture.nbytes
    for artwork in artworks[1:]:
        stage.easel.empty(artwork, stage.stream)
    assert stage.easel.empty(artworks[0], stage.stream).image is not first


def test_a_picture_that_was_edited_is_uploaded_again(stage, monkeypatch):
    artwork = Artwork("test", "Test", Path(), Path("none"), 64, ())
    for shape, grey in (((64, 80, 3), 10), ((64, 80, 3), 20), ((128, 160, 3), 30)):
        picture = np.full(shape, grey, np.uint8)
        monkeypatch.setattr(Artwork, "picture", lambda _, picture=picture: picture)
        scene = stage.easel.empty(artwork, stage.stream)
        image, composite, mask = stage.easel.download(scene, stage.stream)
        np.testing.assert_array_equal(image, picture)
        np.testing.assert_array_equal(composite, picture)
        assert mask.shape == shape[:2]
        assert not mask.any()
