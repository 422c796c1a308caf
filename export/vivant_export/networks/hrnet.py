"""HRNetV2-W18 with object-contextual representations (OCR), as INR-Harmonization uses it.

J. Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", TPAMI 2020;
Y. Yuan et al., "Object-Contextual Representations for Semantic Segmentation", ECCV 2020. Two
changes come from K. Sofiiuk et al., "Foreground-aware Semantic Representations for Image
Harmonization", WACV 2021: features of the mask are added in the stem, and the objects of the OCR
are not predicted but given, namely foreground and background.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (18, 36, 72, 144)
"""Channels of the four branches, at 1/4, 1/8, 1/16 and 1/32 of the input's size."""

OCR_KEYS, OCR_CHANNELS = 64, 128
"""Channels inside and outside the attention to the two objects."""


class HrNet(nn.Module):
    """Parameter names are those under ``backbone.backbone.hrnet`` in the published checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _convolution(3, 64, 3, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = _convolution(64, 64, 3, stride=2)
        self.bn2 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(3)))
        self.transition1 = nn.ModuleList(
            [_unit(256, WIDTHS[0]), nn.Sequential(_unit(256, WIDTHS[1], stride=2))]
        )
        self.transition2 = _one_branch_more(2)
        self.transition3 = _one_branch_more(3)
        self.stage2 = nn.Sequential(HighResolutionModule(2))
        self.stage3 = nn.Sequential(*(HighResolutionModule(3) for _ in range(4)))
        self.stage4 = nn.Sequential(*(HighResolutionModule(4) for _ in range(3)))
        self.conv3x3_ocr = nn.Sequential(
            nn.Conv2d(sum(WIDTHS), OCR_CHANNELS, 3, padding=1),
            nn.BatchNorm2d(OCR_CHANNELS),
            nn.ReLU(),
        )
        self.ocr_distri_head = ObjectContext()

    def forward(self, image: Tensor, mask: Tensor, mask_features: Tensor) -> Tensor:
        """Return features of the image, float32 [N,128,H/4,W/4].

        Args:
            image: float32 [N,3,H,W], RGB, -1..1; H and W divisible by 32.
            mask: float32 [N,1,H,W], 1 in the foreground and 0 outside.
            mask_features: float32 [N,64,H/2,W/2], added behind the first convolution.
        """
        x = functional.relu(self.bn1(self.conv1(image))) + mask_features
        x = functional.relu(self.bn2(self.conv2(x)))
        x = self.layer1(x)
        branches = self.stage2([transition(x) for transition in self.transition1])
        branches = self.stage3(_spread(self.transition2, branches))
        branches = self.stage4(_spread(self.transition3, branches))
        x = torch.cat([_sized_as(branch, branches[0]) for branch in branches], dim=1)
        x = self.conv3x3_ocr(x)
        objects = _objects(x, _sized_as(torch.cat([mask, 1 - mask], dim=1), x))
        features: Tensor = self.ocr_distri_head(x, objects)
        return features


class Bottleneck(nn.Module):
    """Residual block 1x1, 3x3, 1x1 whose output has four times the inner channels."""

    def __init__(self, inputs: int, middle: int) -> None:
        super().__init__()
        outputs = 4 * middle
        self.conv1 = _convolution(inputs, middle, 1)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = _convolution(middle, middle, 3)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = _convolution(middle, outputs, 1)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Identity()
            if inputs == outputs
            else nn.Sequential(_convolution(inputs, outputs, 1), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 [N,4*middle,H,W] of float32 [N,inputs,H,W]."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = functional.relu(self.bn2(self.conv2(y)))
        return functional.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions; channels and size stay."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _convolution(channels, channels, 3)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _convolution(channels, channels, 3)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return float32 [N,channels,H,W] of the same."""
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + x)


class HighResolutionModule(nn.Module):
    """Works on branches of different sizes side by side, then adds each to each."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(WIDTHS[branch]) for _ in range(4)))
            for branch in range(count)
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_between(source, target) for source in range(count))
            for target in range(count)
        )

    def forward(self, branches: Sequence[Tensor]) -> list[Tensor]:
        """Return as many branches, each float32 [N,WIDTHS[i],H/2^i,W/2^i]."""
        worked = [work(x) for work, x in zip(self.branches, branches, strict=True)]
        fused = []
        for layers, target in zip(self.fuse_layers, worked, strict=True):
            assert isinstance(layers, nn.ModuleList)  # noqa: S101 - for the type alone
            parts = [_sized_as(layer(x), target) for layer, x in zip(layers, worked, strict=True)]
            fused.append(functional.relu(reduce(torch.add, parts)))
        return fused


class ObjectContext(nn.Module):
    """Adds to each pixel what it shares with the objects: attention from pixels to objects."""

    def __init__(self) -> None:
        super().__init__()
        self.object_context_block = nn.ModuleDict(
            {
                "f_pixel": _projections(OCR_CHANNELS, OCR_KEYS, OCR_KEYS),
                "f_object": _projections(OCR_CHANNELS, OCR_KEYS, OCR_KEYS),
                "f_down": _projections(OCR_CHANNELS, OCR_KEYS),
                "f_up": _projections(OCR_KEYS, OCR_CHANNELS),
            }
        )
        # Published with a dropout at its end, which training alone needs.
        self.conv_bn_dropout = _projections(2 * OCR_CHANNELS, OCR_CHANNELS)

    def forward(self, x: Tensor, objects: Tensor) -> Tensor:
        """Return float32 [N,128,H,W].

        Args:
            x: float32 [N,128,H,W].
            objects: float32 [N,128,K,1], a mean feature for each of K objects.
        """
        block = self.object_context_block
        query = block["f_pixel"](x).flatten(2).transpose(1, 2)
        key = block["f_object"](objects).flatten(2)
        value = block["f_down"](objects).flatten(2).transpose(1, 2)
        attention = torch.softmax(OCR_KEYS**-0.5 * (query @ key), dim=-1)
        context = (attention @ value).transpose(1, 2).reshape(x.shape[0], OCR_KEYS, *x.shape[2:])
        joined: Tensor = self.conv_bn_dropout(torch.cat([block["f_up"](context), x], dim=1))
        return joined


def _objects(x: Tensor, weights: Tensor) -> Tensor:
    """Return the mean feature of each object, [N,C,K,1], weighted by a softmax over all pixels."""
    shares = torch.softmax(weights.flatten(2), dim=2)
    return (shares @ x.flatten(2).transpose(1, 2)).transpose(1, 2)[..., None]


def _convolution(inputs: int, outputs: int, kernel: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)


def _unit(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        _convolution(inputs, outputs, 3, stride=stride), nn.BatchNorm2d(outputs), nn.ReLU()
    )


def _projections(*channels: int) -> nn.Sequential:
    """Return 1x1 convolutions, each with its normalisation and ReLU as one further entry."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers.append(_convolution(inputs, outputs, 1))
        layers.append(nn.Sequential(nn.BatchNorm2d(outputs), nn.ReLU()))
    return nn.Sequential(*layers)


def _one_branch_more(count: int) -> nn.ModuleList:
    """Keep ``count`` branches and begin one of half the size of the last."""
    begun = nn.Sequential(_unit(WIDTHS[count - 1], WIDTHS[count], stride=2))
    return nn.ModuleList([*(nn.Identity() for _ in range(count)), begun])


def _spread(transition: nn.ModuleList, branches: Sequence[Tensor]) -> list[Tensor]:
    return [step(x) for step, x in zip(transition, [*branches, branches[-1]], strict=True)]


def _between(source: int, target: int) -> nn.Module:
    """Return what takes branch ``source`` to the channels of ``target``, and down to its size."""
    if source == target:
        return nn.Identity()
    inputs, outputs = WIDTHS[source], WIDTHS[target]
    if source > target:
        return nn.Sequential(_convolution(inputs, outputs, 1), nn.BatchNorm2d(outputs))
    halvings: list[nn.Module] = [
        _unit(inputs, inputs, stride=2) for _ in range(target - source - 1)
    ]
    last = nn.Sequential(_convolution(inputs, outputs, 3, stride=2), nn.BatchNorm2d(outputs))
    return nn.Sequential(*halvings, last)


def _sized_as(x: Tensor, other: Tensor) -> Tensor:
    if x.shape[2:] == other.shape[2:]:
        return x
    return functional.interpolate(x, other.shape[2:], mode="bilinear", align_corners=True)
