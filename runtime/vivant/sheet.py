"""Pictures about pictures: faces drawn on a photo, and the stages side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import cv2
import numpy as np
from PIL import Image as PillowImage
from PIL import ImageColor, ImageDraw, ImageFont

from vivant.people import split
from vivant.portrait import Portrait
from vivant.preview import COLOURS
from vivant.roles import Face, Image, Matte
from vivant.studio import Result

_INK, _PAPER, _MARK = (40, 38, 36), (250, 248, 244), (255, 196, 0)
_GAP, _CAPTION = 16, 40


def stages(portrait: Portrait, result: Result) -> dict[str, Image]:
    """Return the picture after every stage, by the stage's name, in order.

    Where people were placed apart, the matte has a colour a person.
    """
    people = split(portrait) if len(result.figures) > 1 else (portrait,)
    return {
        "photo": portrait.photo,
        "faces": draw_faces(portrait.photo, portrait.shot.faces),
        "matte": draw_mattes([person.matting.matte for person in people]),
        "composite": result.composite,
        "harmonized": result.image,
    }


def draw_faces(photo: Image, faces: Sequence[Face]) -> Image:
    """Return ``photo`` with the box and the five landmarks of every face."""
    canvas = PillowImage.fromarray(photo)
    draw = ImageDraw.Draw(canvas)
    line = max(min(photo.shape[:2]) // 180, 2)
    for face in faces:
        draw.rectangle(face.box, outline=_MARK, width=line)
        for x, y in face.landmarks:
            draw.circle((x, y), 1.5 * line, fill=_MARK)
    return np.asarray(canvas)


def draw_mattes(mattes: Sequence[Matte]) -> Image:
    """Return mattes of one photo on black: a single one white, several each in a colour."""
    colours = COLOURS if len(mattes) > 1 else ("white",)
    picture = np.zeros((*mattes[0].shape, 3), np.uint8)
    for matte, colour in zip(mattes, cycle(colours), strict=False):
        shade = np.array(ImageColor.getrgb(colour), np.float32) / 255
        picture += (matte[..., None] * shade).astype(np.uint8)
    return picture


def contact_sheet(panels: Mapping[str, Image], height: int = 360) -> Image:
    """Return the panels in one row, all of the same height, each with its name below."""
    pictures = [_to_height(panel, height) for panel in panels.values()]
    width = sum(picture.shape[1] for picture in pictures) + _GAP * (len(pictures) + 1)
    sheet = PillowImage.new("RGB", (width, height + 2 * _GAP + _CAPTION), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(22)
    x = _GAP
    for name, picture in zip(panels, pictures, strict=True):
        sheet.paste(PillowImage.fromarray(picture), (x, _GAP))
        middle = (x + picture.shape[1] / 2, height + _GAP + _CAPTION / 2 + 4)
        draw.text(middle, name, fill=_INK, font=font, anchor="mm")
        x += picture.shape[1] + _GAP
    return np.asarray(sheet)


def _to_height(picture: Image, height: int) -> Image:
    width = max(round(picture.shape[1] * height / picture.shape[0]), 1)
    how = cv2.INTER_AREA if picture.shape[0] > height else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)
