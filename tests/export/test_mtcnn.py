"""MTCNN's export: weights that are known, graphs that compute what was published."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import onnx
import pytest

from vivant.errors import EngineError, ModelError
from vivant_export import mtcnn, mtcnn_parity, mtcnn_weights
from vivant_export.cli import export_model


@pytest.mark.parametrize(
    ("name", "parameters"), [("pnet", 6_632), ("rnet", 100_178), ("onet", 389_040)]
)
def test_every_parameter_is_there(name, parameters):
    network = mtcnn_weights.load_network(name)
    arrays = [a for layer in network.convolutions for a in (layer.weight, layer.bias, layer.slope)]
    if network.hidden:
        arrays += [network.hidden.weight, network.hidden.bias, network.hidden.slope]
    arrays += [a for head in network.heads.values() for a in head]
    assert sum(array.size for array in arrays) == parameters


@pytest.mark.parametrize("name", ["pnet", "rnet", "onet"])
def test_the_graph_is_in_its_fast_form(name):
    graph = onnx.load_from_string(mtcnn.build_graph(mtcnn_weights.load_network(name))).graph
    operations = {node.op_type for node in graph.node}
    assert not operations & {"PRelu", "Softmax", "Sub"}
    assert "Sigmoid" in operations


def test_a_wrong_graph_does_not_pass(store):
    network = mtcnn_weights.load_network("rnet")
    first = network.convolutions[0]
    steeper = replace(first, slope=first.slope + np.float32(0.01))
    wrong = replace(network, convolutions=(steeper, *network.convolutions[1:]))
    with pytest.raises(EngineError, match="rnet: the graph deviates"):
        mtcnn_parity.check(network, mtcnn.build_graph(wrong))


def test_the_manifest_says_what_was_measured(store):
    manifest = store.engine("mtcnn").manifest
    assert manifest.weights.licence == "MIT"
    assert 0 < max(manifest.parity.values()) <= mtcnn_parity.TOLERANCE


def test_weights_that_are_not_the_known_ones_are_not_opened(monkeypatch):
    monkeypatch.setitem(mtcnn_weights.WEIGHTS_SHA256, "pnet.lz4", "0" * 64)
    with pytest.raises(ModelError, match=r"pnet\.lz4: not the known weights"):
        mtcnn_weights.load_network("pnet")


def test_a_missing_wheel_names_the_extra(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ModelError, match=r"vivant\[mtcnn\]"):
        mtcnn_weights.load_network("pnet")


def test_an_unknown_model_lists_the_known(store):
    with pytest.raises(ModelError, match="there are mtcnn"):
        export_model("mtccn", store)
