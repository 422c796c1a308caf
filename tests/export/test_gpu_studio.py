"""The whole way on the host device beside the whole way on the CPU, with real engines.

The host device keeps the rules of a GPU and computes nothing on one; the tests marked ``gpu`` do.
INR-Harmonization and BargainNet are seeded and untrained, RMBG is a graph that knows its answer.
"""

from __future__ import annotations

import hashlib

import numpy as np
import onnx
import pytest

pytest.importorskip("torch")

from vivant.backends import device_host
from vivant.errors import DeviceError, SubjectError
from vivant.gpu import studio as gpu_studio
from vivant.gpu.studio import DeviceStudio
from vivant.images import load_image
from vivant.manifest import Graph, Manifest, Tensor, Weights
from vivant.mattes.grabcut import GrabCutMatter
from vivant.resampling import resample
from vivant.store import EngineStore
from vivant.studio import Studio
from vivant_export import mtcnn
from vivant_samples import ARTWORKS, PORTRAIT

SIDE = 256


@pytest.fixture(scope="module")
def photo():
    """The sample portrait in a frame of a camera's shape."""
    portrait = resample(load_image(PORTRAIT), 720, 720, "bicubic-antialiased")
    return np.ascontiguousarray(np.pad(portrait, ((0, 0), (280, 280), (0, 0)), mode="edge"))


@pytest.fixture(scope="module")
def store(tmp_path_factory, photo, astronaut_face, inr_engine, bargainnet_engine):
    store = EngineStore(tmp_path_factory.mktemp("engines"), allow_untrained=True)
    mtcnn.export(store)
    for manifest, files in (inr_engine, bargainnet_engine):
        store.write(manifest, files)
    face = astronaut_face.scaled(720 / 512).moved(280, 0)
    alpha = resample(GrabCutMatter().matte(photo, [face]).matte, SIDE, SIDE, "bilinear") / 255
    data = knowing_matte(alpha.astype(np.float32))
    image = Tensor("image", "uint8", (1, SIDE, SIDE, 3), "RGB, resized")
    answer = Tensor("alpha", "float32", (1, SIDE, SIDE), "foreground, 0..1")
    graph = Graph("model.onnx", hashlib.sha256(data).hexdigest(), 17, (image,), (answer,))
    pipe = {"size": SIDE, "resize": "bilinear", "resize_back": "bilinear", "min_max": True}
    weights = Weights("custom", "this test", "Apache-2.0")
    manifest = Manifest(
        "rmbg-1.4", "fp32", "matte", "fp32", {"model": graph}, weights, preprocessing=pipe
    )
    store.write(manifest, {"model.onnx": data})
    return store


def knowing_matte(alpha):
    """Return a graph that gives ``alpha``, whatever it sees but a black picture: then nothing."""
    make = onnx.helper
    image = make.make_tensor_value_info("image", onnx.TensorProto.UINT8, [1, SIDE, SIDE, 3])
    result = make.make_tensor_value_info("alpha", onnx.TensorProto.FLOAT, [1, SIDE, SIDE])
    nodes = [
        make.make_node("Cast", ["image"], ["float"], to=onnx.TensorProto.FLOAT),
        make.make_node("ReduceMax", ["float"], ["largest"], keepdims=0),
        make.make_node("Clip", ["largest", "", "one"], ["seen"]),
        make.make_node("Mul", ["answer", "seen"], ["alpha"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(alpha[np.newaxis], "answer"),
        onnx.numpy_helper.from_array(np.float32(1), "one"),
    ]
    graph = make.make_graph(nodes, "matte", [image], [result], constants)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def expected(store, photo):
    """What the CPU makes of the photo in two paintings."""
    with Studio.open("deep", store=store) as studio:
        portrait = studio.prepare(photo)
        return {name: studio.compose(portrait, ARTWORKS / name) for name in PAINTINGS}


PAINTINGS = ("night-harbour", "evening-path")


@pytest.fixture(params=["host", pytest.param("cuda", marks=pytest.mark.gpu)])
def studio(request, store):
    with DeviceStudio.open("deep", store=store, device=request.param) as studio:
        yield studio


def test_a_device_composes_what_the_processor_does(studio, photo, expected):
    portrait = studio.prepare(photo)
    for name, wanted in expected.items():
        got = studio.compose(portrait, ARTWORKS / name)
        (figure,), (same) = got.figures, wanted.figures[0]
        assert (figure.shot.type, figure.shot.people) == (same.shot.type, same.shot.people)
        assert figure.placement.slot == same.placement.slot
        assert figure.placement.target == pytest.approx(same.placement.target, abs=1)
        assert [c.score for c in figure.candidates] == pytest.approx(
            [c.score for c in same.candidates], abs=2e-3
        )
        for what, most in (("mask", 0.02), ("composite", 0.02), ("image", 0.1)):
            off = np.abs(np.subtract(getattr(got, what), getattr(wanted, what), dtype=np.int16))
            assert off.mean() < most, (name, what)
        assert got.image.shape == wanted.image.shape


def test_a_picture_comes_out_the_same_again(studio, photo):
    first, again = (studio.compose(photo, ARTWORKS / "night-harbour") for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    assert set(studio.gpu_ms) >= {"upload", "matte", "faces", "foreground", "harmonize", "download"}


def test_a_picture_leaves_no_memory_behind(studio, photo):
    studio.compose(photo, ARTWORKS / "night-harbour")
    before = studio.device.memory_used()
    for _ in range(3):
        studio.compose(photo, ARTWORKS / "night-harbour")
    assert studio.device.memory_used() == before


def test_nobody_on_a_photo_spoils_nothing_for_the_next(studio, photo):
    with pytest.raises(SubjectError):
        studio.prepare(np.zeros_like(photo))
    assert studio.compose(photo, ARTWORKS / "night-harbour").figures


def test_a_portrait_is_gone_with_the_next(studio, photo):
    old = studio.prepare(photo)
    studio.prepare(photo)
    with pytest.raises(DeviceError, match="prepare it again"):
        studio.compose(old, ARTWORKS / "night-harbour")


# What the host device is for: rules that the pipeline would break are seen --------------------


def test_a_forgotten_event_is_seen(store, photo, monkeypatch):
    """The faces' stream would read the photo while it is still being uploaded."""
    with DeviceStudio.open("deep", store=store, device="host") as studio:
        monkeypatch.setattr(device_host.HostDevice, "wait", lambda *_: None)
        with pytest.raises(DeviceError, match="event"):
            studio.prepare(photo)


def test_a_forgotten_synchronise_is_seen(store, photo, monkeypatch):
    """The host would read the matte before it is there."""
    with DeviceStudio.open("deep", store=store, device="host") as studio:
        main, synchronise = studio._main, studio.device.synchronise

        def forgetful(stream):
            if stream is not main:
                synchronise(stream)

        monkeypatch.setattr(studio.device, "synchronise", forgetful)
        with pytest.raises(DeviceError, match="synchronise"):
            studio.prepare(photo)
        monkeypatch.undo()


def test_memory_that_is_forgotten_is_seen(store, photo, monkeypatch):
    monkeypatch.setattr(gpu_studio.Workspace, "close", lambda _: None)
    studio = DeviceStudio.open("deep", store=store, device="host")
    studio.prepare(photo)
    with pytest.raises(DeviceError, match="free"):
        studio.close()
