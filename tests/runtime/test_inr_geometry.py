"""INR-Harmonization's geometry against the plain statement of what it must be."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from vivant.errors import ImageError
from vivant.harmonizers.inr_axes import FULL, HALF, LEVELS, QUARTER, nodes_needed
from vivant.harmonizers.inr_geometry import (
    CHANNELS,
    LEAST_SIDE,
    MOST_PATCH,
    arbitrary_layout,
    best_layout,
    patch_tiles,
    published_layout,
    quads,
    square_layout,
    tiles,
)

FREQUENCY = 2.5
LAYOUTS = [
    square_layout(256, 256),
    square_layout(512, 512),  # its half level has 65,536 positions
    square_layout(512, 256),  # its full level has
    square_layout(768, 384),
    arbitrary_layout(302, 450),  # starts are truncated
    arbitrary_layout(65, 115),  # even at full size
    arbitrary_layout(100, 140, 1),
]


def patches():
    for layout in LAYOUTS:
        for corner in {
            layout.corners[0],
            layout.corners[-1],
            layout.corners[1 % len(layout.corners)],
        }:
            for level in LEVELS:
                yield pytest.param(
                    layout,
                    corner,
                    level,
                    id=f"{layout.height}x{layout.width}-{corner}-{level.name}",
                )


PATCHES = list(patches())


def plain_axis(layout, length, start, level):
    """Coordinate and cell of each position of a patch, one by one."""
    size, count = layout.size // level.shrink, length // level.shrink
    free = length - layout.size
    begin = int((count - size) * (start / free)) if free else 0
    coordinates, cells = [], []
    for i in range(size):
        c = (np.float32(begin + i) / np.float32(count - 1) - np.float32(0.5)) * np.float32(2)
        coordinates.append(c)
        if layout.blocks:
            cells.append((start // level.shrink + i) * level.grid // count)
        else:
            place = ((c + np.float32(1)) * np.float32(level.grid) - np.float32(1)) / np.float32(2)
            cells.append(round(min(max(float(place), 0), level.grid - 1)))
    return np.array(coordinates), np.array(cells)


@pytest.mark.parametrize(("layout", "corner", "level"), PATCHES)
def test_an_axis_position_by_position(layout, corner, level):
    nodes = nodes_needed(FREQUENCY, level.grid)
    lengths = (layout.height, layout.width)
    for axis, length, start in zip(layout.axes(level, corner, nodes), lengths, corner, strict=True):
        coordinates, cells = plain_axis(layout, length, start, level)
        assert axis.size == len(coordinates) == layout.size // level.shrink
        seen = 0
        for number, cell in enumerate(axis.cells):
            own = range(axis.first[number], axis.first[number + 1])
            assert own.start == seen
            seen = own.stop
            assert set(cells[own.start : own.stop]) == {cell}
            assert list(axis.pixels[number, : len(own)]) == list(own)
            assert set(axis.pixels[number, len(own) :]) <= {own.stop - 1}
            c = coordinates[axis.pixels[number]].astype(np.float64)
            for phase in (0.0, 1.0, 2.0):
                wave = np.sin(FREQUENCY * axis.nodes[number].astype(np.float64) + phase)
                at = axis.node_basis[number] @ wave
                np.testing.assert_allclose(at, np.sin(FREQUENCY * c + phase), rtol=0, atol=1e-6)
            place = axis.table_basis[number] @ axis.table[number]
            if axis.size == 256:
                assert list(place) == list(axis.pixels[number])
            else:
                np.testing.assert_allclose(place, (c + 1) / 2 * 255, rtol=0, atol=1e-4)
            assert np.all(axis.table_basis[number] >= 0)
            np.testing.assert_allclose(axis.table_basis[number].sum(axis=1), 1, atol=1e-6)
            assert np.all(np.count_nonzero(axis.table_basis[number], axis=1) <= 2)
        assert seen == axis.size


@pytest.mark.parametrize(("layout", "corner", "level"), PATCHES)
def test_tiles_take_each_wanted_cell_once(layout, corner, level):
    axes = layout.axes(level, corner, 4)
    side = axes[0].size
    wanted = np.zeros((side, side), bool)
    cv2.ellipse(
        wanted.view(np.uint8), (side // 3, side // 2), (side // 4, side // 3), 30, 0, 360, 1, -1
    )
    for asked in (wanted, np.ones_like(wanted), np.zeros_like(wanted)):
        times = np.zeros((side, side), int)
        for tile in tiles(*axes, asked, 500):
            times[tile.rows, tile.columns] += 1
            area = len(tile.rows) * (tile.columns.stop - tile.columns.start)
            assert area <= 500 or tile.stop == tile.start + 1
        for y, y_end in pairwise(axes[0].first):
            for x, x_end in pairwise(axes[1].first):
                rows = asked[y:y_end].any(axis=1) & asked[y:y_end, x:x_end].any()
                assert np.all(times[y:y_end, x:x_end] == rows[:, np.newaxis])


def some_tiles(layout, corner, level):
    """A few tiles, of which the rows are not all that there are."""
    axes = layout.axes(level, corner, 4)
    wanted = np.ones((axes[0].size, axes[0].size), bool)
    wanted[::3] = False
    return list(tiles(*axes, wanted, 900))[::5]


@pytest.mark.parametrize(("layout", "corner", "level"), PATCHES)
def test_where_a_tile_finds_its_positions(layout, corner, level):
    y, x = layout.axes(level, corner, 4)
    for tile in some_tiles(layout, corner, level):
        tables = tile.tables()
        assert tile.cells[0] == y.cells[tile.row]
        assert list(tile.cells[1]) == list(x.cells[tile.start : tile.stop])
        assert len(tables["y_node_basis"]) == len(tables["y_table_basis"]) == len(tile.rows)
        window = np.arange(tile.window.start, tile.window.stop)
        given = np.stack(np.broadcast_arrays(tile.rows[:, np.newaxis], window), axis=-1)
        in_cells = given.reshape(-1, 2)[tables["positions"]]
        for cell, columns in zip(in_cells, x.pixels[tile.start : tile.stop], strict=True):
            np.testing.assert_array_equal(
                cell[..., 0], np.repeat(tile.rows, len(columns)).reshape(cell.shape[:2])
            )
            np.testing.assert_array_equal(cell[..., 1], np.broadcast_to(columns, cell.shape[:2]))
        back = in_cells.reshape(-1, 2)[tables["raster"]]
        columns = np.arange(tile.columns.start, tile.columns.stop)
        np.testing.assert_array_equal(
            back[..., 0], np.broadcast_to(tile.rows[:, np.newaxis], back.shape[:2])
        )
        np.testing.assert_array_equal(back[..., 1], np.broadcast_to(columns, back.shape[:2]))


@pytest.mark.parametrize(
    ("layout", "corner", "level"), [case for case in PATCHES if case.values[2] is not QUARTER]
)
def test_what_a_tile_is_given_of_the_level_below(layout, corner, level):
    """Against the enlarged level, whose memory is read as though its channels came last."""
    side = layout.size // level.shrink
    rng = np.random.default_rng(3)
    below = rng.random((CHANNELS, side // 2, side // 2), np.float32)
    large = np.stack([cv2.resize(channel, (side, side)) for channel in below])
    given = large.reshape(side, side, CHANNELS)
    for tile in some_tiles(layout, corner, level):
        lines = below.reshape(-1, side // 2)
        line = 0.75 * lines[tile.below["near"]] + 0.25 * lines[tile.below["far"]]
        padded = np.pad(line, ((0, 0), (0, 0), (1, 1)), mode="edge")
        middle = 0.75 * padded[..., 1:-1]
        even, odd = middle + 0.25 * padded[..., :-2], middle + 0.25 * padded[..., 2:]
        values = np.stack([even, odd], axis=-1).reshape(len(line), -1, CHANNELS)
        np.testing.assert_allclose(values, given[tile.rows, tile.window], rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_lower_levels_have_the_rows_that_are_needed(layout):
    """What a level takes of the one below is computed there, and little else."""
    nodes = {level.name: 4 for level in LEVELS}
    wanted = np.zeros((layout.size, layout.size), bool)
    wanted[layout.size // 3 : layout.size // 2, layout.size // 4 : layout.size // 3] = True
    found = patch_tiles(layout, layout.corners[-1], wanted, nodes, 4000)
    assert list(found) == list(LEVELS)
    for lower, upper in pairwise(LEVELS):
        side = layout.size // lower.shrink
        done = np.zeros((side, side), bool)
        for tile in found[lower]:
            done[tile.rows, tile.columns] = True
        taken = np.zeros(side, bool)
        for tile in found[upper]:
            for lines in tile.below.values():
                taken[lines % side] = True
        np.testing.assert_array_equal(done, np.repeat(taken[:, np.newaxis], side, axis=1))
    if layout.size == 512:
        share = sum(len(tile.rows) for tile in found[HALF] if tile.start == 0) / 256
        assert share < 0.25


def test_quads_hold_the_wanted_cells_and_their_surroundings():
    grid = 8
    wanted = np.zeros((grid, grid), bool)
    wanted[0, 0] = wanted[3, 4] = wanted[7, 6] = True
    index, places = quads(wanted)
    assert index.shape == (3, 16)
    padded = np.pad(np.arange(grid * grid).reshape(grid, grid), 1, constant_values=grid * grid)
    for y, x in np.ndindex(grid, grid):
        if (y // 2, x // 2) not in {(0, 0), (1, 2), (3, 3)}:
            assert places[y, x] == -1
            continue
        quad, within = divmod(places[y, x], 4)
        assert within == 2 * (y % 2) + x % 2
        top, left = y // 2 * 2, x // 2 * 2
        np.testing.assert_array_equal(
            index[quad].reshape(4, 4), padded[top : top + 4, left : left + 4]
        )
    assert quads(np.zeros((4, 4), bool))[0].shape == (0, 16)


def test_more_nodes_for_faster_sines_and_larger_cells():
    assert nodes_needed(2, 64) <= nodes_needed(2, 16) < nodes_needed(20, 16)
    assert nodes_needed(0.0, 64) == 2


def test_the_best_layout_is_a_published_one():
    assert best_layout(1024, 1024) == square_layout(1024, 1024)
    assert best_layout(4096, 4096) == square_layout(4096, MOST_PATCH)
    assert best_layout(1080, 1920) == arbitrary_layout(1080, 1920, 4)
    assert best_layout(1000, 1000) == arbitrary_layout(1000, 1000, 4)
    assert best_layout(286, 1920) == arbitrary_layout(286, 1920, 3)


@pytest.mark.parametrize(
    ("size", "split", "patch"),
    [
        ((2048, 2048), None, 2048),
        ((4096, 4096), None, 2048),
        ((512, 512), 16, 32),
        ((768, 512), None, 128),
        ((1080, 1920), None, 272),  # 270, made a multiple of 4
        ((1080, 1920), 1, 1080),
        ((286, 1920), None, 72),
        ((33, 500), 4, 8),
    ],
)
def test_a_split_is_the_number_of_patches_along_the_shorter_side(size, split, patch):
    layout = published_layout(*size, split)
    assert layout.size == patch
    assert layout.blocks == (size[0] == size[1])
    assert (layout.height, layout.width) == size


@pytest.mark.parametrize(
    ("size", "split", "remedy"),
    [
        ((512, 512), 3, "512x512 cannot be cut into 3 patches a side.* 1, 2, 4, 8, 16$"),
        ((512, 512), 0, "choose a split of 1, 2, 4, 8, 16$"),
        ((302, 450), 1, "450x302 cannot be cut into 1 patches.*choose a split of 2 to 37$"),
        ((302, 450), 38, "choose a split of 2 to 37$"),
        ((1920, 1080), 0, "1080x1920.*choose a split of 1 to 135$"),
    ],
)
def test_a_split_that_cannot_be(size, split, remedy):
    with pytest.raises(ImageError, match=remedy):
        published_layout(*size, split)


@pytest.mark.parametrize(
    "size", [(286, 1920), (421, 1920), (469, 703), (1920, 631), (LEAST_SIDE, LEAST_SIDE), (33, 500)]
)
def test_the_best_layout_reads_patches_where_they_belong(size):
    layout = best_layout(*size)
    covered = np.zeros(size, bool)
    for top, left in layout.corners:
        assert layout.crop((top, left)) == (top, left)
        covered[top : top + layout.size, left : left + layout.size] = True
    assert covered.all()


def test_some_published_patches_are_read_a_pixel_off():
    layout = arbitrary_layout(65, 115)
    assert not layout.aligned
    assert any(layout.crop(corner) != corner for corner in layout.corners)
    assert all(
        0 <= start - read <= 1
        for corner in layout.corners
        for start, read in zip(corner, layout.crop(corner), strict=True)
    )


def test_levels_are_each_half_of_the_next():
    for low, high in ((QUARTER, HALF), (HALF, FULL)):
        assert low.shrink == 2 * high.shrink
        assert 2 * low.grid == high.grid
