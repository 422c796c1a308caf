"""The graphs of INR-Harmonization, in torch.

``EncoderGraph`` runs once for a picture, ``CellHead`` once to give the wanted cells of the full
level their MLPs, and ``LevelGraph`` for every tile of a patch on the three levels. What cells,
levels, patches and tiles are is told in ``vivant.harmonizers.inr_geometry``.

The arithmetic is HINet's in another order, which leaves out most of what costs time or memory:

- The first layer of a cell's MLP is linear in its 102 inputs, so it is taken apart. The part for
  the position and the table is evaluated at a few nodes of a cell and interpolated; these 66
  inputs never exist for each position.
- A position meets its cell's weights in a product of batches of matrices. Nobody fetches weights.
- The full level's convolution of 512 to 512 channels, more than a third of all that the encoder
  and the hypernetworks compute, is done for the wanted cells, by Winograd's method.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vivant.harmonizers.inr_axes import HALF, LEVELS, QUARTER, TABLE, Level
from vivant.harmonizers.inr_geometry import CHANNELS, quads
from vivant_export.networks.hinet import HiNet
from vivant_export.networks.hinet_mlps import SLOPE, CellMlps, Layer

COLOUR_WEIGHTS = 3 * CHANNELS * CHANNELS + CHANNELS * 3
COLOUR_BIASES = 3 * CHANNELS + 3
"""Of the MLP that gives every position its colour."""

HIDDEN = 512
"""Channels within a hypernetwork."""

_WAVES, _DIRECT = 2 + CHANNELS, 4  # the coordinate and its sines; R, G, B and mask
_NEAR = 0.75**2  # the weight that bilinear enlarging by 2 gives the nearest value


def cell_mlps(network: HiNet, level: Level) -> CellMlps:
    """Return the hypernetwork of a level."""
    return network.decoder.cell_mlps(len(LEVELS) - 1 - LEVELS.index(level))


class EncoderGraph(nn.Module):
    """HINet's encoder, and what can be had for all cells at once."""

    def __init__(self, network: HiNet) -> None:
        super().__init__()
        self.network = network
        self.quarter_head, self.half_head, self.full_head = (
            CellHead(network, level) for level in LEVELS
        )
        for level in (QUARTER, HALF):
            every = np.ones((level.grid, level.grid), bool)
            self.register_buffer(f"{level.name}_quads", torch.from_numpy(quads(every)[0]))

    def forward(self, image: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Encode a picture.

        Args:
            image: uint8 [1,256,256,3], RGB.
            mask: float32 [1,256,256], 0..1.

        Returns:
            What the MLPs of the quarter level [256,3068] and of the half level [1024,2716] are
            made from, quad by quad; what ``CellHead`` makes the same of for the full level
            [4096,512]; weights [3168] and biases [99] of the MLP of the colours; the colour table
            [1,3,7,7,7]. All are float32.
        """
        # The cast comes first: TensorRT accepts bytes in no other node.
        x = image.float().permute(0, 3, 1, 2) * (1 / 127.5) - 1
        encoded = self.network.encode(x, mask.unsqueeze(1))
        colours = self.network.decoder.appearance_mlps.layers(encoded.appearance_params)
        return (
            self.quarter_head(self.quarter_head.hidden(encoded.f2), self.quarter_quads),
            self.half_head(self.half_head.hidden(encoded.f1), self.half_quads),
            self.full_head.hidden(encoded.f0),
            torch.cat([layer.weight.flatten() for layer in colours]),
            torch.cat([layer.bias.flatten() for layer in colours]),
            encoded.lut3d,
        )


class CellHead(nn.Module):
    """A level's hypernetwork, whose later convolutions can run on some of the cells.

    They are taken in quads of 2x2, for which Winograd's method makes a 3x3 convolution with 16
    products in place of 36: A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural
    Networks", CVPR 2016, F(2x2,3x3).
    """

    _scatter: Tensor
    _gather: Tensor

    def __init__(self, network: HiNet, level: Level) -> None:
        super().__init__()
        first, _, second, _, third = cell_mlps(network, level).cont_extraction_net
        kernel = torch.tensor([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
        scatter = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
        gather = torch.tensor([[1.0, 1, 1, 0], [0, 1, -1, -1]])
        weight = second.get_parameter("weight").detach()
        weight = torch.einsum("ay,bx,oiyx->abio", kernel, kernel, weight).flatten(0, 1)
        self.first = first
        self.second = nn.Parameter(weight, requires_grad=False)  # [16,512,512]
        self.third = third
        self.register_buffer("_scatter", torch.kron(scatter, scatter))
        self.register_buffer("_gather", torch.kron(gather, gather))

    def hidden(self, features: Tensor) -> Tensor:
        """Return the first convolution's output, [cells,512], of features [1,C,2G,2G]."""
        hidden: Tensor = functional.relu(self.first(features)).flatten(2)[0].t()
        return hidden

    def forward(self, hidden: Tensor, quads: Tensor) -> Tensor:
        """Return what MLPs are made from, float32 [4Q,P], for the four cells of each quad.

        Args:
            hidden: float32 [cells,512], of the whole grid, row by row.
            quads: int32 [Q,16], see ``inr_geometry.quads``.
        """
        padded = torch.cat([hidden, torch.zeros_like(hidden[:1])])
        around = padded.index_select(0, quads.flatten()).reshape(-1, 16, HIDDEN)
        products = (self._scatter @ around).transpose(0, 1) @ self.second
        convolved = (self._gather @ products.transpose(0, 1)).flatten(0, 1)
        weight, bias = self.third.parameters()  # of a 1x1 convolution
        return functional.linear(functional.relu(convolved), weight.flatten(1), bias)


class Mlps(NamedTuple):
    """The MLPs of C cells, the first layer taken apart by its inputs.

    Attributes:
        waves: for the coordinate and its sines, with the bias; weight [C,34,32].
        table: weight [C,32,32].
        direct: weight [C,4,32], for R, G, B and mask as ``LevelGraph.colour`` returns them;
            [C,36,32] with the level below, as ``enlarged`` returns it.
        others: the later layers.
    """

    waves: Layer
    table: Tensor
    direct: Tensor
    others: list[Layer]


class MlpMaker(nn.Module):
    """Makes the MLPs of cells."""

    def __init__(self, source: CellMlps) -> None:
        super().__init__()
        self.source = source

    def forward(self, params: Tensor) -> Mlps:
        """Return the MLPs of params, float32 [C,P], as ``CellHead`` returns them."""
        layers = [
            Layer(layer.weight.squeeze((1, 2)), layer.bias.squeeze((1, 2)))
            for layer in self.source.layers(params[:, :, None, None])
        ]
        weight, bias = layers[0]
        sizes = [_WAVES, CHANNELS, 3, 1, weight.shape[1] - _WAVES - CHANNELS - _DIRECT]
        waves, table, rgb, mask, below = torch.split(weight, sizes, dim=1)
        # What is left undone to each position is done here, to the weights, which are far fewer.
        return Mlps(
            Layer(waves, bias - rgb.sum(dim=1, keepdim=True)),
            table,
            torch.cat([rgb, mask * 0.5, below[:, ::2] * _NEAR, below[:, 1::2] * _NEAR], dim=1),
            layers[1:],
        )


class Waves(nn.Module):
    """What an MLP is told of a position itself: coordinate and learnt sines."""

    def __init__(self, frequencies: nn.Module) -> None:
        super().__init__()
        self.frequencies = frequencies

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        """Return float32 [C,n*n,34] at the nodes y [n] and x [C,n] of C cells."""
        size = (*x.shape[:1], *y.shape, *x.shape[1:])
        grid = [y[None, :, None].expand(size), x[:, None].expand(size)]
        position = torch.stack(grid, dim=-1).flatten(1, 2)
        return torch.cat([position, torch.sin(self.frequencies(position))], dim=-1)


class Colours(nn.Module):
    """The MLP that gives every position of the full level its colour."""

    def forward(self, x: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
        """Return RGB, -1..1, float32 [N,3], of float32 [N,32]."""
        *hidden, last = torch.split(weights, [CHANNELS * CHANNELS] * 3 + [CHANNELS * 3])
        *offsets, offset = torch.split(biases, [CHANNELS] * 3 + [3])
        for weight, bias in zip(hidden, offsets, strict=True):
            x = torch.addmm(bias, x, weight.reshape(CHANNELS, CHANNELS))
            x = functional.leaky_relu(x, SLOPE)
        return torch.tanh(torch.addmm(offset, x, last.reshape(CHANNELS, 3)))


class LevelGraph(nn.Module):
    """A level on a tile: C cells side by side, ``rows`` positions high."""

    def __init__(self, network: HiNet, level: Level) -> None:
        super().__init__()
        encoding = network.decoder.INR_encoding
        self.shrink = level.shrink
        self.mlps = MlpMaker(cell_mlps(network, level))
        self.waves = Waves(encoding.predict_embed["ffm"])
        self.colours = Colours()
        self.table = encoding.fourier_embed["input"]

    def forward(
        self,
        pixels: Tensor,
        params: Tensor,
        cells: Tensor,
        y_nodes: Tensor,
        y_node_basis: Tensor,
        y_table: Tensor,
        y_table_basis: Tensor,
        x_nodes: Tensor,
        x_node_basis: Tensor,
        x_table: Tensor,
        x_table_basis: Tensor,
        positions: Tensor,
        raster: Tensor,
        below: Tensor | None = None,
        near: Tensor | None = None,
        far: Tensor | None = None,
        colour_weights: Tensor | None = None,
        colour_biases: Tensor | None = None,
    ) -> Tensor:
        """Compute a level on a tile.

        Args:
            pixels: uint8 [rows,s,window,s,4]: of each position its s x s pixels; R, G, B, mask.
            params: float32 [M,P], of some cells, as ``CellHead`` returns them.
            cells: int32 [C], where among them the tile's are.
            y_nodes: float32 [n]; this and the next nine are ``Tile.tables()``.
            y_node_basis: float32 [rows,n].
            y_table: int32 [t].
            y_table_basis: float32 [rows,t].
            x_nodes: float32 [C,n].
            x_node_basis: float32 [C,K,n].
            x_table: int32 [C,t].
            x_table_basis: float32 [C,K,t].
            positions: int32 [C,rows,K].
            raster: int32 [rows,columns].
            below: float32 [m,S/2], the rows of the level below, channel after channel. None on
                the quarter level, as are the next two.
            near: int32 [rows,q], ``Tile.below``.
            far: int32 [rows,q].
            colour_weights: float32 [3168]. None but on the full level, as is the next.
            colour_biases: float32 [99].

        Returns:
            The level's output, float32 [32,rows,columns]; on the full level the colours, RGB
            -1..1, float32 [3,rows,columns].
        """
        count, rows, most = positions.shape
        mlps = self.mlps(params.index_select(0, cells))
        direct = self.colour(pixels)
        if below is not None and near is not None and far is not None:
            direct = torch.cat([direct, *enlarged(below, near, far, direct.shape[1])], dim=-1)
        direct = direct.flatten(0, 1).index_select(0, positions.flatten())
        x = direct.reshape(count, rows * most, -1) @ mlps.direct

        waves = self.waves(y_nodes, x_nodes) @ mlps.waves.weight + mlps.waves.bias
        table = self.entries(y_table, x_table) @ mlps.table
        at_nodes = [_along_x(x_node_basis, waves), _along_x(x_table_basis, table)]
        slow = torch.cat([y_node_basis, y_table_basis], dim=1) @ torch.cat(at_nodes, dim=1)
        x = functional.leaky_relu(x + slow.reshape(count, rows * most, CHANNELS), SLOPE)

        for weight, bias in mlps.others:
            # Made as wide as a row of the cell, so that it is added in few strokes.
            wide = bias.expand(-1, most, -1).reshape(count, 1, -1)
            x = (x @ weight).reshape(count, rows, -1) + wide
            x = functional.leaky_relu(x, SLOPE).reshape(count, rows * most, CHANNELS)
        x = x.flatten(0, 1)
        if colour_weights is not None and colour_biases is not None:
            x = self.colours(x, colour_weights, colour_biases)
        values: Tensor = x.index_select(0, raster.flatten()).reshape(*raster.shape, -1)
        return values.permute(2, 0, 1)

    def colour(self, pixels: Tensor) -> Tensor:
        """Return R, G, B and mask, 0..2, float32 [rows,window,4].

        Pixels are shrunk to positions bilinearly without antialiasing, to the mean of the middle
        four. The network wants RGB -1..1 and the mask 0..1; ``MlpMaker`` makes up for that.
        """
        # The cast comes first: TensorRT accepts bytes in no other node.
        x = pixels.float()
        if self.shrink == 1:
            return x.squeeze((1, 3)) * (1 / 127.5)
        low, high = self.shrink // 2 - 1, self.shrink // 2
        x = x[:, low] + x[:, high]
        return (x[:, :, low] + x[:, :, high]) * (0.25 / 127.5)

    def entries(self, y: Tensor, x: Tensor) -> Tensor:
        """Return float32 [C,t*t,32] of the learnt table, at rows y [t] and columns x [C,t]."""
        index = (y[None, :, None] * TABLE + x[:, None]).flatten(1)
        found: Tensor = self.table.squeeze(0).index_select(0, index.flatten())
        return found.reshape(*index.shape, CHANNELS)


def enlarged(below: Tensor, near: Tensor, far: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return what positions are given of the level below: of 32 numbers the even, then the odd.

    Enlarging gives the nearer value a weight of 3/4 and the farther 1/4, on y, then on x. Here
    they are 1 and 1/3; ``MlpMaker`` makes up for that.

    Args:
        below: float32 [m,S/2].
        near: int32 [rows,q].
        far: int32 [rows,q].
        window: positions in a row.

    Returns:
        Two arrays, float32 [rows,window,16].
    """
    lines = below.index_select(0, near.flatten()) + below.index_select(0, far.flatten()) * (1 / 3)
    third = lines * (1 / 3)
    left = torch.cat([third[:, :1], third[:, :-1]], dim=1)
    right = torch.cat([third[:, 1:], third[:, -1:]], dim=1)
    shape = (near.shape[0], window, CHANNELS // 2)
    return (lines + left).reshape(shape), (lines + right).reshape(shape)


def _along_x(basis: Tensor, values: Tensor) -> Tensor:
    """Interpolate values float32 [C,y*x,32] along x, with a basis [C,K,x], to [C,y,K*32]."""
    values = values.reshape(values.shape[0], -1, basis.shape[2], CHANNELS)
    return (basis.unsqueeze(1) @ values).flatten(2)
