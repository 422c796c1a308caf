"""Faces found on a device are the faces found on the host."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from vivant.backends import open_engine
from vivant.backends.workspace import Workspace
from vivant.faces.mtcnn import MtcnnDetector
from vivant.gpu.faces import DeviceDetector, pnet_grid

DEVICES = ["host_device", pytest.param("cuda_device", marks=pytest.mark.gpu)]


@pytest.fixture(params=DEVICES)
def workspace(request):
    with Workspace(request.getfixturevalue(request.param)) as opened:
        yield opened


@pytest.fixture
def stream(workspace):
    return workspace.device.stream()


@pytest.fixture
def detector(store, workspace):
    with DeviceDetector.open(store, workspace) as opened:
        yield opened


@pytest.fixture(scope="module")
def on_the_host(store):
    with MtcnnDetector.open(store) as opened:
        yield opened


@pytest.fixture(scope="module")
def photo(astronaut):
    """1920x1080, the portrait in the middle."""
    frame = np.full((1080, 1920, 3), 127, np.uint8)
    frame[:, 420:1500] = cv2.resize(astronaut, (1080, 1080), interpolation=cv2.INTER_CUBIC)
    return frame


def same(found, expected):
    assert len(found) == len(expected)
    for name, tolerance in (("box", 0.01), ("landmarks", 0.01), ("probability", 1e-4)):
        values = ([getattr(face, name) for face in faces] for faces in (found, expected))
        np.testing.assert_allclose(*values, atol=tolerance)


def batches(detector, *graphs):
    """Return a list that will hold how many crops each run of these networks sees."""
    sizes = []

    def counted(bind):
        return lambda buffers: sizes.append(buffers["image"].shape[0]) or bind(buffers)

    for engine in map(detector._engines.get, graphs):
        engine.bind = counted(engine.bind)
    return sizes


@pytest.mark.parametrize("min_face", [33, 40, 120, 1000])
def test_the_same_faces(detector, on_the_host, workspace, stream, photo, min_face):
    expected = on_the_host.detect(photo, min_face=min_face)
    assert len(expected) == (min_face < 1000)
    there = workspace.uploaded("photo", photo, stream)
    same(detector.detect(there, stream, min_face=min_face), expected)


def test_one_photo_after_another(detector, on_the_host, workspace, stream, astronaut, photo):
    crowd = np.tile(astronaut, (2, 3, 1))
    for picture in (photo, astronaut, crowd, astronaut[:, 195:], photo[:30]):
        expected = on_the_host.detect(picture, min_face=60)
        there = workspace.uploaded("photo", np.ascontiguousarray(picture), stream)
        same(detector.detect(there, stream, min_face=60), expected)


def test_more_candidates_than_a_batch_holds(
    detector, on_the_host, workspace, stream, astronaut, monkeypatch
):
    sizes = batches(detector, "rnet")
    monkeypatch.setattr("vivant.gpu.faces.BATCH", 64)
    crowd = np.tile(astronaut, (3, 4, 1))
    there = workspace.uploaded("photo", crowd, stream)
    expected = on_the_host.detect(crowd, min_face=80)
    assert len(expected) == 12
    same(detector.detect(there, stream, min_face=80), expected)
    assert len(sizes) > 1
    assert set(sizes) == {64}


def test_the_host_waits_once_for_each_network(detector, workspace, stream, photo, monkeypatch):
    waits = []
    wait = workspace.device.synchronise
    monkeypatch.setattr(
        workspace.device, "synchronise", lambda stream: waits.append(0) or wait(stream)
    )
    there = workspace.uploaded("photo", photo, stream)
    assert detector.detect(there, stream)
    assert len(waits) == 3


def test_batches_are_powers_of_two(detector, workspace, stream, photo):
    sizes = batches(detector, "rnet", "onet")
    there = workspace.uploaded("photo", photo, stream)
    for min_face in (40, 55, 90):
        detector.detect(there, stream, min_face=min_face)
    assert len(sizes) == 6
    assert set(sizes) <= {16, 32, 64, 128, 256}


@pytest.mark.parametrize("shape", [(1, 1), (39, 500)])
def test_a_picture_too_small_for_a_face_shows_none(detector, workspace, stream, shape):
    there = workspace.uploaded("photo", np.full((*shape, 3), 128, np.uint8), stream)
    assert detector.detect(there, stream) == ()
    workspace.device.synchronise(stream)


def test_the_size_of_what_pnet_returns(store):
    with open_engine(store.engine("mtcnn"), "pnet") as pnet:
        for height, width in [(12, 12), (13, 14), (15, 16), (17, 40), (101, 58), (36, 325)]:
            got = pnet.run({"image": np.zeros((1, height, width, 3), np.float32)})
            assert got["probability"].shape == (1, *pnet_grid(height, width), 1)
            assert got["regression"].shape == (1, *pnet_grid(height, width), 4)
