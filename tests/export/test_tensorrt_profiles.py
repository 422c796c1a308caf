"""Between which shapes a plan works: those that the runtime feeds."""

from __future__ import annotations

import pytest

from vivant.errors import EngineError
from vivant.faces.mtcnn import BATCH, FINISHER, REFINER
from vivant.harmonizers.inr import GRAPHS
from vivant.manifest import Graph, Manifest, Tensor, Weights
from vivant.profiles import PROFILES
from vivant.roles import MIN_FACE
from vivant.studio import WORKING_SIDE
from vivant_export.tensorrt_profiles import profile_of


def manifest(model, *shape, graph="model", **preprocessing):
    """Of a graph with an input "x" of a shape."""
    tensor = Tensor("x", "float32", shape, "numbers")
    entry = Graph("model.onnx", "0" * 64, 17, (tensor,), ())
    weights = Weights("custom", "a test", "none")
    return Manifest(model, "fp32", "matte", "fp32", {graph: entry}, weights, preprocessing)


def test_fixed_shapes_need_no_profile():
    assert profile_of(manifest("a-model-of-ones-own", 1, 8, 8, 3), "model") == {}


@pytest.mark.parametrize(
    ("model", "graph", "word"),
    [
        ("a-model-of-ones-own", "model", "batch"),
        ("rmbg-1.4", "model", "height"),
        ("mtcnn", "pnet", "depth"),
        ("inr-harmonization", "encoder", "batch"),
        ("inr-harmonization", "full", "nodes_of_x"),  # the engine does not say how many
    ],
)
def test_every_free_size_needs_a_range(model, graph, word):
    with pytest.raises(EngineError, match=f"'{word}', a free size of graph '{graph}'"):
        profile_of(manifest(model, word, 3, graph=graph), graph)


def test_a_profile_goes_from_the_smallest_to_the_largest():
    nodes = {"quarter": 5, "half": 6, "full": 4}
    found = profile_of(
        manifest("inr-harmonization", "nodes_of_y", 7, "rows", graph="half", nodes=nodes), "half"
    )
    assert found == {"x": ((6, 7, 1), (6, 7, 24), (6, 7, 62))}


def test_mtcnn_takes_every_level_of_a_working_photo(store):
    engine = store.engine("mtcnn").manifest
    least, usual, most = profile_of(engine, "pnet")["image"]
    largest = int(WORKING_SIDE * 12 / MIN_FACE + 1)
    assert least == (1, 12, 12, 3)
    assert most == (1, largest, largest, 3)
    assert least < usual < most
    for judge in (REFINER, FINISHER):
        least, _, most = profile_of(engine, judge.graph)["image"]
        assert least == (1, judge.side, judge.side, 3)
        assert most == (BATCH, judge.side, judge.side, 3)


def test_bargainnet_takes_every_candidate_at_once():
    least, usual, most = profile_of(manifest("bargainnet", "batch", 256), "model")["x"]
    candidates = max(len(profile.strengths) + 1 for profile in PROFILES.values())
    assert least == (1, 256)
    assert usual == (candidates, 256)
    assert most[0] >= candidates


def test_every_graph_of_the_harmonizer_is_known():
    nodes = {"quarter": 5, "half": 5, "full": 4}
    words = {"cells": "quads", "quarter": "rows", "half": "rows", "full": "rows"}
    assert {"encoder", *words} == set(GRAPHS)
    for graph, word in words.items():
        entry = manifest("inr-harmonization", word, graph=graph, nodes=nodes)
        ((least,), (usual,), (most,)) = profile_of(entry, graph)["x"]
        assert 1 <= least < usual < most
