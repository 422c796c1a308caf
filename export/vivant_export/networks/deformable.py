"""Modulated deformable convolution without torchvision (DCNv2, https://arxiv.org/abs/1811.11168).

Each place of the output reads its kernel's taps at learned, fractional offsets, bilinearly, and
scales each by a learned modulation. Outside the map everything is zero: a tap between the border
and the nothing beyond fades linearly, as in ``torchvision.ops.deform_conv2d``.

In eager mode it is computed with ``grid_sample``. For ONNX there are two ways to write it, and no
one of them suits every engine (``set_export_form``).
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from torch import Tensor, nn

Form = Literal["native", "grid-sample"]
"""How a deformable convolution is written in ONNX.

``native``: the operator ``DeformConv``, opset 19 and later: ONNX Runtime and TensorRT (a plugin).
``grid-sample``: ``GridSample`` and a 1x1 convolution, for engines without plugins (TensorRT-RTX).
Export it at opset 18: TensorRT computes opset 20's ``GridSample`` wrongly
(https://github.com/NVIDIA/TensorRT/issues/4646).
"""
NATIVE_OPSET = 19
GRID_SAMPLE_OPSET = 18


class DeformableConv2d(nn.Module):
    """A deformable convolution whose offsets and modulation are convolutions of its own input.

    Odd kernel, stride 1, padded to keep the size. ``regular_conv`` only holds the weight (and,
    after batch norm was folded in, the bias).
    """

    form: Form = "grid-sample"

    def __init__(self, channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        same = kernel // 2
        self.offset_conv = nn.Conv2d(channels, 2 * kernel**2, kernel, padding=same)
        self.modulator_conv = nn.Conv2d(channels, kernel**2, kernel, padding=same)
        self.regular_conv = nn.Conv2d(channels, out_channels, kernel, padding=same, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x``, float [N,C,H,W], to [N,out_channels,H,W]."""
        native = self.form == "native" and torch.compiler.is_exporting()
        convolve = _onnx_deform_conv2d if native else deform_conv2d
        offset = self.offset_conv(x)
        modulation = 2 * torch.sigmoid(self.modulator_conv(x))
        return convolve(x, offset, modulation, self.regular_conv.weight, self.regular_conv.bias)


def set_export_form(network: nn.Module, form: Form) -> None:
    """Choose how every deformable convolution in ``network`` is written at its next export.

    Eager results do not depend on it.
    """
    for module in network.modules():
        if isinstance(module, DeformableConv2d):
            module.form = form


def deform_conv2d(
    x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """Convolve with displaced, weighted taps: stride 1, one group, size kept.

    Args:
        x: float [N,C,H,W].
        offset: float [N,2*K*K,H,W], pixels: per tap, in reading order, its dy, then its dx.
        modulation: float [N,K*K,H,W], the factor of each tap.
        weight: float [O,C,K,K], K odd.
        bias: float [O], or None.

    Returns:
        float [N,O,H,W].
    """
    size = weight.shape[-1]
    batch, _, height, width = x.shape
    # Each place becomes a square of its taps; a convolution of stride K adds the squares up.
    factors = modulation.reshape(batch, size, size, height, width).permute(0, 3, 1, 4, 2)
    factors = factors.reshape(batch, 1, height * size, width * size)
    return F.conv2d(_read_taps(x, offset, size) * factors, weight, bias, stride=size)


def _read_taps(x: Tensor, offset: Tensor, size: int) -> Tensor:
    """Return what the taps read, each place a square of them: [N,C,H*K,W*K]."""
    batch, _, height, width = x.shape
    shift = offset.reshape(batch, size, size, 2, height, width).permute(3, 0, 4, 1, 5, 2)
    # grid_sample counts from -1 to 1, edge to edge: (2 * place + 1) / length - 1.
    down = shift[0] * (2 / height) + _places(height, size, x)[:, :, None, None]
    right = shift[1] * (2 / width) + _places(width, size, x)
    grid = torch.stack((right, down), dim=-1).reshape(batch, height * size, width * size, 2)
    return F.grid_sample(x, grid, align_corners=False)


def _places(length: int, size: int, like: Tensor) -> Tensor:
    """Return where taps lie along an axis when nothing displaces them, -1..1: [length,K]."""
    place = torch.arange(length, device=like.device)[:, None]
    tap = torch.arange(size, device=like.device) - size // 2
    return ((2 * (place + tap) + 1) / length - 1).to(like.dtype)


def _onnx_deform_conv2d(
    x: Tensor, offset: Tensor, modulation: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """Return ONNX's ``DeformConv`` of ``x``, which can be traced but not computed."""
    size = weight.shape[-1]
    return torch.onnx.ops.symbolic(
        "DeformConv",
        (x, weight, offset, bias, modulation),
        attrs={"kernel_shape": [size, size], "pads": [size // 2] * 4},
        dtype=x.dtype,
        shape=(x.shape[0], weight.shape[0], *x.shape[2:]),
        version=NATIVE_OPSET,
    )
