"""The subject laid into the artwork: composite and mask."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.artwork import Occluder
from vivant.placement import Placement
from vivant.portrait import Portrait
from vivant.roles import Image, Matte

Region = tuple[slice, slice]

SHADOW_REACH = 0.09  # of the subject's height: the part above the ground that casts the shadow
SHADOW_SQUASH = 0.35  # height of the shadow on the ground, in heights of that part


class Composite(NamedTuple):
    """An artwork with the subject in it.

    Attributes:
        name: of the slot that the subject stands in.
        image: uint8 [H,W,3] RGB.
        mask: uint8 [H,W], how much of each pixel is the subject's.
    """

    name: str
    image: Image
    mask: Matte


def compose(
    portrait: Portrait,
    placement: Placement,
    picture: Image,
    occluder: Occluder | None = None,
) -> Composite:
    """Return ``picture`` with the subject of ``portrait`` at its place.

    Args:
        portrait: photo, matte and foreground.
        placement: made for this portrait and a picture of this size.
        picture: uint8 [H,W,3] RGB, the artwork at output size; not changed.
        occluder: uint8 [H,W,4] RGBA, not premultiplied: what stands in front of the subject. It
            shows where the subject is; elsewhere the picture stays as it was.
    """
    foreground, matte = _cut_out(portrait, placement)
    image, mask = picture.copy(), np.zeros(picture.shape[:2], np.uint8)
    if placement.standing:
        feet = matte[-shadow_rows(placement) :]
        ground, darkness = contact_shadow(feet, placement, picture.shape, occluder)
        image[ground] = (image[ground] * (1 - darkness[..., None]) + 0.5).astype(np.uint8)
    canvas, own = overlap(placement.target[:2], matte.shape, picture.shape)
    if not mask[canvas].size:
        return Composite(placement.slot.name, image, mask)
    front, alpha = foreground[own], matte[own]
    mask[canvas] = alpha
    if occluder is not None:
        hiding = occluder[canvas]
        front = _mix(front, hiding[..., :3], hiding[..., 3])
        mask[canvas] = cv2.multiply(alpha, 255 - hiding[..., 3], scale=1 / 255)
    image[canvas] = _mix(image[canvas], front, alpha)
    return Composite(placement.slot.name, image, mask)


def _cut_out(portrait: Portrait, placement: Placement) -> tuple[Image, Matte]:
    """Return the used part of foreground and matte, mirrored, scaled, and cropped at its line."""
    rows = shown_rows(placement)
    foreground, matte = (
        _scaled(layer, placement)[:rows] for layer in (portrait.foreground, portrait.matting.matte)
    )
    return foreground, matte


def shown_rows(placement: Placement) -> int:
    """Return how many rows of the target are above the crop line."""
    _, y, _, height = placement.target
    return height if placement.standing else max(min(height, placement.crop_line - y), 0)


def _scaled(layer: NDArray[np.uint8], placement: Placement) -> NDArray[np.uint8]:
    """Return the used part of a photo or its matte, mirrored, as large as on the artwork."""
    x1, y1, x2, y2 = placement.source
    part = layer[y1:y2, x1:x2]
    if placement.flip:
        part = part[:, ::-1]
    how = cv2.INTER_AREA if placement.scale < 1 else cv2.INTER_CUBIC
    size = placement.target[2:]
    return np.asarray(cv2.resize(np.ascontiguousarray(part), size, interpolation=how), np.uint8)


def _mix(back: Image, front: Image, alpha: Matte) -> Image:
    """Return ``front`` over ``back``."""
    weight = alpha.astype(np.float32) / 255
    layers = np.ascontiguousarray(front), np.ascontiguousarray(back)
    return np.asarray(cv2.blendLinear(*layers, weight, 1 - weight), np.uint8)


def shadow_rows(placement: Placement) -> int:
    """Return how many of the target's lowest rows cast the shadow."""
    return max(round(SHADOW_REACH * placement.target[3]), 2)


def contact_shadow(
    feet: Matte, placement: Placement, canvas: tuple[int, ...], occluder: Occluder | None
) -> tuple[Region, NDArray[np.float32]]:
    """Return where on the canvas the ground is darkened, and by how much, 0..1.

    The lowest part of the matte, squashed and blurred, is the contact shadow: without it feet
    seem to hover, whatever the light.

    Args:
        feet: uint8 [h,w], the lowest ``shadow_rows`` of the matte on the target.
        placement: of a standing subject.
        canvas: the artwork's shape.
        occluder: what is in front of the ground too.
    """
    x, y, width, height = placement.target
    reach = shadow_rows(placement)
    squashed = max(round(SHADOW_SQUASH * reach), 1)
    flat = cv2.resize(feet, (width, squashed), interpolation=cv2.INTER_AREA)
    shadow = cv2.copyMakeBorder(flat, *(reach,) * 4, cv2.BORDER_CONSTANT).astype(np.float32)
    blurred = cv2.GaussianBlur(shadow, (0, 0), 0.32 * reach, sigmaY=0.14 * reach)
    top = y + height - round(0.75 * squashed) - reach
    ground, own = overlap((x - reach, top), shadow.shape, canvas)
    darkness = placement.slot.shadow * np.minimum(blurred[own] / 110, 1)
    if occluder is not None:
        darkness *= 1 - occluder[ground][..., 3] / np.float32(255)
    return ground, np.asarray(darkness, np.float32)


def overlap(
    corner: tuple[int, int], size: tuple[int, ...], canvas: tuple[int, ...]
) -> tuple[Region, Region]:
    """Return where a layer at ``corner`` (x, y) meets the canvas: on the canvas, and of itself."""
    spans = []
    for start, length, limit in zip(corner[::-1], size[:2], canvas[:2], strict=True):
        first = min(max(start, 0), limit)
        last = max(min(start + length, limit), first)
        spans.append((slice(first, last), slice(first - start, last - start)))
    (rows, own_rows), (columns, own_columns) = spans
    return (rows, columns), (own_rows, own_columns)
