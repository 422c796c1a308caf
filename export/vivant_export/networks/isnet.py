"""IS-Net, the network of RMBG-1.4 and of isnet-general-use.

X. Qin et al., "Highly Accurate Dichotomous Image Segmentation", ECCV 2022
(xuebinqin/DIS, ``ISNetDIS``); BRIA's ``BriaRMBG`` has the same layout.

A U-Net whose every stage is itself a small U-Net, a *residual U-block* (RSU, from U2-Net). All
sizes work; pooling rounds up, and what is enlarged takes the size of what it joins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class IsNet(nn.Module):
    """Parameter names are those of the published checkpoints, strictly: 798 keys.

    Of the six side outputs the published matte is the first; the others, which training needs,
    are held for their weights and never computed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, 64, 3, stride=2, padding=1)
        self.stage1 = _pyramid(7, 64, 32, 64)
        self.stage2 = _pyramid(6, 64, 32, 128)
        self.stage3 = _pyramid(5, 128, 64, 256)
        self.stage4 = _pyramid(4, 256, 128, 512)
        self.stage5 = _flat(512, 256, 512)
        self.stage6 = _flat(512, 256, 512)
        self.stage5d = _flat(1024, 256, 512)
        self.stage4d = _pyramid(4, 1024, 128, 256)
        self.stage3d = _pyramid(5, 512, 64, 128)
        self.stage2d = _pyramid(6, 256, 32, 64)
        self.stage1d = _pyramid(7, 128, 16, 64)
        self.side1 = nn.Conv2d(64, 1, 3, padding=1)
        for number, channels in enumerate((64, 128, 256, 512, 512), start=2):
            self.add_module(f"side{number}", nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """Return the matte's logits: their sigmoid is the alpha, 0..1.

        Args:
            image: float32 [N,3,H,W], RGB, normalised.

        Returns:
            float32 [N,1,H,W].
        """
        x1: Tensor = self.stage1(self.conv_in(image))
        x2: Tensor = self.stage2(_halved(x1))
        x3: Tensor = self.stage3(_halved(x2))
        x4: Tensor = self.stage4(_halved(x3))
        x5: Tensor = self.stage5(_halved(x4))
        x6: Tensor = self.stage6(_halved(x5))
        x = self.stage5d(_joined(x6, x5))
        x = self.stage4d(_joined(x, x4))
        x = self.stage3d(_joined(x, x3))
        x = self.stage2d(_joined(x, x2))
        x = self.stage1d(_joined(x, x1))
        return _sized_as(self.side1(x), image)


class ResidualUBlock(nn.ModuleDict):
    """A U-Net of ``len(dilations)`` levels whose result is added to its (convolved) input.

    It is a ``ModuleDict`` for the sake of its keys: ``rebnconvin``; going down ``rebnconv1``,
    ``rebnconv2`` ...; going up ``rebnconv3d``, ``rebnconv2d``, ``rebnconv1d``.

    Args:
        inputs: channels that come in.
        middle: channels of the levels.
        outputs: channels that go out.
        dilations: of the convolutions on each level, the same way down as way up.
        pooled: each level has half the size of the one above, but for the last: that one keeps
            the size of the last but one. If False, all levels have the size of the input.
    """

    def __init__(
        self, inputs: int, middle: int, outputs: int, dilations: tuple[int, ...], *, pooled: bool
    ) -> None:
        super().__init__()
        self.depth, self.pooled = len(dilations), pooled
        self["rebnconvin"] = ConvolutionUnit(inputs, outputs, 1)
        for level, dilation in enumerate(dilations, start=1):
            down = ConvolutionUnit(outputs if level == 1 else middle, middle, dilation)
            self[f"rebnconv{level}"] = down
        for level, dilation in enumerate(dilations[:-1], start=1):
            up = ConvolutionUnit(2 * middle, outputs if level == 1 else middle, dilation)
            self[f"rebnconv{level}d"] = up

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 [N,outputs,H,W] of float32 [N,inputs,H,W]."""
        entry: Tensor = self["rebnconvin"](x)
        x, skips = entry, []
        for level in range(1, self.depth):
            x = self[f"rebnconv{level}"](x)
            skips.append(x)
            x = _halved(x) if self.pooled and level < self.depth - 1 else x
        x = self[f"rebnconv{self.depth}"](x)
        for level in range(self.depth - 1, 0, -1):
            x = self[f"rebnconv{level}d"](_joined(x, skips.pop()))
        return x + entry


class ConvolutionUnit(nn.Module):
    """Convolution 3x3, batch normalisation, ReLU; the size stays."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
        self.bn_s1 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 [N,outputs,H,W] of float32 [N,inputs,H,W]."""
        return functional.relu(self.bn_s1(self.conv_s1(x)))


def _pyramid(depth: int, inputs: int, middle: int, outputs: int) -> ResidualUBlock:
    """Return the published RSU-7, RSU-6, RSU-5 or RSU-4."""
    dilations = (1,) * (depth - 1) + (2,)
    return ResidualUBlock(inputs, middle, outputs, dilations, pooled=True)


def _flat(inputs: int, middle: int, outputs: int) -> ResidualUBlock:
    """Return the published RSU-4F: dilation instead of pooling, where little size is left."""
    return ResidualUBlock(inputs, middle, outputs, (1, 2, 4, 8), pooled=False)


def _halved(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 2, stride=2, ceil_mode=True)


def _joined(deep: Tensor, skip: Tensor) -> Tensor:
    return torch.cat([_sized_as(deep, skip), skip], dim=1)


def _sized_as(x: Tensor, other: Tensor) -> Tensor:
    if x.shape[2:] == other.shape[2:]:
        return x
    return functional.interpolate(x, other.shape[2:], mode="bilinear", align_corners=False)
