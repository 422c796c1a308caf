"""What the benchmarks run on: pictures that every checkout has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from vivant.artwork import Artwork, load_artwork
from vivant.images import encode_image, load_image
from vivant.roles import Image, Matte
from vivant_samples import ARTWORKS, PORTRAIT


def sample_frame() -> Image:
    """Return the sample portrait as a camera would frame it: 1920x1080, mirrored at its sides."""
    portrait = cv2.resize(load_image(PORTRAIT), (1080, 1080), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.copyMakeBorder(portrait, 0, 0, 420, 420, cv2.BORDER_REFLECT), np.uint8)


def sample_artwork(folder: Path) -> Artwork:
    """Return a sample artwork of which a 1920x1080 scan has been put into ``folder``."""
    artwork = load_artwork(ARTWORKS / "night-harbour")
    painting = cv2.resize(load_image(artwork.image), (1920, 1080), interpolation=cv2.INTER_AREA)
    scan = folder / "painting.png"
    scan.write_bytes(encode_image(np.asarray(painting, np.uint8), "png"))
    return replace(artwork, image=scan, output_height=1080)


def sample_composite(width: int, height: int) -> tuple[Image, Matte]:
    """Return a painting with the portrait's pixels in the shape of a person, and that shape.

    The person fills 17 % of the picture at 16:9, and the box around 29 %, at any size.
    """
    size = width, height
    painting = load_image(ARTWORKS / "night-harbour" / "painting.webp")
    back = cv2.resize(painting, size, interpolation=cv2.INTER_AREA)
    front = cv2.resize(load_image(PORTRAIT), size, interpolation=cv2.INTER_CUBIC)
    mask = _person(width, height)
    share = mask[..., np.newaxis] / np.float32(255)
    return np.rint(back + (front.astype(np.float32) - back) * share).astype(np.uint8), mask


def _person(width: int, height: int) -> Matte:
    """Draw head and shoulders, cut by the picture's bottom, with edges some pixels soft."""
    left, top, wide, high = 0.33, 0.2, 0.35, 0.8
    scale = np.array([wide * width, high * height])
    corner = np.array([left * width, top * height])
    body = [(0.4, 0.26), (0.6, 0.26), (0.62, 0.4), (0.82, 0.48), (1, 1), (0, 1), (0.18, 0.48)]
    mask = np.zeros((height, width), np.uint8)
    outline = np.array([*body, (0.38, 0.4)]) * scale + corner
    cv2.fillPoly(mask, [outline.astype(np.int32)], 255)
    centre, radii = (0.5, 0.17) * scale + corner, (0.2, 0.16) * scale
    cv2.ellipse(mask, centre.astype(int).tolist(), radii.astype(int).tolist(), 0, 0, 360, 255, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), height / 500), np.uint8)
