"""The curator's preview: an artwork with its slots drawn on it."""

from __future__ import annotations

from itertools import cycle
from typing import Any, TypeAlias

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageColor, ImageDraw, ImageFont

from vivant.artwork import Artwork, Slot
from vivant.portrait import ShotType
from vivant.roles import Image

COLOURS = ("#ffd23f", "#3bceac", "#ff5d73", "#a99bff", "#ff9f1c", "#4cc9f0")
"""One a slot, in turn."""

TINT = "#ff00c8"
"""What occluders are tinted with."""

VISIBLE_HEADS = {ShotType.CLOSE_UP: 1.8, ShotType.HALF_BODY: 4.0, ShotType.FULL_BODY: 7.5}
"""How much of a figure is drawn, in heads from the hair down."""

_Box: TypeAlias = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels."""

_LIMBS = (
    (-0.20, 0.70, 0.20, 1.50, 0.0),  # neck
    (-0.98, 1.25, 0.98, 4.20, 0.55),  # shoulders, arms and trunk
    (-0.65, 3.50, -0.03, 7.50, 0.2),  # legs
    (0.03, 3.50, 0.65, 7.50, 0.2),
)
"""A figure below the head: x1, y1, x2, y2 and corner radius in heads, from the hair's middle."""

_SHOULDERS = 2.1
"""The width that one figure takes, in heads."""


def draw_slots(artwork: Artwork) -> Image:
    """Return the artwork with every slot's box, label and figures, and its occluders tinted.

    The figures stand for the fewest people that the slot takes, at the slot's scale, as its
    first shot type would show them.

    Raises:
        ImageError: A picture was damaged or removed since the artwork was loaded.
    """
    picture = _tinted(artwork)
    rows, columns = picture.shape[:2]
    line = max(2, rows // 400)
    drawn = [
        (slot, colour, _pixels(slot, (columns, rows)))
        for slot, colour in zip(artwork.slots, cycle(COLOURS), strict=False)
    ]
    for slot, colour, box in sorted(drawn, key=lambda item: item[0].z):
        figures = _figures(slot, box, (columns, rows))
        coloured, dark = _grown(figures, line), _grown(figures, line + 1)
        _blend(picture, "black", (dark - coloured) / 255)
        _blend(picture, colour, 0.15 / 255 * figures + (coloured - figures) / 255)
    canvas = PIL.Image.fromarray(picture.astype(np.uint8))
    draw = ImageDraw.Draw(canvas)
    for _, colour, box in drawn:
        draw.rectangle(box, outline=colour, width=line)
    labels: list[_Box] = []
    for slot, colour, box in drawn:
        labels.append(_draw_label(draw, _label(slot), box, colour, labels))
    return np.array(canvas)


def _tinted(artwork: Artwork) -> NDArray[np.float32]:
    picture = artwork.picture().astype(np.float32)
    for slot in {slot.occluder: slot for slot in artwork.slots}.values():
        occluder = artwork.occluder(slot)
        if occluder is not None:
            _blend(picture, TINT, 0.35 / 255 * occluder[..., 3])
    return picture


def _blend(picture: NDArray[np.float32], colour: str, weight: NDArray[Any]) -> None:
    rgb = np.array(ImageColor.getrgb(colour), np.float32)
    picture += weight[..., np.newaxis].astype(np.float32) * (rgb - picture)


def _grown(silhouette: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return np.asarray(cv2.dilate(silhouette, disc), np.uint8)


def _pixels(slot: Slot, size: tuple[int, int]) -> _Box:
    x, y, width, height = slot.box
    columns, rows = size[0] - 1, size[1] - 1
    return x * columns, y * rows, (x + width) * columns, (y + height) * rows


def _figures(slot: Slot, box: _Box, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the figures' silhouettes as uint8 [H,W], 0 or 255, cut at the box's bottom."""
    left, top, right, bottom = box
    heads = VISIBLE_HEADS[slot.shot[0]]
    head = slot.head_height * size[1] if slot.head_height else (bottom - top) / heads
    standing = slot.shot[0] is ShotType.FULL_BODY
    hair = bottom - heads * head if standing else max(top, bottom - heads * head)
    width = slot.people[0] * _SHOULDERS * head
    start = {
        "bottom-left": left,
        "bottom-center": (left + right - width) / 2,
        "bottom-right": right - width,
    }[slot.anchor]
    silhouette = PIL.Image.new("L", size)
    draw = ImageDraw.Draw(silhouette)
    for number in range(slot.people[0]):
        x = start + (number + 0.5) * _SHOULDERS * head
        draw.ellipse((x - 0.37 * head, hair, x + 0.37 * head, hair + head), fill=255)
        for x1, y1, x2, y2, radius in _LIMBS:
            end = hair + y2 * head if standing else bottom + 2 * head  # what follows is cut off
            corners = (x + x1 * head, hair + y1 * head, x + x2 * head, end)
            draw.rounded_rectangle(corners, radius * head, fill=255)
    draw.rectangle((0, bottom, *size), fill=0)
    return np.array(silhouette)


def _label(slot: Slot) -> str:
    least, most = slot.people
    people = f"{least}" if least == most else f"{least}-{most}"
    head = "fits the box" if slot.head_height is None else f"head {slot.head_height:g}"
    order = f" | z {slot.z}" if slot.z else ""
    return f"{slot.name}\n{', '.join(map(str, slot.shot))} | people {people} | {head}{order}"


def _draw_label(
    draw: ImageDraw.ImageDraw, text: str, box: _Box, colour: str, taken: list[_Box]
) -> _Box:
    """Draw ``text`` over the box's top left corner, below the labels that are there already."""
    columns, rows = draw.im.size
    font = ImageFont.load_default(max(11, rows // 60))
    pad = max(3, rows // 300)
    _, _, width, height = draw.multiline_textbbox((pad, pad), text, font=font)
    x = max(0, min(box[0], columns - width - pad))
    y = max(0, box[1] - height - pad)
    for other in sorted(taken, key=lambda label: label[1]):
        beside = x >= other[2] or other[0] >= x + width + pad
        if not beside and y < other[3] and other[1] < y + height + pad:
            y = other[3] + 1
    label = x, y, x + width + pad, y + height + pad
    draw.rectangle(label, fill="black", outline=colour)
    draw.multiline_text((x + pad, y + pad), text, fill=colour, font=font)
    return label
