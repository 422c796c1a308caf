"""BargainNet's harmony score beside its authors' two passes in torch.

Their script (``predict_harmony_score.py``) takes one composite: it resizes picture, mask and
inverted mask with Pillow, and runs the network twice, for background and foreground. It rounds the
score to two decimals; here it does not, so that scores can be compared.

Of the size that the network sees, a composite costs the two passes alone. Of 1920x1080, Pillow's
resizing comes to both, and cannot be quicker in one than in the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from comparison import Parity, Settings, compare
from engines import network_of
from interleave import Contender, interleave
from pictures import sample_composite
from report import Row
from vivant.roles import Image, Matte
from vivant.scorers.bargainnet import BargainNetScorer
from vivant.store import EngineStore

if TYPE_CHECKING:
    from torch import Tensor

MODEL = "bargainnet"
ENGINES = ((MODEL, "fp32"),)
_SIDE = 256


def rows(settings: Settings) -> Iterator[Row]:
    """Compare on one composite of two sizes, and on four candidates of one placement."""
    threads = settings.threads
    for count, size in ((1, (_SIDE, _SIDE)), (1, (1920, 1080)), (4, (1920, 1080))):
        given = {"store": settings.store, "count": count, "size": size, "threads": threads}
        timings = interleave(
            {"vivant": Contender(ours, given), "authors": Contender(authors, given)},
            processors=threads,
            rounds=settings.rounds,
        )
        own, peer = timings["vivant"], timings["authors"]
        difference = float(np.abs(np.subtract(own.result, peer.result)).max())
        plural = "composite" if count == 1 else "composites"
        yield compare(
            "score",
            f"BargainNet, {2 * count} torch passes",
            own,
            peer,
            size="{} {} of {}x{}".format(count, plural, *size),
            parity=Parity(difference, "largest difference of a score, 0..1"),
            threads=threads,
        )


def ours(
    store: EngineStore, count: int, size: tuple[int, int], threads: int
) -> Callable[[], tuple[float, ...]]:
    """Vivant's scorer."""
    cv2.setNumThreads(threads)
    scorer = BargainNetScorer.open(store, threads=threads)
    composites, masks = candidates(count, size)
    return lambda: scorer.score(composites, masks)


def authors(
    store: EngineStore, count: int, size: tuple[int, int], threads: int
) -> Callable[[], tuple[float, ...]]:
    """The authors' scorer."""
    scorer = TorchScorer(store, threads)
    composites, masks = candidates(count, size)
    return lambda: scorer.score(composites, masks)


class TorchScorer:
    """BargainNet in torch as its authors run it, as a ``vivant.roles.Scorer``."""

    def __init__(self, store: EngineStore, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._network = network_of(store, MODEL)

    def score(self, composites: Sequence[Image], masks: Sequence[Matte]) -> tuple[float, ...]:
        """Return one score per composite."""
        return tuple(map(self._score, composites, masks))

    def _score(self, composite: Image, mask: Matte) -> float:
        import torch

        with torch.inference_mode():
            image = (_tensor(composite) - 0.5) / 0.5
            regions = [_tensor(part) for part in (255 - mask, mask)]
            background, foreground = (self._network(image, region) for region in regions)
        distance = float(np.linalg.norm(background.numpy() - foreground.numpy()))
        return math.exp(-0.04212 * distance)


def candidates(count: int, size: tuple[int, int]) -> tuple[list[Image], list[Matte]]:
    """Return a composite of ``size`` (width, height) at ``count`` strengths of light, and masks."""
    composite, mask = sample_composite(*size)
    steps = np.linspace(1, 0.7, count)
    return [(composite * step).astype(np.uint8) for step in steps], [mask] * count


def _tensor(picture: Image | Matte) -> Tensor:
    """Return float32 [1,C,256,256], 0..1, of bytes."""
    import PIL.Image
    import torch

    small = PIL.Image.fromarray(picture).resize((_SIDE, _SIDE), PIL.Image.Resampling.BILINEAR)
    array = torch.from_numpy(np.array(small)).reshape(_SIDE, _SIDE, -1)
    return array.permute(2, 0, 1)[None].float() / 255
