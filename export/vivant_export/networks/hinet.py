"""HINet, the network of INR-Harmonization.

J. Chen et al., "Dense Pixel-to-Pixel Harmonization via Continuous Image Representation", TCSVT
2023 (WindVChen/INR-Harmonization). An encoder at 256x256 says *how* to harmonise: a map of small
MLPs, one for each cell of the picture, on three levels (quarter, half and full size), and one MLP
for the colours of the whole. What they are applied to is the picture at its own size; see
``hinet_procedures`` for how the authors do so.

Throughout, level 2 is the quarter, 1 the half and 0 the full size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from vivant_export.networks.hinet_mlps import BASE, WIDTH, AppearanceMlp, CellMlps
from vivant_export.networks.hrnet import OCR_CHANNELS, HrNet

TABLE = BASE * BASE
"""Entries of the constant table; a level of just as many positions takes it as it is."""

LUT = 7
"""Colours on a side of the colour table."""

_POSITION = 2 + 2 * WIDTH  # coordinate, sines, constant table
_COLOUR = 4  # RGB and mask


class Encoded(NamedTuple):
    """What the encoder says about a picture; float32.

    Attributes:
        f0: [N,64,128,128], of which level 0 makes its MLPs; -1 and above (ELU), as the next two.
        f1: [N,64,64,64], for level 1.
        f2: [N,128,32,32], for level 2.
        appearance_params: [N,2369], the colour MLP's parameters.
        lut3d: [N,3,7,7,7], a table of output colours RGB, about 0..1, by input red, green, blue.
    """

    f0: Tensor
    f1: Tensor
    f2: Tensor
    appearance_params: Tensor
    lut3d: Tensor


class HiNet(nn.Module):
    """Parameter names are those of the published checkpoints, strictly: 2007 keys."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = _Wrapped()

    @property
    def decoder(self) -> Decoder:
        """Everything that makes and feeds the MLPs."""
        return self.backbone.model.decoder

    def encode(self, image: Tensor, mask: Tensor) -> Encoded:
        """Run the encoder.

        Args:
            image: float32 [N,3,256,256], RGB, -1..1.
            mask: float32 [N,1,256,256], 0..1, 1 in the foreground.
        """
        inner = self.backbone
        semantic = inner.backbone.hrnet(image, mask, inner.mask_conv(mask))
        f0, f1, f2, deep = inner.model.encoder(torch.cat([image, mask], dim=1), semantic)
        params = self.decoder.appearance_mlps(self.decoder.rebuild(deep))
        return Encoded(f0, f1, f2, params, self.decoder.lut_transform(params))

    def forward(self, image: Tensor, mask: Tensor) -> Encoded:
        """Run ``encode``."""
        return self.encode(image, mask)


class ConvEncoder(nn.Module):
    """Seven convolutions down to 1x1; from the third on they see the semantic features too."""

    def __init__(self) -> None:
        super().__init__()
        self.block0 = ConvBlock(4, 64, normalised=False)
        self.block1 = ConvBlock(64, 64, normalised=False)
        self.blocks_connected = nn.ModuleDict(
            {
                "block2_decode": ConvBlock(64, 128),
                "block2": ConvBlock(64 + OCR_CHANNELS, 128),
                "block3": ConvBlock(128, 128),
                "block4": ConvBlock(128, 256),
                "block5": ConvBlock(256, 256),
                "block6": ConvBlock(256, 512, padding=0),
            }
        )

    def forward(self, x: Tensor, semantic: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        """Return ``f0``, ``f1``, ``f2`` of ``Encoded`` and the outputs of blocks 2 to 6.

        Args:
            x: float32 [N,4,256,256], RGB -1..1 and mask 0..1.
            semantic: float32 [N,128,64,64].
        """
        f0: Tensor = self.block0(x)
        f1: Tensor = self.block1(f0)
        f2: Tensor = self.blocks_connected["block2_decode"](f1)
        deep = [self.blocks_connected["block2"](torch.cat([f1, semantic], dim=1))]
        for number in range(3, 7):
            deep.append(self.blocks_connected[f"block{number}"](deep[-1]))
        return f0, f1, f2, deep


class ConvBlock(nn.Module):
    """Convolution 4x4 of stride 2, batch normalisation where ``normalised``, ELU."""

    def __init__(
        self, inputs: int, outputs: int, *, padding: int = 1, normalised: bool = True
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(inputs, outputs, 4, stride=2, padding=padding),
            nn.BatchNorm2d(outputs) if normalised else nn.Identity(),
            nn.ELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 [N,outputs,H/2,W/2] of float32 [N,inputs,H,W]."""
        y: Tensor = self.block(x)
        return y


class DeconvBlock(nn.Module):
    """Transposed convolution 4x4 of stride 2, batch normalisation, ELU."""

    def __init__(self, inputs: int, outputs: int, *, padding: int = 1) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=padding),
            nn.BatchNorm2d(outputs),
            nn.ELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 [N,outputs,2H,2W] of float32 [N,inputs,H,W]."""
        y: Tensor = self.block(x)
        return y


class Decoder(nn.Module):
    """Makes the MLPs of the cells and of the colours, and what they are applied to."""

    def __init__(self) -> None:
        super().__init__()
        self.INR_encoding = PositionEncoding()
        self.content_mlp_blocks = nn.ModuleDict(
            {
                "block0": CellMlps(64, _POSITION + _COLOUR + WIDTH, layers=2),
                "block1": CellMlps(64, _POSITION + _COLOUR + WIDTH, layers=3),
                "block2": CellMlps(128, _POSITION + _COLOUR, layers=4),
            }
        )
        self.deconv_blocks = nn.ModuleList(
            [
                DeconvBlock(512, 256, padding=0),
                DeconvBlock(256, 256),
                DeconvBlock(256, 128),
                DeconvBlock(128, 128),
                DeconvBlock(128, 64),
            ]
        )
        self.appearance_mlps = AppearanceMlp()
        self.lut_transform = LutTransform()

    def rebuild(self, deep: list[Tensor]) -> Tensor:
        """Return float32 [N,64,64,64], from the outputs of the encoder's blocks 2 to 6."""
        *skips, x = deep
        for deconvolution, skip in zip(self.deconv_blocks, reversed(skips), strict=False):
            x = deconvolution(x) + skip
        y: Tensor = self.deconv_blocks[-1](x)
        return y

    def cell_mlps(self, level: int) -> CellMlps:
        """Return the hypernetwork of level 2, 1 or 0; its features are ``f2``, ``f1``, ``f0``."""
        block = self.content_mlp_blocks[f"block{level}"]
        assert isinstance(block, CellMlps)  # noqa: S101 - for the type alone
        return block

    def level_inputs(
        self, coordinates: Tensor, image: Tensor, mask: Tensor, below: Tensor | None
    ) -> Tensor:
        """Return what the cells' MLPs of a level take at each position.

        Args:
            coordinates: float32 [N,h,w,2], y and x in the whole picture, -1..1.
            image: float32 [N,3,H,W], RGB -1..1, the patch at its own size; made h x w here,
                bilinear without antialiasing.
            mask: float32 [N,1,H,W], 0..1, likewise.
            below: float32 [N,h,w,32], ``enlarged`` output of the level below; None on level 2.

        Returns:
            float32 [N,h,w,70], or 102 with a level below: y, x, 32 sines, 32 of the constant
            table, R, G, B, mask, 32 of the level below.
        """
        size = coordinates.shape[1:3]
        colour = functional.interpolate(torch.cat([image, mask], dim=1), size, mode="bilinear")
        parts = [self.INR_encoding(coordinates), colour.permute(0, 2, 3, 1)]
        return torch.cat(parts if below is None else [*parts, below], dim=-1)


class PositionEncoding(nn.Module):
    """Where a position is, in 66 numbers.

    I. Anokhin et al., "Image Generators with Conditionally-Independent Pixel Synthesis", CVPR
    2021 (CIPS): Fourier features with learnt frequencies, and a learnt table.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fourier_embed = nn.ParameterDict({"input": torch.empty(1, TABLE, WIDTH)})
        self.predict_embed = nn.ModuleDict({"ffm": nn.Linear(2, WIDTH)})

    def forward(self, coordinates: Tensor) -> Tensor:
        """Return float32 [N,h,w,66] of coordinates float32 [N,h,w,2], y and x, -1..1."""
        sines = torch.sin(self.predict_embed["ffm"](coordinates))
        return torch.cat([coordinates, sines, self.constants(coordinates)], dim=-1)

    def constants(self, coordinates: Tensor) -> Tensor:
        """Return the table, float32 [N,h,w,32], at coordinates float32 [N,h,w,2].

        It is sampled between its 256x256 entries, but for a level of exactly as many positions:
        that one takes the entries in order, wherever it lies in the picture. Training did so.
        """
        count, height, width = coordinates.shape[:3]
        table: Tensor = self.fourier_embed["input"]
        if height * width == TABLE:
            return table.reshape(1, height, width, WIDTH).expand(count, -1, -1, -1)
        table = table.reshape(1, BASE, BASE, WIDTH).permute(0, 3, 1, 2)
        sampled = functional.grid_sample(
            table.expand(count, -1, -1, -1),
            coordinates.flip(-1),
            mode="bilinear",
            padding_mode="border",
            align_corners=True,
        )
        return sampled.permute(0, 2, 3, 1)


class LutTransform(nn.Module):
    """From the colour MLP's parameters, a table of colours that does nearly the same."""

    def __init__(self) -> None:
        super().__init__()
        entries = 3 * LUT**3
        self.transform_layers = nn.Sequential(
            nn.Linear(2369, entries), nn.ReLU(), nn.Linear(entries, entries)
        )

    def forward(self, appearance_params: Tensor) -> Tensor:
        """Return float32 [N,3,7,7,7] of float32 [N,2369]."""
        table: Tensor = self.transform_layers(appearance_params)
        return table.reshape(-1, 3, LUT, LUT, LUT)


def enlarged(x: Tensor) -> Tensor:
    """Return a level's output, float32 [N,h,w,32], as the next level takes it: [N,2h,2w,32].

    It is enlarged bilinearly as [N,32,2h,2w], and the numbers are then read in that order as if
    they were [N,2h,2w,32]: of K positions, the p-th gets 32 successive numbers of channel
    32p // K. This is how the weights were trained.
    """
    large = functional.interpolate(x.permute(0, 3, 1, 2), scale_factor=2, mode="bilinear")
    return large.reshape(x.shape[0], 2 * x.shape[1], 2 * x.shape[2], WIDTH)


class _Scale(nn.Module):
    """Multiplies with the size of one learnt number."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.empty(1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale.abs()


class _Semantic(nn.Module):
    """A step of the published key names."""

    def __init__(self) -> None:
        super().__init__()
        self.hrnet = HrNet()


class _AutoEncoder(nn.Module):
    """A step of the published key names."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ConvEncoder()
        self.decoder = Decoder()


class _Wrapped(nn.Module):
    """A step of the published key names; ``mask_conv`` feeds the mask to HRNet's stem."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = _Semantic()
        self.model = _AutoEncoder()
        self.mask_conv = nn.Sequential(nn.Conv2d(1, 64, 3, stride=2, padding=1), _Scale())
