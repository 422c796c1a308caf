"""What Vivant does to pixels on a device, a function a kernel.

Every function puts its work on ``stream`` and returns. Pictures are uint8 [H,W,3] RGB, mattes and
masks uint8 [H,W]. A buffer that does not fit is a ``ValueError``: on a GPU nothing else would
stop a kernel from writing past its end. Inputs may not overlap with what is written, unless it
says "in place". Results do not depend on the GPU: see ``kernels.cu`` for how.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from vivant.backends.device import Buffer, Device, Shape, Stream
from vivant.backends.workspace import Workspace
from vivant.gpu import oracles
from vivant.gpu.launching import expect, expect_picture, expect_within, kernel, launch, short
from vivant.gpu.tables import Table, fixed_linear

SCRATCH = 4 * oracles.LANES
"""Floats of scratch memory that sums need."""

_ALIGNMENT = 256  # bytes, of what the device reads


_RESAMPLE = {
    (source, target): kernel(oracles.resample, 11, name=f"resample_{source}_{target}")
    for source in ("u8", "f32")
    for target in ("u8", "f32")
}
_RESAMPLE_FIXED = kernel(oracles.resample_fixed, 7)
_POOL = kernel(oracles.pool, 6)
_MOMENTS = kernel(oracles.moments, 2), kernel(oracles.moments_end, 2)
_MEAN_COLOUR = kernel(oracles.mean_colour, 3), kernel(oracles.mean_colour_end, 1)
_STRETCH = kernel(oracles.stretch, 4)
_TO_BYTES = kernel(oracles.to_bytes, 2)
_FADE = kernel(oracles.fade, 4)
_WEIGHTED_MEAN = kernel(oracles.weighted_mean, 6)
_CORRECT = kernel(oracles.correct, 3, 4)
_UNMIX = kernel(oracles.unmix, 9)
_PASTE = kernel(oracles.paste, 9, 10)
_DARKEN = kernel(oracles.darken, 7)
_INVERT = kernel(oracles.invert, 2)
_OVER = kernel(oracles.over, 3)
_LOOK_UP = kernel(oracles.look_up, 6)
_BLEND = kernel(oracles.blend, 10)
_GATHER = kernel(oracles.gather, 8)
_SCATTER = kernel(oracles.scatter, 8)

KERNELS = (
    *_RESAMPLE.values(), _RESAMPLE_FIXED, _POOL, *_MOMENTS, *_MEAN_COLOUR, _STRETCH, _TO_BYTES,
    _FADE, _WEIGHTED_MEAN, _CORRECT, _UNMIX, _PASTE, _DARKEN, _INVERT, _OVER, _LOOK_UP, _BLEND,
    _GATHER, _SCATTER,
)  # fmt: skip
"""All there are, to be compiled and held against their oracles."""


@dataclass(frozen=True)
class Taps:
    """A ``tables.Table`` on the device: int32 [n] and float32 [n,k]."""

    first: Buffer
    weights: Buffer


def upload_tables(
    workspace: Workspace, name: str, tables: Sequence[Table], stream: Stream
) -> tuple[Taps, ...]:
    """Put tables on the device by one copy, where ``name`` is their place in the workspace.

    Not twice for one name without a ``synchronise`` in between.
    """
    arrays = [array for table in tables for array in (table.first, table.weights)]
    sizes = [-(-array.nbytes // _ALIGNMENT) * _ALIGNMENT for array in arrays]
    starts = list(accumulate(sizes, initial=0))
    # Memory is made anew where its size changes; powers of two seldom do.
    shape = (1 << (starts[-1] - 1).bit_length(),)
    staging, target = workspace.pinned(name, shape), workspace.buffer(name, shape)
    for start, array in zip(starts, arrays, strict=False):
        held = staging.array[start : start + array.nbytes]
        held.view(array.dtype).reshape(array.shape)[...] = array
    workspace.device.upload(staging, target, stream)
    parts = (
        target.part(start, array.shape, array.dtype)
        for start, array in zip(starts, arrays, strict=False)
    )
    return tuple(Taps(first, weights) for first, weights in zip(parts, parts, strict=True))


def upload_table(workspace: Workspace, name: str, table: Table, stream: Stream) -> Taps:
    """Put one table on the device; see ``upload_tables``."""
    return upload_tables(workspace, name, [table], stream)[0]


def upload_fixed(
    workspace: Workspace, name: str, before: Shape, after: Shape, stream: Stream
) -> tuple[Buffer, Buffer]:
    """Put what ``resample_fixed`` is given on the device: the rows' table and the columns'.

    Args:
        workspace: where they will be, as ``name`` and an axis.
        name: not twice without a ``synchronise`` in between.
        before: height and width.
        after: height and width.
        stream: that copies.
    """
    rows, columns = (
        workspace.uploaded(f"{name}.{axis}", fixed_linear(*lengths), stream)
        for axis, *lengths in zip("yx", before, after, strict=True)
    )
    return rows, columns


def resample(
    device: Device, source: Buffer, target: Buffer, rows: Taps, columns: Taps, stream: Stream
) -> None:
    """Resize, crop and mirror: a weighted sum along each axis.

    In between nothing is rounded or clipped. Pillow does both to bytes, which for its bicubic
    filter makes several levels; so do two calls by way of bytes, the columns first, with
    ``tables.identity`` for the other axis.

    Args:
        device: that everything is on.
        source: uint8 or float32, [H,W,C] or [H,W].
        target: uint8 or float32, [h,w,C] or [h,w]; to bytes is rounded half up and clipped.
        rows: how each of the ``h`` is made from rows of the source; within it, unchecked.
        columns: the same of columns.
        stream: that does it.
    """
    if len(source.shape) != len(target.shape) or source.shape[2:] != target.shape[2:]:
        raise ValueError(f"resample: {list(source.shape)} to {list(target.shape)}")
    height, width, *channels = target.shape
    for taps, length in ((rows, height), (columns, width)):
        expect("taps", taps.first, np.int32, (length,))
        expect("weights", taps.weights, np.float32, (length, taps.weights.shape[-1]))
    launch(
        device, _RESAMPLE[short(source), short(target)], math.prod(target.shape), stream, source,
        rows.first, rows.weights, rows.weights.shape[1],
        columns.first, columns.weights, columns.weights.shape[1],
        source.shape[1], height, width, *(channels or (1,)), target,
    )  # fmt: skip


def resample_fixed(
    device: Device, source: Buffer, target: Buffer, rows: Buffer, columns: Buffer, stream: Stream
) -> None:
    """Resize bytes bilinearly as OpenCV does, which rounds on the way: to the very same bytes.

    Args:
        device: that everything is on.
        source: uint8 [H,W,C] or [H,W].
        target: uint8 [h,w,C] or [h,w].
        rows: int32 [h,3], of ``tables.fixed_linear``; within the source, unchecked.
        columns: int32 [w,3], the same.
        stream: that does it.
    """
    height, width, *channels = target.shape
    expect("source", source, np.uint8, (*source.shape[:2], *channels))
    expect("target", target, np.uint8, target.shape)
    expect("rows", rows, np.int32, (height, 3))
    expect("columns", columns, np.int32, (width, 3))
    launch(
        device, _RESAMPLE_FIXED, math.prod(target.shape), stream,
        source, rows, columns, source.shape[1], height, width, *(channels or (1,)), target,
    )  # fmt: skip


def pool(device: Device, picture: Buffer, boxes: Buffer, target: Buffer, stream: Stream) -> None:
    """Reduce or enlarge boxes of a picture to one size: ``vivant.faces.area`` tells how.

    Args:
        device: that everything is on.
        picture: uint8 [H,W,3].
        boxes: int32 [N,4], x1, y1, x2, y2: first and one-past-last pixel, inside the picture,
            not empty, of fewer than 16 megapixels; unchecked.
        target: float32 [N,h,w,3], 0..255.
        stream: that does it.
    """
    count, height, width, _ = target.shape
    expect("picture", picture, np.uint8, (*picture.shape[:2], 3))
    expect("boxes", boxes, np.int32, (count, 4))
    expect("target", target, np.float32, (count, height, width, 3))
    launch(
        device, _POOL, math.prod(target.shape), stream,
        picture, boxes, count, picture.shape[1], height, width, target,
    )  # fmt: skip


def moments(device: Device, alpha: Buffer, scratch: Buffer, target: Buffer, stream: Stream) -> None:
    """Sum up what a matte is judged by.

    Args:
        device: that everything is on.
        alpha: float32 of any shape, not empty.
        scratch: float32 [``SCRATCH``].
        target: float32 [4]: the least, the greatest, the sum of ``|2a - 1| * a``, the sum. Where
            a value is no number, all four are none.
        stream: that does it.
    """
    expect("alpha", alpha, np.float32, alpha.shape)
    expect("scratch", scratch, np.float32, (SCRATCH,))
    expect("target", target, np.float32, (4,))
    count = math.prod(alpha.shape)
    launch(device, _MOMENTS[0], oracles.LANES, stream, alpha, count, scratch)
    launch(device, _MOMENTS[1], 4, stream, scratch, count, target)


def stretch(
    device: Device,
    alpha: Buffer,
    moments: Buffer,
    least_contrast: float,
    target: Buffer,
    stream: Stream,
) -> None:
    """Stretch a matte from its least and greatest to 0 and 255, truncated.

    Args:
        device: that everything is on.
        alpha: float32 of any shape.
        moments: float32 [4], what ``moments`` says of it.
        least_contrast: that the difference of both counts as.
        target: uint8 of alpha's shape.
        stream: that does it.
    """
    expect("alpha", alpha, np.float32, alpha.shape)
    expect("moments", moments, np.float32, (4,))
    expect("target", target, np.uint8, alpha.shape)
    count = math.prod(alpha.shape)
    contrast = np.float32(least_contrast)
    launch(device, _STRETCH, count, stream, alpha, moments, contrast, count, target)


def to_bytes(device: Device, alpha: Buffer, target: Buffer, stream: Stream) -> None:
    """Turn float32 0..1 of any shape to uint8, truncated, clipped beyond."""
    expect("alpha", alpha, np.float32, alpha.shape)
    expect("target", target, np.uint8, alpha.shape)
    count = math.prod(alpha.shape)
    launch(device, _TO_BYTES, count, stream, alpha, count, target)


def mean_colour(
    device: Device, image: Buffer, weight: Buffer, scratch: Buffer, target: Buffer, stream: Stream
) -> None:
    """Average a picture by weight.

    Args:
        device: that everything is on.
        image: float32 [h,w,3].
        weight: float32 [h,w], 0..1; each counts 1e-4 more, so that there always is a mean.
        scratch: float32 [``SCRATCH``].
        target: float32 [4]: red, green, blue, and the sum of the weights.
        stream: that does it.
    """
    expect("image", image, np.float32, (*weight.shape, 3))
    expect("weight", weight, np.float32, weight.shape)
    expect("scratch", scratch, np.float32, (SCRATCH,))
    expect("target", target, np.float32, (4,))
    count = math.prod(weight.shape)
    launch(device, _MEAN_COLOUR[0], oracles.LANES, stream, image, weight, count, scratch)
    launch(device, _MEAN_COLOUR[1], 4, stream, scratch, target)


def fade(
    device: Device, image: Buffer, weight: Buffer, colour: Buffer, target: Buffer, stream: Stream
) -> None:
    """Mix a picture with one colour.

    Args:
        device: that everything is on.
        image: float32 [h,w,3].
        weight: float32 [h,w], its share.
        colour: float32 [4], of which the first three count.
        target: float32 [h,w,3].
        stream: that does it.
    """
    expect("image", image, np.float32, (*weight.shape, 3))
    expect("weight", weight, np.float32, weight.shape)
    expect("colour", colour, np.float32, (4,))
    expect("target", target, np.float32, image.shape)
    count = math.prod(weight.shape)
    launch(device, _FADE, 3 * count, stream, image, weight, colour, count, target)


def weighted_mean(
    device: Device,
    values: Buffer,
    weight: Buffer,
    inverse: bool,
    box: int,
    target: Buffer,
    stream: Stream,
) -> None:
    """Average colours around each pixel by weight.

    Args:
        device: that everything is on.
        values: float32 [h,w,3].
        weight: float32 [h,w], 0..1; each counts 1e-4 more.
        inverse: weigh by ``1 - weight``.
        box: side of the square, which is OpenCV's: an even one reaches farther up and left. The
            border's pixels repeat beyond it.
        target: float32 [h,w,3].
        stream: that does it.
    """
    expect("values", values, np.float32, (*weight.shape, 3))
    expect("weight", weight, np.float32, weight.shape)
    expect("target", target, np.float32, values.shape)
    height, width = weight.shape
    launch(
        device, _WEIGHTED_MEAN, height * width, stream,
        values, weight, int(inverse), box, height, width, target,
    )  # fmt: skip


def correct(
    device: Device, alpha: Buffer, image: Buffer, fore: Buffer, back: Buffer, stream: Stream
) -> None:
    """Change two colours, in place, by as little as makes them mix to a picture.

    Args:
        device: that everything is on.
        alpha: float32 [h,w], the share of ``fore``, 0..1.
        image: float32 [h,w,3], 0..255.
        fore: float32 [h,w,3], 0..255.
        back: the same.
        stream: that does it.
    """
    expect("alpha", alpha, np.float32, alpha.shape)
    for name, layer in (("image", image), ("fore", fore), ("back", back)):
        expect(name, layer, np.float32, (*alpha.shape, 3))
    count = math.prod(alpha.shape)
    launch(device, _CORRECT, 3 * count, stream, alpha, image, count, fore, back)


def unmix(
    device: Device,
    photo: Buffer,
    matte: Buffer,
    fore: Buffer,
    back: Buffer,
    x: int,
    y: int,
    target: Buffer,
    stream: Stream,
) -> None:
    """Write the foreground's colours into a window.

    Opaque pixels are the photo's, transparent ones ``fore``, and soft ones ``fore`` as ``correct``
    changes it, rounded. Outside the window the target keeps what it holds.

    Args:
        device: that everything is on.
        photo: uint8 [H,W,3].
        matte: uint8 [H,W].
        fore: uint8 [h,w,3], smooth, of the window.
        back: the same.
        x: the window's left edge in the photo; the window lies within it.
        y: its upper edge.
        target: uint8 [H,W,3].
        stream: that does it.
    """
    height, width = fore.shape[:2]
    expect_picture(photo, matte, target)
    expect("fore", fore, np.uint8, (height, width, 3))
    expect("back", back, np.uint8, (height, width, 3))
    expect_within(x, y, (height, width), matte.shape)
    launch(
        device, _UNMIX, height * width * 3, stream,
        photo, matte, fore, back, x, y, photo.shape[1], height, width, target,
    )  # fmt: skip


def paste(
    device: Device,
    image: Buffer,
    mask: Buffer,
    front: Buffer,
    alpha: Buffer,
    occluder: Buffer | None,
    x: int,
    y: int,
    stream: Stream,
) -> None:
    """Lay a figure into a picture, in place, behind what stands before it.

    Args:
        device: that everything is on.
        image: uint8 [H,W,3].
        mask: uint8 [H,W]; where the figure is, it becomes how much of each pixel is the figure's.
        front: uint8 [h,w,3], the figure.
        alpha: uint8 [h,w].
        occluder: uint8 [H,W,4], not premultiplied, or None.
        x: where the figure's left edge comes; what lies beyond the picture is left out.
        y: the same of its upper edge.
        stream: that does it.
    """
    height, width = alpha.shape
    expect_picture(image, mask)
    expect("front", front, np.uint8, (height, width, 3))
    expect("alpha", alpha, np.uint8, (height, width))
    if occluder is not None:
        expect("occluder", occluder, np.uint8, (*mask.shape, 4))
    launch(
        device, _PASTE, height * width, stream,
        front, alpha, occluder, x, y, height, width, *mask.shape, image, mask,
    )  # fmt: skip


def darken(device: Device, image: Buffer, darkness: Buffer, x: int, y: int, stream: Stream) -> None:
    """Darken a picture, uint8 [H,W,3], in place, by float32 [h,w] 0..1 that begins at (x, y)."""
    height, width = darkness.shape
    expect("image", image, np.uint8, (*image.shape[:2], 3))
    expect("darkness", darkness, np.float32, (height, width))
    launch(
        device, _DARKEN, height * width, stream,
        darkness, x, y, height, width, *image.shape[:2], image,
    )  # fmt: skip


def invert(device: Device, source: Buffer, target: Buffer, stream: Stream) -> None:
    """Write 255 less ``source``, uint8 of any shape; the target may be the source."""
    expect("source", source, np.uint8, target.shape)
    expect("target", target, np.uint8, target.shape)
    count = math.prod(target.shape)
    launch(device, _INVERT, count, stream, source, count, target)


def over(device: Device, front: Buffer, back: Buffer, target: Buffer, stream: Stream) -> None:
    """Write where one of two masks shows, ``front`` covering ``back``; uint8 of one shape.

    The target may be one of the two.
    """
    expect("front", front, np.uint8, target.shape)
    expect("back", back, np.uint8, target.shape)
    expect("target", target, np.uint8, target.shape)
    count = math.prod(target.shape)
    launch(device, _OVER, count, stream, front, back, count, target)


def look_up(
    device: Device,
    picture: Buffer,
    mask: Buffer,
    table: Buffer,
    strength: float,
    target: Buffer,
    stream: Stream,
) -> None:
    """Blend in the colours of a table, trilinear between its entries.

    Args:
        device: that everything is on.
        picture: uint8 [H,W,3].
        mask: uint8 [H,W]; where it is 0 the picture's bytes stay.
        table: float32 [3,n,n,n] or [1,3,n,n,n]: see ``vivant.harmonizers.inr_lut``.
        strength: 0..1.
        target: uint8 [H,W,3].
        stream: that does it.
    """
    expect_picture(picture, mask, target)
    side = table.shape[-1]
    expect("table", table, np.float32, (*table.shape[:-4], 3, side, side, side))
    count, scale = math.prod(mask.shape), np.float32(strength / 255)
    launch(device, _LOOK_UP, count, stream, picture, mask, table, side, scale, count, target)


def blend(
    device: Device,
    picture: Buffer,
    mask: Buffer,
    colours: Buffer,
    strength: float,
    target: Buffer,
    stream: Stream,
    *,
    x: int = 0,
    y: int = 0,
) -> None:
    """Blend in the colours that a network gave for a region.

    Args:
        device: that everything is on.
        picture: uint8 [H,W,3].
        mask: uint8 [H,W].
        colours: float32 [3,h,w], -1..1.
        strength: 0..1.
        target: uint8 [H,W,3]; the picture, where the mask is 0 and outside the region.
        stream: that does it.
        x: the region's left edge in the picture; it may reach beyond it.
        y: its upper edge.
    """
    expect_picture(picture, mask, target)
    _, height, width = colours.shape
    expect("colours", colours, np.float32, (3, height, width))
    count, scale = math.prod(mask.shape), np.float32(strength / 255)
    launch(
        device, _BLEND, count, stream,
        picture, mask, colours, scale, x, y, height, width, mask.shape[1], count, target,
    )  # fmt: skip


def gather(
    device: Device,
    picture: Buffer,
    mask: Buffer,
    rows: Buffer,
    columns: Buffer,
    target: Buffer,
    stream: Stream,
) -> None:
    """Collect blocks of a picture and its mask.

    Args:
        device: that everything is on.
        picture: uint8 [H,W,3].
        mask: uint8 [H,W].
        rows: int32 [R], the blocks' first rows; within the picture, unchecked.
        columns: int32 [w], their first columns.
        target: uint8 [R,s,w,s,4]: at [r,i,c,j] is the pixel ``rows[r] + i, columns[c] + j``.
        stream: that does it.
    """
    expect_picture(picture, mask)
    count, shrink, window = target.shape[:3]
    expect("rows", rows, np.int32, (count,))
    expect("columns", columns, np.int32, (window,))
    expect("target", target, np.uint8, (count, shrink, window, shrink, 4))
    pixels = math.prod(target.shape[:4])
    launch(
        device, _GATHER, pixels, stream,
        picture, mask, rows, columns, picture.shape[1], shrink, window, pixels, target,
    )  # fmt: skip


def scatter(
    device: Device, values: Buffer, top: int, left: int, target: Buffer, stream: Stream
) -> None:
    """Write float32 [C,R,K] into [C,H,W] at row ``top`` and column ``left``, within it."""
    channels, rows, columns = values.shape
    expect("values", values, np.float32, values.shape)
    expect("target", target, np.float32, (channels, *target.shape[1:]))
    expect_within(left, top, (rows, columns), target.shape[1:])
    count = math.prod(values.shape)
    launch(
        device, _SCATTER, count, stream,
        values, top, left, rows, columns, *target.shape[1:], count, target,
    )  # fmt: skip
