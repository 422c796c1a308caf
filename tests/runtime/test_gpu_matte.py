"""A matte made on a device is the matte made on the host, and is refused for the same reasons."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from vivant.backends.workspace import Workspace
from vivant.errors import EngineError, SubjectError, VivantError
from vivant.gpu.matte import DeviceMatter
from vivant.manifest import Graph, Manifest, Tensor, Weights
from vivant.mattes.rmbg import Pipe, RmbgMatter
from vivant.resampling import resample
from vivant.roles import Face
from vivant.store import EngineStore
from vivant_export.mtcnn.graph_builder import OPSET, GraphBuilder

DEVICES = ["host_device", pytest.param("cuda_device", marks=pytest.mark.gpu)]
GOLDEN = Path(__file__).parents[1] / "golden"
SIDE = 192
PIPES = {
    "rmbg-1.4": {"resize": "bilinear", "resize_back": "bilinear", "min_max": True},
    "birefnet": {
        "resize": "bilinear-antialiased",
        "resize_back": "bicubic-antialiased",
        "min_max": False,
    },
}


@pytest.fixture(params=DEVICES)
def workspace(request):
    with Workspace(request.getfixturevalue(request.param)) as opened:
        yield opened


@pytest.fixture
def stream(workspace):
    return workspace.device.stream()


@pytest.fixture(params=PIPES)
def model(request):
    return request.param


def brightness_graph(gain: float, shift: float) -> tuple[Graph, bytes]:
    """A network of one idea: what is brighter than ``shift`` stands out, blurred a little."""
    image = Tensor("image", "uint8", (1, SIDE, SIDE, 3), "RGB")
    alpha = Tensor("alpha", "float32", (1, SIDE, SIDE), "0..1")
    graph = GraphBuilder()
    graph.constant(np.float32(gain), "gain")
    graph.constant(np.float32(shift), "shift")
    x = graph.node("Cast", "image", name="cast", to=1)
    x = graph.node("Transpose", x, name="channels", perm=[0, 3, 1, 2])
    x = graph.node("ReduceMean", x, name="grey", axes=[1], keepdims=1)
    x = graph.node("AveragePool", x, name="blur", kernel_shape=[5, 5], pads=[2] * 4)
    x = graph.node("Mul", graph.node("Sub", x, "shift", name="less"), "gain", name="more")
    x = graph.node("Sigmoid", x, name="sigmoid")
    graph.node("Reshape", x, graph.constant(np.array([1, SIDE, SIDE]), "shape"), name="alpha")
    data = graph.model("brightness", [image], [alpha])
    digest = hashlib.sha256(data).hexdigest()
    return Graph("model.onnx", digest, OPSET, (image,), (alpha,)), data


@pytest.fixture
def store(tmp_path):
    """Write engines of both pipes with a graph of this gain and shift."""

    def write(gain: float = 0.03, shift: float = 110) -> EngineStore:
        graph, data = brightness_graph(gain, shift)
        store = EngineStore(tmp_path)
        for model, pipe in PIPES.items():
            manifest = Manifest(
                model=model,
                variant="fp32",
                role="matte",
                precision="fp32",
                graphs={"model": graph},
                weights=Weights("official", "a test", "none"),
                preprocessing={"size": SIDE, **pipe},
            )
            store.write(manifest, {"model.onnx": data})
        return store

    return write


def matte(store, model, workspace, stream, photo, faces):
    """Return the matting on the device, and what lies in the device's buffer."""
    with DeviceMatter.open(store, model, workspace) as matter:
        found = matter.enqueue(workspace.uploaded("photo", photo, stream), stream)
        copy = workspace.pinned("copy", found.shape)
        workspace.device.download(found, copy, stream)
        workspace.device.synchronise(stream)
        return matter.finish(faces, photo.shape), copy.array


@pytest.mark.parametrize("size", [(512, 512), (900, 540), (131, 200), (192, 192)])
def test_the_same_matte(store, model, workspace, stream, astronaut, astronaut_face, size):
    photo = cv2.resize(astronaut, size, interpolation=cv2.INTER_AREA)
    faces = [astronaut_face] if size == (512, 512) else []
    engines = store()
    with RmbgMatter.open(engines, model) as matter:
        expected = matter.matte(photo, faces)
    assert np.ptp(expected.matte) > 200

    got, on_the_device = matte(engines, model, workspace, stream, photo, faces)

    np.testing.assert_array_equal(got.matte, on_the_device)
    difference = np.abs(got.matte.astype(int) - expected.matte)
    assert np.mean(difference > 1) < 5e-4
    assert difference.max() <= 2
    assert difference.mean() < 0.06
    assert got.confidence == pytest.approx(expected.confidence, abs=0.005)


def test_one_photo_after_another(store, model, workspace, stream, astronaut):
    engines = store()
    with (
        RmbgMatter.open(engines, model) as expected,
        DeviceMatter.open(engines, model, workspace) as matter,
    ):
        earlier = None
        for width in (300, 200, 320):
            photo = np.ascontiguousarray(astronaut[:, :width])
            matter.enqueue(workspace.uploaded("photo", photo, stream), stream)
            workspace.device.synchronise(stream)
            got = matter.finish((), photo.shape).matte
            assert np.abs(got.astype(int) - expected.matte(photo, ()).matte).mean() < 0.1
            assert earlier is None or not np.shares_memory(got, earlier)
            earlier = got


class Echo:
    """A network that returns one alpha and keeps what it was given."""

    def __init__(self, alpha, workspace):
        self._device = workspace.device
        self._alpha = workspace.pinned("echo", (1, *alpha.shape), np.float32)
        self._alpha.array[0] = alpha

    def bind(self, buffers):
        self.image, self._target = buffers["image"], buffers["alpha"]

    def enqueue(self, stream):
        self._device.upload(self._alpha, self._target, stream)


def through(alpha, model, workspace, stream, photo):
    """Return what a network is given that returns ``alpha``, and the matte."""
    echo = Echo(alpha, workspace)
    matter = DeviceMatter(echo, Pipe(256, **PIPES[model]), workspace)
    matter.enqueue(workspace.uploaded("photo", photo, stream), stream)
    given = workspace.pinned("given", echo.image.shape)
    workspace.device.download(echo.image, given, stream)
    workspace.device.synchronise(stream)
    return given.array[0], matter.finish((), photo.shape).matte


def test_rmbg_1_4_is_the_official_pipe(workspace, stream):
    expected = np.load(GOLDEN / "rmbg-1.4_256.npz")
    alpha, photo = expected["photo_alpha"], expected["photo"]
    given, got = through(alpha, "rmbg-1.4", workspace, stream, photo)
    # The pipe resizes on floats, the engine takes the bytes that OpenCV makes.
    given = given[::4, ::4].transpose(2, 0, 1) / 255 - 0.5
    assert np.abs(given - expected["photo_input"]).max() <= 0.85 / 255
    difference = np.abs(got.astype(int) - expected["photo_matte"])
    assert difference.max() <= 1
    assert difference.mean() < 5e-3


def test_birefnet_resizes_as_pillow(workspace, stream):
    photo = np.load(GOLDEN / "rmbg-2.0_256.npz")["photo"]
    alpha = np.zeros((256, 256), np.float32)
    cv2.circle(alpha, (128, 128), 70, 1.0, -1)
    given, got = through(alpha, "birefnet", workspace, stream, photo)
    small = resample(photo, 256, 256, "bilinear-antialiased")
    large = resample((alpha * 255).astype(np.uint8), *photo.shape[:2], "bicubic-antialiased")
    for ours, theirs in ((given, small), (got, large)):
        difference = np.abs(ours.astype(int) - theirs)
        assert difference.max() <= 1
        assert difference.mean() < 0.05


def test_the_smallest_photo(store, model, workspace, stream):
    photo = np.zeros((2, 1, 3), np.uint8)
    photo[0] = 255
    got, _ = matte(store(), model, workspace, stream, photo, ())
    assert got.matte.shape == (2, 1)


ELSEWHERE = Face((0, 480, 60, 512), 0.99, ())
REFUSED = {
    "nobody stands out": (0.06, 600, ()),
    "could not be told apart": (0.0001, -9e4, ()),
    "not a number": (float("nan"), 110, ()),
    "not the face": (0.06, 110, (ELSEWHERE,)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_refused(store, model, workspace, stream, astronaut, reason):
    gain, shift, faces = REFUSED[reason]
    engines = store(gain, shift)
    with (
        RmbgMatter.open(engines, model) as matter,
        pytest.raises((SubjectError, EngineError), match=reason) as expected,
    ):
        matter.matte(astronaut, faces)
    with pytest.raises(VivantError) as got:
        matte(engines, model, workspace, stream, astronaut, faces)
    assert (got.type, str(got.value)) == (expected.type, str(expected.value))


def test_a_missing_engine_names_the_command(tmp_path, workspace):
    with pytest.raises(EngineError, match=r"vivant export rmbg-1\.4 --size 512"):
        DeviceMatter.open(EngineStore(tmp_path), "rmbg-1.4", workspace, size=512)
