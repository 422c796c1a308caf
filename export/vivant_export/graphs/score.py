"""BargainNet's graph: pictures and the masks of their two regions in, harmony scores out."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vivant import manifest
from vivant.images import load_image
from vivant.resampling import resample
from vivant.roles import Matte
from vivant_export.catalogue import Preprocessing
from vivant_export.graphs import Arrays, EngineSpec, GraphSpec
from vivant_export.networks.bargainnet import DomainCodeExtractor, PartialConvolution
from vivant_samples import PORTRAIT

OPSET = 18
SIDE = 256
"""Height and width of the pictures, whatever their aspect was."""

HARMONY = 0.04212
"""How fast harmony falls with the distance of the codes; the published constant."""

_SEED = 20210610


class RegionCode(nn.Module):
    """What ``DomainCodeExtractor`` computes, with fewer passes over the feature maps.

    A partial convolution, batch norm, ReLU and the mask of the next one come to
    ``relu(conv(x) * ratio + offset) * mask``: the norm's factor is folded into the weight. As
    ``ratio`` is positive wherever the mask is, that is
    ``relu(conv(x) + offset / ratio) * (mask * ratio)``, whose sum and ReLU inference libraries
    do inside the convolution. The last convolution, the average and the projection onto the
    code are linear: one convolution with as many outputs as the code has numbers.
    """

    def __init__(self, network: DomainCodeExtractor) -> None:
        super().__init__()
        n = network
        assert n.conv1f.bias is not None  # noqa: S101 - in place of a norm
        assert n.convs.bias is not None  # noqa: S101
        layers = [
            (n.conv1f.weight, n.conv1f.bias),
            _folded(n.conv2f, n.norm2f),
            _folded(n.conv3f, n.norm3f),
            _folded(n.conv4f, n.norm4f),
        ]
        self.weights = nn.ParameterList(_frozen(weight) for weight, _ in layers)
        self.offsets = nn.ParameterList(_frozen(x[:, None, None, None]) for _, x in layers)
        project = n.convs.weight.double().flatten(1)
        last = torch.tensordot(project, n.conv5f.weight.double(), dims=1)
        self.last, self.bias = _frozen(last), n.convs.bias

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Return the codes, float32 [N,16]; arguments as ``DomainCodeExtractor``'s."""
        x = image * mask
        for index, (weight, offset) in enumerate(zip(self.weights, self.offsets, strict=True)):
            inverse, mask = _next(mask)
            # The first, which has a bias, cuts it away itself: twice with the mask that follows.
            shown = mask if index else mask * mask
            x = functional.conv2d(x, weight, stride=2) + functional.conv2d(inverse, offset)
            x = torch.relu(x) * (shown / inverse)
        inverse, _ = _next(mask)
        codes = functional.conv2d(x, self.last, stride=2) / inverse
        return codes.mean(dim=(2, 3)) + self.bias


def _next(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return one over the ratio of a partial convolution, and the mask after it."""
    shown = functional.avg_pool2d(mask, 3, stride=2)
    # Where nothing is shown the ratio is 0; what it would scale there is 0 or cut away as well.
    return torch.clamp(shown, min=1 / 9), torch.clamp(9 * shown, max=1)


def _folded(convolution: PartialConvolution, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Return the weight with the norm's factor in it, and the norm's offset; float64."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None  # noqa: S101 - checkpoints have their statistics
    assert variance is not None  # noqa: S101
    factor = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    weight = convolution.weight.double() * factor[:, None, None, None]
    return weight, norm.bias.double() - mean.double() * factor


def _frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values.detach().float(), requires_grad=False)


class ScoreGraph(nn.Module):
    """The domain codes of both regions, and their distance as a score."""

    def __init__(self, network: DomainCodeExtractor) -> None:
        super().__init__()
        self.extractor = RegionCode(network)

    def forward(self, image: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
        """Return ``exp(-0.04212 * |background code - foreground code|)``, float32 [N].

        It is in 0..1, larger is more harmonious, and is not rounded as the original's command
        rounds it.

        Args:
            image: uint8 [N,256,256,3], RGB.
            foreground: uint8 [N,256,256], 255 in the foreground.
            background: uint8 [N,256,256], 255 in the background.
        """
        # The casts come first: TensorRT accepts bytes in no other node.
        x = image.float().permute(0, 3, 1, 2) * (1 / 127.5) - 1
        # One after the other, not stacked: only of sizes that it can prove equal does ONNX
        # Runtime fuse sums, and of a stack it knows no size.
        of_foreground, of_background = (
            self.extractor(x, region.float().unsqueeze(1) * (1 / 255))
            for region in (foreground, background)
        )
        apart = of_background - of_foreground
        return torch.exp(-HARMONY * apart.square().sum(dim=1).sqrt())


def score_engine(
    network: nn.Module, *, preprocessing: Preprocessing, opset: int = OPSET
) -> EngineSpec:
    """Return what BargainNet's domain code extractor, in eval mode, becomes."""
    assert isinstance(network, DomainCodeExtractor)  # noqa: S101 - what scorers are built as
    mask = ("batch", SIDE, SIDE)
    graph = GraphSpec(
        name="model",
        module=ScoreGraph(network).eval(),
        inputs=(
            manifest.Tensor("image", "uint8", (*mask, 3), "composites, RGB, resized"),
            manifest.Tensor("foreground", "uint8", mask, "its mask, 0..255, resized"),
            manifest.Tensor("background", "uint8", mask, "255 - mask, resized on its own"),
        ),
        outputs=(manifest.Tensor("score", "float32", ("batch",), "harmony, 0..1"),),
        samples=_samples,
        opset=opset,
    )
    host = {"color": "RGB", "size": SIDE, "resize": preprocessing.resize}
    return EngineSpec(role="scorer", graphs=(graph,), preprocessing=host)


def _samples() -> Iterator[Arrays]:
    """Noise and the sample portrait under soft masks, together and the portrait alone."""
    rng = np.random.default_rng(_SEED)
    noise = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    portrait = resample(load_image(PORTRAIT), SIDE, SIDE, "bilinear-antialiased")
    images = np.stack([noise, portrait])
    masks = np.stack([_disc((90, 150), 40), _disc((115, 120), 100)])
    yield {"image": images, "foreground": masks, "background": 255 - masks}
    yield {"image": images[1:], "foreground": masks[1:], "background": 255 - masks[1:]}


def _disc(center: tuple[int, int], radius: int) -> Matte:
    disc = np.zeros((SIDE, SIDE), np.uint8)
    cv2.circle(disc, center, radius, 255, -1)
    return np.asarray(cv2.GaussianBlur(disc, (0, 0), 3), np.uint8)
