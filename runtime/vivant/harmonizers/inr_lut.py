"""INR-Harmonization's own colour table: the quick way, of any size.

Beside all that a decoder makes of it, the encoder gives a table of 7x7x7 colours (``LutTransform``
of WindVChen/INR-Harmonization, after H. Zeng et al., "Learning Image-Adaptive 3D Lookup Tables",
TPAMI 2020). It is one change of colour for the whole figure: what differs between the face and the
feet is lost. The paper uses it for video, where it costs 0.4 dB. Nothing but the encoder is opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL.ImageFilter import Color3DLUT

from vivant.backends import Engine, open_engine, usable_cores
from vivant.closing import Closing
from vivant.errors import EngineError
from vivant.harmonizers.inr_picture import MODEL, Colours, Place, blend, encode
from vivant.roles import Image, Matte, check_mask
from vivant.store import EngineStore


class LutHarmonizer(Closing):
    """Satisfies ``vivant.roles.Harmonizer`` with the encoder's table."""

    def __init__(self, encoder: Engine, threads: int) -> None:
        """Make a harmonizer of the opened encoder; ``threads`` apply its table."""
        self._encoder = encoder
        self._pool = ThreadPoolExecutor(threads)

    @classmethod
    def open(cls, store: EngineStore, *, threads: int | None = None) -> LutHarmonizer:
        """Open the encoder of the engine ``inr-harmonization`` of ``store``.

        Args:
            store: where it is looked for.
            threads: to compute with; all usable cores unless told otherwise.

        Raises:
            EngineError: the engine is missing, altered, untrained or cannot be opened.
            BackendError: the inference library is not installed.
        """
        threads = threads or usable_cores()
        return cls(open_engine(store.engine(MODEL), "encoder", threads=threads), threads)

    def close(self) -> None:
        """Close the encoder."""
        self._pool.shutdown()
        self._encoder.close()

    def harmonize(
        self, composite: Image, mask: Matte, strengths: Sequence[float]
    ) -> tuple[Image, ...]:
        """Return one picture per strength, 0 (untouched) .. 1 (the table's colours).

        The encoder runs once, at 256x256. The table's colours are blended in by strength and
        mask. Pixels where ``mask`` is 0 come back unchanged; where it is 0 everywhere, all do.

        Args:
            composite: uint8 [H,W,3] RGB, of any size.
            mask: uint8 [H,W].
            strengths: for each picture.

        Raises:
            ImageError: the mask is not of the composite's size.
            EngineError: the encoder's table does not consist of numbers.
        """
        check_mask(composite, mask)
        if not any(strengths) or not mask.any():
            return tuple(composite.copy() for _ in strengths)
        table = encode(self._encoder, composite, mask)["lut3d"]
        check_table(table)
        return blend(composite, mask, strengths, look_up(composite, table), self._pool)


def check_table(values: NDArray[np.float32]) -> None:
    """Raise ``EngineError`` where a table, or what stands for it, is not all numbers."""
    if not np.isfinite(values).all():
        raise EngineError(f"{MODEL}: its table holds no numbers; export it in fp32")


def look_up(picture: Image, table: NDArray[np.float32]) -> Colours:
    """Return what gives the colours of a picture from a table, to the nearest level.

    Args:
        picture: uint8 [H,W,3] RGB.
        table: float32 [1,3,n,n,n]: R, G and B, 0..1, of a colour by its red, green and blue. The
            first and last entry are those of 0 and 255. Between entries it is trilinear; what
            lies beyond 0..1 is cut off there.
    """
    # Pillow wants red to run fastest, and the three channels together.
    entries = np.ascontiguousarray(table[0].transpose(3, 2, 1, 0), np.float32)
    lut = Color3DLUT(table.shape[-1], entries.ravel(), _copy_table=False)

    def colours(place: Place) -> NDArray[np.float32]:
        found = PIL.Image.fromarray(np.ascontiguousarray(picture[place])).filter(lut)
        return np.asarray(found, np.float32)

    return colours
