"""Of several candidates the best: alternative placements at several strengths, scored.

One placement is made at a time, all its strengths in one harmonizer call and one scorer
call, so that deep models batch while at most one placement's pictures are held beside the
best one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from vivant.errors import ModelError, VivantError
from vivant.roles import Harmonizer, Image, Matte, Scorer

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
class Selection:
    """The best candidate, its picture, and all candidates, placement by placement."""

    image: Image
    best: Candidate
    candidates: tuple[Candidate, ...]


def select(
    composites: Sequence[Placed],
    harmonizer: Harmonizer,
    scorer: Scorer,
    *,
    strengths: Sequence[float],
    budget_s: float,
) -> Selection:
    """Harmonize each composite at each of ``strengths``, score them all, keep the best.

    The untouched composite competes too. Ties go to the lower strength, then to the earlier
    placement. The first placement is always made; a further one only where the slowest so
    far would still end within ``budget_s`` seconds of the start.

    Raises:
        VivantError: There are no composites, or a strength is outside 0..1.
        ModelError: The scorer returned a score that is not finite.
    """
    if not composites:
        raise VivantError("composites: none to select from; place the visitor first")
    steps = _steps(strengths)
    start = time.monotonic()
    slowest = 0.0
    candidates: list[Candidate] = []
    best: list[tuple[Candidate, Image]] = []
    for index, placed in enumerate(composites):
        begun = time.monotonic()
        if best and begun - start + slowest > budget_s:
            candidates += _candidates(placed, index, steps, [None] * len(steps))
            continue
        images, scores = _make(placed, steps, harmonizer, scorer)
        made = _candidates(placed, index, steps, scores)
        candidates += made
        best = [_gentlest([*best, *zip(made, images, strict=True)])]
        slowest = max(slowest, time.monotonic() - begun)
    winner, image = best[0]
    return Selection(image, winner, tuple(candidates))


def _steps(strengths: Sequence[float]) -> list[float]:
    """Return the strengths in rising order, each once, the untouched 0 among them."""
    for strength in strengths:
        if not 0 <= strength <= 1:
            raise VivantError(f"strength {strength}: must be from 0 (untouched) to 1 (full)")
    return sorted({0.0, *map(float, strengths)})


def _make(
    placed: Placed, steps: Sequence[float], harmonizer: Harmonizer, scorer: Scorer
) -> tuple[list[Image], Sequence[float]]:
    """Return one placement's pictures, one a step, and their scores."""
    name, composite, mask = placed
    harmonized = harmonizer.harmonize(composite, mask, steps[1:]) if steps[1:] else ()
    images = [composite, *harmonized]
    scores = scorer.score(images, [mask] * len(images))
    if not all(map(math.isfinite, scores)):
        raise ModelError(f"{name}: the scorer returned {scores}; check its engine with the doctor")
    return images, scores


def _candidates(
    placed: Placed, placement: int, steps: Sequence[float], scores: Sequence[float | None]
) -> list[Candidate]:
    def label(step: float) -> str:
        return f"{placed[0]}, " + (f"strength {step:.2f}" if step else "untouched")

    pairs = zip(steps, scores, strict=True)
    return [Candidate(label(step), placement, step, score) for step, score in pairs]


def _gentlest(scored: Sequence[tuple[Candidate, Image]]) -> tuple[Candidate, Image]:
    """Return the least changed, then earliest, of those that tie for the best score."""
    top = max(candidate.score or 0.0 for candidate, _ in scored)
    tied = [pair for pair in scored if (pair[0].score or 0.0) >= top - TIE]
    return min(tied, key=lambda pair: (pair[0].strength, pair[0].placement))
