"""MTCNN's export: weights that are known, graphs that compute what was published."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import onnx
import pytest

from vivant.backends.onnxruntime import OnnxRuntimeEngine
from vivant.errors import EngineError, ModelError
from vivant_export import mtcnn
from vivant_export.catalogue import find_model
from vivant_export.cli import export_model
from vivant_export.gate import gate
from vivant_export.mtcnn import parity as mtcnn_parity
from vivant_export.mtcnn import weights as mtcnn_weights


def load_network(name):
    return mtcnn_weights.read_network(name, mtcnn_weights.wheel_state())


@pytest.mark.parametrize(
    ("name", "parameters"), [("pnet", 6_632), ("rnet", 100_178), ("onet", 389_040)]
)
def test_every_parameter_is_there(name, parameters):
    network = load_network(name)
    arrays = [a for layer in network.convolutions for a in (layer.weight, layer.bias, layer.slope)]
    if network.hidden:
        arrays += [network.hidden.weight, network.hidden.bias, network.hidden.slope]
    arrays += [a for head in network.heads.values() for a in head]
    assert sum(array.size for array in arrays) == parameters


@pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
def test_the_graph_is_in_its_fast_form(name):
    graph = onnx.load_from_string(mtcnn.build_graph(load_network(name))).graph
    operations = {node.op_type for node in graph.node}
    assert not operations & {"PRelu", "Softmax", "Sub"}
    assert "Sigmoid" in operations


def test_a_wrong_graph_does_not_pass(store):
    network = load_network("rnet")
    first = network.convolutions[0]
    steeper = replace(first, slope=first.slope + np.float32(0.01))
    wrong = replace(network, convolutions=(steeper, *network.convolutions[1:]))
    deviation = mtcnn_parity.measure(network, mtcnn.build_graph(wrong))
    tolerances = {"rnet.max_abs": find_model("mtcnn").tolerances["fp32"]["rnet.max_abs"]}
    with pytest.raises(EngineError, match=r"mtcnn: rnet\.max_abs is"):
        gate("mtcnn", {"rnet.max_abs": deviation}, tolerances)


@pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
def test_slopes_of_every_kind_survive_the_rewriting(name):
    """Falling, flat, rising and steeper than 1, in layers with and without pooling."""
    network = load_network(name)
    rng = np.random.default_rng(11)
    bent = tuple(
        replace(layer, slope=rng.uniform(-2, 2, len(layer.slope)).astype(np.float32))
        for layer in network.convolutions
    )
    assert {int(np.floor(slope)) for layer in bent for slope in layer.slope} == {-2, -1, 0, 1}
    changed = replace(network, convolutions=bent)
    side = network.side or 45
    pictures = rng.uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    with OnnxRuntimeEngine(mtcnn.build_graph(changed), name) as engine:
        got = engine.run({"image": pictures})
    for head, expected in mtcnn_parity.forward(changed, pictures).items():
        scale = max(np.abs(expected).max(), 1.0)
        np.testing.assert_allclose(got[head] / scale, expected / scale, atol=1e-5)


def test_the_manifest_says_what_was_measured(store):
    manifest = store.engine("mtcnn").manifest
    assert manifest.weights.licence == "MIT"
    assert set(manifest.parity) == set(find_model("mtcnn").tolerances["fp32"])
    assert 0 < max(manifest.parity.values()) <= 1e-5


def test_weights_that_are_not_the_known_ones_are_not_opened(monkeypatch):
    monkeypatch.setitem(mtcnn_weights.WEIGHTS_SHA256, "pnet.lz4", "0" * 64)
    with pytest.raises(ModelError, match=r"pnet\.lz4: not the known weights"):
        load_network("pnet")


def test_a_missing_wheel_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ModelError, match=r"vivant\[mtcnn\]"):
        load_network("pnet")


def test_an_unknown_model_lists_the_known(store):
    with pytest.raises(ModelError, match="there are mtcnn"):
        export_model("mtccn", store)
