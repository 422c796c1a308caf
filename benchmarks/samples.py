"""Composites whose real picture is known: those of iHarmony4, and synthetic ones.

A sample is a real picture, a mask, and the same picture with another colour or light inside the
mask. Harmonizing it should bring the real one back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant import models
from vivant.artwork import find_artworks
from vivant.errors import ImageError
from vivant.images import load_image, load_matte
from vivant.portrait import prominent
from vivant.roles import Image, Matte
from vivant.store import EngineStore
from vivant.studio import reduce_to
from vivant_samples import ARTWORKS, PORTRAIT

SUBSETS = {"HCOCO": 4283, "HAdobe5k": 2160, "HFlickr": 828, "Hday2night": 133}
"""The four parts of iHarmony4 and how many test pictures each has."""

FILTER = "figure's MSE 100..10000, at most 2 % of its values clipped anew"
"""Which synthetic changes are kept: those that are seen, and that can be undone."""

LONGEST = 640
"""Longest side in pixels of synthetic samples, as of most pictures of iHarmony4."""

_DRAWS = 50  # until one passes the filter

_Pixels: TypeAlias = NDArray[np.float32]
_Random: TypeAlias = np.random.Generator


@dataclass(frozen=True)
class Sample:
    """A composite, uint8 [H,W,3] RGB, its real picture, its mask, uint8 [H,W], and its group."""

    group: str
    composite: Image
    target: Image
    mask: Matte


# iHarmony4 ----------------------------------------------------------------------------------------


def iharmony4(folder: Path) -> Iterator[Sample]:
    """Read the test pictures of those parts of iHarmony4 that are in ``folder``.

    A part is a folder with ``composite_images``, ``masks``, ``real_images`` and its list,
    ``<part>_test.txt``.

    Raises:
        ImageError: there is no part, or a picture of its list is missing or cannot be read.
    """
    lists = {name: folder / name / f"{name}_test.txt" for name in SUBSETS}
    present = {name: path for name, path in lists.items() if path.is_file()}
    if not present:
        first = next(iter(lists.values()))
        raise ImageError(f"{folder}: no part of iHarmony4 here ({first} and the like)")
    for name, path in present.items():
        for line in path.read_text(encoding="utf-8").split():
            composite = Path(line).stem
            with_mask = composite.rpartition("_")[0]
            real = with_mask.rpartition("_")[0]
            part = path.parent
            yield Sample(
                name,
                _read(part / "composite_images" / f"{composite}.jpg"),
                _read(part / "real_images" / f"{real}.jpg"),
                _read(part / "masks" / f"{with_mask}.png")[..., 2],  # blue, OpenCV's first
            )


def _read(path: Path) -> Image:
    """Read a picture as the papers do: OpenCV's own decoder, no colour profile applied."""
    picture = cv2.imread(str(path))
    if picture is None:
        raise ImageError(f"{path}: missing or no picture; complete the set")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


# Synthetic ----------------------------------------------------------------------------------------


def synthetic(
    pictures: Mapping[str, tuple[Image, Matte]], *, seed: int, draws: int
) -> Iterator[Sample]:
    """Change the figure of every picture ``draws`` times in each family: a family is a group.

    Args:
        pictures: by name, uint8 [H,W,3] RGB and the matte, uint8 [H,W], of what is changed; a
            longest side above ``LONGEST`` is reduced to it.
        seed: of the random numbers.
        draws: by picture and family. One that never passes ``FILTER`` is left out.
    """
    reduced = {
        name: (reduce_to(image, LONGEST), reduce_to(matte, LONGEST))
        for name, (image, matte) in pictures.items()
    }
    for family, change in FAMILIES.items():
        for name, (real, matte) in reduced.items():
            random = np.random.default_rng([seed, *f"{family}/{name}".encode()])
            for _ in range(draws):
                composite = _changed(real, matte, change, random)
                if composite is not None:
                    yield Sample(family, composite, real, matte)


def _changed(
    real: Image, matte: Matte, change: Callable[[_Pixels, _Random], _Pixels], random: _Random
) -> Image | None:
    """Return ``real`` with its figure changed; ``None`` where no draw passes the filter."""
    x, y, width, height = cv2.boundingRect(matte)
    box = np.s_[y : y + height, x : x + width]
    pixels, weight = real[box] / np.float32(255), matte[box][..., np.newaxis] / np.float32(255)
    inside = matte[box] > 127
    for _ in range(_DRAWS):
        changed = change(pixels, random)
        lost = ((changed < 0) | (changed > 1)) & (pixels > 0) & (pixels < 1)
        mixed = np.rint((pixels + weight * (np.clip(changed, 0, 1) - pixels)) * 255)
        error = np.mean((mixed[inside] - real[box][inside]) ** 2)
        if 100 <= error <= 10_000 and lost[inside].mean() <= 0.02:
            composite: Image = real.copy()
            composite[box] = mixed
            return composite
    return None


def sample_pictures(store: EngineStore) -> dict[str, tuple[Image, Matte]]:
    """Return the sample portrait with GrabCut's matte, and what is cut out of the paintings."""
    portrait = load_image(PORTRAIT)
    faces = prominent(models.open_model(models.FACES, "mtcnn", store).detect(portrait))
    matting = models.open_model(models.MATTES, "grabcut", store).matte(portrait, faces)
    pictures = {PORTRAIT.stem: (portrait, matting.matte)}
    for artwork in find_artworks(ARTWORKS).artworks:
        occluders = [artwork.occluder(slot) for slot in artwork.slots]
        cut_out = next((each for each in occluders if each is not None), None)
        if cut_out is not None:
            pictures[artwork.id] = (artwork.picture(), np.ascontiguousarray(cut_out[..., 3]))
    return pictures


def own_pictures(folder: Path) -> dict[str, tuple[Image, Matte]]:
    """Return the photos of a folder that have a matte beside them: ``me.jpg``, ``me_matte.png``.

    Raises:
        ImageError: there is none, one cannot be read, or sizes differ.
    """
    pictures = {}
    for path in sorted(folder.glob("*_matte.png")):
        name = path.stem.removesuffix("_matte")
        photo = next((p for p in sorted(folder.glob(f"{name}.*")) if p.suffix != ".txt"), None)
        if photo is None:
            raise ImageError(f"{path}: no photo {name}.* beside it; add it")
        image, matte = load_image(photo), load_matte(path)
        if image.shape[:2] != matte.shape:
            raise ImageError(f"{path}: not of its photo's size; make it with 'vivant matte'")
        pictures[name] = image, matte
    if not pictures:
        raise ImageError(f"{folder}: no photos with mattes (me.jpg and me_matte.png)")
    return pictures


def _either(random: _Random, least: float, most: float) -> float:
    """Return a number of that size and either sign."""
    return float(random.uniform(least, most) * random.choice([-1, 1]))


def _in_linear_light(pixels: _Pixels, gains: NDArray[np.floating]) -> _Pixels:
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4) * gains
    encoded = 1.055 * np.power(linear, 1 / 2.4) - 0.055
    return np.asarray(np.where(linear <= 0.0031308, linear * 12.92, encoded), np.float32)


def _exposure(pixels: _Pixels, random: _Random) -> _Pixels:
    """Half a stop to a stop and a half of light, more or less."""
    return _in_linear_light(pixels, np.array(2.0 ** _either(random, 0.5, 1.5)))


def _white_balance(pixels: _Pixels, random: _Random) -> _Pixels:
    """Warmer or colder light: red and blue move apart by half a stop to a stop and a half."""
    stops = _either(random, 0.25, 0.75)
    return _in_linear_light(pixels, 2.0 ** np.array([stops, 0, -stops]))


def _gamma(pixels: _Pixels, random: _Random) -> _Pixels:
    return np.asarray(pixels**2.0 ** _either(random, 0.25, 0.75), np.float32)


def _contrast(pixels: _Pixels, random: _Random) -> _Pixels:
    share = 2.0 ** _either(random, 0.2, 0.6)
    return np.asarray(0.5 + share * (pixels - 0.5), np.float32)


def _saturation(pixels: _Pixels, random: _Random) -> _Pixels:
    grey = (pixels @ np.array([0.2126, 0.7152, 0.0722], np.float32))[..., np.newaxis]
    share = 2.0 ** _either(random, 0.5, 1.2)
    return np.asarray(grey + share * (pixels - grey), np.float32)


def _side_light(pixels: _Pixels, random: _Random) -> _Pixels:
    """More light from one side and as much less on the other: no single map undoes it."""
    stops = np.linspace(-1, 1, pixels.shape[1]) * _either(random, 0.4, 1.0)
    return _in_linear_light(pixels, 2.0 ** stops[:, np.newaxis])


FAMILIES: Mapping[str, Callable[[_Pixels, _Random], _Pixels]] = {
    "exposure": _exposure,
    "white balance": _white_balance,
    "gamma": _gamma,
    "contrast": _contrast,
    "saturation": _saturation,
    "side light": _side_light,
}
"""Changes of colour and light. Each takes the picture as float32 [H,W,3] RGB, sRGB, 0..1, and
returns it changed; values outside 0..1 are clipped. What they get is the figure's box."""
