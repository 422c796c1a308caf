"""The graph of a matting network: a picture of the network's size in, its alpha out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from vivant import manifest
from vivant.images import load_image
from vivant.resampling import resample
from vivant.roles import Image
from vivant_export.catalogue import Preprocessing
from vivant_export.graphs import Arrays, EngineSpec, GraphSpec
from vivant_samples import PORTRAIT

OPSET = 18
"""The newest whose GridSample TensorRT reads correctly."""

_SEED = 20200718


class MatteGraph(nn.Module):
    """A matting network with its normalisation before and its sigmoid after.

    Args:
        network: float32 [1,3,S,S] RGB, normalised, to logits float32 [1,1,S,S].
        preprocessing: its ``mean`` and ``std``, on 0..1.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        mean, std = (
            torch.tensor(values, dtype=torch.float64).reshape(3, 1, 1)
            for values in (preprocessing.mean, preprocessing.std)
        )
        # (x / 255 - mean) / std as one product and one sum. It cannot go into the first
        # convolution: that one pads with zeros, which are no black pixels.
        self.register_buffer("scale", (1 / (255 * std)).float(), persistent=False)
        self.register_buffer("shift", (-mean / std).float(), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return the alpha, float32 [1,S,S], 0..1, of ``image``, uint8 [1,S,S,3] RGB."""
        # The cast comes first: TensorRT accepts bytes in no other node.
        x = image.float().permute(0, 3, 1, 2)
        logits: Tensor = self.network(x * self.scale + self.shift)
        return logits.sigmoid().squeeze(1)


def matte_engine(
    network: nn.Module, *, size: int, preprocessing: Preprocessing, opset: int = OPSET
) -> EngineSpec:
    """Return what a matting network becomes.

    Args:
        network: as ``MatteGraph`` takes it, in eval mode.
        size: S, the side of its square input.
        preprocessing: how its authors resize, normalise and stretch.
        opset: of the ONNX file.
    """

    def from_photo(photo: Image) -> Arrays:
        return {"image": resample(photo, size, size, preprocessing.resize)[np.newaxis]}

    def samples() -> Iterator[Arrays]:
        rng = np.random.default_rng(_SEED)
        yield {"image": rng.integers(0, 256, (1, size, size, 3), np.uint8)}
        yield from_photo(load_image(PORTRAIT))

    graph = GraphSpec(
        name="model",
        module=MatteGraph(network, preprocessing).eval(),
        inputs=(manifest.Tensor("image", "uint8", (1, size, size, 3), "RGB, resized"),),
        outputs=(manifest.Tensor("alpha", "float32", (1, size, size), "foreground, 0..1"),),
        samples=samples,
        opset=opset,
        from_photo=from_photo,
    )
    host = {
        "color": "RGB",
        "size": size,
        "resize": preprocessing.resize,
        "resize_back": preprocessing.resize_back,
        "min_max": preprocessing.min_max,
    }
    return EngineSpec(role="matte", graphs=(graph,), preprocessing=host)
