"""HINet's hypernetworks: what makes the MLPs of the cells and of the colours, and runs them.

See ``hinet`` for the network. A hypernetwork gives an MLP's parameters in one row, layer by layer:
left factor, right factor, bias. A weight is tanh(left @ right) * basic, with ``basic`` learnt and
the same for all cells: I. Skorokhodov et al., "Adversarial Generation of Continuous Images", CVPR
2021 (INR-GAN), factorised multiplicative modulation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

BASE = 256
"""Side of the encoder's input."""

WIDTH = 32
"""Channels between the layers of every MLP."""

RANK = 10
"""Inner size of the two factors of a weight."""

SLOPE = 0.01
"""Of the leaky ReLU between layers."""


class Layer(NamedTuple):
    """A layer of an MLP, or of one MLP for each cell: y = x @ weight + bias.

    Attributes:
        weight: float32 [...,inputs,outputs].
        bias: float32 [...,1,outputs].
    """

    weight: Tensor
    bias: Tensor


class CellMlps(nn.Module):
    """A hypernetwork: from the features of a level, the parameters of an MLP for each cell."""

    def __init__(self, channels: int, inputs: int, *, layers: int) -> None:
        super().__init__()
        basic = [torch.empty(1, 1, 1, inputs, WIDTH)]
        basic += [torch.empty(1, 1, 1, WIDTH, WIDTH) for _ in range(layers - 1)]
        self.basic_params = nn.ParameterList(basic)
        self.cont_extraction_net = nn.Sequential(
            nn.Conv2d(channels, 512, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(512, 512, 3, padding=1, bias=False),
            nn.ReLU(),
            nn.Conv2d(512, _parameters(basic), 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return parameters float32 [N,P,G,G] of features float32 [N,C,2G,2G].

        G is 16, 32 and 64 cells, P is 3068, 2716 and 2044 on levels 2, 1 and 0.
        """
        params: Tensor = self.cont_extraction_net(features)
        return params

    def layers(self, params: Tensor) -> list[Layer]:
        """Return the MLPs' layers, weight [N,G,G,inputs,32], of parameters [N,P,G,G]."""
        return _layers(params.permute(0, 2, 3, 1), self.basic_params)


class AppearanceMlp(nn.Module):
    """A hypernetwork: from rebuilt features, the parameters of the colour MLP of the picture."""

    def __init__(self) -> None:
        super().__init__()
        basic = [torch.empty(1, WIDTH, WIDTH) for _ in range(3)] + [torch.empty(1, WIDTH, 3)]
        self.basic_params = nn.ParameterList(basic)
        self.compress_layer = nn.Sequential(
            nn.Linear((BASE // 4) ** 2, 64, bias=False),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 1),
        )
        self.app_extraction_net = nn.Sequential(
            nn.Linear(64, 512, bias=False),
            nn.ReLU(),
            nn.Linear(512, 512, bias=False),
            nn.ReLU(),
            nn.Linear(512, _parameters(basic)),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return parameters float32 [N,2369] of features float32 [N,64,64,64]."""
        params: Tensor = self.app_extraction_net(self.compress_layer(features.flatten(2))[..., 0])
        return params

    def layers(self, params: Tensor) -> list[Layer]:
        """Return the MLP's layers, weight [N,inputs,outputs], of parameters [N,2369]."""
        return _layers(params, self.basic_params)


def run_cells(layers: list[Layer], x: Tensor) -> Tensor:
    """Run cells' MLPs: float32 [...,K,inputs] to [...,K,32], K positions for each cell."""
    for weight, bias in layers:
        x = functional.leaky_relu(x @ weight + bias, SLOPE)
    return x


def run_colours(layers: list[Layer], x: Tensor) -> Tensor:
    """Run the colour MLP: float32 [N,K,32], of level 0, to RGB [N,K,3], -1..1."""
    *hidden, (weight, bias) = layers
    return torch.tanh(run_cells(hidden, x) @ weight + bias)


def _parameters(basic: Iterable[Tensor]) -> int:
    """Return how many parameters a hypernetwork gives for weights of these shapes."""
    return sum(sum(_sizes(weight)) for weight in basic)


def _sizes(weight: Tensor) -> list[int]:
    """Return the numbers in a layer's left factor, right factor and bias."""
    inputs, outputs = weight.shape[-2:]
    return [inputs * RANK, RANK * outputs, outputs]


def _layers(params: Tensor, basic_params: nn.ParameterList) -> list[Layer]:
    """Take parameters [...,P] apart and multiply the factors."""
    lead = params.shape[:-1]
    parts = torch.split(params, [size for basic in basic_params for size in _sizes(basic)], dim=-1)
    layers = []
    for number, basic in enumerate(basic_params):
        inputs, outputs = basic.shape[-2:]
        left, right, bias = parts[3 * number : 3 * number + 3]
        product = left.reshape(*lead, inputs, RANK) @ right.reshape(*lead, RANK, outputs)
        layers.append(Layer(torch.tanh(product) * basic, bias.reshape(*lead, 1, outputs)))
    return layers
