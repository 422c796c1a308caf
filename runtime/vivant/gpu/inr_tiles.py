"""How INR-Harmonization is computed on a device: in few, wide runs, with all tables in one block.

What levels, patches, cells and axes are is told in ``vivant.harmonizers.inr_geometry``. There a
tile is as small as a core's cache wants it. A GPU wants much at a time, for every launch takes
some microseconds; so here

- a *band* is a row of patches side by side, computed together: what a level gives them lies as
  [channels, S, patches * S], and the level above counts the rows of that memory accordingly;
- a *strip* is some of a band's columns at a level: all of them, unless they are too many;
- a *run* is a row of cells of a strip, and one run of the level's graph.

That is possible since patches side by side have the same tables for y, and every cell brings its
own for x. Of the two lower levels everything is computed, as the level above takes a piece of
nearly every row. Where patches overlap, pixels are computed for the one that is laid on top.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby, pairwise
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vivant.backends.device import Buffer, Shape
from vivant.gpu.roles import Region
from vivant.harmonizers.inr_axes import FULL, LEVELS, QUARTER, Axis, Level, axis_tables
from vivant.harmonizers.inr_geometry import MOST_PATCH, Layout, lines_below, quads, whole_rows

AREA = 1 << 16
"""Positions of a run, about, at most. That is a row of cells of almost any picture of up to four
megapixels, and keeps a GPU busy. More would only take more memory, some 500 bytes each."""

MOST_PATCHES = 32
"""Patches of a band, at most, and no more than take the memory of the largest single one."""

_Ints: TypeAlias = NDArray[np.int32]

_ALIGNMENT = 256  # in bytes: what TensorRT asks of the address of each input
_BLOCK = 1 << 22  # in bytes, of the smallest block; larger ones are twice that, and so on


@dataclass(frozen=True)
class Table:
    """An array within a plan's block."""

    offset: int
    shape: Shape
    dtype: np.dtype[Any]

    def on(self, block: Buffer) -> Buffer:
        """Return where it is on the device, if the plan's block is at ``block``."""
        return block.part(self.offset, self.shape, self.dtype)


@dataclass(frozen=True)
class Run:
    """A row of cells of a strip.

    Attributes:
        inputs: of the level's graph, those that say where it is.
        pixels: int32 [rows], the first pixel row under each of its rows.
        row: its first row in what the level computes.
    """

    inputs: Mapping[str, Table]
    pixels: Table
    row: int


@dataclass(frozen=True)
class Strip:
    """Columns of a band at a level.

    Attributes:
        pixels: int32 [window], the first pixel column under each position that it reads.
        column: its first column in what the level computes.
        columns: how many it has.
        runs: from top to bottom.
    """

    pixels: Table
    column: int
    columns: int
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Band:
    """Patches side by side: how many, and their strips by level, from the lowest on."""

    patches: int
    strips: Mapping[Level, tuple[Strip, ...]]


@dataclass(frozen=True, eq=False)
class Plan:
    """All there is to compute of a region of a picture.

    Attributes:
        bands: in any order. What they compute of the full level is [3,height,width] of the region.
        quads: int32 [Q,16], of the full level's cells those to make MLPs of.
        block: uint8, all tables, to be copied to the device as they are.
    """

    bands: tuple[Band, ...]
    quads: Table
    block: NDArray[np.uint8]


def plan(layout: Layout, region: Region, nodes: Mapping[str, int], area: int = AREA) -> Plan:
    """Return how the colours of a region are computed.

    Args:
        layout: how the picture is cut up.
        region: of the picture, not empty.
        nodes: how many a cell has, by level.
        area: about how many positions a run may have; a single cell may have more.
    """
    down = _spans(layout, nodes, 0, region.y, region.height)
    across = _spans(layout, nodes, 1, region.x, region.width)
    index, places = _wanted_quads(down[FULL], across[FULL])
    block = _Block()
    bands = []
    most = min(max(1, MOST_PATCH**2 // layout.size**2), MOST_PATCHES)
    for first in range(0, len(across[FULL]), most):
        group = {level: across[level][first : first + most] for level in LEVELS}
        strips = {level: _strips(block, level, group[level], down[level], area) for level in LEVELS}
        for rows in zip(*(down[level] for level in LEVELS), strict=True):
            found = {
                level: tuple(
                    strip.along(span, places if level is FULL else _all_places(level.grid))
                    for strip in strips[level]
                )
                for level, span in zip(LEVELS, rows, strict=True)
            }
            bands.append(Band(len(group[FULL]), found))
    return Plan(tuple(bands), block.put(index), block.joined())


@dataclass(frozen=True)
class _Span:
    """A patch's rows, or its columns, at a level.

    Attributes:
        axis: their tables.
        read: the first pixel under them, see ``Layout.crop``.
        wanted: which are to be computed. Those that a later patch lies over are not.
        place: of the first one in what the full level computes; below 0 where it is not wanted.
    """

    axis: Axis
    read: int
    wanted: range
    place: int

    @property
    def cells(self) -> range:
        """Those with wanted positions."""
        first = self.axis.first
        start = bisect_right(first, self.wanted.start) - 1
        return range(start, bisect_left(first, self.wanted.stop))

    def within(self, start: int, stop: int) -> range:
        """Return the wanted positions of the cells from ``start`` to ``stop``."""
        first = self.axis.first
        return range(max(self.wanted.start, first[start]), min(self.wanted.stop, first[stop]))


def _spans(
    layout: Layout, nodes: Mapping[str, int], along: int, begin: int, count: int
) -> dict[Level, list[_Span]]:
    """Return the rows (``along`` 0) or columns (1) of patches with some of ``count`` pixels."""
    length = (layout.height, layout.width)[along]
    starts = sorted({corner[along] for corner in layout.corners})
    spans: dict[Level, list[_Span]] = {level: [] for level in LEVELS}
    for start, end in pairwise([*starts, length]):
        wanted = range(max(start, begin) - start, min(end, begin + count) - start)
        if not wanted:
            continue
        read = layout.crop((start, start))[along]
        for level in LEVELS:
            axis = axis_tables(level, length, start, layout.size, layout.blocks, nodes[level.name])
            taken = wanted if level is FULL else range(axis.size)
            spans[level].append(_Span(axis, read, taken, start - begin))
    return spans


def _wanted_quads(down: Iterable[_Span], across: Iterable[_Span]) -> tuple[_Ints, _Ints]:
    """Return ``quads`` of the full level's cells."""
    wanted = np.zeros((FULL.grid, FULL.grid), bool)
    rows, columns = (
        np.concatenate([span.axis.cells[span.cells.start : span.cells.stop] for span in spans])
        for spans in (down, across)
    )
    wanted[np.ix_(rows, columns)] = True
    return quads(wanted)


@cache
def _all_places(grid: int) -> _Ints:
    return quads(np.ones((grid, grid), bool))[1]


class _Block:
    """Arrays that are copied to the device together."""

    def __init__(self) -> None:
        self._arrays: list[NDArray[Any]] = []
        self._end = 0

    def put(self, array: NDArray[Any]) -> Table:
        """Take an array in, whole, and return where it will be."""
        table = Table(self._end, array.shape, array.dtype)
        self._arrays.append(array)
        self._end += array.nbytes + -array.nbytes % _ALIGNMENT
        return table

    def joined(self) -> NDArray[np.uint8]:
        """Return all of it as bytes. They are of few sizes: pinned memory is kept by size."""
        block = np.empty(max(_BLOCK, 1 << (self._end - 1).bit_length()), np.uint8)
        end = 0
        for array in self._arrays:
            block[end : end + array.nbytes] = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
            end += array.nbytes + -array.nbytes % _ALIGNMENT
        return block


@dataclass(frozen=True, eq=False)
class _Columns:
    """A strip's columns: some of the cells of patches side by side.

    Attributes:
        level: the strip's.
        place: of the first wanted column in what the level computes.
        pixels: int32 [window], the first pixel under each position that is read.
        cells: int32 [C], columns in the grid of cells.
        tables: the inputs "x_..." of the level's graph.
        inside: int32 [C,K], the place of each cell's positions in the window.
        cell: int32 [columns], which of the C cells each wanted column is in.
        within: int32 [columns], and where in that.
        below: for the rows of a patch, the inputs "near" and "far"; int32 [S,m].
    """

    level: Level
    place: int
    pixels: _Ints
    cells: _Ints
    tables: Mapping[str, NDArray[Any]]
    inside: _Ints
    cell: _Ints
    within: _Ints
    below: Mapping[str, _Ints]

    def shape(self, rows: int) -> dict[str, _Ints]:
        """Return the inputs "positions" and "raster" for a run of ``rows``."""
        row = np.arange(rows, dtype=np.int32)[:, np.newaxis]
        most = np.int32(self.inside.shape[1])
        positions = row * np.int32(len(self.pixels)) + self.inside[:, np.newaxis]
        raster = row * most + (self.cell * (np.int32(rows) * most) + self.within)
        return {"positions": positions, "raster": raster}


def _columns(
    level: Level, across: Sequence[_Span], pieces: Sequence[tuple[int, int, int]]
) -> _Columns:
    """Return the columns of pieces: the number of a patch, its first cell, one past its last.

    Cells of two patches may differ in how many positions, and entries of the learnt table, they
    have. All get as many as any; what is added is not read, or has no weight.
    """
    found: dict[str, list[NDArray[Any]]] = {}
    axes = [across[number].axis for number, _, _ in pieces]
    most, entries = (max(axis.table_basis.shape[i] for axis in axes) for i in (1, 2))
    window = count = 0
    for (number, start, stop), x in zip(pieces, axes, strict=True):
        span, cells = across[number], slice(start, stop)
        read = whole_rows(x.size, slice(x.first[start], x.first[stop]))
        wanted = np.array(span.within(start, stop))
        cell = np.searchsorted(x.first, wanted, "right") - 1
        part = {
            "place": wanted + (span.place if level is FULL else number * x.size),
            "pixels": span.read + level.shrink * np.arange(read.start, read.stop),
            "cells": x.cells[cells],
            "inside": _grown(x.pixels[cells], 1, most) + (window - read.start),
            "cell": cell + (count - start),
            "within": wanted - np.array(x.first)[cell],
            "x_nodes": x.nodes[cells],
            "x_node_basis": _grown(x.node_basis[cells], 1, most),
            "x_table": _grown(x.table[cells], 1, entries),
            "x_table_basis": _grown(
                _grown(x.table_basis[cells], 1, most), 2, entries, mode="constant"
            ),
        }
        if level is not QUARTER:
            below = lines_below(x.size, np.arange(x.size), read)
            part |= {name: (lines * len(across) + number).T for name, lines in below.items()}
        for name, array in part.items():
            found.setdefault(name, []).append(array)
        window, count = window + read.stop - read.start, count + stop - start
    joined = {name: np.concatenate(arrays) for name, arrays in found.items()}
    tables = {name: joined.pop(name) for name in list(joined) if name.startswith("x_")}
    whole = {name: array.astype(np.int32) for name, array in joined.items()}
    below = {name: whole.pop(name).T for name in ("near", "far") if name in whole}
    place = int(whole.pop("place")[0])
    return _Columns(level=level, place=place, tables=tables, below=below, **whole)


def _grown(array: NDArray[Any], axis: int, size: int, mode: Any = "edge") -> NDArray[Any]:
    """Return an array made longer along an axis, by its last entry or by zeros ("constant")."""
    added = size - array.shape[axis]
    if not added:
        return array
    return np.pad(array, [(0, added if i == axis else 0) for i in range(array.ndim)], mode)


class _Maker:
    """Makes a strip's runs; puts the tables that they share into the block once."""

    def __init__(self, block: _Block, columns: _Columns) -> None:
        self._block, self._columns = block, columns
        self._pixels = block.put(columns.pixels)
        self._shared = {name: block.put(array) for name, array in columns.tables.items()}
        self._shapes: dict[int, dict[str, Table]] = {}

    def along(self, rows: _Span, places: _Ints) -> Strip:
        """Return the strip on wanted rows of its patches.

        Args:
            rows: the patches'.
            places: int32 [G,G], where each cell's MLP is; see ``quads``.
        """
        columns = self._columns
        runs = tuple(self._run(rows, row, places) for row in rows.cells)
        return Strip(self._pixels, columns.place, len(columns.cell), runs)

    def _run(self, rows: _Span, row: int, places: _Ints) -> Run:
        y, put, columns = rows.axis, self._block.put, self._columns
        wanted = rows.within(row, row + 1)
        taken = slice(wanted.start - y.first[row], wanted.stop - y.first[row])
        if len(wanted) not in self._shapes:
            shape = columns.shape(len(wanted))
            self._shapes[len(wanted)] = {name: put(array) for name, array in shape.items()}
        inputs = {
            "cells": put(places[y.cells[row], columns.cells]),
            "y_nodes": put(y.nodes[row]),
            "y_node_basis": put(y.node_basis[row, taken]),
            "y_table": put(y.table[row]),
            "y_table_basis": put(y.table_basis[row, taken]),
            **{n: put(lines[wanted.start : wanted.stop]) for n, lines in columns.below.items()},
            **self._shared,
            **self._shapes[len(wanted)],
        }
        step = columns.level.shrink
        pixels = np.arange(wanted.start, wanted.stop, dtype=np.int32) * step + rows.read
        place = wanted.start + (rows.place if columns.level is FULL else 0)
        return Run(inputs, put(pixels), place)


def _strips(
    block: _Block, level: Level, across: Sequence[_Span], down: Iterable[_Span], area: int
) -> list[_Maker]:
    """Return all wanted columns of patches side by side, in as many strips as needed."""
    tallest, widest = (max(span.axis.pixels.shape[1] for span in spans) for spans in (down, across))
    cells = [(number, cell) for number, span in enumerate(across) for cell in span.cells]
    count = -(-len(cells) // max(1, area // (tallest * widest)))
    bounds = [len(cells) * part // count for part in range(count + 1)]
    found = []
    for start, stop in pairwise(bounds):
        pieces = []
        for number, pairs in groupby(cells[start:stop], key=itemgetter(0)):
            taken = [cell for _, cell in pairs]
            pieces.append((number, taken[0], taken[-1] + 1))
        found.append(_Maker(block, _columns(level, across, pieces)))
    return found
