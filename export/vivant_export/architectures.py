"""From a model of the catalogue to its network, and from its network to its graphs."""

from __future__ import annotations

from torch import nn

from vivant_export.catalogue import Model
from vivant_export.graphs import EngineSpec
from vivant_export.graphs.harmonizer import harmonizer_engine
from vivant_export.graphs.matte import matte_engine
from vivant_export.graphs.score import score_engine
from vivant_export.networks.bargainnet import DomainCodeExtractor
from vivant_export.networks.birefnet import BIREFNET, BIREFNET_LITE, RMBG_2, BiRefNet
from vivant_export.networks.deformable import (
    GRID_SAMPLE_OPSET,
    NATIVE_OPSET,
    set_export_form,
)
from vivant_export.networks.hinet import HiNet
from vivant_export.networks.isnet import IsNet


def build_network(model: Model) -> nn.Module:
    """Return the network of ``model`` with the official key names, its weights yet to be loaded."""
    if model.architecture == "isnet":
        network: nn.Module = IsNet()
    elif model.architecture == "birefnet-swin-t":
        network = BiRefNet(BIREFNET_LITE)
    elif model.architecture == "birefnet-swin-l":
        network = BiRefNet(RMBG_2 if model.patch_order == "wg hg c" else BIREFNET)
    elif model.architecture == "hinet":
        network = HiNet()
    else:
        network = DomainCodeExtractor()
    return network.eval().requires_grad_(False)


def engine_spec(model: Model, network: nn.Module, *, size: int, target: str) -> EngineSpec:
    """Return the graphs that ``network``, which is one of ``model``, becomes.

    Args:
        model: from the catalogue; not MTCNN, whose graphs are written without torch.
        network: with its weights.
        size: side of the network's input; one of ``model.sizes``.
        target: one of ``catalogue.TARGETS``; decides how deformable convolutions are written.
    """
    assert model.preprocessing is not None  # noqa: S101 - true of every model but MTCNN
    if model.role == "harmonizer":
        return harmonizer_engine(network)
    if model.role == "scorer":
        return score_engine(network, preprocessing=model.preprocessing)
    if not model.architecture.startswith("birefnet"):
        return matte_engine(network, size=size, preprocessing=model.preprocessing)
    plugins = target != "rtx"
    set_export_form(network, "native" if plugins else "grid-sample")
    opset = NATIVE_OPSET if plugins else GRID_SAMPLE_OPSET
    return matte_engine(network, size=size, preprocessing=model.preprocessing, opset=opset)
