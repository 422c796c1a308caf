"""The subject laid into the artwork: composite and mask."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

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
        _cast_shadow(image, matte, placement, occluder)
    canvas, own = _overlap(placement.target[:2], matte.shape, picture.shape)
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
    x1, y1, x2, y2 = placement.source
    foreground, matte = portrait.foreground[y1:y2, x1:x2], portrait.matting.matte[y1:y2, x1:x2]
    if placement.flip:
        foreground, matte = foreground[:, ::-1], matte[:, ::-1]
    _, y, width, height = placement.target
    rows = height if placement.standing else max(min(height, placement.crop_line - y), 0)
    how = cv2.INTER_AREA if placement.scale < 1 else cv2.INTER_CUBIC
    scaled = (
        np.asarray(cv2.resize(np.ascontiguousarray(layer), (width, height), interpolation=how))
        for layer in (foreground, matte)
    )
    foreground, matte = (layer[:rows].astype(np.uint8, copy=False) for layer in scaled)
    return foreground, matte


def _mix(back: Image, front: Image, alpha: Matte) -> Image:
    """Return ``front`` over ``back``."""
    weight = alpha.astype(np.float32) / 255
    layers = np.ascontiguousarray(front), np.ascontiguousarray(back)
    return np.asarray(cv2.blendLinear(*layers, weight, 1 - weight), np.uint8)


def _cast_shadow(
    image: Image, matte: Matte, placement: Placement, occluder: Occluder | None
) -> None:
    """Darken the ground where the subject stands on it, in place.

    The lowest part of the matte, squashed and blurred, is the contact shadow: without it feet
    seem to hover, whatever the light.
    """
    x, y, width, height = placement.target
    reach = max(round(SHADOW_REACH * height), 2)
    squashed = max(round(SHADOW_SQUASH * reach), 1)
    feet = cv2.resize(matte[-reach:], (width, squashed), interpolation=cv2.INTER_AREA)
    shadow = cv2.copyMakeBorder(feet, *(reach,) * 4, cv2.BORDER_CONSTANT).astype(np.float32)
    blurred = cv2.GaussianBlur(shadow, (0, 0), 0.32 * reach, sigmaY=0.14 * reach)
    top = y + height - round(0.75 * squashed) - reach
    canvas, own = _overlap((x - reach, top), shadow.shape, image.shape)
    darkness = placement.slot.shadow * np.minimum(blurred[own] / 110, 1)
    if occluder is not None:
        darkness *= 1 - occluder[canvas][..., 3] / np.float32(255)
    image[canvas] = (image[canvas] * (1 - darkness[..., None]) + 0.5).astype(np.uint8)


def _overlap(
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
