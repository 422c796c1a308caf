"""The geometry of INR-Harmonization: which position of a picture meets which numbers.

**Cells.** The encoder lays a grid of 64x64 cells over the whole picture, whatever its shape, and
gives each cell a small MLP of its own. A pixel runs through the MLP of the cell that it lies in.

**Levels.** That happens on three sizes of the picture, each with its own grid: the *quarter*
size (16x16 cells), the *half* size (32x32) and the *full* size (64x64). A pixel of a level is
called a position, and a cell covers about as many positions on each level.

**Patches.** The published procedures cut the picture into square patches and run the three levels
on each alone (``Layout``). They do it in two ways. *Square* takes square pictures and patches of
whole cells. *Arbitrary* takes any picture, and a position belongs to the cell whose centre is
nearest; its patches cut through cells.

**What an MLP is given at a position** comes from four places:

- *The position itself*: y and x in -1..1 over the whole picture, and 32 sines of a learnt linear
  function of them.
- *A learnt table* of 256x256 entries, which is stretched over the picture and sampled
  bilinearly. But where a patch has exactly 65,536 positions on a level, position p gets entry p.
- *The picture*: R, G, B and mask.
- *The level below* (none for the quarter level): its 32 channels, enlarged bilinearly to this
  level's size. The network was trained with the channels of [32,S,S] read as though they were
  [S,S,32], so position p gets the numbers 32p .. 32p+31 of that memory: a piece of one row of
  one channel. What a position is given comes from anywhere in the patch, so that the result
  depends on the patches; yet of the level below it takes only a piece of two rows.

**Axes.** All this is separable, so that small tables for y and for x say everything (``Axis``).
The first two inputs change slowly within a cell, or linearly between entries of the table, and
enter the first layer linearly. So the layer is evaluated at a few *nodes* of a cell, a product
grid, and interpolated: polynomially between Chebyshev nodes for the sines, with hats (linear
splines) between the entries of the table. Both are small matrices. With as many nodes as
``inr_axes.nodes_needed`` tells, the polynomials are exact to the rounding of float32.

**Tiles.** A level is computed tile by tile (``Tile``): in one row of cells, some cells wide, so
that what is computed at a time stays small, however large the picture. Only cells with wanted
positions are computed, and of the lower levels the rows that are then needed (``patch_tiles``).

**Quads.** What the encoder gives for a cell of the full level is computed for quads of 2x2 cells,
again only for those that are wanted (``quads``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vivant.errors import ImageError
from vivant.harmonizers.inr_axes import FULL, LEVELS, QUARTER, Axis, Level, axis_tables, crop_start

CHANNELS = 32
"""Numbers that a position hands to the next level."""

MULTIPLE = 256
"""Of which the sides of a picture for the square procedure are multiples."""

SQUARE_SPLITS = (1, 2, 4, 8, 16)
"""Patches on a side in the square procedure: each of them whole cells of every level."""

LEAST_PATCH = 8
"""Side in pixels of the smallest patch: its quarter level has 2x2 positions."""

LEAST_SIDE = 4 * LEAST_PATCH
"""Of a picture in pixels, so that it can be cut up as published."""

MOST_PATCH = 2048
"""Side in pixels of the largest patch: its half level takes 134 MB."""

Corner: TypeAlias = tuple[int, int]
"""Top and left of a patch, in pixels."""

_Ints: TypeAlias = NDArray[np.int32]


@dataclass(frozen=True)
class Layout:
    """How a picture of ``height`` x ``width`` pixels is cut into patches of ``size`` x ``size``.

    ``blocks``: patches consist of whole cells, as in the square procedure; else each position
    belongs to the cell with the nearest centre, as in the arbitrary one.
    """

    height: int
    width: int
    size: int
    blocks: bool

    @cached_property
    def corners(self) -> tuple[Corner, ...]:
        """Top and left of each patch, row by row; later ones lie over earlier ones."""
        return tuple(
            (min(top, self.height - self.size), min(left, self.width - self.size))
            for top in range(0, self.height, self.size)
            for left in range(0, self.width, self.size)
        )

    @property
    def aligned(self) -> bool:
        """Whether every patch is read where it belongs: see ``crop``."""
        return all(self.crop(corner) == corner for corner in self.corners)

    def crop(self, corner: Corner) -> Corner:
        """Return top and left of the pixels that the procedures read for the patch at ``corner``.

        They truncate where they should round, so it can be a pixel too early.
        """
        top, left = (
            crop_start(length, start, self.size, FULL.shrink)
            for length, start in zip((self.height, self.width), corner, strict=True)
        )
        return top, left

    def axes(self, level: Level, corner: Corner, nodes: int) -> tuple[Axis, Axis]:
        """Return the tables for y and x of the patch at ``corner``, with ``nodes`` a cell."""
        y, x = (
            axis_tables(level, length, start, self.size, self.blocks, nodes)
            for length, start in zip((self.height, self.width), corner, strict=True)
        )
        return y, x


def square_layout(side: int, size: int) -> Layout:
    """Return the layout of the square procedure: ``size`` is a multiple of ``side / 16``."""
    return Layout(side, side, size, blocks=True)


def arbitrary_layout(height: int, width: int, split: int = 4) -> Layout:
    """Return the layout of the arbitrary procedure: ``split`` patches along the shorter side."""
    side = min(height, width) // split
    return Layout(height, width, side + -side % 4, blocks=False)


def published_layout(height: int, width: int, split: int | None = None) -> Layout:
    """Return the layout of the published procedure for a picture, of ``LEAST_SIDE`` at least.

    The square procedure's where it can be had, the arbitrary procedure's otherwise.

    Args:
        height: of the picture.
        width: of the picture.
        split: patches along the shorter side. None is for the procedures' own: 4; in the square
            one as few as keep a patch within ``MOST_PATCH`` pixels.

    Raises:
        ImageError: the procedure cannot cut the picture so.
    """
    shorter = min(height, width)
    if height == width and height % MULTIPLE == 0:
        if split is None:
            split = next((n for n in SQUARE_SPLITS if height // n <= MOST_PATCH), SQUARE_SPLITS[-1])
        if split not in SQUARE_SPLITS:
            raise ImageError(
                f"composite: {width}x{height} cannot be cut into {split} patches a side; "
                f"choose a split of {', '.join(map(str, SQUARE_SPLITS))}"
            )
        return square_layout(height, height // split)
    split = 4 if split is None else split
    # A patch's side is made a multiple of 4, and a whole picture may be none.
    least, most = (1 if shorter % 4 == 0 else 2), shorter // LEAST_PATCH
    if not least <= split <= most:
        raise ImageError(
            f"composite: {width}x{height} cannot be cut into {split} patches along its shorter "
            f"side; choose a split of {least} to {most}"
        )
    return arbitrary_layout(height, width, split)


def best_layout(height: int, width: int) -> Layout:
    """Return the published layout that suits a picture, of ``LEAST_SIDE`` at least.

    That is ``published_layout``; but where it would read some patches a pixel off, as in one size
    of ten, it has another number of patches.
    """
    layouts = [published_layout(height, width)]
    if not layouts[0].blocks:
        layouts += [arbitrary_layout(height, width, split) for split in (3, 5, 2, 6)]
    return next((layout for layout in layouts if layout.aligned), layouts[0])


@dataclass(frozen=True, eq=False)
class Tile:
    """Positions of a patch at a level: ``rows`` of one row of cells, from ``start`` to ``stop``.

    The columns that are computed are ``columns``; ``window`` are those around them of which the
    level's graph wants the picture and the level below, for these come in whole rows of memory.
    """

    y: Axis
    x: Axis
    row: int
    rows: NDArray[np.int64]
    start: int
    stop: int

    @property
    def cells(self) -> tuple[int, _Ints]:
        """Row and columns in the grid of cells."""
        return int(self.y.cells[self.row]), self.x.cells[self.start : self.stop]

    @cached_property
    def columns(self) -> slice:
        """The positions on x."""
        return slice(self.x.first[self.start], self.x.first[self.stop])

    @cached_property
    def window(self) -> slice:
        """The positions on x that begin and end with a row of memory; see ``below``."""
        return whole_rows(self.x.size, self.columns)

    def tables(self) -> dict[str, NDArray[Any]]:
        """Return the inputs of a level's graph that say where the tile is.

        ``y_nodes`` [n], ``y_node_basis`` [rows,n], ``y_table`` [t], ``y_table_basis`` [rows,t],
        and the same of x for each cell, ``x_nodes`` [C,n], ``x_node_basis`` [C,K,n] and so on, are
        those of ``Axis``. ``positions`` int32 [C,rows,K] tells where each cell's positions are in
        the window, row by row; ``raster`` int32 [rows,columns] where each of the tile's positions
        is among those of the cells.
        """
        cells, rows = slice(self.start, self.stop), self.rows - self.y.first[self.row]
        first = np.array(self.x.first[self.start : self.stop + 1], np.int32)
        most = np.int32(self.x.pixels.shape[1])
        cell = np.repeat(np.arange(len(first) - 1, dtype=np.int32), np.diff(first))
        within = np.arange(first[0], first[-1], dtype=np.int32) - first[cell]
        number = np.arange(len(rows), dtype=np.int32)[:, np.newaxis]
        wide = np.int32(self.window.stop - self.window.start)
        columns = self.x.pixels[cells] - np.int32(self.window.start)
        return {
            "y_nodes": self.y.nodes[self.row],
            "y_node_basis": self.y.node_basis[self.row, rows],
            "y_table": self.y.table[self.row],
            "y_table_basis": self.y.table_basis[self.row, rows],
            "x_nodes": self.x.nodes[cells],
            "x_node_basis": self.x.node_basis[cells],
            "x_table": self.x.table[cells],
            "x_table_basis": self.x.table_basis[cells],
            "positions": number * wide + columns[:, np.newaxis],
            "raster": number * most + (cell * (np.int32(len(rows)) * most) + within),
        }

    @cached_property
    def below(self) -> dict[str, _Ints]:
        """The inputs of a level's graph that say which rows of the level below it takes."""
        return lines_below(self.x.size, self.rows, self.window)


def lines_below(size: int, rows: NDArray[np.int64], window: slice) -> dict[str, _Ints]:
    """Return which rows of the level below a level of [S,S] positions takes.

    The level below is [32,S/2,S/2], its rows counted through all channels. Enlarged twofold, with
    pixel centres at half, row q lies at a quarter between two of them: ``near`` counts 3/4,
    ``far`` 1/4, and beyond a channel's border the border is repeated.

    Args:
        size: S.
        rows: of the level.
        window: its columns, which begin and end with a row of memory.

    Returns:
        ``near`` and ``far``, int32 [rows,m]: what the window's positions of one of the rows are
        given are m rows.
    """
    start, stop = (CHANNELS * edge // size for edge in (window.start, window.stop))
    channel, q = np.divmod(CHANNELS * rows[:, np.newaxis] + np.arange(start, stop), size)
    half = size // 2
    near = q // 2
    far = np.minimum(np.maximum(near + (2 * (q % 2) - 1), 0), half - 1)
    return {
        "near": (channel * half + near).astype(np.int32),
        "far": (channel * half + far).astype(np.int32),
    }


def whole_rows(size: int, columns: slice) -> slice:
    """Return the columns around ``columns``, of S, that begin and end with a row of memory."""
    unit = size // math.gcd(size, CHANNELS)
    return slice(columns.start // unit * unit, -(-columns.stop // unit) * unit)


def patch_tiles(
    layout: Layout,
    corner: Corner,
    wanted: NDArray[np.bool_],
    nodes: Mapping[str, int],
    area: int,
) -> dict[Level, list[Tile]]:
    """Return the tiles of each level that give a patch its wanted pixels, lowest level first.

    Args:
        layout: which patches there are.
        corner: the patch's.
        wanted: bool [size,size], pixels of the patch.
        nodes: of a cell, by level.
        area: about how many positions a tile may have; a single cell may have more.
    """
    found: dict[Level, list[Tile]] = {}
    for level in reversed(LEVELS):
        axes = layout.axes(level, corner, nodes[level.name])
        found[level] = list(tiles(*axes, wanted, area))
        half = layout.size // level.shrink // 2
        rows = np.zeros(half, bool)
        if level is not QUARTER:
            for tile in found[level]:
                for lines in tile.below.values():
                    rows[lines % half] = True
        # A row of the level below is wanted in some channel, and is computed in all.
        wanted = np.broadcast_to(rows[:, np.newaxis], (half, half))
    return {level: found[level] for level in LEVELS}


def tiles(y: Axis, x: Axis, wanted: NDArray[np.bool_], area: int) -> Iterator[Tile]:
    """Yield tiles of about ``area`` positions that cover what is ``wanted`` of a patch.

    Args:
        y: tables of the patch's rows.
        x: tables of its columns.
        wanted: bool [S,S].
        area: the most positions of a tile; a single cell may have more.
    """
    across = max(1, area // (y.pixels.shape[1] * x.pixels.shape[1]))
    columns = np.stack([wanted[first:end].any(axis=0) for first, end in pairwise(y.first)])
    needed = np.logical_or.reduceat(columns, x.first[:-1], axis=1)  # of the cells
    steps = np.diff(np.pad(needed, ((0, 0), (1, 1))))
    lines = np.logical_or.reduce(wanted, axis=1)
    for row in np.flatnonzero(needed.any(axis=1)).tolist():
        first, end = y.first[row : row + 2]
        rows = first + np.flatnonzero(lines[first:end])
        for start, stop in np.flatnonzero(steps[row]).reshape(-1, 2).tolist():
            parts = -(-(stop - start) // across)
            bounds = [start + (stop - start) * part // parts for part in range(parts + 1)]
            for part_start, part_stop in pairwise(bounds):
                yield Tile(y, x, row, rows, part_start, part_stop)


def quads(wanted: NDArray[np.bool_]) -> tuple[_Ints, _Ints]:
    """Return the quads of 2x2 cells that hold wanted cells, and where each cell comes out.

    Args:
        wanted: bool [G,G].

    Returns:
        For each of Q quads the 4x4 cells of which it is the middle, row by row, int32 [Q,16];
        beyond the grid they are G*G. And for each cell its place among the 4Q cells of all quads,
        int32 [G,G], -1 where it has none.
    """
    grid = len(wanted)
    y, x = 2 * np.argwhere(wanted.reshape(grid // 2, 2, grid // 2, 2).any(axis=(1, 3))).T
    rows, columns = y[:, None] + np.arange(-1, 3), x[:, None] + np.arange(-1, 3)
    index = rows[:, :, None] * grid + columns[:, None]
    inside = (rows[:, :, None] // grid == 0) & (columns[:, None] // grid == 0)
    places = np.full((grid, grid), -1, np.int32)
    for row, column in np.ndindex(2, 2):
        places[y + row, x + column] = 4 * np.arange(len(y)) + 2 * row + column
    return np.where(inside, index, grid * grid).reshape(-1, 16).astype(np.int32), places
