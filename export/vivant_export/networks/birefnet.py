"""BiRefNet (https://arxiv.org/abs/2401.03407), the network of RMBG-2.0 too, for inference.

The Swin backbone sees the picture at full and at half size. The joined maps pass through decoder
blocks from coarse to fine, and at each level the picture itself, cut into patches, joins them.

Modules and parameters carry the official names, training-only heads included, so that official
checkpoints load strictly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own name
from torch import Tensor, nn

from vivant_export.networks.deformable import DeformableConv2d
from vivant_export.networks.swin import SWIN_L, SWIN_T, Swin, SwinConfig

PatchOrder = Literal["whc", "chw"]
"""What the channels of a picture cut into patches count through, slowest first: the patch's
column (w) and row (h) and the colour (c). Checkpoints of both orders have the same keys and shapes,
so the wrong one loads in silence and computes nonsense."""

_MULTIPLE = 32
"""Height and width of the input are multiples of this: the stride of the coarsest map."""


@dataclass(frozen=True)
class BiRefNetConfig:
    """Which BiRefNet: its backbone, and the patch order that its checkpoint was trained with."""

    backbone: SwinConfig
    patch_order: PatchOrder


RMBG_2 = BiRefNetConfig(SWIN_L, patch_order="whc")
BIREFNET = BiRefNetConfig(SWIN_L, patch_order="chw")
BIREFNET_LITE = BiRefNetConfig(SWIN_T, patch_order="chw")


class BiRefNet(nn.Module):
    """A picture to the logits of its foreground."""

    def __init__(self, config: BiRefNetConfig) -> None:
        super().__init__()
        widths = tuple(2 * width for width in config.backbone.widths)
        self.bb = Swin(config.backbone)
        self.squeeze_module = nn.Sequential(DecoderBlock(sum(widths), widths[-1]))
        self.decoder = Decoder(widths, config.patch_order)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits, float [N,1,H,W], of ``image``.

        Args:
            image: float [N,3,H,W] RGB, normalised with ImageNet's mean and deviation; H and W are
                multiples of 32.

        Raises:
            ValueError: the size is not such a multiple.
        """
        height, width = image.shape[2:]
        if height % _MULTIPLE or width % _MULTIPLE:
            raise ValueError(
                f"image is {height}x{width}; give it sizes in multiples of {_MULTIPLE}"
            )
        half = _resize(image, (height // 2, width // 2))
        x1, x2, x3, x4 = (
            torch.cat((full, _resize(coarse, full.shape[2:])), 1)
            for full, coarse in zip(self.bb(image), self.bb(half), strict=True)
        )
        context = [_resize(x, x4.shape[2:]) for x in (x1, x2, x3)]
        x4 = self.squeeze_module(torch.cat((*context, x4), 1))
        logits: Tensor = self.decoder(image, x1, x2, x3, x4)
        return logits


class Decoder(nn.Module):
    """From the squeezed map up to the picture's size, a block a level."""

    def __init__(self, widths: tuple[int, ...], patch_order: PatchOrder) -> None:
        super().__init__()
        w1, w2, w3, w4 = widths
        self.patch_order = patch_order
        self.ipt_blk5 = PatchConvs(3 * 32**2, w4 // 8)
        self.ipt_blk4 = PatchConvs(3 * 16**2, w4 // 8)
        self.ipt_blk3 = PatchConvs(3 * 8**2, w3 // 8)
        self.ipt_blk2 = PatchConvs(3 * 4**2, w2 // 8)
        self.ipt_blk1 = PatchConvs(3, w1 // 8)
        self.decoder_block4 = DecoderBlock(w4 + w4 // 8, w3)
        self.decoder_block3 = DecoderBlock(w3 + w4 // 8, w2)
        self.decoder_block2 = DecoderBlock(w2 + w3 // 8, w1)
        self.decoder_block1 = DecoderBlock(w1 + w2 // 8, w1 // 2)
        self.lateral_block4 = Lateral(w3)
        self.lateral_block3 = Lateral(w2)
        self.lateral_block2 = Lateral(w1)
        for level, width in ((4, w3), (3, w2), (2, w1)):
            self.add_module(f"gdt_convs_{level}", _gradient_convs(width))
            self.add_module(f"gdt_convs_attn_{level}", nn.Sequential(nn.Conv2d(16, 1, 1)))
            # The heads of training; nothing here runs them.
            self.add_module(f"gdt_convs_pred_{level}", nn.Sequential(nn.Conv2d(16, 1, 1)))
            self.add_module(f"conv_ms_spvn_{level}", nn.Conv2d(width, 1, 1))
        self.conv_out1 = nn.Sequential(nn.Conv2d(w1 // 2 + w1 // 8, 1, 1))

    def forward(self, image: Tensor, x1: Tensor, x2: Tensor, x3: Tensor, x4: Tensor) -> Tensor:
        """Return the logits, [N,1,H,W], of ``image``; x1 .. x4 are its maps, fine to coarse."""
        p4 = self.decoder_block4(self._with_patches(x4, image, self.ipt_blk5))
        p4 = _resize(self._weighted(p4, 4), x3.shape[2:]) + self.lateral_block4(x3)
        p3 = self.decoder_block3(self._with_patches(p4, image, self.ipt_blk4))
        p3 = _resize(self._weighted(p3, 3), x2.shape[2:]) + self.lateral_block3(x2)
        p2 = self.decoder_block2(self._with_patches(p3, image, self.ipt_blk3))
        p2 = _resize(self._weighted(p2, 2), x1.shape[2:]) + self.lateral_block2(x1)
        p1 = self.decoder_block1(self._with_patches(p2, image, self.ipt_blk2))
        return self._logits(p1, image)

    def _with_patches(self, x: Tensor, image: Tensor, convs: PatchConvs) -> Tensor:
        """Join ``x`` with what ``convs`` make of ``image``, cut into patches of x's size."""
        return torch.cat((x, convs(_patches(image, x.shape[2:], self.patch_order))), 1)

    def _logits(self, p1: Tensor, image: Tensor) -> Tensor:
        """Return ``conv_out1`` of the enlarged ``p1`` joined with what is made of ``image``.

        A 1x1 convolution of an enlarged map is the enlarged convolution of the map. So a single
        channel is enlarged: all of them would be a gigabyte at 1024x1024.
        """
        weight, bias = (self.get_parameter(f"conv_out1.0.{name}") for name in ("weight", "bias"))
        coarse, fine = weight[:, : p1.shape[1]], weight[:, p1.shape[1] :]
        enlarged = _resize(F.conv2d(p1, coarse), image.shape[2:])
        return enlarged + F.conv2d(self.ipt_blk1(image), fine, bias)

    def _weighted(self, x: Tensor, level: int) -> Tensor:
        """Weight ``x`` by the attention that was trained on the picture's gradients."""
        gradients = self.get_submodule(f"gdt_convs_{level}")(x)
        weighted: Tensor = x * self.get_submodule(f"gdt_convs_attn_{level}")(gradients).sigmoid()
        return weighted


class DecoderBlock(nn.Module):
    """Two convolutions around a deformable pyramid."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(channels, 64, 3, padding=1)
        self.bn_in = nn.BatchNorm2d(64)
        self.dec_att = DeformablePyramid(64)
        self.conv_out = nn.Conv2d(64, out_channels, 3, padding=1)
        self.bn_out = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x``, [N,channels,H,W], to [N,out_channels,H,W]."""
        x = self.dec_att(F.relu(self.bn_in(self.conv_in(x))))
        transformed: Tensor = self.bn_out(self.conv_out(x))
        return transformed


class DeformablePyramid(nn.Module):
    """Deformable kernels of 1, 1, 3 and 7 pixels and the map's mean, side by side (ASPP)."""

    def __init__(self, channels: int, inner: int = 256) -> None:
        super().__init__()
        self.aspp1 = DeformableBranch(channels, inner, 1)
        self.aspp_deforms = nn.ModuleList(
            DeformableBranch(channels, inner, kernel) for kernel in (1, 3, 7)
        )
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
        )
        self.conv1 = nn.Conv2d(5 * inner, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x``, [N,channels,H,W], at its size."""
        branches = [branch(x) for branch in (self.aspp1, *self.aspp_deforms)]
        mean = self.global_avg_pool(x).expand(-1, -1, *x.shape[2:])
        joined: Tensor = F.relu(self.bn1(self.conv1(torch.cat((*branches, mean), 1))))
        return joined


class DeformableBranch(nn.Module):
    """A deformable convolution, normalised and rectified."""

    def __init__(self, channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.atrous_conv = DeformableConv2d(channels, out_channels, kernel)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x``, [N,channels,H,W], to [N,out_channels,H,W]."""
        return F.relu(self.bn(self.atrous_conv(x)))


class PatchConvs(nn.Module):
    """Two convolutions, nothing between them, of the picture's patches."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, padding=1)
        self.conv_out = nn.Conv2d(64, out_channels, 3, padding=1)

    def forward(self, patches: Tensor) -> Tensor:
        """Transform ``patches``, [N,channels,H,W], to [N,out_channels,H,W]."""
        transformed: Tensor = self.conv_out(self.conv1(patches))
        return transformed


class Lateral(nn.Module):
    """A 1x1 convolution from a backbone map to the decoder."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Transform ``x``, [N,channels,H,W]."""
        transformed: Tensor = self.conv(x)
        return transformed


def _gradient_convs(channels: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())


def _resize(x: Tensor, size: tuple[int, ...]) -> Tensor:
    """Resize ``x``, [N,C,H,W], bilinearly; corner pixels keep their places, nothing is smoothed."""
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=True)


def _patches(image: Tensor, size: tuple[int, ...], order: PatchOrder) -> Tensor:
    """Cut ``image``, [N,C,H,W], into a grid of patches of ``size``, stacked as channels."""
    batch, channels, height, width = image.shape
    rows, columns = height // size[0], width // size[1]
    grid = image.reshape(batch, channels, rows, size[0], columns, size[1])
    axes = {"c": 1, "h": 2, "w": 4}
    return grid.permute(0, *(axes[axis] for axis in order), 3, 5).flatten(1, 3)
