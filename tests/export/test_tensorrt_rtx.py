"""Exported graphs become TensorRT-RTX plans in every precision, which needs no GPU.

MTCNN's are in ``test_tensorrt_build``, INR-Harmonization's in ``test_inr_graphs``.
"""

from __future__ import annotations

import functools

import onnx
import pytest

torch = pytest.importorskip("torch")

from vivant.errors import EngineError  # noqa: E402
from vivant_export.catalogue import find_model  # noqa: E402
from vivant_export.graphs.matte import matte_engine  # noqa: E402
from vivant_export.graphs.score import score_engine  # noqa: E402
from vivant_export.networks.bargainnet import DomainCodeExtractor  # noqa: E402
from vivant_export.networks.birefnet import BiRefNet, BiRefNetConfig  # noqa: E402
from vivant_export.networks.deformable import GRID_SAMPLE_OPSET, set_export_form  # noqa: E402
from vivant_export.networks.isnet import IsNet  # noqa: E402
from vivant_export.networks.swin import SwinConfig  # noqa: E402
from vivant_export.onnx_export import finished, to_onnx  # noqa: E402
from vivant_export.precision import (  # noqa: E402
    calibration,
    to_fp16,
    to_int8,
)
from vivant_export.seeded import seeded_state  # noqa: E402

SIZE = 256


def seeded(network: torch.nn.Module) -> torch.nn.Module:
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    state = {key: torch.from_numpy(value) for key, value in seeded_state(shapes, 1).items()}
    network.load_state_dict(state, strict=False)  # tables of positions are the network's own
    return network.eval().requires_grad_(False)


def isnet():
    pipe = find_model("rmbg-1.4").preprocessing
    return "rmbg-1.4", matte_engine(seeded(IsNet()), size=SIZE, preprocessing=pipe)


def birefnet():
    """The network of RMBG-2.0, narrower and with fewer blocks, without plugins."""
    backbone = SwinConfig(width=24, depths=(2, 1, 1, 1), heads=(1, 2, 4, 8), window=8)
    network = seeded(BiRefNet(BiRefNetConfig(backbone, patch_order="whc")))
    set_export_form(network, "grid-sample")
    pipe = find_model("rmbg-2.0").preprocessing
    opset = GRID_SAMPLE_OPSET
    return "rmbg-2.0", matte_engine(network, size=SIZE, preprocessing=pipe, opset=opset)


def bargainnet():
    pipe = find_model("bargainnet").preprocessing
    return "bargainnet", score_engine(seeded(DomainCodeExtractor()), preprocessing=pipe)


@functools.cache
def exported(engine):
    """Name and spec of an engine, and its ONNX file; exporting takes the longest."""
    name, spec = engine()
    (graph,) = spec.graphs
    return name, spec, to_onnx(graph).SerializeToString()


@pytest.mark.parametrize("engine", [isnet, birefnet, bargainnet])
def test_every_precision_builds(build_plans, engine):
    name, spec, data = exported(engine)
    (graph,) = spec.graphs
    model = onnx.load_from_string(data)

    def build(file):
        return build_plans(name, spec, {graph.name: file})[graph.name]

    plan = build(data)
    assert build(finished(to_fp16(model, graph.keep_fp32))) < plan
    if graph.from_photo is not None:
        photos = map(graph.from_photo, [next(calibration.pictures())])
        assert build(finished(to_int8(model, photos, "tensorrt"))) < plan


def test_what_does_not_build_says_why(build_plans):
    """TensorRT parses no zero points, so the other scheme of INT8 shows that a failure is seen."""
    name, spec, data = exported(bargainnet)
    (graph,) = spec.graphs
    low = to_int8(onnx.load_from_string(data), [next(iter(graph.samples()))], "cpu")
    with pytest.raises(EngineError, match=r"zero point.*--target rtx"):
        build_plans(name, spec, {graph.name: finished(low)})
