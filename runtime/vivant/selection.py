"""Of several candidates the best: alternative placements at several strengths, scored.

One placement is made at a time, all its strengths in one harmonizer call and one scorer
call, so that deep models batch while at most one placement's pictures are held beside the
best one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from vivant.errors import ModelError, VivantError
from vivant.roles import Harmonizer, Image, Matte, Scorer

Picture = TypeVar("Picture")
"""An array, or where a device holds one."""

Placed: TypeAlias = tuple[str, Image, Matte]
"""One placement: its name, the untouched composite and where the visitor is visible in it."""

TIE = 1e-3
"""Scores this close are a tie; the gentlest change wins it."""


@dataclass(frozen=True)
class Candidate:
    """One placement at one strength, where 0 is the untouched composite.

    ``placement`` is the index of the composite it comes from. ``score`` is 0..1, or ``None``
    where the time was spent before it was made.
    """

    name: str
    placement: int
    strength: float
    score: float | None


@dataclass(frozen=True)
class Selection(Generic[Picture]):
    """The best candidate, its picture, and all candidates, placement by placement."""

    image: Picture
    best: Candidate
    candidates: tuple[Candidate, ...]


def select(
    composites: Sequence[Placed],
    harmonizer: Harmonizer,
    scorer: Scorer,
    *,
    strengths: Sequence[float],
    budget_s: float,
) -> Selection[Image]:
    """Harmonize each composite at each of ``strengths``, score them all, keep the best.

    Raises:
        VivantError: There are no composites, or a strength is outside 0..1.
        ModelError: The scorer returned a score that is not finite.
    """

    def make(index: int, strengths: Sequence[float]) -> tuple[list[Image], Sequence[float]]:
        _, composite, mask = composites[index]
        harmonized = harmonizer.harmonize(composite, mask, strengths) if strengths else ()
        images = [composite, *harmonized]
        return images, scorer.score(images, [mask] * len(images))

    names = [name for name, _, _ in composites]
    return choose(names, make, strengths=strengths, budget_s=budget_s)


def choose(
    names: Sequence[str],
    make: Callable[[int, Sequence[float]], tuple[list[Picture], Sequence[float]]],
    *,
    strengths: Sequence[float],
    budget_s: float,
    keep: Callable[[Picture], Picture] = lambda picture: picture,
) -> Selection[Picture]:
    """Make the candidates of one placement after the other, and keep the best of all.

    The untouched composite competes too. Ties go to the lower strength, then to the earlier
    placement. The first placement is always made; a further one only where the slowest so
    far would still end within ``budget_s`` seconds of the start.

    Args:
        names: of the placements.
        make: of a placement, by index, and of the strengths above 0 in rising order it makes
            the untouched composite and a picture a strength, and their scores.
        strengths: of harmonizing, 0..1.
        budget_s: seconds.
        keep: takes a picture out of the way of the next that are made.

    Raises:
        VivantError: There are no composites, or a strength is outside 0..1.
        ModelError: A score is not finite.
    """
    if not names:
        raise VivantError("composites: none to select from; place the visitor first")
    steps = _steps(strengths)
    start = time.monotonic()
    slowest = 0.0
    candidates: list[Candidate] = []
    best: list[tuple[Candidate, Picture]] = []
    for index, name in enumerate(names):
        begun = time.monotonic()
        if best and begun - start + slowest > budget_s:
            candidates += _candidates(name, index, steps, [None] * len(steps))
            continue
        images, scores = make(index, steps[1:])
        if not all(map(math.isfinite, scores)):
            raise ModelError(
                f"{name}: the scorer returned {scores}; check its engine with the doctor"
            )
        made = _candidates(name, index, steps, scores)
        candidates += made
        winner, image = _gentlest([*best, *zip(made, images, strict=True)])
        best = [(winner, keep(image) if winner in made else image)]
        slowest = max(slowest, time.monotonic() - begun)
    winner, image = best[0]
    return Selection(image, winner, tuple(candidates))


def _steps(strengths: Sequence[float]) -> list[float]:
    """Return the strengths in rising order, each once, the untouched 0 among them."""
    for strength in strengths:
        if not 0 <= strength <= 1:
            raise VivantError(f"strength {strength}: must be from 0 (untouched) to 1 (full)")
    return sorted({0.0, *map(float, strengths)})


def _candidates(
    name: str, placement: int, steps: Sequence[float], scores: Sequence[float | None]
) -> list[Candidate]:
    def label(step: float) -> str:
        return f"{name}, " + (f"strength {step:.2f}" if step else "untouched")

    pairs = zip(steps, scores, strict=True)
    return [Candidate(label(step), placement, step, score) for step, score in pairs]


def _gentlest(scored: Sequence[tuple[Candidate, Picture]]) -> tuple[Candidate, Picture]:
    """Return the least changed, then earliest, of those that tie for the best score."""
    top = max(candidate.score or 0.0 for candidate, _ in scored)
    tied = [pair for pair in scored if (pair[0].score or 0.0) >= top - TIE]
    return min(tied, key=lambda pair: (pair[0].strength, pair[0].placement))
