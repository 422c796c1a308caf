"""Selection: the best of the candidates, gently, within its time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from vivant import selection
from vivant.errors import ModelError, VivantError
from vivant.roles import Image, Matte
from vivant.selection import TIE, Candidate, Selection, select

MASK = np.full((2, 2), 255, np.uint8)


def picture(value: int) -> Image:
    return np.full((2, 2, 3), value, np.uint8)


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Harmonizer:
    """Adds a hundred times the strength; each call takes ``takes`` seconds of its clock."""

    def __init__(self, clock: Clock | None = None, takes: float = 0.0) -> None:
        self.clock, self.takes, self.calls = clock, takes, 0

    def harmonize(
        self, composite: Image, mask: Matte, strengths: Sequence[float]
    ) -> tuple[Image, ...]:
        self.calls += 1
        if self.clock is not None:
            self.clock.now += self.takes
        return tuple(composite + np.uint8(100 * strength) for strength in strengths)


class Scorer:
    """Looks the score up by the picture's value."""

    def __init__(self, scores: dict[int, float]) -> None:
        self.scores, self.calls = scores, 0

    def score(self, composites: Sequence[Image], masks: Sequence[Matte]) -> tuple[float, ...]:
        self.calls += 1
        assert len(composites) == len(masks)
        return tuple(self.scores[int(composite[0, 0, 0])] for composite in composites)


def choose(scores: dict[int, float], *starts: int, budget_s: float = 9.0) -> Selection:
    placed = [(f"slot-{start}", picture(start), MASK) for start in starts]
    return select(placed, Harmonizer(), Scorer(scores), strengths=(0.75, 0.5), budget_s=budget_s)


def test_the_best_candidate_wins_with_its_picture() -> None:
    chosen = choose({0: 0.1, 50: 0.4, 75: 0.2, 3: 0.3, 53: 0.5, 78: 0.9}, 0, 3)
    assert chosen.best == Candidate("slot-3, strength 0.75", 1, 0.75, 0.9)
    np.testing.assert_array_equal(chosen.image, picture(78))
    assert [candidate.name for candidate in chosen.candidates] == [
        "slot-0, untouched",
        "slot-0, strength 0.50",
        "slot-0, strength 0.75",
        "slot-3, untouched",
        "slot-3, strength 0.50",
        "slot-3, strength 0.75",
    ]
    assert chosen.best in chosen.candidates


@pytest.mark.parametrize(
    ("scores", "winner"),
    [
        ({0: 0.5, 50: 0.5, 75: 0.5, 3: 0.5, 53: 0.5, 78: 0.5}, "slot-0, untouched"),
        ({0: 0.1, 50: 0.5, 75: 0.5 + TIE / 2, 3: 0.1, 53: 0.1, 78: 0.1}, "slot-0, strength 0.50"),
        ({0: 0.1, 50: 0.1, 75: 0.5, 3: 0.1, 53: 0.5, 78: 0.1}, "slot-3, strength 0.50"),
        ({0: 0.1, 50: 0.5, 75: 0.1, 3: 0.1, 53: 0.5, 78: 0.1}, "slot-0, strength 0.50"),
        ({0: 0.5, 50: 0.5 + 2 * TIE, 75: 0.1, 3: 0.1, 53: 0.1, 78: 0.1}, "slot-0, strength 0.50"),
    ],
)
def test_ties_go_to_the_gentlest_then_the_earliest(scores: dict[int, float], winner: str) -> None:
    assert choose(scores, 0, 3).best.name == winner


def test_one_call_of_each_role_a_placement() -> None:
    harmonizer, scorer = Harmonizer(), Scorer({0: 0.1, 25: 0.2, 50: 0.3, 75: 0.2})
    placed = [("slot", picture(0), MASK)]
    select(placed, harmonizer, scorer, strengths=(0.25, 0.5, 0.75), budget_s=9)
    assert (harmonizer.calls, scorer.calls) == (1, 1)


def test_strength_zero_and_doubles_are_the_same_candidate() -> None:
    placed = [("slot", picture(0), MASK)]
    scorer = Scorer({0: 0.1, 50: 0.3})
    chosen = select(placed, Harmonizer(), scorer, strengths=(0, 0.5, 0.5), budget_s=9)
    assert [candidate.strength for candidate in chosen.candidates] == [0, 0.5]


def test_no_strengths_need_no_harmonizer() -> None:
    harmonizer = Harmonizer()
    placed = [("slot", picture(0), MASK)]
    chosen = select(placed, harmonizer, Scorer({0: 0.1}), strengths=(), budget_s=9)
    assert chosen.best.name == "slot, untouched"
    assert harmonizer.calls == 0


@pytest.mark.parametrize(("budget_s", "made"), [(0.0, 1), (1.9, 1), (2.5, 2), (9.0, 4)])
def test_what_the_budget_does_not_reach_is_named_as_skipped(
    monkeypatch: pytest.MonkeyPatch, budget_s: float, made: int
) -> None:
    clock = Clock()
    monkeypatch.setattr(selection, "time", clock)
    values = {start + step: 0.5 for start in range(4) for step in (0, 50)}
    chosen = select(
        [(f"slot-{start}", picture(start), MASK) for start in range(4)],
        Harmonizer(clock, takes=1.0),
        Scorer(values),
        strengths=(0.5,),
        budget_s=budget_s,
    )
    scored = [candidate for candidate in chosen.candidates if candidate.score is not None]
    assert len(chosen.candidates) == 8
    assert {candidate.placement for candidate in scored} == set(range(made))
    assert clock.now - 100 == made


@pytest.mark.parametrize("strength", [-0.1, 1.1, math.nan])
def test_strengths_out_of_range_are_refused(strength: float) -> None:
    placed = [("slot", picture(0), MASK)]
    with pytest.raises(VivantError, match="must be from 0"):
        select(placed, Harmonizer(), Scorer({}), strengths=(strength,), budget_s=9)


def test_nothing_to_select_from_is_refused() -> None:
    with pytest.raises(VivantError, match="none to select from"):
        select([], Harmonizer(), Scorer({}), strengths=(0.5,), budget_s=9)


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(ModelError, match=r"slot-0.*nan"):
        choose({0: 0.1, 50: math.nan, 75: 0.2}, 0)
