"""The authors' two ways to harmonise a picture with HINet, *square* and *arbitrary*, re-stated.

From ``efficient_inference_for_square_image.py`` and ``inference_for_arbitrary_resolution_image.py``
of WindVChen/INR-Harmonization. They are what our engines are held against, in numbers and in time,
so the order of work is theirs: encoder and hypernetworks run for every patch, a patch without
foreground is decoded like any other, and *arbitrary* fetches its own weights for every pixel. Left
out is what no result depends on: a first patch run twice to warm up, the colours of the quarter and
half levels, and the picture through the colour table.

Both keep to square patches. A patch has three levels; level n has ``size // 2**n`` positions on a
side and lies in a picture of ``height // 2**n`` by ``width // 2**n``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vivant.errors import ImageError
from vivant.roles import Image, Matte
from vivant_export.networks.hinet import Encoded, HiNet, enlarged
from vivant_export.networks.hinet_mlps import BASE, Layer, run_cells, run_colours

FOREGROUND = 100
"""Of 255: what the mask exceeds where the result is the prediction."""

CellRunner: TypeAlias = Callable[[list[Layer], Tensor, Tensor, "Patch"], Tensor]
"""Runs a level's MLPs, of all cells, on inputs [1,s,s,C] at coordinates [1,s,s,2]: [1,s,s,32]."""


class Harmonized(NamedTuple):
    """What a procedure gives.

    Attributes:
        prediction: float32 [H,W,3], RGB, -1..1, for every pixel whether foreground or not.
        image: uint8 [H,W,3], RGB: the prediction, truncated, where the mask exceeds 100 of 255;
            elsewhere the composite, after a way through floats that costs some pixels a level.
    """

    prediction: NDArray[np.float32]
    image: Image


class Decoded(NamedTuple):
    """What a patch gives.

    Attributes:
        levels: outputs of the quarter, half and full level, float32 [1,s,s,32].
        rgb: float32 [1,3,size,size], RGB, -1..1.
    """

    levels: tuple[Tensor, Tensor, Tensor]
    rgb: Tensor


@dataclass(frozen=True)
class Patch:
    """A square of ``size`` pixels, at ``top`` and ``left`` in a picture of ``height`` x ``width``.

    Pixel (y, x) of a level is at ``2 * y / (rows - 1) - 1``, likewise x.
    """

    top: int
    left: int
    size: int
    height: int
    width: int

    def window(self, level: int) -> tuple[slice, slice]:
        """Return the patch's rows and columns in a level of the picture.

        Its start is the patch's share of the way that it can move, truncated: half and quarter
        level can begin a pixel earlier than half and a quarter of ``top`` and ``left``.
        """
        return (
            self._span(self.top, self.height, level),
            self._span(self.left, self.width, level),
        )

    def coordinates(self, level: int) -> Tensor:
        """Return y and x of the level's positions in the whole picture, float32 [1,s,s,2]."""
        rows, columns = self.window(level)
        y = torch.from_numpy(_axis(self.height >> level)[rows])
        x = torch.from_numpy(_axis(self.width >> level)[columns])
        return torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1)[None]

    def _span(self, start: int, length: int, level: int) -> slice:
        free = length - self.size
        share = start / free if free else 0
        size = self.size >> level
        begin = int(((length >> level) - size) * share)
        return slice(begin, begin + size)


@torch.no_grad()
def square(network: HiNet, composite: Image, mask: Matte, *, split_resolution: int) -> Harmonized:
    """Harmonise a square picture patch by patch, each patch consisting of whole cells.

    Args:
        network: in eval mode, with its weights.
        composite: uint8 [S,S,3], RGB; S a multiple of 256.
        mask: uint8 [S,S], 255 in the foreground.
        split_resolution: side of a patch: a multiple of S / 16, S at most.

    Raises:
        ImageError: the sides or the patch are none of these.
    """
    size, width = mask.shape
    if size != width or size % BASE or composite.shape[:2] != mask.shape:
        raise ImageError(
            f"composite {composite.shape} and mask {mask.shape}: give squares of n*256"
        )
    if not 0 < split_resolution <= size or split_resolution % (size // 16):
        raise ImageError(
            f"split_resolution {split_resolution}: give a multiple of {size // 16} up to {size}"
        )
    return _harmonize(network, composite, mask, split_resolution, _run_blocks)


@torch.no_grad()
def arbitrary(network: HiNet, composite: Image, mask: Matte, *, split_num: int = 4) -> Harmonized:
    """Harmonise a picture of any shape patch by patch, each pixel with the weights of its cell.

    Args:
        network: in eval mode, with its weights.
        composite: uint8 [H,W,3], RGB; H and W at least 8.
        mask: uint8 [H,W], 255 in the foreground.
        split_num: patches along the shorter side, about: a patch's side is made a multiple of 4.

    Raises:
        ImageError: the picture is smaller than a patch, or the mask not as large as it.
    """
    side = min(mask.shape) // split_num
    size = side + -side % 4
    if composite.shape[:2] != mask.shape or not 8 <= size <= min(mask.shape):
        raise ImageError(
            f"composite {composite.shape} and mask {mask.shape}: give the same sides, "
            f"at least {8 * split_num} each for split_num {split_num}"
        )
    return _harmonize(network, composite, mask, size, _run_pixels)


def network_input(composite: Image, mask: Matte) -> tuple[Tensor, Tensor]:
    """Return the encoder's input of any picture: image [1,3,256,256] and mask [1,1,256,256].

    Args:
        composite: uint8 [H,W,3], RGB; resized as uint8, bilinear without antialiasing.
        mask: uint8 [H,W]; resized as float32, likewise.
    """
    small = cv2.resize(composite, (BASE, BASE), interpolation=cv2.INTER_LINEAR)
    share = cv2.resize(_share(mask), (BASE, BASE), interpolation=cv2.INTER_LINEAR)
    return _image(np.asarray(small, np.uint8)), _mask(np.asarray(share, np.float32))


def decode_patch(
    network: HiNet, encoded: Encoded, image: Tensor, mask: Tensor, patch: Patch, run: CellRunner
) -> Decoded:
    """Decode a patch: the quarter, half and full level, then the colours.

    Args:
        network: in eval mode.
        encoded: of the whole picture.
        image: float32 [1,3,size,size], RGB -1..1, the patch.
        mask: float32 [1,1,size,size], 0..1, the patch.
        patch: where the patch is.
        run: takes each position to its cell.
    """
    decoder = network.decoder
    levels: list[Tensor] = []
    for level, features in ((2, encoded.f2), (1, encoded.f1), (0, encoded.f0)):
        cells = decoder.cell_mlps(level)
        coordinates = patch.coordinates(level)
        below = enlarged(levels[-1]) if levels else None
        x = decoder.level_inputs(coordinates, image, mask, below)
        levels.append(run(cells.layers(cells(features)), x, coordinates, patch))
    colours = decoder.appearance_mlps.layers(encoded.appearance_params)
    quarter, half, full = levels
    rgb = run_colours(colours, full.flatten(1, 2))
    return Decoded((quarter, half, full), rgb.reshape(*full.shape[:3], 3).permute(0, 3, 1, 2))


def _harmonize(
    network: HiNet, composite: Image, mask: Matte, size: int, run: CellRunner
) -> Harmonized:
    small_image, small_mask = network_input(composite, mask)
    prediction = np.empty(composite.shape, np.float32)
    result = np.empty_like(composite)
    height, width = mask.shape
    for patch in _patches(height, width, size):
        encoded = network.encode(small_image, small_mask)
        window = patch.window(0)
        image = _image(composite[window])
        share = _mask(_share(mask[window]))
        rgb = decode_patch(network, encoded, image, share, patch, run).rgb
        joined = torch.where(share > FOREGROUND / 255, rgb, image)
        levels = ((joined * 0.5 + 0.5) * 255).clamp(0, 255)
        place = np.s_[patch.top : patch.top + size, patch.left : patch.left + size]
        prediction[place] = rgb[0].permute(1, 2, 0).numpy()
        result[place] = levels[0].permute(1, 2, 0).numpy().astype(np.uint8)
    return Harmonized(prediction, result)


def _patches(height: int, width: int, size: int) -> Iterator[Patch]:
    """Yield patches row by row; the last of each are moved back to the border, over others."""
    for top in range(0, height, size):
        for left in range(0, width, size):
            yield Patch(min(top, height - size), min(left, width - size), size, height, width)


def _run_blocks(layers: list[Layer], x: Tensor, _coordinates: Tensor, patch: Patch) -> Tensor:
    """Run each cell's MLP on the block of positions that it covers."""
    grid = layers[0].weight.shape[1]
    rows, columns = (
        slice(start * grid // patch.height, (start + patch.size) * grid // patch.height)
        for start in (patch.top, patch.left)
    )
    own = [Layer(weight[:, rows, columns], bias[:, rows, columns]) for weight, bias in layers]
    cells = rows.stop - rows.start
    side = x.shape[1]
    block = side // cells
    x = x.reshape(1, cells, block, cells, block, -1).transpose(2, 3)
    y = run_cells(own, x.reshape(1, cells, cells, block * block, -1))
    return y.reshape(1, cells, cells, block, block, -1).transpose(2, 3).reshape(1, side, side, -1)


def _run_pixels(layers: list[Layer], x: Tensor, coordinates: Tensor, _patch: Patch) -> Tensor:
    """Fetch each position's own weights from the nearest cell: 13 KB for one layer of a pixel."""
    own = [
        Layer(_nearest(weight, coordinates), _nearest(bias, coordinates)) for weight, bias in layers
    ]
    return run_cells(own, x[..., None, :])[..., 0, :]


def _nearest(cells: Tensor, coordinates: Tensor) -> Tensor:
    """Return [1,s,s,i,o] of [1,G,G,i,o]: cell ``rint(clip(((c + 1) * G - 1) / 2, 0, G - 1))``."""
    taken = functional.grid_sample(
        cells.flatten(3).permute(0, 3, 1, 2),
        coordinates.flip(-1),
        mode="nearest",
        padding_mode="border",
        align_corners=False,
    )
    return taken.permute(0, 2, 3, 1).reshape(*coordinates.shape[:3], *cells.shape[3:])


def _image(picture: Image) -> Tensor:
    """Return float32 [1,3,H,W], -1..1, of uint8 [H,W,3]."""
    return (torch.tensor(picture).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.5


def _mask(share: NDArray[np.float32]) -> Tensor:
    return torch.tensor(share)[None, None]


def _share(mask: Matte) -> NDArray[np.float32]:
    return np.divide(mask, 255, dtype=np.float32)


def _axis(length: int) -> NDArray[np.float32]:
    """Return the coordinates along a side, -1..1, in single precision like the authors'."""
    places = np.arange(length, dtype=np.float32) / np.float32(length - 1)
    axis: NDArray[np.float32] = (places - np.float32(0.5)) * np.float32(2)
    return axis
