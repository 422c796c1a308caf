"""The artworks on show, and the JPEGs that pages show of them.

The artworks change while the service runs: a curator saves one, and every page asks for the list.
``Exhibition`` holds what was loaded last, whole, and a reload replaces it in one step.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from vivant.artwork import Artwork, Gallery, find_artworks
from vivant.artwork_file import FILE_NAME
from vivant.errors import ArtworkError, VivantError
from vivant.files import one_line
from vivant.images import encode_image
from vivant.studio import reduce_to
from vivant_kiosk.drafts import recover

THUMBNAIL_SIDE = 640
"""Longest side of a thumbnail, pixels."""

KEPT_PICTURES = 16
"""How many JPEGs at output size stay in memory; at 1440 rows they take about 25 MB."""

KEPT_THUMBNAILS = 256
"""How many thumbnails stay in memory, about 100 kB each."""


@dataclass(frozen=True)
class Rendition:
    """A JPEG of an artwork, and its entity tag as HTTP writes it, quotes included."""

    jpeg: bytes
    etag: str


@dataclass(frozen=True)
class _Shown:
    artworks: tuple[Artwork, ...]
    errors: tuple[VivantError, ...]


class Exhibition:
    """The artworks of a folder; any number of threads may read while one reloads.

    A folder that holds none yet is an exhibition without artworks: the studio adds the first.
    """

    def __init__(self, folder: str | Path) -> None:
        """Load the artworks.

        Raises:
            ArtworkError: There is no such folder. Broken artworks are among ``errors``.
        """
        self.folder = Path(folder)
        self._lock = threading.Lock()
        recover(self.folder)
        self._shown = _load(self.folder)

    @property
    def artworks(self) -> tuple[Artwork, ...]:
        """What is on show, by folder name."""
        return self._shown.artworks

    @property
    def errors(self) -> tuple[VivantError, ...]:
        """Why other artworks of the folder are not."""
        return self._shown.errors

    def find(self, artwork_id: str) -> Artwork | None:
        """Return the artwork of that id, if it is on show."""
        return next((artwork for artwork in self.artworks if artwork.id == artwork_id), None)

    def reload(self) -> None:
        """Load the folder again.

        Raises:
            ArtworkError: The folder is gone; what was on show stays.
        """
        with self._lock:  # of two reloads, the one that began later must be the one that stays
            self._shown = _load(self.folder)

    def picture(self, artwork: Artwork) -> Rendition:
        """Return the artwork's picture at its output size.

        Raises:
            ImageError: The file was damaged or removed since the artwork was loaded.
        """
        return _picture(artwork, _modified(artwork))

    def thumbnail(self, artwork: Artwork) -> Rendition:
        """Return the artwork's picture with a longest side of ``THUMBNAIL_SIDE`` pixels.

        Raises:
            ImageError: The file was damaged or removed since the artwork was loaded.
        """
        return _thumbnail(artwork, _modified(artwork))


def _load(folder: Path) -> _Shown:
    if not folder.is_dir():
        raise ArtworkError(f"{one_line(folder)}: no such folder; create it or name another")
    empty = not any(folder.glob(f"*/{FILE_NAME}"))
    gallery = Gallery((), ()) if empty else find_artworks(folder)
    return _Shown(gallery.artworks, gallery.errors)


def _modified(artwork: Artwork) -> int:
    try:
        return artwork.image.stat().st_mtime_ns
    except OSError:
        return 0  # reading it will say what is wrong


@lru_cache(maxsize=KEPT_PICTURES)
def _picture(artwork: Artwork, modified: int) -> Rendition:  # noqa: ARG001  (a part of the key)
    return _rendition(encode_image(artwork.picture(), "jpeg"))


@lru_cache(maxsize=KEPT_THUMBNAILS)
def _thumbnail(artwork: Artwork, modified: int) -> Rendition:  # noqa: ARG001
    return _rendition(encode_image(reduce_to(artwork.picture(), THUMBNAIL_SIDE), "jpeg", 85))


def _rendition(jpeg: bytes) -> Rendition:
    return Rendition(jpeg, f'"{hashlib.sha256(jpeg).hexdigest()[:32]}"')
