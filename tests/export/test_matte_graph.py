"""The matting graph as a file: what it is made of, and that it equals the published pipe."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import onnx  # noqa: E402

from vivant.backends.onnxruntime import OnnxRuntimeEngine  # noqa: E402
from vivant.mattes.rmbg import Pipe, RmbgMatter  # noqa: E402
from vivant_export.catalogue import find_model  # noqa: E402
from vivant_export.graphs.matte import MatteGraph, matte_engine  # noqa: E402
from vivant_export.networks.isnet import IsNet  # noqa: E402
from vivant_export.onnx_export import finished, to_onnx  # noqa: E402
from vivant_export.seeded import seeded_state  # noqa: E402

SIZE = 256


@pytest.fixture(scope="module")
def spec(golden):
    network = IsNet()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    state = seeded_state(shapes, golden("rmbg-1.4_256").meta["seed"])
    network.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    pipe = find_model("rmbg-1.4").preprocessing
    return matte_engine(network.eval(), size=SIZE, preprocessing=pipe)


@pytest.fixture(scope="module")
def file(spec) -> bytes:
    return finished(to_onnx(spec.graphs[0]))


@pytest.fixture(scope="module")
def engine(file):
    with OnnxRuntimeEngine(file, "isnet") as opened:
        yield opened


def test_the_photo_pipe_through_onnx_runtime(spec, engine, golden):
    expected = golden("rmbg-1.4_256")
    host = spec.preprocessing
    pipe = Pipe(host["size"], host["resize"], host["resize_back"], host["min_max"])
    got = RmbgMatter(engine, pipe).matte(expected["photo"], ()).matte
    assert np.abs(got.astype(int) - expected["photo_matte"]).max() <= 1


def test_the_alpha_of_a_picture_that_needs_no_resizing(engine, golden):
    expected = golden("rmbg-1.4_256")
    alpha = engine.run({"image": expected["image"][np.newaxis]})["alpha"]
    assert alpha.shape == (1, SIZE, SIZE)
    np.testing.assert_allclose(alpha[0], expected["alpha"], atol=1e-5)


def test_every_norm_is_folded_and_the_cast_comes_first(file):
    graph = onnx.load_from_string(file).graph
    kinds = [node.op_type for node in graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds[0] == "Cast"
    assert len(kinds) < 370
    weights = [tensor.name for tensor in graph.initializer]
    assert not [name for name in weights if "side" in name and "side1" not in name]


def test_samples_are_what_the_inputs_say(spec):
    (graph,) = spec.graphs
    samples = list(graph.samples())
    for sample in samples:
        assert sample["image"].shape == graph.inputs[0].shape
        assert sample["image"].dtype == np.uint8
    assert [s["image"].tobytes() for s in samples] == [
        s["image"].tobytes() for s in graph.samples()
    ]


@pytest.mark.parametrize("model", ["rmbg-1.4", "rmbg-2.0"])
def test_normalisation(model):
    pipe = find_model(model).preprocessing
    seen = []

    class Network(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return x[:, 1:2]

    image = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8)
    alpha = MatteGraph(Network(), pipe)(image)
    wanted = (image.double() / 255 - torch.tensor(pipe.mean)) / torch.tensor(pipe.std)
    torch.testing.assert_close(seen[0].double(), wanted.permute(0, 3, 1, 2), atol=1e-6, rtol=0)
    torch.testing.assert_close(alpha, torch.sigmoid(seen[0][:, 1]))
