"""Which pixels make up which when a picture is resized: taps for ``kernels.resample``.

Resizing is one weighted sum along the rows and one along the columns. What tells the methods
apart is the weights alone, so one kernel carries out all of them. Each function here gives the
weights along one axis as the library that it names computes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Indices = NDArray[np.int64]
_Weights = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Table:
    """Output *i* of *n* is the sum over *j* of ``weights[i, j] * source[first[i] + j]``.

    Attributes:
        first: int32 [n], at least 0; ``first + k`` is at most the source's length.
        weights: float32 [n,k].
    """

    first: NDArray[np.int32]
    weights: NDArray[np.float32]

    def window(self, start: int, stop: int) -> Table:
        """Return the table of outputs ``start`` to ``stop`` (one past the last) alone.

        Raises:
            ValueError: there are no such outputs.
        """
        if not 0 <= start < stop <= len(self.first):
            raise ValueError(f"outputs {start} to {stop} of {len(self.first)}")
        return Table(self.first[start:stop], self.weights[start:stop])

    def moved(self, offset: int) -> Table:
        """Return the table for a source that begins ``offset`` entries into a larger one.

        Raises:
            ValueError: it would reach before the larger one.
        """
        first = self.first + np.int32(offset)
        if first.min() < 0:
            raise ValueError(f"taps from {int(first.min())} on: before the first pixel")
        return Table(first, self.weights)

    def mirrored(self, n_in: int) -> Table:
        """Return the table for a source of ``n_in`` entries that is read from its end.

        Raises:
            ValueError: it was made for a longer source.
        """
        first = n_in - self.weights.shape[1] - self.first
        if first.min() < 0:
            raise ValueError(f"a source of {n_in} entries; the taps reach beyond")
        return Table(first.astype(np.int32), np.ascontiguousarray(self.weights[:, ::-1]))


def identity(n: int) -> Table:
    """Return what leaves an axis as it is."""
    return Table(np.arange(n, dtype=np.int32), np.ones((n, 1), np.float32))


def bilinear(n_in: int, n_out: int) -> Table:
    """Return what lies between the two nearest pixels, centres at half, without antialiasing.

    PyTorch's ``interpolate(mode="bilinear", align_corners=False)``.
    """
    return _linear(_places(n_in, n_out), n_in)


opencv_linear = bilinear
"""The taps of OpenCV's INTER_LINEAR, which is the same on floats."""


def fixed_linear(n_in: int, n_out: int) -> NDArray[np.int32]:
    """Return how OpenCV's INTER_LINEAR makes bytes, for ``kernels.resample_fixed``.

    Returns:
        int32 [n_out,3]: a pixel, another, and how much the other one counts, of 2048.
    """
    place = _places(n_in, n_out).astype(np.float32)  # OpenCV's precision
    before = np.floor(place)
    share = np.rint((place - before) * np.float32(2048))
    pair = np.clip(before[:, None].astype(np.int32) + np.arange(2), 0, n_in - 1)
    return np.column_stack([pair, share]).astype(np.int32)


def opencv_cubic(n_in: int, n_out: int) -> Table:
    """Return the taps of OpenCV's INTER_CUBIC: four pixels, a = -0.75, no antialiasing."""
    place = _places(n_in, n_out)
    before = np.floor(place)
    index = before[:, None].astype(np.int64) + np.arange(-1, 3)
    return _table(index, _cubic(place[:, None] - index, -0.75), n_in)


def opencv_area(n_in: int, n_out: int) -> Table:
    """Return the taps of OpenCV's INTER_AREA: pixels weigh by how much of them is covered.

    Enlarged, the covered pixels are two at most, as OpenCV has it where no axis shrinks. Where
    one axis shrinks and the other grows OpenCV treats both as enlarged; this does not know it.
    """
    scale = n_in / n_out
    if n_out > n_in:
        step = np.arange(n_out)
        before = np.floor(step * scale)
        share = (step + 1) - (before + 1) / scale
        share = np.where(share <= 0, 0, share - np.floor(share))
        return _linear(before + share, n_in)
    edges = np.arange(n_out + 1) * scale
    index = np.floor(edges[:-1, None]).astype(np.int64) + np.arange(math.ceil(scale) + 1)
    start, stop = edges[:-1, None], edges[1:, None]
    covered = np.minimum(index + 1, stop) - np.maximum(index, start)
    covered[covered < 1e-3] = 0  # as OpenCV drops them: what rounding leaves
    return _table(index, covered / covered.sum(axis=1, keepdims=True), n_in)


def antialiased_bilinear(n_in: int, n_out: int) -> Table:
    """Return the taps of Pillow's BILINEAR, which widens to take in every pixel."""
    return _antialiased(lambda distance: np.maximum(1 - np.abs(distance), 0), 1, n_in, n_out)


def antialiased_bicubic(n_in: int, n_out: int) -> Table:
    """Return the taps of Pillow's BICUBIC, which widens to take in every pixel."""
    return _antialiased(lambda distance: _cubic(distance, -0.5), 2, n_in, n_out)


def _places(n_in: int, n_out: int) -> _Weights:
    """Return where the centres of the outputs are in the source."""
    return np.asarray((np.arange(n_out) + 0.5) * (n_in / n_out) - 0.5, np.float64)


def _linear(place: _Weights, n_in: int) -> Table:
    before = np.floor(place)
    share = (place - before)[:, None]
    index = before[:, None].astype(np.int64) + np.arange(2)
    return _table(index, np.hstack([1 - share, share]), n_in)


def _cubic(distance: _Weights, a: float) -> _Weights:
    """Return Keys' cubic convolution at a distance in pixels."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _antialiased(
    filtered: Callable[[_Weights], _Weights], support: float, n_in: int, n_out: int
) -> Table:
    """Return what Pillow's ``precompute_coeffs`` makes of a filter."""
    scale = n_in / n_out
    wide = max(scale, 1.0)
    centre = ((np.arange(n_out) + 0.5) * scale)[:, None]
    # Truncated, not floored, as in C; the clip to 0 makes it the same.
    low = np.maximum(np.trunc(centre - support * wide + 0.5), 0).astype(np.int64)
    high = np.minimum(np.trunc(centre + support * wide + 0.5), n_in).astype(np.int64)
    index = low + np.arange(math.ceil(support * wide) * 2 + 1)
    weights = np.where(index < high, filtered((index - centre + 0.5) / wide), 0)
    return _table(index, weights / weights.sum(axis=1, keepdims=True), n_in)


def _table(index: _Indices, weights: _Weights, n_in: int) -> Table:
    """Make a table of weights [n,k] of pixels [n,k]; those beyond the border are the border's."""
    used = weights != 0
    index = np.clip(index, 0, n_in - 1)
    low = np.where(used, index, n_in - 1).min(axis=1)
    high = np.where(used, index, low[:, None]).max(axis=1)
    taps = int((high - low).max()) + 1
    first = np.minimum(low, n_in - taps)
    dense = np.zeros((len(index), taps))
    row, _ = np.nonzero(used)
    np.add.at(dense, (row, (index - first[:, None])[used]), weights[used])
    return Table(first.astype(np.int32), dense.astype(np.float32))
