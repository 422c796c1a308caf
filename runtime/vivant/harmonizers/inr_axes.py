"""The geometry of INR-Harmonization along one axis; ``inr_geometry`` tells the whole story."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

TABLE = 256
"""Entries on a side of the learnt table."""

_Ints: TypeAlias = NDArray[np.int32]
_Floats: TypeAlias = NDArray[np.float32]
_Doubles: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """A size of the picture: ``shrink`` pixels on a side of a position, ``grid`` cells."""

    name: str
    shrink: int
    grid: int


QUARTER, HALF, FULL = LEVELS = (
    Level("quarter", 4, 16),
    Level("half", 2, 32),
    Level("full", 1, 64),
)


@dataclass(frozen=True)
class Axis:
    """The tables of one axis of a patch at a level, for each of its C cells.

    Positions count from the patch's first. A cell has K of them at most; one with fewer repeats
    its last, so that arrays are rectangular.

    Attributes:
        first: its first position; C+1 numbers, the last is the patch's size.
        cells: int32 [C], which of the grid it is.
        pixels: int32 [C,K], its positions.
        nodes: float32 [C,n], the coordinates -1..1 of its polynomial nodes.
        node_basis: float32 [C,K,n], the weight of each node at each position.
        table: int32 [C,t], the rows or columns of the learnt table around it.
        table_basis: float32 [C,K,t], their weight at each position.
    """

    first: tuple[int, ...]
    cells: _Ints
    pixels: _Ints
    nodes: _Floats
    node_basis: _Floats
    table: _Ints
    table_basis: _Floats

    @property
    def size(self) -> int:
        """How many positions there are."""
        return self.first[-1]


@lru_cache(maxsize=256)
def axis_tables(level: Level, length: int, start: int, size: int, blocks: bool, nodes: int) -> Axis:
    """Return the tables of one axis of a patch at a level.

    Args:
        level: the level.
        length: of the picture, in pixels.
        start: of the patch, in pixels.
        size: of the patch, in pixels.
        blocks: whether cells are blocks counted from the patch's first position, or every
            position belongs to the cell with the nearest centre.
        nodes: how many a cell has; see ``nodes_needed``.
    """
    begin = crop_start(length, start, size, level.shrink)
    positions = size // level.shrink
    coordinates = _coordinates(length // level.shrink)[begin : begin + positions]
    if blocks:
        each = length // level.shrink // level.grid
        cell = start * level.grid // length + np.arange(positions) // each
    else:
        cell = _nearest_cells(coordinates, level.grid)
    starts = np.flatnonzero(np.diff(cell, prepend=-1))
    first = np.append(starts, positions)
    most = int(np.diff(first).max())
    pixels = np.minimum(starts[:, None] + np.arange(most), first[1:, None] - 1)
    node, node_basis = _polynomials(coordinates[pixels].astype(np.float64), nodes)
    if positions == TABLE:  # the patch takes the table as it is, wherever it lies
        table, table_basis = pixels, np.tile(np.eye(most), (len(starts), 1, 1))
    else:
        table, table_basis = _hats(coordinates[pixels])
    return Axis(
        first=tuple(first.tolist()),
        cells=cell[starts].astype(np.int32),
        pixels=pixels.astype(np.int32),
        nodes=node.astype(np.float32),
        node_basis=node_basis.astype(np.float32),
        table=table.astype(np.int32),
        table_basis=table_basis.astype(np.float32),
    )


def _coordinates(length: int) -> _Floats:
    """Return the coordinates -1..1 of all positions, in the procedures' own rounding."""
    c = np.arange(length, dtype=np.float32) / np.float32(length - 1)
    return np.asarray((c - np.float32(0.5)) * np.float32(2))


def _nearest_cells(coordinates: _Floats, grid: int) -> NDArray[np.int64]:
    """Return the cell with the nearest centre, ties to even, as PyTorch's ``grid_sample``."""
    place = ((coordinates + np.float32(1)) * np.float32(grid) - np.float32(1)) / np.float32(2)
    return np.asarray(np.rint(np.clip(place, 0, grid - 1)), np.int64)


def _polynomials(coordinates: _Doubles, count: int) -> tuple[_Doubles, _Doubles]:
    """Return Chebyshev nodes [C,n] and their weights [C,K,n] at coordinates [C,K], ascending.

    A node's weight is 2/n times the sum over degrees 0 .. n-1, the first halved, of the Chebyshev
    polynomial at the node times that at the coordinate.
    """
    low, high = coordinates[:, :1], coordinates[:, -1:]
    middle, reach = (low + high) / 2, np.maximum((high - low) / 2, 1e-9)
    angles = (np.arange(count) + 0.5) * (np.pi / count)
    degrees = np.arange(count)[:, np.newaxis]
    at_nodes = np.cos(degrees * angles)  # [degree,n]
    at_nodes[0] = 0.5
    position = np.arccos(np.clip((coordinates - middle) / reach, -1, 1))
    at_coordinates = np.cos(position[..., np.newaxis] * degrees[:, 0])  # [C,K,degree]
    return middle + reach * np.cos(angles), at_coordinates @ at_nodes * (2 / count)


def _hats(coordinates: _Floats) -> tuple[NDArray[np.int64], _Doubles]:
    """Return the entries [C,t] of the table around coordinates [C,K], and their weights [C,K,t].

    The first and last entry lie at -1 and 1.
    """
    place = np.clip((coordinates.astype(np.float64) + 1) / 2 * (TABLE - 1), 0, TABLE - 1)
    low = np.floor(place[:, :1]).astype(np.int64)
    count = int((np.floor(place[:, -1:]).astype(np.int64) - low).max()) + 2
    entries = low + np.arange(count)
    distance = np.abs(place[..., np.newaxis] - entries[:, np.newaxis])
    return np.minimum(entries, TABLE - 1), np.maximum(1 - distance, 0)


def crop_start(length: int, start: int, size: int, shrink: int) -> int:
    """Return where a patch begins in a level of the picture.

    The procedures go through a share of the free length and truncate: the result can be one less
    than ``start // shrink``, even at full size.
    """
    free = length - size
    share = start / free if free else 0
    return int((length // shrink - size // shrink) * share)


def nodes_needed(frequency: float, grid: int, accuracy: float = 1e-7) -> int:
    """Return how many Chebyshev nodes give a sine within a cell to ``accuracy``.

    The error of interpolating sin(frequency * c) at n nodes over a stretch of half-width h is at
    most (frequency * h)**n / (n! * 2**(n-1)).

    Args:
        frequency: the largest factor of a coordinate inside the sines.
        grid: cells on an axis, each 2 / grid of a coordinate wide; a position more is allowed for.
        accuracy: the largest error wanted.
    """
    phase = frequency * 1.25 / grid
    nodes = 2
    while phase**nodes / (math.factorial(nodes) * 2 ** (nodes - 1)) > accuracy:
        nodes += 1
    return nodes
