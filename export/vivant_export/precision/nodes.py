"""What both conversions ask of a graph and its nodes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

CONTRACTIONS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Sums of products: where the time goes, and where what was computed before is mixed."""

_COORDINATES = {"DeformConv": 2, "GridSample": 1}  # the input that holds positions


def coordinates(nodes: Iterable[NodeProto]) -> list[str]:
    """Return the tensors that hold positions in pixels, or shares of the picture's size."""
    return [n.input[_COORDINATES[n.op_type]] for n in nodes if n.op_type in _COORDINATES]


def leading_to(nodes: Sequence[NodeProto], names: Iterable[str]) -> set[int]:
    """Return the nodes that compute ``names``, back to the nearest contractions, those included.

    Nodes are named by their index.
    """
    makers = {name: index for index, node in enumerate(nodes) for name in node.output}
    found: set[int] = set()
    todo = list(names)
    while todo:
        index = makers.get(todo.pop())
        if index is None or index in found:
            continue
        found.add(index)
        if nodes[index].op_type not in CONTRACTIONS:
            todo += nodes[index].input
    return found


def inferred_values(model: onnx.ModelProto) -> list[ValueInfoProto]:
    """Return name and type of every tensor, weights included."""
    graph = model.graph
    # Types do not depend on what the weights hold, so that need not be copied about.
    weights = [
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in graph.initializer
    ]
    bare = helper.make_graph(graph.node, "types", [*graph.input, *weights], graph.output)
    inferred = onnx.shape_inference.infer_shapes(
        helper.make_model(bare, ir_version=model.ir_version, opset_imports=model.opset_import)
    ).graph
    return [*inferred.input, *inferred.output, *inferred.value_info]


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Return the element type of every tensor, by name."""
    return {v.name: v.type.tensor_type.elem_type for v in inferred_values(model)}


def with_graph(
    model: onnx.ModelProto, nodes: Iterable[NodeProto], weights: Iterable[TensorProto]
) -> onnx.ModelProto:
    """Return a model of ``nodes`` and ``weights``, and of all else as ``model`` has it."""
    graph = model.graph
    written = helper.make_graph(list(nodes), graph.name, graph.input, graph.output, list(weights))
    return helper.make_model(written, ir_version=model.ir_version, opset_imports=model.opset_import)
