"""BargainNet's harmony score: how near the light and colour of two regions are.

W. Cong et al., "BargainNet: Background-Guided Domain Translation for Image Harmonization",
ICME 2021. A network sums up the foreground and the background in a code each; the score is
``exp(-0.04212 * distance)``. Codes depend on the foreground's area too, so that scores compare
within one slot, before and after or between strengths, and not across artworks.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from vivant.backends import Engine, open_engine, usable_cores
from vivant.closing import Closing
from vivant.errors import ImageError
from vivant.resampling import Pixels, resample
from vivant.roles import Image, Matte, check_mask
from vivant.store import EngineStore

SIDE = 256
"""Of what the network was trained on, whatever the picture's aspect."""

_RESIZE = "bilinear-antialiased"
_LEAST_PIXELS = 16  # of SIDE squared: a region of fewer has no code to speak of


class BargainNetScorer(Closing):
    """Satisfies ``vivant.roles.Scorer``."""

    def __init__(self, engine: Engine, threads: int | None = None) -> None:
        self._engine = engine
        # Pillow resizes without the interpreter's lock, and takes as long as the network does.
        self._pool = ThreadPoolExecutor(threads or usable_cores())

    @classmethod
    def open(cls, store: EngineStore, *, threads: int | None = None) -> BargainNetScorer:
        """Open the engine ``bargainnet`` of ``store``.

        Args:
            store: where it is looked for.
            threads: to compute with; all usable cores unless told otherwise.

        Raises:
            EngineError: the engine is missing, altered, untrained or cannot be opened.
            BackendError: the inference library is not installed.
        """
        return cls(open_engine(store.engine("bargainnet"), threads=threads), threads)

    def close(self) -> None:
        """Close the engine."""
        self._pool.shutdown()
        self._engine.close()

    def score(self, composites: Sequence[Image], masks: Sequence[Matte]) -> tuple[float, ...]:
        """Return one score per composite, 0 .. 1 (the regions' codes are the same), in one run.

        Args:
            composites: uint8 [H,W,3] RGB, of any sizes.
            masks: uint8 [H,W], each of its composite's size.

        Raises:
            ImageError: a mask is not of its composite's size, marks no foreground, or leaves
                no background: the network would still return a number.
        """
        if not composites:
            return ()
        for composite, mask in zip(composites, masks, strict=True):
            check_mask(composite, mask)
        distinct = {id(mask): mask for mask in masks}  # the candidates of one slot share theirs
        images = self._pool.map(_resized, composites)
        regions = dict(zip(distinct, self._pool.map(_regions, distinct.values()), strict=True))
        inputs = {
            "image": np.stack(list(images)),
            "foreground": np.stack([regions[id(mask)][0] for mask in masks]),
            "background": np.stack([regions[id(mask)][1] for mask in masks]),
        }
        return tuple(self._engine.run(inputs)["score"].tolist())


def _resized(picture: Pixels) -> Pixels:
    return resample(picture, SIDE, SIDE, _RESIZE)


def _regions(mask: Matte) -> tuple[Matte, Matte]:
    """Return the masks of foreground and background at the network's size.

    Each is resized on its own, as its authors do.
    """
    foreground, background = (_resized(part) for part in (mask, 255 - mask))
    check_regions(foreground, background)
    return foreground, background


def check_regions(foreground: Matte, background: Matte) -> None:
    """Raise ``ImageError`` where one of two masks at the network's size marks next to nothing."""
    if np.count_nonzero(foreground >= 128) < _LEAST_PIXELS:
        raise ImageError("mask: marks no foreground; check the matte or enlarge the slot")
    if np.count_nonzero(background >= 128) < _LEAST_PIXELS:
        raise ImageError("mask: leaves no background to compare with; shrink the slot")
