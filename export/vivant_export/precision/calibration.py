"""Pictures to calibrate an INT8 engine with, and others to judge it by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from vivant.artwork import find_artworks
from vivant.errors import ModelError
from vivant.images import load_image
from vivant.mattes.grabcut import GrabCutMatter
from vivant.roles import Face, Image, Matte
from vivant_samples import ARTWORKS, PORTRAIT

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".heic")
"""What counts as a picture in a folder."""

MOST = 64
"""Pictures of a folder that are used for either purpose, spread evenly: ranges hardly widen after
some dozens, and each costs a run of the FP32 network."""

DEFAULT_PICTURES, DEFAULT_HELD_OUT = 24, 8

_SEED = 20200718
_LONGEST_SIDE = 1024
_FACE = Face(
    box=(178, 70, 278, 190),
    probability=1.0,
    landmarks=((203, 99), (248, 103), (224, 122), (205, 147), (244, 145)),
)
"""Of the sample portrait."""


def pictures(folder: Path | None = None) -> Iterator[Image]:
    """Return the pictures to calibrate with.

    Args:
        folder: of photos as the engine will see them, on site. Every other one by name is used,
            ``MOST`` at most; subfolders are not looked into. Without it: ``DEFAULT_PICTURES``
            made from the sample portrait and paintings, the same each time: the portrait, a
            painting, or the person pasted into a painting, cropped, mirrored, brighter or darker,
            warmer or cooler, blurred and with noise.

    Returns:
        uint8 [H,W,3] RGB each, of any size, loaded one by one.

    Raises:
        ModelError: at once, when the folder is missing or has fewer than two pictures.
        ImageError: on the way, when one of its pictures cannot be read.
    """
    if folder is not None:
        return map(load_image, _spread(_listed(folder)[::2]))
    scenes = (_portrait, _pasted, _pasted, _painting)
    return (_made(i, scenes[i % len(scenes)]) for i in range(DEFAULT_PICTURES))


def held_out(folder: Path | None = None) -> Iterator[Image]:
    """Return pictures that ``pictures`` does not: to judge by.

    Args:
        folder: as for ``pictures``; those between the ones that calibrate. Without it:
            ``DEFAULT_HELD_OUT``, all with the person.

    Returns:
        As ``pictures``.

    Raises:
        As ``pictures``.
    """
    if folder is not None:
        return map(load_image, _spread(_listed(folder)[1::2]))
    scenes = (_portrait, _pasted)
    return (_made(DEFAULT_PICTURES + i, scenes[i % 2]) for i in range(DEFAULT_HELD_OUT))


def _listed(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    except OSError as error:
        raise ModelError(
            f"{folder}: {error.strerror or error}; name a folder of photos to calibrate with"
        ) from error
    if len(found) < 2:
        raise ModelError(
            f"{folder}: has {len(found)} pictures ({', '.join(SUFFIXES)}); put in some dozens: "
            "half calibrate, the others judge"
        )
    return found


def _spread(paths: list[Path]) -> list[Path]:
    """Return at most ``MOST`` of ``paths``, at even distances."""
    count = min(len(paths), MOST)
    return [paths[len(paths) * i // count] for i in range(count)]


def _made(number: int, scene: Callable[[np.random.Generator], Image]) -> Image:
    """Return picture ``number`` of the default set."""
    random = np.random.default_rng([_SEED, number])
    return _lit(_framed(scene(random), random), random)


def _portrait(_: np.random.Generator) -> Image:
    return load_image(PORTRAIT)


def _painting(random: np.random.Generator) -> Image:
    paintings = _paintings()
    return paintings[int(random.integers(len(paintings)))]


def _pasted(random: np.random.Generator) -> Image:
    """Return a painting with the person at its lower edge."""
    picture: Image = _painting(random).copy()
    height, width = picture.shape[:2]
    side = int(height * random.uniform(0.4, 0.95))
    person, matte = (
        cv2.resize(layer, (side, side), interpolation=cv2.INTER_AREA) for layer in _cut_out()
    )
    left = int(random.uniform(0, max(width - side, 1)))
    place = picture[height - side :, left : left + side]
    share = (matte[:, : place.shape[1], np.newaxis] / 255).astype(np.float32)
    place[:] = place + share * (person[:, : place.shape[1]].astype(np.float32) - place)
    return picture


def _framed(picture: Image, random: np.random.Generator) -> Image:
    """Crop to 60 to 100 percent of either side, and mirror every other picture."""
    height, width = picture.shape[:2]
    rows, columns = (int(side * random.uniform(0.6, 1.0)) for side in (height, width))
    top = int(random.integers(height - rows + 1))
    left = int(random.integers(width - columns + 1))
    crop = picture[top : top + rows, left : left + columns]
    return crop[:, ::-1] if random.random() < 0.5 else crop


def _lit(picture: Image, random: np.random.Generator) -> Image:
    """Change exposure (two stops down to one up) and white balance; blur and add noise."""
    gains = 2 ** random.uniform(-2.0, 1.0) * random.uniform(0.85, 1.15, 3)
    light = (picture / 255.0) ** 2.2 * gains
    shown = cv2.GaussianBlur(light.clip(0, 1) ** (1 / 2.2), (0, 0), random.uniform(0.3, 1.5))
    noise = random.normal(0, random.uniform(0, 0.03), shown.shape)
    return np.asarray(((shown + noise).clip(0, 1) * 255).round(), np.uint8)


@cache
def _paintings() -> tuple[Image, ...]:
    return tuple(_reduced(artwork.picture()) for artwork in find_artworks(ARTWORKS).artworks)


@cache
def _cut_out() -> tuple[Image, Matte]:
    portrait = load_image(PORTRAIT)
    return portrait, GrabCutMatter().matte(portrait, [_FACE]).matte


def _reduced(picture: Image) -> Image:
    height, width = picture.shape[:2]
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    size = (round(width * scale), round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
