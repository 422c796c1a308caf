"""INR-Harmonization beside its authors' scripts: a person in a painting, at three sizes.

*square* at 1024x1024 and 2048x2048 with one patch, which is its default where the picture is as
large as that and their fastest way everywhere; *arbitrary* at 1920x1080 with its default of 4
patches along the shorter side. How they are re-stated is told in ``inr_procedures``.

Ours is timed twice: ``harmonize``, which blends softly and chooses its patches itself, and
``exact``, which gives the picture that the scripts give. And the scripts are, the second time
without what no result depends on (``vivant_export.networks.hinet_procedures``): what is left is
the gain of another way to compute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from comparison import Parity, Settings, compare
from engines import network_of
from interleave import Contender, interleave
from pictures import sample_composite
from report import Row
from vivant.harmonizers.inr import FOREGROUND, InrHarmonizer
from vivant.harmonizers.inr_geometry import published_layout
from vivant.roles import Image, Matte
from vivant.store import EngineStore

MODEL = "inr-harmonization"
ENGINES = ((MODEL, "fp32"),)


@dataclass(frozen=True)
class Case:
    """A picture's size, the script that takes it, and how many rounds that is given."""

    width: int
    height: int
    script: str
    share_of_rounds: int


_CASES = (
    Case(1024, 1024, "square, 1 patch", 3),
    Case(2048, 2048, "square, 1 patch", 5),
    Case(1920, 1080, "arbitrary, 4x8 patches", 10),
)


def rows(settings: Settings) -> Iterator[Row]:
    """Compare at each size."""
    for case in _CASES:
        yield from _at_size(settings, case)


def _at_size(settings: Settings, case: Case) -> Iterator[Row]:
    given = {
        "store": settings.store,
        "size": (case.width, case.height),
        "threads": settings.threads,
    }
    timings = interleave(
        {
            "soft": Contender(soft, given, repeats=3),
            "exact": Contender(exact, given, repeats=3),
            "colours": Contender(colours, given, warmup=0),
            "authors": Contender(authors, given, warmup=0),
            "lean": Contender(lean, given, warmup=0),
        },
        processors=settings.threads,
        rounds=settings.rounds_over(case.share_of_rounds),
    )
    peer = timings["authors"]
    _, mask = sample_composite(case.width, case.height)
    foreground = mask > FOREGROUND
    differing = (timings["exact"].result != peer.result.image).any(axis=2)[foreground]
    errors = np.abs(timings["colours"].result - peer.result.prediction)[_box(mask)]
    parities = {
        "soft": Parity(
            float(errors.mean()), "mean difference of the network's colours, of -1..1, in the box"
        ),
        "exact": Parity(float(differing.mean()), "share of the person's pixels that differ"),
    }
    for name, parity in parities.items():
        yield compare(
            "harmonize",
            f"INR-Harmonization's script, {case.script}",
            timings[name],
            peer,
            size=f"{case.width}x{case.height}, {name}",
            parity=parity,
            threads=settings.threads,
        )
    yield compare(
        "harmonize",
        f"the same without its waste, {case.script}",
        timings["soft"],
        timings["lean"],
        size=f"{case.width}x{case.height}, soft",
        parity=parities["soft"],
        threads=settings.threads,
    )


def soft(store: EngineStore, size: tuple[int, int], threads: int) -> Callable[[], Image]:
    """Vivant's harmonizer, as a picture is made."""
    harmonizer = _open(store, threads)
    composite, mask = sample_composite(*size)
    return lambda: harmonizer.harmonize(composite, mask, (1.0,))[0]


def exact(store: EngineStore, size: tuple[int, int], threads: int) -> Callable[[], Image]:
    """Vivant's harmonizer, giving what the scripts give."""
    harmonizer = _open(store, threads)
    composite, mask = sample_composite(*size)
    return lambda: harmonizer.exact(composite, mask)


def colours(
    store: EngineStore, size: tuple[int, int], threads: int
) -> Callable[[], NDArray[np.float32]]:
    """The network's colours in the whole box of the mask; for parity, not for time."""
    harmonizer = _open(store, threads)
    composite, mask = sample_composite(*size)
    wanted = np.zeros(mask.shape, bool)
    wanted[_box(mask)] = True
    return lambda: harmonizer.predict(composite, mask, published_layout(*mask.shape), wanted)


def authors(store: EngineStore, size: tuple[int, int], threads: int) -> Callable[[], Any]:
    """The authors' script."""
    harmonizer = AuthorsHarmonizer(store, threads)
    composite, mask = sample_composite(*size)
    return lambda: harmonizer.run(composite, mask)


def lean(store: EngineStore, size: tuple[int, int], threads: int) -> Callable[[], Any]:
    """The authors' procedure without what no result depends on."""
    import torch

    from vivant_export.networks.hinet_procedures import arbitrary, square

    torch.set_num_threads(threads)
    network = network_of(store, MODEL)
    composite, mask = sample_composite(*size)
    layout = published_layout(*mask.shape)
    if layout.blocks:
        return lambda: square(network, composite, mask, split_resolution=layout.size).image
    return lambda: arbitrary(network, composite, mask).image


class AuthorsHarmonizer:
    """The authors' scripts as a ``vivant.roles.Harmonizer``; they run once for all strengths."""

    def __init__(self, store: EngineStore, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._network = network_of(store, MODEL)

    def run(self, composite: Image, mask: Matte) -> Any:
        """Return colours and picture, ``hinet_procedures.Harmonized``."""
        from inr_procedures import run_as_published

        return run_as_published(self._network, composite, mask, published_layout(*mask.shape))

    def harmonize(
        self, composite: Image, mask: Matte, strengths: Sequence[float]
    ) -> tuple[Image, ...]:
        """Return one picture per strength, the colours blended in by strength and mask."""
        change = (self.run(composite, mask).prediction + 1) * np.float32(127.5) - composite
        change *= mask[..., np.newaxis] / np.float32(255)
        return tuple(
            np.rint(composite + np.float32(strength) * change).clip(0, 255).astype(np.uint8)
            for strength in strengths
        )


def _open(store: EngineStore, threads: int) -> InrHarmonizer:
    cv2.setNumThreads(threads)
    return InrHarmonizer.open(store, threads=threads)


def _box(mask: Matte) -> tuple[slice, slice]:
    x, y, width, height = cv2.boundingRect(mask)
    return slice(y, y + height), slice(x, x + width)
