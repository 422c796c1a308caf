"""The subject laid into the artwork on a device: ``vivant.composition`` for buffers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vivant.artwork import Occluder
from vivant.backends.device import Buffer, Stream
from vivant.backends.workspace import Workspace
from vivant.composition import contact_shadow, overlap, shadow_rows, shown_rows
from vivant.gpu import kernels, oracles
from vivant.gpu.roles import Region
from vivant.gpu.tables import Table, opencv_area, opencv_cubic
from vivant.placement import Placement
from vivant.portrait import Portrait
from vivant.roles import Matte


@dataclass(frozen=True)
class DevicePortrait:
    """A portrait whose pictures are on a device.

    Attributes:
        host: the same on the host; of its pictures only the matte is looked at.
        foreground: uint8 [H,W,3] RGB, the subject's own colours.
        matte: uint8 [H,W], the same as ``host.matting.matte``.
    """

    host: Portrait
    foreground: Buffer
    matte: Buffer


@dataclass(frozen=True)
class Shade:
    """How much the ground is darkened: float32 [h,w], 0..1, its corner at ``x``, ``y``."""

    x: int
    y: int
    darkness: Buffer


@dataclass(frozen=True)
class CutOut:
    """A subject ready to be laid into pictures of one size.

    Attributes:
        region: where it meets the picture.
        front: uint8 [h,w,3] RGB, of the region's size; None where that is empty.
        alpha: uint8 [h,w]; None where the region is empty.
        shade: of its feet, where it stands and they are in the picture.
    """

    region: Region
    front: Buffer | None
    alpha: Buffer | None
    shade: Shade | None


def enqueue_cut_out(
    workspace: Workspace,
    name: str,
    portrait: DevicePortrait,
    placement: Placement,
    canvas: tuple[int, ...],
    occluder: Occluder | None,
    stream: Stream,
) -> CutOut:
    """Put on ``stream``: the used part of a portrait, mirrored, scaled, cropped at its line.

    Args:
        workspace: where it will be, until the next of this name.
        name: not twice without a ``synchronise`` in between.
        portrait: photo, matte and foreground.
        placement: made for this portrait and this canvas.
        canvas: the artwork's shape.
        occluder: on the host, uint8 [H,W,4]: what is in front of a shadow too.
        stream: where the work goes.
    """
    size = shown_rows(placement), placement.target[2]
    (down, across), own = overlap(placement.target[:2], size, canvas)
    region = Region(across.start, down.start, across.stop - across.start, down.stop - down.start)
    shade = None
    if placement.standing:
        shade = _shade(workspace, name, portrait, placement, canvas, occluder, stream)
    if region.empty:
        return CutOut(region, None, None, shade)
    tables = _tables(placement, own)
    rows, columns = kernels.upload_tables(workspace, f"{name}.tables", tables, stream)
    shape = region.height, region.width
    front = workspace.buffer(f"{name}.front", (*shape, 3))
    alpha = workspace.buffer(f"{name}.alpha", shape)
    kernels.resample(workspace.device, portrait.foreground, front, rows, columns, stream)
    kernels.resample(workspace.device, portrait.matte, alpha, rows, columns, stream)
    return CutOut(region, front, alpha, shade)


def enqueue_lay(
    workspace: Workspace,
    cut: CutOut,
    image: Buffer,
    mask: Buffer,
    occluder: Buffer | None,
    stream: Stream,
) -> None:
    """Put on ``stream``: a subject laid into a picture.

    Args:
        workspace: its device.
        cut: the subject.
        image: uint8 [H,W,3] RGB, changed.
        mask: uint8 [H,W], written to where the subject is.
        occluder: uint8 [H,W,4] RGBA, not premultiplied: what stands in front of the subject.
        stream: where the work goes.
    """
    device, region, shade = workspace.device, cut.region, cut.shade
    if shade is not None:
        kernels.darken(device, image, shade.darkness, shade.x, shade.y, stream)
    if cut.front is not None and cut.alpha is not None:
        kernels.paste(
            device, image, mask, cut.front, cut.alpha, occluder, region.x, region.y, stream
        )


def _tables(placement: Placement, own: tuple[slice, slice]) -> tuple[Table, Table]:
    """Return which pixels of the photo make up the rows and columns ``own`` of the target."""
    x1, y1, x2, y2 = placement.source
    _, _, width, height = placement.target
    method = opencv_area if placement.scale < 1 else opencv_cubic
    rows, columns = method(y2 - y1, height), method(x2 - x1, width)
    if placement.flip:
        columns = columns.mirrored(x2 - x1)
    down, across = (
        table.window(part.start, part.stop)
        for table, part in zip((rows, columns), own, strict=True)
    )
    return down.moved(y1), across.moved(x1)


def _shade(
    workspace: Workspace,
    name: str,
    portrait: DevicePortrait,
    placement: Placement,
    canvas: tuple[int, ...],
    occluder: Occluder | None,
    stream: Stream,
) -> Shade | None:
    feet = _feet(portrait.host.matting.matte, placement)
    (down, across), darkness = contact_shadow(feet, placement, canvas, occluder)
    if not darkness.size:
        return None
    uploaded = workspace.uploaded(f"{name}.shade", darkness, stream)
    return Shade(across.start, down.start, uploaded)


def _feet(matte: Matte, placement: Placement) -> Matte:
    """Return the lowest rows of the matte on the target, from the host's copy of it."""
    _, _, width, height = placement.target
    top = max(height - shadow_rows(placement), 0)
    rows, columns = _tables(placement, (slice(top, height), slice(0, width)))
    feet = np.empty((height - top, width), np.uint8)
    oracles.resample(
        matte,
        rows.first, rows.weights, rows.weights.shape[1],
        columns.first, columns.weights, columns.weights.shape[1],
        matte.shape[1], *feet.shape, 1, feet,
    )  # fmt: skip
    return feet
