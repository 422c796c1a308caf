"""Vivant: a visitor's portrait steps into a painting, lit by its light.

>>> studio = Studio.open()
>>> result = studio.compose("me.jpg", "artworks/night-harbour")
>>> save_image(result.image, "out.jpg")
"""

from vivant.artwork import Artwork, load_artwork
from vivant.errors import VivantError
from vivant.images import load_image, save_image
from vivant.studio import Result, Studio

__all__ = [
    "Artwork",
    "Result",
    "Studio",
    "VivantError",
    "load_artwork",
    "load_image",
    "save_image",
]
