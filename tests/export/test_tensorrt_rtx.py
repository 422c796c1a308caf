"""Exported graphs become TensorRT-RTX plans, which need no GPU until they run.

INR-Harmonization's are in ``test_inr_graphs``.
"""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorrt_rtx_libs")  # loads what the bindings are bindings of
trt = pytest.importorskip("tensorrt_rtx_bindings")

from vivant_export.catalogue import find_model  # noqa: E402
from vivant_export.graphs import GraphSpec  # noqa: E402
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


class Quiet(trt.ILogger):
    """Keeps what is said: building without a GPU says that there is none, and succeeds."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def log(self, severity, message: str) -> None:
        if severity <= trt.ILogger.ERROR:
            self.said.append(message)


def build(spec: GraphSpec, data: bytes) -> int:
    """Return the size in bytes of the plan of a graph, its free sizes from 1 to twice the sample's.

    A graph that does not parse or build fails the test with what the library said.
    """
    logger = Quiet()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(data):
        pytest.fail("\n".join(parser.get_error(i).desc() for i in range(parser.num_errors)))
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    sample = next(iter(spec.samples()))
    for tensor in spec.inputs:
        usual = sample[tensor.name].shape
        free = [isinstance(size, str) for size in tensor.shape]
        least, most = (
            tuple(
                other if is_free else size
                for is_free, other, size in zip(free, others, usual, strict=True)
            )
            for others in ((1,) * len(usual), tuple(2 * size for size in usual))
        )
        profile.set_shape(tensor.name, least, usual, most)
    config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None, "\n".join(logger.said)
    return plan.nbytes


def seeded(network: torch.nn.Module) -> torch.nn.Module:
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    state = {key: torch.from_numpy(value) for key, value in seeded_state(shapes, 1).items()}
    network.load_state_dict(state, strict=False)  # tables of positions are the network's own
    return network.eval().requires_grad_(False)


def isnet():
    pipe = find_model("rmbg-1.4").preprocessing
    return matte_engine(seeded(IsNet()), size=SIZE, preprocessing=pipe)


def birefnet():
    """The network of RMBG-2.0, narrower and with fewer blocks, without plugins."""
    backbone = SwinConfig(width=24, depths=(2, 1, 1, 1), heads=(1, 2, 4, 8), window=8)
    network = seeded(BiRefNet(BiRefNetConfig(backbone, patch_order="whc")))
    set_export_form(network, "grid-sample")
    pipe = find_model("rmbg-2.0").preprocessing
    return matte_engine(network, size=SIZE, preprocessing=pipe, opset=GRID_SAMPLE_OPSET)


def bargainnet():
    pipe = find_model("bargainnet").preprocessing
    return score_engine(seeded(DomainCodeExtractor()), preprocessing=pipe)


@pytest.fixture(scope="module", params=[isnet, birefnet, bargainnet])
def graphs(request):
    """Every graph of an engine, exported."""
    return [(spec, to_onnx(spec)) for spec in request.param().graphs]


def test_every_precision_builds(graphs):
    for spec, model in graphs:
        half = to_fp16(model, spec.keep_fp32)
        plan = build(spec, model.SerializeToString())
        assert build(spec, finished(half)) < plan
        if spec.from_photo is None:
            continue
        photos = map(spec.from_photo, [next(calibration.pictures())])
        low = to_int8(model, photos, "tensorrt")
        assert build(spec, low.SerializeToString()) < plan
        assert build(spec, finished(to_fp16(low))) < plan


def test_what_does_not_build_says_why():
    """TensorRT parses no zero points, so the other scheme of INT8 shows that a failure is seen."""
    spec = bargainnet().graphs[0]
    sample = next(iter(spec.samples()))
    low = to_int8(to_onnx(spec), [sample], "cpu")
    with pytest.raises(pytest.fail.Exception, match="zero point"):
        build(spec, low.SerializeToString())
