"""BargainNet on a device: the network is given what it is given on the host, to a level."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vivant.backends.workspace import Workspace
from vivant.errors import EngineError, ImageError
from vivant.gpu.scorer import DeviceScorer
from vivant.scorers.bargainnet import BargainNetScorer
from vivant.store import EngineStore


def contrast(inputs):
    """Stand in for the network: how far apart the regions' mean colours are."""
    image = inputs["image"].astype(np.float64)
    means = []
    for region in ("foreground", "background"):
        weight = inputs[region][..., None] / 255
        means.append((image * weight).sum(axis=(1, 2)) / (weight.sum(axis=(1, 2)) + 1e-9))
    return np.exp(-np.abs(means[0] - means[1]).mean(axis=1) / 100).astype(np.float32)


class Engine:
    """Both an ``Engine`` and a ``DeviceEngine``; it keeps what it was given."""

    def __init__(self, device) -> None:
        self.device, self.given, self.closed = device, [], False

    def run(self, inputs):
        self.given.append(inputs)
        return {"score": contrast(inputs)}

    def bind(self, buffers) -> None:
        self.buffers = dict(buffers)

    def enqueue(self, stream) -> None:
        arrays = {name: self.device.array(buffer) for name, buffer in self.buffers.items()}
        target = arrays.pop("score")

        def work():
            target[...] = self.run({name: array.copy() for name, array in arrays.items()})["score"]

        reads = [self.buffers[name] for name in arrays]
        self.device.enqueue(work, reads, [self.buffers["score"]], stream)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def workspace(host_device):
    with Workspace(host_device) as opened:
        yield opened


@pytest.fixture
def engine(workspace) -> Engine:
    return Engine(workspace.device)


@pytest.fixture
def score(workspace, engine):
    """Score pictures that share a mask."""
    scorer = DeviceScorer(workspace, engine)
    stream = workspace.device.stream()

    def scored(pictures, mask):
        composites = [
            workspace.uploaded(f"picture {index}", picture, stream)
            for index, picture in enumerate(pictures)
        ]
        scorer.enqueue(composites, workspace.uploaded("mask", mask, stream), stream)
        workspace.device.synchronise(stream)
        return scorer.finish()

    yield scored
    scorer.close()
    assert engine.closed


def pictures(count, height, width):
    rng = np.random.default_rng(8)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def disc(height, width):
    y, x = np.mgrid[:height, :width]
    far = np.hypot(y - height * 0.5, x - width * 0.4)
    return np.clip((height * 0.3 - far) * 30 + 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("count", "size"), [(1, (90, 120)), (4, (720, 900)), (2, (256, 256))])
def test_the_same_as_on_the_host(score, engine, count, size):
    composites, mask = pictures(count, *size), disc(*size)
    scores = score(composites, mask)
    expected = BargainNetScorer(engine, 1).score(composites, [mask] * count)
    assert scores == pytest.approx(expected, abs=1e-4)
    assert all(isinstance(each, float) for each in scores)
    got, wanted = engine.given
    for name in ("image", "foreground", "background"):
        assert got[name].dtype == np.uint8
        assert np.abs(got[name].astype(int) - wanted[name]).max() <= 1
        assert (got[name] != wanted[name]).mean() < 0.005  # weights are rounded differently


def test_the_network_is_given_what_its_authors_give_it(score, engine):
    expected = np.load(Path(__file__).parents[1] / "golden" / "bargainnet.npz")
    score([expected["big_image"]], expected["big_mask"])
    (given,) = engine.given
    for name, key in (("image", "image"), ("foreground", "fg_mask"), ("background", "bg_mask")):
        off = np.abs(given[name][0].astype(int) - expected[f"big_network_{key}"])
        assert off.max() <= 1


def test_pictures_of_another_size_or_number_come_next(score, engine):
    for count, size in ((3, (90, 120)), (1, (64, 200)), (3, (64, 200)), (2, (90, 120))):
        composites, mask = pictures(count, *size), disc(*size)
        expected = BargainNetScorer(engine, 1).score(composites, [mask] * count)
        assert score(composites, mask) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("value", "message"),
    [(0, "marks no foreground; check the matte"), (255, "leaves no background")],
)
def test_an_empty_or_full_mask(score, value, message):
    with pytest.raises(ImageError, match=message):
        score(pictures(2, 90, 120), np.full((90, 120), value, np.uint8))


def test_a_missing_engine_names_the_command(workspace, tmp_path):
    with pytest.raises(EngineError, match="vivant export bargainnet"):
        DeviceScorer.open(EngineStore(tmp_path), workspace)
