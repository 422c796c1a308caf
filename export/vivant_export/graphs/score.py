"""BargainNet's graph: pictures and the masks of their two regions in, harmony scores out."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from vivant import manifest
from vivant.images import load_image
from vivant.resampling import resample
from vivant.roles import Matte
from vivant_export.catalogue import Preprocessing
from vivant_export.graphs import Arrays, EngineSpec, GraphSpec
from vivant_samples import PORTRAIT

OPSET = 18
SIDE = 256
"""Height and width of the pictures, whatever their aspect was."""

HARMONY = 0.04212
"""How fast harmony falls with the distance of the codes; the published constant."""

_SEED = 20210610


class ScoreGraph(nn.Module):
    """The domain code extractor on both regions, in one batch, and the distance of the codes.

    ``network`` takes pictures float32 [N,3,256,256] RGB -1..1 and masks float32 [N,1,256,256]
    0..1 to codes float32 [N,16].
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

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
        masks = torch.cat([foreground.float(), background.float()]).unsqueeze(1) * (1 / 255)
        codes: Tensor = self.network(torch.cat([x, x]), masks)
        of_foreground, of_background = codes.reshape(2, -1, codes.shape[1]).unbind()
        apart = of_background - of_foreground
        return torch.exp(-HARMONY * apart.square().sum(dim=1).sqrt())


def score_engine(
    network: nn.Module, *, preprocessing: Preprocessing, opset: int = OPSET
) -> EngineSpec:
    """Return what BargainNet's domain code extractor, in eval mode, becomes."""
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
