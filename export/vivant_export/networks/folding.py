"""Batch norm folded into the convolution before it."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from vivant_export.networks.deformable import DeformableConv2d


def fold_batchnorms(network: nn.Module) -> int:
    """Fold each ``BatchNorm2d`` of ``network`` into the convolution before it, in place.

    At inference a batch norm is a factor and an offset for each channel, which the convolution's
    weight and bias can carry. A convolution and its norm are recognised by their order: the norm
    is registered directly after the convolution whose output it takes.

    The arithmetic is done in float64, so that the folded network differs from the original by no
    more than the rounding of its weights. Its state dict no longer has the official keys.

    Returns:
        How many were folded.
    """
    folded = 0
    for module in list(network.modules()):
        for (_, convolution), (name, norm) in pairwise(list(module.named_children())):
            if isinstance(convolution, DeformableConv2d):
                convolution = convolution.regular_conv  # noqa: PLW2901 - it holds the weight
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                _fold(convolution, norm)
                setattr(module, name, nn.Identity())
                folded += 1
    return folded


@torch.no_grad()
def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Let ``convolution`` compute what ``norm`` makes of it."""
    assert norm.running_mean is not None  # noqa: S101 - true of every norm of a checkpoint
    assert norm.running_var is not None  # noqa: S101
    dtype = convolution.weight.dtype
    factor = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    offset = norm.bias.double() - norm.running_mean.double() * factor
    if convolution.bias is not None:
        offset += convolution.bias.double() * factor
    weight = convolution.weight.double() * factor[:, None, None, None]
    convolution.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    convolution.bias = nn.Parameter(offset.to(dtype), requires_grad=False)
