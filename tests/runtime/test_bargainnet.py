"""The scorer around BargainNet: what the network is given, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vivant import models
from vivant.errors import EngineError, ImageError
from vivant.scorers.bargainnet import BargainNetScorer
from vivant.store import EngineStore


class Recorder:
    """An engine that keeps what it was given and counts its runs."""

    def __init__(self) -> None:
        self.runs = []

    def run(self, inputs):
        self.runs.append(inputs)
        return {"score": np.linspace(0.1, 0.9, len(inputs["image"]), dtype=np.float32)}

    def close(self) -> None:
        self.runs = []


@pytest.fixture
def engine() -> Recorder:
    return Recorder()


@pytest.fixture
def scorer(engine) -> BargainNetScorer:
    return BargainNetScorer(engine)


@pytest.fixture
def composite() -> np.ndarray:
    return np.random.default_rng(8).integers(0, 256, (90, 120, 3), np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((90, 120), np.uint8)
    mask[30:80, 40:90] = 255
    return mask


def test_the_network_is_given_what_its_authors_give_it(scorer, engine):
    expected = np.load(Path(__file__).parents[1] / "golden" / "bargainnet.npz")
    scorer.score([expected["big_image"]], [expected["big_mask"]])
    given = engine.runs[0]
    np.testing.assert_array_equal(given["image"][0], expected["big_network_image"])
    np.testing.assert_array_equal(given["foreground"][0], expected["big_network_fg_mask"])
    np.testing.assert_array_equal(given["background"][0], expected["big_network_bg_mask"])


def test_all_candidates_in_one_run_and_in_their_order(scorer, engine, composite, mask):
    other = np.roll(mask, 20, axis=1)
    scores = scorer.score([composite, 255 - composite, composite], [mask, mask, other])
    assert scores == pytest.approx((0.1, 0.5, 0.9))
    assert all(isinstance(score, float) for score in scores)
    (given,) = engine.runs
    assert [len(value) for value in given.values()] == [3, 3, 3]
    np.testing.assert_array_equal(given["foreground"][0], given["foreground"][1])
    assert (given["foreground"][1] != given["foreground"][2]).any()
    assert scorer.score([], []) == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [(0, "marks no foreground; check the matte"), (255, "leaves no background")],
)
def test_an_empty_or_full_mask(scorer, engine, composite, mask, value, message):
    with pytest.raises(ImageError, match=message):
        scorer.score([composite, composite], [mask, np.full_like(mask, value)])
    assert not engine.runs


def test_a_speck_is_no_foreground(scorer, composite, mask):
    speck = np.zeros_like(mask)
    speck[40, 40] = 255
    with pytest.raises(ImageError, match="marks no foreground"):
        scorer.score([composite], [speck])


def test_a_mask_of_another_size(scorer, composite, mask):
    with pytest.raises(ImageError, match="mask: 119x90 for a picture of 120x90"):
        scorer.score([composite], [mask[:, :-1]])


def test_a_missing_engine_names_the_command(tmp_path):
    with pytest.raises(EngineError, match="vivant export bargainnet"):
        models.open_model(models.SCORERS, "bargainnet", EngineStore(tmp_path))
