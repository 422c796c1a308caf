"""Every kernel of ``kernels.cu`` in NumPy: the same arguments, the same results.

The host device runs them, and the kernels are tested against them. They do float32 arithmetic
in the order in which the kernels do it, one rounding at a time, so that both give equal bits:
see the head of ``kernels.cu``. What the arguments mean is told in ``kernels``.
"""

# ruff: noqa: ARG001 - what a kernel has to be told, an array often knows

from __future__ import annotations

from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = NDArray[np.uint8]
Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int32]

LANES = 1024
"""Partial results of ``moments``; four floats each."""

_BAND = 1 << 17  # values at a time, so that they stay in the processor's cache
_FAINT = np.float32(1e-4)  # as in vivant.foreground
_DUST = np.float32(1e-5)  # what OpenCV's blendLinear adds to the sum of both weights


def resample(
    source: NDArray[Any],
    row_first: Ints,
    row_weights: Floats,
    row_taps: int,
    column_first: Ints,
    column_weights: Floats,
    column_taps: int,
    source_width: int,
    height: int,
    width: int,
    channels: int,
    target: NDArray[Any],
) -> None:
    """Weighted sums along the columns, then along the rows."""
    pixels = source.reshape(-1, source_width, channels)
    result = target.reshape(height, width, channels)
    step = max(1, _BAND // (width * channels))
    for start in range(0, height, step):
        band = slice(start, start + step)
        first, weights = row_first[band], row_weights[band, :, None, None]
        low, high = int(first.min()), int(first.max()) + row_taps
        used = pixels[low:high].astype(np.float32)
        lines = np.zeros((high - low, width, channels), np.float32)
        for tap in range(column_taps):
            lines += used.take(column_first + tap, axis=1) * column_weights[:, tap, None]
        total = np.zeros((len(first), width, channels), np.float32)
        for tap in range(row_taps):
            total += lines.take(first - low + tap, axis=0) * weights[:, tap]
        if target.dtype == np.uint8:
            total = _clip(total + np.float32(0.5))
        result[band] = total.astype(target.dtype)


def resample_fixed(
    source: Bytes,
    rows: Ints,
    columns: Ints,
    source_width: int,
    height: int,
    width: int,
    channels: int,
    target: Bytes,
) -> None:
    """Between two pixels along each axis, in whole numbers."""
    pixels = source.reshape(-1, source_width, channels)
    low, high, share = columns.T[..., None]
    start = int(rows[:, :2].min())
    used = pixels[start : int(rows[:, :2].max()) + 1].astype(np.int32)
    lines = used.take(low[:, 0], axis=1) * (2048 - share) + used.take(high[:, 0], axis=1) * share
    lines >>= 4
    low, high, share = rows.T[..., None, None]
    above, below = lines[low[:, 0, 0] - start], lines[high[:, 0, 0] - start]
    level = (((2048 - share) * above >> 16) + (share * below >> 16) + 2) >> 2
    target[...] = level.astype(np.uint8).reshape(target.shape)


def pool(
    picture: Bytes,
    boxes: Ints,
    count: int,
    source_width: int,
    height: int,
    width: int,
    target: Floats,
) -> None:
    """Means over the windows that the boxes are divided into."""
    # int32 may wrap around; in the difference it cancels, as in vivant.faces.area.
    integral = cv2.integral(picture, sdepth=cv2.CV_32S)
    left, right = _windows(boxes[:, 0], boxes[:, 2], width)
    top, bottom = _windows(boxes[:, 1], boxes[:, 3], height)
    above, below, before, after = top[:, :, None], bottom[:, :, None], left[:, None], right[:, None]
    sums = integral[below, after] - integral[below, before]
    sums -= integral[above, after] - integral[above, before]
    area = (below - above) * (after - before)
    target[...] = sums.astype(np.float32) / area.astype(np.float32)[..., None]


def _windows(start: Ints, stop: Ints, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    size = (stop.astype(np.int64) - start)[:, None]
    index = np.arange(count)
    return start[:, None] + index * size // count, start[:, None] - (-(index + 1) * size // count)


def moments(alpha: Floats, count: int, scratch: Floats) -> None:
    """Minimum, maximum and two sums of every 1024th value."""
    values = alpha.reshape(-1)
    lanes = scratch[: 4 * LANES].reshape(4, LANES)
    ends = np.resize(values, (-(-count // LANES), LANES))  # repeated, which no extreme minds
    with np.errstate(invalid="ignore"):
        lanes[0], lanes[1] = ends.min(axis=0), ends.max(axis=0)
    padded = np.zeros(ends.shape, np.float32)
    padded.reshape(-1)[:count] = values
    # Along the first axis NumPy adds row to row, in order, as a thread does.
    lanes[2] = (np.abs(2 * padded - 1) * padded).sum(axis=0, dtype=np.float32)
    lanes[3] = padded.sum(axis=0, dtype=np.float32)


def moments_end(scratch: Floats, count: int, target: Floats) -> None:
    """The same of the lanes in which there was anything."""
    lanes = scratch[: 4 * LANES].reshape(4, LANES)[:, : min(count, LANES)]
    with np.errstate(invalid="ignore"):
        target[:] = lanes[0].min(), lanes[1].max(), *(np.cumsum(lane)[-1] for lane in lanes[2:])


def mean_colour(image: Floats, weight: Floats, count: int, scratch: Floats) -> None:
    """Weighted sums of every 1024th pixel."""
    lanes = scratch[: 4 * LANES].reshape(4, LANES)
    length = -(-count // LANES)
    share = weight.reshape(-1, 1) + _FAINT
    parts = np.zeros((length * LANES, 4), np.float32)
    parts[:count, :3], parts[:count, 3:] = image.reshape(-1, 3) * share, share
    lanes[...] = parts.reshape(length, LANES, 4).sum(axis=0, dtype=np.float32).T


def mean_colour_end(scratch: Floats, target: Floats) -> None:
    """The sums over the lanes, and their quotients."""
    lanes = scratch[: 4 * LANES].reshape(4, LANES)
    sums = np.cumsum(lanes, axis=1, dtype=np.float32)[:, -1]
    target[:3], target[3] = sums[:3] / sums[3], sums[3]


def fade(image: Floats, weight: Floats, colour: Floats, count: int, target: Floats) -> None:
    """From one colour to the picture."""
    target[...] = colour[:3] + weight[..., None] * (image - colour[:3])


def stretch(
    alpha: Floats, moments: Floats, least_contrast: np.float32, count: int, target: Bytes
) -> None:
    """From 0 for the lowest to 255 for the highest, truncated."""
    low, high = moments[0], moments[1]
    level = (alpha - low) / np.maximum(high - low, np.float32(least_contrast)) * np.float32(255)
    target[...] = _clip(level).astype(np.uint8)


def to_bytes(alpha: Floats, count: int, target: Bytes) -> None:
    """Times 255, truncated."""
    target[...] = _clip(alpha * np.float32(255)).astype(np.uint8)


def weighted_mean(
    values: Floats, weight: Floats, inverse: int, box: int, height: int, width: int, target: Floats
) -> None:
    """A box blur of weighted values, over one of the weights."""
    share = ((1 - weight if inverse else weight) + _FAINT)[..., None]
    parts = np.concatenate([values * share, share], axis=2)
    reach = box // 2, box - 1 - box // 2
    parts = np.pad(parts, (reach, reach, (0, 0)), mode="edge")
    lines = np.zeros((parts.shape[0], width, 4), np.float32)
    for step in range(box):
        lines += parts[:, step : step + width]
    total = np.zeros((height, width, 4), np.float32)
    for step in range(box):
        total += lines[step : step + height]
    target[...] = total[..., :3] / total[..., 3:]


def correct(alpha: Floats, image: Floats, count: int, fore: Floats, back: Floats) -> None:
    """The smallest change of both colours that mixes to the picture."""
    fore[...], back[...] = _corrected(alpha[..., None], image, fore, back)


def _corrected(
    alpha: Floats, image: Floats, fore: Floats, back: Floats
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rest = 1 - alpha
    left = (image - alpha * fore - rest * back) / (alpha * alpha + rest * rest)
    return _clip(fore + alpha * left), _clip(back + rest * left)


def unmix(
    photo: Bytes,
    matte: Bytes,
    fore: Bytes,
    back: Bytes,
    x: int,
    y: int,
    photo_width: int,
    height: int,
    width: int,
    target: Bytes,
) -> None:
    """The photo, the foreground, or what is between."""
    window = np.s_[y : y + height, x : x + width]
    area, opacity, result = photo[window], matte[window], target[window]
    result[...] = np.where(opacity[..., None] == 255, area, fore)
    soft = (opacity > 0) & (opacity < 255)
    layers = (layer[soft].astype(np.float32) for layer in (area, fore, back))
    alpha = opacity[soft][:, None] / np.float32(255)
    result[soft] = np.rint(_corrected(alpha, *layers)[0]).astype(np.uint8)


def paste(
    front: Bytes,
    alpha: Bytes,
    occluder: Bytes | None,
    x: int,
    y: int,
    height: int,
    width: int,
    canvas_height: int,
    canvas_width: int,
    image: Bytes,
    mask: Bytes,
) -> None:
    """A layer over the picture, the occluder over the layer."""
    canvas, own = _overlap(x, y, (height, width), (canvas_height, canvas_width))
    layer, opacity = front[own], alpha[own]
    mask[canvas] = opacity
    if occluder is not None:
        hiding = occluder[canvas]
        layer = _mixed(layer, hiding[..., :3], hiding[..., 3])
        mask[canvas] = _times(opacity, 255 - hiding[..., 3])
    image[canvas] = _mixed(image[canvas], layer, opacity)


def _overlap(
    x: int, y: int, size: tuple[int, int], canvas: tuple[int, int]
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where a layer at (x, y) meets the canvas: on the canvas, and of itself."""
    top, bottom = max(y, 0), max(min(y + size[0], canvas[0]), 0)
    left, right = max(x, 0), max(min(x + size[1], canvas[1]), 0)
    own = np.s_[max(top - y, 0) : max(bottom - y, 0), max(left - x, 0) : max(right - x, 0)]
    return np.s_[top:bottom, left:right], own


def _mixed(back: Bytes, front: Bytes, alpha: Bytes) -> Bytes:
    weight = (alpha / np.float32(255))[..., None]
    rest = 1 - weight
    total = front.astype(np.float32) * weight + back.astype(np.float32) * rest
    return np.asarray(np.rint(total / (weight + rest + _DUST)), np.uint8)


def _times(one: Bytes, other: Bytes) -> Bytes:
    """Return the product of two shares of 255, rounded (there are no halves)."""
    return ((one.astype(np.int32) * other + 127) // 255).astype(np.uint8)


def darken(
    darkness: Floats,
    x: int,
    y: int,
    height: int,
    width: int,
    canvas_height: int,
    canvas_width: int,
    image: Bytes,
) -> None:
    """A shadow on the picture."""
    canvas, own = _overlap(x, y, (height, width), (canvas_height, canvas_width))
    level = image[canvas].astype(np.float32) * (1 - darkness[own][..., None]) + np.float32(0.5)
    image[canvas] = _clip(level).astype(np.uint8)


def over(front: Bytes, back: Bytes, count: int, target: Bytes) -> None:
    """What two masks cover together."""
    target[...] = front + _times(back, 255 - front)


def invert(source: Bytes, count: int, target: Bytes) -> None:
    """The rest of 255."""
    target[...] = 255 - source


def look_up(
    picture: Bytes,
    mask: Bytes,
    table: Floats,
    side: int,
    scale: np.float32,
    count: int,
    target: Bytes,
) -> None:
    """Colours from a table, between its entries, by strength and mask."""
    seen = np.nonzero(mask)
    old = picture[seen]
    where = old.astype(np.float32) * (np.float32(side - 1) / np.float32(255))
    before = np.minimum(where.astype(np.int32), side - 2)
    to_red, to_green, to_blue = (where - before.astype(np.float32)).T
    entries = table.reshape(3, -1)
    corner = before @ np.array([side * side, side, 1], np.int32)

    def along_blue(corner: Ints) -> Floats:
        return _between(entries.take(corner, 1), entries.take(corner + 1, 1), to_blue)

    def along_green(corner: Ints) -> Floats:
        return _between(along_blue(corner), along_blue(corner + side), to_green)

    found = _between(along_green(corner), along_green(corner + side * side), to_red)
    levels = _clip(found, 1).T * np.float32(255)
    target[...] = picture
    target[seen] = _blended(old, mask[seen], levels, scale)


def _between(low: Floats, high: Floats, share: Floats) -> Floats:
    return np.asarray(low + (high - low) * share)


def blend(
    picture: Bytes,
    mask: Bytes,
    colours: Floats,
    scale: np.float32,
    x: int,
    y: int,
    height: int,
    width: int,
    picture_width: int,
    count: int,
    target: Bytes,
) -> None:
    """A network's colours, by strength and mask, in their region."""
    target[...] = picture
    top, left = max(y, 0), max(x, 0)
    rows, columns = np.nonzero(mask[top : max(y + height, 0), left : max(x + width, 0)])
    seen = rows + top, columns + left
    levels = (colours[:, seen[0] - y, seen[1] - x].T + 1) * np.float32(127.5)
    target[seen] = _blended(picture[seen], mask[seen], levels, scale)


def _blended(old: Bytes, mask: Bytes, levels: Floats, scale: np.float32) -> Bytes:
    """Return colours [n,3] with those of a network, by mask [n] and strength."""
    start = old.astype(np.float32)
    level = (levels - start) * mask[:, None].astype(np.float32) * np.float32(scale) + start
    return np.asarray(np.rint(_clip(level)), np.uint8)


def gather(
    picture: Bytes,
    mask: Bytes,
    rows: Ints,
    columns: Ints,
    picture_width: int,
    shrink: int,
    window: int,
    count: int,
    target: Bytes,
) -> None:
    """Blocks of pixels, with the mask."""
    step = np.arange(shrink)
    down = (rows[:, None] + step)[:, :, None, None]
    along = columns[:, None] + step
    target[..., :3], target[..., 3] = picture[down, along], mask[down, along]


def scatter(
    values: Floats,
    top: int,
    left: int,
    rows: int,
    columns: int,
    target_height: int,
    target_width: int,
    count: int,
    target: Floats,
) -> None:
    """A tile to its place."""
    target[:, top : top + rows, left : left + columns] = values


def _clip(values: Floats, high: float = 255) -> Floats:
    """Return values within 0 and ``high``; what is no number becomes 0."""
    return np.asarray(np.where(values > 0, np.fmin(values, np.float32(high)), np.float32(0)))
