"""The subject laid into the artwork: composite and mask."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.placement import Placement
from vivant.portrait import Portrait
from vivant.roles import Image, Matte

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
    occluder: NDArray[np.uint8] | None = None,
) -> Composite:
    """Return ``picture`` with the subject of ``portrait`` at its place.

    Args:
        portrait: photo, matte and foreground.
        placement: made for this portrait and a picture of this size.
        picture: uint8 [H,W,3] RGB, the artwork at output size; not changed.
        occluder: uint8 [H,W,4] RGBA, what stands in front of the subject; not premultiplied.
    """
    foreground, matte = _cut_out(portrait, placement)
    image, mask = picture.copy(), np.zeros(picture.shape[:2], np.uint8)
    if placement.standing and placement.slot.shadow > 0:
        _cast_shadow(image, matte, placement)
    canvas, own = _overlap(placement, picture.shape[:2])
    mask[canvas] = matte[own]
    _blend(image, foreground[own], mask, canvas)
    if occluder is not None:
        _blend(image, occluder[canvas][..., :3], occluder[..., 3], canvas)
        mask[canvas] = cv2.multiply(mask[canvas], 255 - occluder[canvas][..., 3], scale=1 / 255)
    return Composite(placement.slot.name, image, mask)


def _cut_out(portrait: Portrait, placement: Placement) -> tuple[Image, Matte]:
    """Return the used part of foreground and matte, mirrored and scaled as the placement says."""
    x1, y1, x2, y2 = placement.source
    foreground, matte = portrait.foreground[y1:y2, x1:x2], portrait.matting.matte[y1:y2, x1:x2]
    if placement.flip:
        foreground, matte = foreground[:, ::-1], matte[:, ::-1]
    size = placement.target[2:]
    how = cv2.INTER_AREA if placement.scale < 1 else cv2.INTER_CUBIC
    return (
        np.asarray(cv2.resize(np.ascontiguousarray(foreground), size, interpolation=how), np.uint8),
        np.asarray(cv2.resize(np.ascontiguousarray(matte), size, interpolation=how), np.uint8),
    )


Region = tuple[slice, slice]


def _overlap(placement: Placement, shape: tuple[int, ...]) -> tuple[Region, Region]:
    """Return the rows and columns that the subject covers: on the canvas, and of itself."""
    x, y, width, height = placement.target
    bottom = min(y + height, shape[0])
    if not placement.standing:
        bottom = min(bottom, placement.crop_line)
    top, left, right = max(y, 0), max(x, 0), min(x + width, shape[1])
    bottom, right = max(bottom, top), max(right, left)
    canvas = (slice(top, bottom), slice(left, right))
    return canvas, (slice(top - y, bottom - y), slice(left - x, right - x))


def _blend(image: Image, front: Image, alpha: Matte, region: Region) -> None:
    """Lay ``front`` over ``region`` of ``image``, in place; ``alpha`` is of the image's size."""
    if front.size == 0:
        return
    weight = alpha[region].astype(np.float32) / 255
    image[region] = cv2.blendLinear(
        np.ascontiguousarray(front), np.ascontiguousarray(image[region]), weight, 1 - weight
    )


def _cast_shadow(image: Image, matte: Matte, placement: Placement) -> None:
    """Darken the ground where the subject stands on it, in place.

    The lowest part of the matte, squashed and blurred, is the contact shadow: without it feet
    seem to hover, whatever the light.
    """
    x, y, width, height = placement.target
    reach = max(round(SHADOW_REACH * height), 2)
    squashed = max(round(SHADOW_SQUASH * reach), 1)
    pad = reach
    feet = cv2.resize(matte[-reach:], (width, squashed), interpolation=cv2.INTER_AREA)
    shadow = cv2.copyMakeBorder(feet, pad, pad, pad, pad, cv2.BORDER_CONSTANT).astype(np.float32)
    sigma = reach / 5
    shadow = np.asarray(cv2.GaussianBlur(shadow, (0, 0), sigma * 1.6, sigmaY=sigma * 0.7))
    ground = _clip(
        (y + height - squashed // 2 - pad - squashed // 4, x - pad), shadow.shape, image.shape
    )
    if ground is None:
        return
    canvas, own = ground
    light = 1 - placement.slot.shadow * np.minimum(shadow[own] / 255 * 1.5, 1)
    image[canvas] = (image[canvas] * light[..., None] + 0.5).astype(np.uint8)


def _clip(
    corner: tuple[int, int], size: tuple[int, ...], canvas: tuple[int, ...]
) -> tuple[Region, Region] | None:
    top, left = max(corner[0], 0), max(corner[1], 0)
    bottom, right = min(corner[0] + size[0], canvas[0]), min(corner[1] + size[1], canvas[1])
    if top >= bottom or left >= right:
        return None
    own = (
        slice(top - corner[0], bottom - corner[0]),
        slice(left - corner[1], right - corner[1]),
    )
    return (slice(top, bottom), slice(left, right)), own
