"""Modulated deformable convolution without torchvision (DCNv2, https://arxiv.org/abs/1811.11168).

Each place of the output reads its kernel's taps at learned, fractional offsets, bilinearly, and
scales each by a learned modulation. Outside the map everything is zero: a tap between the border
and the nothing beyond fades linearly, as in ``torchvision.ops.deform_conv2d``.

In eager mode it is computed with ``grid_sample``. ONNX has two spellings of it, and no engine
reads both well (``set_export_form``).
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
        self.taps = Taps(kernel)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``x``, float [N,C,H,W], to [N,out_channels,H,W]."""
        offset = self.offset_conv(x)
        modulation = 2 * torch.sigmoid(self.modulator_conv(x))
        weight, bias = self.regular_conv.weight, self.regular_conv.bias
        if self.form == "native" and torch.compiler.is_exporting():
            return _onnx_deform_conv2d(x, offset, modulation, weight, bias)
        size = self.taps.kernel
        factors = modulation.unflatten(1, (size, size)).permute(0, 3, 1, 4, 2)
        read = self.taps(x, offset) * factors.flatten(3).flatten(1, 2)[:, None]
        return F.conv2d(read, weight, bias, stride=size)


class Taps(nn.Module):
    """What the taps of a deformable kernel read.

    It has no weights. It is a module so that a conversion to FP16 can leave it alone: half
    precision knows places beyond 128 pixels to an eighth of a pixel only.
    """

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Read ``x`` at displaced places.

        Args:
            x: float [N,C,H,W].
            offset: float [N,2*K*K,H,W], pixels: per tap, in reading order, its dy, then its dx.

        Returns:
            float [N,C,H*K,W*K]: at each place of the map a square of its taps, so that a
            convolution of stride K, without padding, finishes what a deformable one does.
        """
        height, width = x.shape[2:]
        shift = offset.unflatten(1, (self.kernel, self.kernel, 2)).permute(3, 0, 4, 1, 5, 2)
        # grid_sample counts from -1 to 1, edge to edge: (2 * place + 1) / length - 1.
        y = shift[0] * (2 / height) + self._places(height, x)[:, :, None, None]
        x_ = shift[1] * (2 / width) + self._places(width, x)
        grid = torch.stack((x_, y), dim=-1).flatten(3, 4).flatten(1, 2)
        return F.grid_sample(x, grid, align_corners=False)

    def _places(self, length: int, like: Tensor) -> Tensor:
        """Return where the taps lie along an axis when nothing displaces them: [length,K]."""
        place = torch.arange(length, device=like.device)[:, None]
        tap = torch.arange(self.kernel, device=like.device) - self.kernel // 2
        return ((2 * (place + tap) + 1) / length - 1).to(like.dtype)


def set_export_form(network: nn.Module, form: Form) -> None:
    """Choose how every deformable convolution in ``network`` is written at its next export.

    Eager results do not depend on it.
    """
    for module in network.modules():
        if isinstance(module, DeformableConv2d):
            module.form = form


def fp32_submodules(network: nn.Module) -> tuple[str, ...]:
    """Return the paths of what must stay FP32 in an FP16 engine: whatever computes places."""
    return tuple(
        f"{path}.taps" if module.form == "grid-sample" else path
        for path, module in network.named_modules()
        if isinstance(module, DeformableConv2d)
    )


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
