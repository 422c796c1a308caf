"""Artworks: folders with an ``artwork.toml``, a picture, and occluders.

All places in a picture are shares of its width and height, so that a better scan needs no new
slots. ``vivant.artwork_file`` says what a file may hold. All of it is checked when an artwork is
loaded, pictures included, and not when a visitor stands before it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.artwork_file import FILE_NAME, OUTPUT_HEIGHTS, Table, read_tables
from vivant.containers import MAX_PIXELS
from vivant.errors import ArtworkError, ImageError
from vivant.files import one_line
from vivant.images import load_image, load_layer
from vivant.portrait import ShotType
from vivant.roles import Image, Matte

KEPT_PICTURES = 8
"""How many pictures, and how many occluders, stay decoded. A kiosk composes all day; at 1440
rows eight of each take about 150 MB."""

Occluder: TypeAlias = NDArray[np.uint8]
"""uint8 [H,W,4], RGBA, sRGB, alpha not premultiplied."""


@dataclass(frozen=True)
class Slot:
    """A place in an artwork for a visitor, or for a few.

    Attributes:
        name: unique in its artwork.
        shot: what kinds of portrait it takes.
        box: x, y, width, height, shares of the picture.
        people: least and most; one person where the file does not say.
        anchor: "bottom-left", "bottom-center" or "bottom-right": where in the box the subject is.
        head_height: share of the picture's height; ``None`` fits the subject to the box.
        flip: "never", "always", or "auto": face towards the picture's middle.
        occluder: the picture in front of the visitor, or ``None``.
        priority: slots of higher priority are tried first.
        shadow: opacity of the contact shadow under a full-body figure's feet, 0..1.
        z: who stands in a slot of lower z is farther away, and painted first.
    """

    name: str
    shot: tuple[ShotType, ...]
    box: tuple[float, float, float, float]
    people: tuple[int, int] = (1, 1)
    anchor: str = "bottom-center"
    head_height: float | None = None
    flip: str = "auto"
    occluder: Path | None = None
    priority: int = 0
    shadow: float = 0.4
    z: int = 0


@dataclass(frozen=True)
class Artwork:
    """A checked artwork folder. Its pictures are decoded when first asked for.

    ``people`` says how a group is placed: "together" in one slot, or "apart", each in their own.
    """

    id: str
    title: str
    folder: Path
    image: Path
    output_height: int
    slots: tuple[Slot, ...]
    artist: str = ""
    year: int | str | None = None
    credit: str = ""
    licence: str = ""
    fallback: tuple[ShotType, ...] = (ShotType.HALF_BODY, ShotType.CLOSE_UP, ShotType.FULL_BODY)
    people: str = "together"

    def picture(self) -> Image:
        """Return the picture at ``output_height``; shared and read-only, so copy to draw on it.

        Raises:
            ImageError: The file was damaged or removed since the artwork was loaded.
        """
        return _picture(self.image, _modified(self.image), self.output_height)

    def occluder(self, slot: Slot) -> Occluder | None:
        """Return what stands before ``slot``, at the picture's output size; shared, read-only.

        Raises:
            ImageError: The file was damaged or removed since the artwork was loaded.
            ArtworkError: It was replaced by one that is nowhere transparent.
        """
        if slot.occluder is None:
            return None
        return _occluder(slot.occluder, _modified(slot.occluder), _size(self.picture()))


@dataclass(frozen=True)
class Gallery:
    """The artworks of a folder, by folder name, and what kept others from being loaded."""

    artworks: tuple[Artwork, ...]
    errors: tuple[ArtworkError, ...]


def find_artworks(path: str | Path) -> Gallery:
    """Load every artwork folder in the folder ``path``; broken ones do not stop the others.

    Raises:
        ArtworkError: There is no such folder, or no artwork in it.
    """
    files = sorted(Path(path).glob(f"*/{FILE_NAME}"))
    if not files:
        where = one_line(path)
        raise ArtworkError(f"{where}: no artworks here; name a folder of folders with {FILE_NAME}")
    artworks: dict[str, Artwork] = {}
    errors = []
    for file in files:
        try:
            artwork = load_artwork(file)
        except ArtworkError as error:
            errors.append(error)
            continue
        first = artworks.setdefault(artwork.id, artwork)
        if first is not artwork:
            taken = f"artwork.id: {artwork.id!r} is that of {one_line(first.folder)} already"
            errors.append(ArtworkError(f"{one_line(file)}: {taken}; choose another"))
    return Gallery(tuple(artworks.values()), tuple(errors))


def load_artwork(path: str | Path) -> Artwork:
    """Load an artwork from its folder or its ``artwork.toml``.

    Raises:
        ArtworkError: With all that is wrong, each problem by its key; slots count from 1.
    """
    file = Path(path)
    file = file / FILE_NAME if file.is_dir() else file
    folder = file.parent.resolve()
    artwork, slots, problems = read_tables(file)
    _check_pictures(folder, artwork, slots, problems)
    if problems:
        raise ArtworkError(f"{one_line(file)}: {'; '.join(problems)}")
    return Artwork(folder=folder, slots=tuple(Slot(**slot) for slot in slots), **artwork)


def _check_pictures(
    folder: Path, artwork: Table, slots: Sequence[Table], problems: list[str]
) -> None:
    """Put paths in place of the file names; decode every picture to see that it serves."""
    size = None
    if "image" in artwork:
        with _noting("artwork.image", problems):
            artwork["image"] = _inside(folder, artwork["image"])
            size = _size(_load(artwork["image"]))
            artwork.setdefault("output_height", size[1])
            _check_output(size, artwork["output_height"])
    paths: dict[str, Path] = {}
    for name, number in _first_uses(slots).items():
        with _noting(f"slot[{number}].occluder", problems):
            paths[name] = _inside(folder, name)
            own = _size(_load_occluder(paths[name])[1])
            if size not in {None, own}:
                sizes = "{}x{} for a picture of {}x{}".format(*own, *size)
                raise ArtworkError(f"{sizes}; save it at the picture's size")
    for slot in slots:
        slot["occluder"] = paths.get(slot.get("occluder", ""))


def _first_uses(slots: Sequence[Table]) -> dict[str, int]:
    """Return each occluder's name with the number of the first slot behind it."""
    uses: dict[str, int] = {}
    for number, slot in enumerate(slots, 1):
        if "occluder" in slot:
            uses.setdefault(slot["occluder"], number)
    return uses


@contextlib.contextmanager
def _noting(key: str, problems: list[str]) -> Iterator[None]:
    try:
        yield
    except (ArtworkError, ImageError) as error:
        problems.append(f"{key}: {error}")


def _inside(folder: Path, name: str) -> Path:
    """Return the file's path, links resolved; an artwork reads nothing outside its folder."""
    found = f"found {one_line(name)!r}"
    try:
        path = (folder / name).resolve()
        if Path(name).is_absolute() or not path.is_relative_to(folder):
            raise ArtworkError(f"{found}, outside the folder; copy the picture into it")
        if path.is_file():
            return path
    except (OSError, RuntimeError) as error:  # a name too long, links in a circle
        raise ArtworkError(f"{found}, which is no path; rename the picture") from error
    raise ArtworkError(f"{found}, but there is no such file; copy it into the folder")


def _check_output(size: tuple[int, int], height: int) -> None:
    """See that the composite, ``height`` rows of it, is neither too small nor too large."""
    least, most = OUTPUT_HEIGHTS
    if not least <= height <= most or _scaled_width(size, height) * height > MAX_PIXELS:
        limits = f"from {least} to {most} and at most {MAX_PIXELS // 1_000_000} megapixels"
        raise ArtworkError(f"{size[0]}x{size[1]} at {height} rows; set output_height {limits}")


# Pictures ---------------------------------------------------------------------------------------


def _modified(path: Path) -> int:
    """Return a stamp that changes with the file, so that an edited picture is read again."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0  # reading it will say what is wrong


def _load(path: Path) -> Image:
    return load_image(path, name=_short(path))


def _load_occluder(path: Path) -> tuple[Image, Matte]:
    """Return an occluder over white, and its alpha."""
    over_white, alpha = load_layer(path, name=_short(path))
    if alpha is None:
        problem = "nowhere transparent, it would hide the visitor"
        raise ArtworkError(f"{problem}; save it as PNG or WebP with an alpha")
    return over_white, alpha


def _short(path: Path) -> str:
    """Return a picture's name as errors give it: with the name of its folder."""
    return "/".join(path.parts[-2:])


@lru_cache(maxsize=KEPT_PICTURES)
def _picture(path: Path, modified: int, height: int) -> Image:  # noqa: ARG001  (a part of the key)
    image = _load(path)
    picture: Image = _resized(image, (_scaled_width(_size(image), height), height))
    picture.flags.writeable = False
    return picture


@lru_cache(maxsize=KEPT_PICTURES)
def _occluder(path: Path, modified: int, size: tuple[int, int]) -> Occluder:  # noqa: ARG001
    resized = _resized(_premultiplied(*_load_occluder(path)), size)
    alpha = resized[..., 3:]  # its overshoot, clipped only below, is that of the colours too
    colour = 255 * resized[..., :3] / np.maximum(alpha, 1)
    straight = np.concatenate([colour, alpha], axis=2)
    occluder: Occluder = np.clip(np.rint(straight), 0, 255).astype(np.uint8)
    occluder.flags.writeable = False
    return occluder


def _premultiplied(over_white: Image, alpha: Matte) -> NDArray[np.float32]:
    """Return an occluder as float32 [H,W,4], premultiplied: only so can it be resized.

    Otherwise the invisible colour of transparent pixels would bleed into the edges.
    """
    colour = np.maximum(over_white + alpha[..., np.newaxis].astype(np.float32) - 255, 0)
    return np.dstack([colour, alpha]).astype(np.float32)


def _size(array: NDArray[Any]) -> tuple[int, int]:
    return array.shape[1], array.shape[0]


def _scaled_width(size: tuple[int, int], height: int) -> int:
    return max(1, round(size[0] * height / size[1]))


def _resized(array: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """Resize to (width, height): Lanczos to enlarge, area to reduce."""
    if _size(array) == size:
        return array
    kernel = cv2.INTER_LANCZOS4 if size[1] > array.shape[0] else cv2.INTER_AREA
    return np.asarray(cv2.resize(array, size, interpolation=kernel))
