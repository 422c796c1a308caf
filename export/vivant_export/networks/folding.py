"""Batch norm folded into the convolution before it."""

from __future__ import annotations

import copy
from itertools import chain, pairwise

import torch
from torch import nn

from vivant_export.networks.deformable import DeformableConv2d


def with_folded_batchnorms(network: nn.Module) -> nn.Module:
    """Return a copy of ``network`` with its batch norms folded (``fold_batchnorms``).

    The two share all weights that folding does not change, so the copy costs hardly any memory.
    """
    shared = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}
    folded = copy.deepcopy(network, shared)
    fold_batchnorms(folded)
    return folded


def fold_batchnorms(network: nn.Module) -> None:
    """Fold each ``BatchNorm2d`` of ``network`` into the convolution before it, in place.

    At inference a batch norm is a factor and an offset per channel, which the convolution's weight
    and bias can carry. The two are known by their order: a norm that takes a convolution's output
    is registered directly after it. The arithmetic is done in float64, so that the result differs
    by no more than the rounding of its weights.
    """
    for module in list(network.modules()):
        for (_, before), (name, norm) in pairwise(list(module.named_children())):
            convolution = before.regular_conv if isinstance(before, DeformableConv2d) else before
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                _fold(convolution, norm)
                setattr(module, name, nn.Identity())


@torch.no_grad()
def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Let ``convolution`` compute what ``norm`` makes of its output."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None  # noqa: S101 - checkpoints have their statistics
    assert variance is not None  # noqa: S101
    factor = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    offset = norm.bias.double() - mean.double() * factor
    if convolution.bias is not None:
        offset += convolution.bias.double() * factor
    weight = convolution.weight.double() * factor[:, None, None, None]
    dtype = convolution.weight.dtype
    convolution.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
    convolution.bias = nn.Parameter(offset.to(dtype), requires_grad=False)
