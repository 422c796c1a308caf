"""BargainNet's graph as a file: any number of candidates, and the published scores."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vivant.backends.onnxruntime import OnnxRuntimeEngine  # noqa: E402
from vivant.scorers.bargainnet import BargainNetScorer  # noqa: E402
from vivant_export.catalogue import find_model  # noqa: E402
from vivant_export.graphs.score import RegionCode, score_engine  # noqa: E402
from vivant_export.networks.bargainnet import DomainCodeExtractor  # noqa: E402
from vivant_export.onnx_export import finished, to_onnx  # noqa: E402
from vivant_export.seeded import seeded_state  # noqa: E402


@pytest.fixture(scope="module")
def network(golden):
    network = DomainCodeExtractor()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    state = seeded_state(shapes, golden("bargainnet").meta["seed"])
    network.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    return network.eval()


@pytest.fixture(scope="module")
def spec(network):
    return score_engine(network, preprocessing=find_model("bargainnet").preprocessing)


@pytest.fixture(scope="module")
def scorer(spec):
    with OnnxRuntimeEngine(finished(to_onnx(spec.graphs[0])), "bargainnet") as engine:
        yield BargainNetScorer(engine)


def test_the_published_scores_alone_and_together(scorer, golden):
    expected = golden("bargainnet")
    pairs = [(expected[f"{size}image"], expected[f"{size}mask"]) for size in ("", "big_")]
    wanted = [float(expected["score"]), float(expected["big_score"])]
    images, masks = zip(*pairs, strict=True)
    assert scorer.score(images, masks) == pytest.approx(wanted, abs=1e-6)
    for (image, mask), score in zip(pairs, wanted, strict=True):
        assert scorer.score([image], [mask]) == pytest.approx([score], abs=1e-6)
    seven = scorer.score([images[0]] * 7, [masks[0]] * 7)
    assert seven == pytest.approx([wanted[0]] * 7, abs=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("most", [1.0, 0.08])
def test_codes_are_the_networks_under_soft_masks(network, most):
    """Down to windows whose masks sum to less than one pixel, and to none."""
    generator = torch.Generator().manual_seed(4)
    image = torch.rand(2, 3, 256, 256, generator=generator) * 2 - 1
    mask = torch.rand(2, 1, 256, 256, generator=generator) * most
    mask[0, :, 40:200, :160] = 0
    wanted = network(image, mask)
    difference = (RegionCode(network)(image, mask) - wanted).abs().max()
    assert difference < 1e-4 * wanted.abs().max()


def test_samples_have_one_batch_size_and_then_another(spec):
    (graph,) = spec.graphs
    sizes = []
    for sample in graph.samples():
        for tensor in graph.inputs:
            value = sample[tensor.name]
            assert value.dtype == np.uint8
            assert value.shape[1:] == tensor.shape[1:]
        sizes.append({len(value) for value in sample.values()})
    assert sizes == [{2}, {1}]
