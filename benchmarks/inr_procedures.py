"""INR-Harmonization as its authors run it, re-stated in torch: the work, and in its order.

``efficient_inference_for_square_image.py`` and ``inference_for_arbitrary_resolution_image.py`` of
WindVChen/INR-Harmonization. ``vivant_export.networks.hinet_procedures`` says what they compute;
here is also what they compute for nothing, for that is what a user of theirs waits for:

- the first patch twice: to warm a GPU up, says their comment, but on a CPU too;
- encoder and hypernetworks again for every patch; patches without foreground like any other;
- the colours of the quarter and the half level beside those of the full one;
- the full level's 32 channels enlarged twofold, as if a fourth level followed;
- the patch through the colour table;
- *square*: a level's inputs turned to channels first, then back, cell by cell;
- *arbitrary*: for every pixel weights of its own, fetched and held.

Left out is what takes little: data loading in worker processes, half and quarter of the picture
that nothing reads, batches of one that are copied together. Beside theirs, interleaved, it took as
much processor time within 2 %, and gave the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vivant.harmonizers.inr_geometry import Layout
from vivant.roles import Image, Matte
from vivant_export.networks.hinet import Encoded, HiNet
from vivant_export.networks.hinet_mlps import SLOPE, WIDTH, Layer, run_colours
from vivant_export.networks.hinet_procedures import (
    FOREGROUND,
    Harmonized,
    Patch,
    network_input,
)

_Runner: TypeAlias = Callable[[list[Layer], Tensor, Tensor, Patch], Tensor]


class _Inputs(NamedTuple):
    """What their data set makes for a patch.

    Attributes:
        encoder: the whole picture at 256x256, image and mask.
        image: float32 [1,3,S,S], RGB, -1..1.
        mask: float32 [1,1,S,S], 0..1.
        coordinates: by level, y and x, float32 [1,s,s,2].
    """

    encoder: tuple[Tensor, Tensor]
    image: Tensor
    mask: Tensor
    coordinates: list[Tensor]


@torch.no_grad()
def run_as_published(network: HiNet, composite: Image, mask: Matte, layout: Layout) -> Harmonized:
    """Harmonize a picture by the script that ``layout`` belongs to.

    Args:
        network: in eval mode.
        composite: uint8 [H,W,3], RGB.
        mask: uint8 [H,W].
        layout: its patches; *square* where they consist of whole cells, else *arbitrary*.
    """
    run = _run_blocks if layout.blocks else _run_pixels
    prediction = np.empty(composite.shape, np.float32)
    result = np.empty_like(composite)
    for number, (top, left) in enumerate(layout.corners):
        patch = Patch(top, left, layout.size, layout.height, layout.width)
        inputs = _prepare(composite, mask, patch)
        if number == 0:
            _predict(network, inputs, patch, run)
        rgb = _predict(network, inputs, patch, run)
        shown = inputs.mask > FOREGROUND / 255
        levels = ((rgb * shown + inputs.image * ~shown) * 0.5 + 0.5).mul_(255).clamp_(0, 255)
        place = np.s_[top : top + layout.size, left : left + layout.size]
        prediction[place] = rgb[0].permute(1, 2, 0).numpy()
        result[place] = levels[0].permute(1, 2, 0).numpy().astype(np.uint8)
    return Harmonized(prediction, result)


def _prepare(composite: Image, mask: Matte, patch: Patch) -> _Inputs:
    """Make a patch's inputs: from the whole picture, every time."""
    share = mask.astype(np.float32) / 255
    window = patch.window(0)
    pixels = torch.from_numpy(np.ascontiguousarray(composite[window].transpose(2, 0, 1)))
    coordinates = []
    for level in range(3):
        whole = _coordinates(patch.height >> level, patch.width >> level)
        coordinates.append(torch.from_numpy(whole[patch.window(level)])[None])
    return _Inputs(
        encoder=network_input(composite, mask),
        image=(pixels[None].float() / 255 - 0.5) / 0.5,
        mask=torch.from_numpy(np.ascontiguousarray(share[window]))[None, None],
        coordinates=coordinates,
    )


def _predict(network: HiNet, inputs: _Inputs, patch: Patch, run: _Runner) -> Tensor:
    """Run encoder and decoder on a patch: float32 [1,3,S,S], RGB, -1..1."""
    decoder = network.decoder
    encoded = network.encode(*inputs.encoder)
    outputs: list[Tensor] = []
    below: Tensor | None = None
    for level, features in ((2, encoded.f2), (1, encoded.f1), (0, encoded.f0)):
        hypernetwork = decoder.cell_mlps(level)
        layers = hypernetwork.layers(hypernetwork(features))
        coordinates = inputs.coordinates[level]
        x = decoder.level_inputs(coordinates, inputs.image, inputs.mask, None)
        x = x if below is None else torch.cat([x, below], dim=-1)
        x = x.permute(0, 3, 1, 2).contiguous()
        outputs.append(run(layers, x, coordinates, patch))
        below = _enlarge(outputs[-1])
    rgb = _colours(network, encoded, outputs)
    _through_table(encoded.lut3d, inputs.image)
    return rgb


def _colours(network: HiNet, encoded: Encoded, outputs: list[Tensor]) -> Tensor:
    """Return the colours of every level's positions; the last level's are wanted."""
    layers = network.decoder.appearance_mlps.layers(encoded.appearance_params)
    rgb = [
        run_colours(layers, x.flatten(1, 2)).transpose(1, 2).reshape(1, 3, *x.shape[1:3])
        for x in outputs
    ]
    return rgb[-1]


def _run_blocks(layers: list[Layer], x: Tensor, _coordinates: Tensor, patch: Patch) -> Tensor:
    """Run each cell's MLP on the block of positions that it covers: [1,C,s,s] to [1,s,s,32]."""
    grid, side = layers[0].weight.shape[1], x.shape[2]
    first = patch.top * grid // patch.height, patch.left * grid // patch.width
    cells = patch.size * grid // patch.height
    block = side // cells
    rows, columns = (slice(start, start + cells) for start in first)
    x = x.unfold(2, block, block).unfold(3, block, block).permute(0, 2, 3, 4, 5, 1)
    x = x.reshape(1, cells, cells, block * block, -1)
    for weight, bias in layers:
        x = _layer(x, weight[:, rows, columns], bias[:, rows, columns])
    return (
        x.reshape(1, cells, cells, block, block, WIDTH)
        .transpose(2, 3)
        .reshape(1, side, side, WIDTH)
    )


def _run_pixels(layers: list[Layer], x: Tensor, coordinates: Tensor, _patch: Patch) -> Tensor:
    """Run each position's own MLP, fetched from the nearest cell: [1,C,s,s] to [1,s,s,32]."""
    x = x.permute(0, 2, 3, 1)[..., None, :]
    for weight, bias in layers:
        x = _layer(x, _fetch(weight, coordinates), _fetch(bias, coordinates))
    return x[..., 0, :]


def _layer(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.leaky_relu_(torch.matmul(x, weight) + bias, SLOPE)


def _fetch(cells: Tensor, coordinates: Tensor) -> Tensor:
    """Return float32 [1,s,s,i,o] of [1,G,G,i,o], for each position the nearest cell's."""
    taken = functional.grid_sample(
        cells.flatten(3).permute(0, 3, 1, 2).contiguous(),
        coordinates.flip(-1),
        mode="nearest",
        padding_mode="border",
        align_corners=False,
    )
    return taken.permute(0, 2, 3, 1).reshape(*coordinates.shape[:3], *cells.shape[3:])


def _enlarge(x: Tensor) -> Tensor:
    """Return float32 [1,2s,2s,32] of [1,s,s,32], in the order of memory that they trained with."""
    large = functional.interpolate(
        x.permute(0, 3, 1, 2).contiguous(), scale_factor=2, mode="bilinear"
    )
    return large.view(1, 2 * x.shape[1], 2 * x.shape[2], WIDTH)


def _through_table(table: Tensor, image: Tensor) -> Tensor:
    """Return the patch with the colours of the network's 7x7x7 table, which nobody looks at."""
    places = image.permute(0, 2, 3, 1)[:, None].flip(-1)
    coloured = functional.grid_sample(table, places, padding_mode="border", align_corners=True)
    return (coloured[:, :, 0] - 0.5) / 0.5


def _coordinates(height: int, width: int) -> np.ndarray:
    """Return y and x of every position of a picture, -1..1, float32 [H,W,2]."""
    grid = np.stack(np.mgrid[:height, :width], axis=-1).astype(np.float32)
    grid /= np.array([height - 1, width - 1], np.float32)
    return (grid - np.float32(0.5)) * np.float32(2)
