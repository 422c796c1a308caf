"""FP32 graphs with their convolutions and linear layers in INT8, as Q/DQ nodes say it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from vivant.backends import usable_cores
from vivant.backends.onnxruntime import import_onnxruntime
from vivant.errors import ModelError
from vivant_export.precision.nodes import (
    CONTRACTIONS,
    coordinates,
    element_types,
    inferred_values,
    leading_to,
    with_graph,
)

Scheme = Literal["cpu", "tensorrt"]
"""``cpu``: what ONNX Runtime and OpenVINO compute fastest. Activations are uint8 with a zero point,
biases int32, and what stands between two convolutions stays in eight bits. (x86 without VNNI adds
such products in 16 bits and clips them.)

``tensorrt``: what TensorRT parses. Activations are int8 around zero, biases FP32; only what goes
into a convolution or linear layer is quantised."""

Ranges: TypeAlias = Mapping[str, tuple[float, float]]
"""The least and largest value of activations, by name."""

_BETWEEN = frozenset({"Add", "Clip", "Concat", "MaxPool", "Relu", "Resize"})
"""What ONNX Runtime computes in eight bits, or hands on in them."""


def to_int8(
    model: onnx.ModelProto, batches: Iterable[Mapping[str, NDArray[Any]]], scheme: Scheme
) -> onnx.ModelProto:
    """Return ``model`` with its convolutions and linear layers in INT8, weights per channel.

    FP32 stay those layers whose results are coordinates or the graph's outputs: eight bits of a
    logit are steps in an alpha.

    Args:
        model: FP32, as ``to_onnx`` returns it.
        batches: the inputs of a run each, by name: what values each activation has in these runs
            is what it can have afterwards.
        scheme: who is to compute it.

    Raises:
        ModelError: there is nothing to quantise, or nothing to calibrate with, or an activation
            is no number.
    """
    prepared = _prepared(model)
    chosen = [prepared.graph.node[index] for index in sorted(_int8_nodes(prepared, scheme))]
    if not chosen:
        raise ModelError("INT8: the graph has no convolution or linear layer; choose fp16 or fp32")
    ranges = _ranges(prepared, _activations(prepared, chosen), batches)
    return _quantised(prepared, chosen, ranges, scheme)


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` with the weights of its linear layers lying as these read them.

    The exporter transposes them at run time; only a constant can be quantised per channel.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Transpose" and node.input[0] in weights:
            order = next((list(a.ints) for a in node.attribute), None)  # None: the other way round
            values = numpy_helper.to_array(weights[node.input[0]]).transpose(order)
            name = node.output[0]
            weights[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    return with_graph(model, nodes, (weights[name] for name in weights if name in used))


def _int8_nodes(model: onnx.ModelProto, scheme: Scheme) -> set[int]:
    """Return the indices of the nodes to quantise."""
    nodes = model.graph.node
    weights = {tensor.name for tensor in model.graph.initializer}
    outputs = [output.name for output in model.graph.output]
    full = leading_to(nodes, [*coordinates(nodes), *outputs])
    chosen: set[int] = set()
    bytes_out: set[str] = set()  # tensors that are quantised where they are made
    for index, node in enumerate(nodes):
        layer = node.op_type in CONTRACTIONS and node.input[1] in weights
        between = scheme == "cpu" and node.op_type in _BETWEEN
        if index not in full and (layer or (between and _all_in(node, bytes_out, weights))):
            chosen.add(index)
            bytes_out.update(node.output)
    return chosen


def _all_in(node: NodeProto, tensors: set[str], weights: set[str]) -> bool:
    """Return whether all that a node reads is in ``tensors``, sizes and limits aside."""
    read = node.input[:1] if node.op_type in ("Clip", "Resize") else node.input
    return not weights.intersection(read) and tensors.issuperset(read)


def _activations(model: onnx.ModelProto, nodes: Iterable[NodeProto]) -> list[str]:
    """Return what ``nodes`` read and make, weights, sizes and limits aside."""
    types = element_types(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    named = dict.fromkeys(name for node in nodes for name in (*node.input, *node.output))
    return [name for name in named if types.get(name) == TensorProto.FLOAT and name not in weights]


def _ranges(
    model: onnx.ModelProto, names: list[str], batches: Iterable[Mapping[str, NDArray[Any]]]
) -> Ranges:
    """Run ``model`` on ``batches`` and return the range of each activation in ``names``."""
    session = _session(_reporting(model, names))
    low, high = np.full(len(names), np.inf), np.full(len(names), -np.inf)
    for batch in batches:
        least, largest = np.reshape(session.run(None, dict(batch)), (2, -1))
        if not np.isfinite([least, largest]).all():
            broken = names[int(np.argmin(np.isfinite(least) & np.isfinite(largest)))]
            raise ModelError(f"INT8: activation '{broken}' is no number; check the weights")
        low, high = np.minimum(low, least), np.maximum(high, largest)
    if np.isinf(low).any():
        raise ModelError("INT8: no pictures to calibrate with; name a folder of photos")
    return {name: (low[i], high[i]) for i, name in enumerate(names)}


def _reporting(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """Return ``model`` with the least and then the largest values of ``names`` as its outputs."""
    reports = {
        name: [
            helper.make_node(kind, [name], [f"{name}_{kind}"], keepdims=0)
            for kind in ("ReduceMin", "ReduceMax")
        ]
        for name in names
    }
    made = [report for tensor in model.graph.input for report in reports.pop(tensor.name, ())]
    for node in model.graph.node:
        made += [node, *(report for name in node.output for report in reports.pop(name, ()))]
    reporting = with_graph(model, made, model.graph.initializer)
    del reporting.graph.output[:]
    for kind in ("ReduceMin", "ReduceMax"):
        for name in names:
            value = helper.make_tensor_value_info(f"{name}_{kind}", TensorProto.FLOAT, [])
            reporting.graph.output.append(value)
    return reporting


def _session(model: onnx.ModelProto) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.log_severity_level = 3
    # In its own order, ONNX Runtime reduces last and so holds every activation until the end.
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    # Beyond this it lays activations out in blocks, and back for every reduction.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _quantised(
    model: onnx.ModelProto, nodes: Iterable[NodeProto], ranges: Ranges, scheme: Scheme
) -> onnx.ModelProto:
    """Return ``model``, which is changed, with Q/DQ nodes around ``nodes``."""
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    on_cpu = scheme == "cpu"
    limits = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.items()
    }
    model.graph.value_info.extend(inferred_values(model))
    helper.set_model_props(model, {"onnx.infer": "onnxruntime.quant"})  # types are known
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8 if on_cpu else QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
        nodes_to_quantize=[node.name for node in nodes],
        nodes_to_exclude=[],
        op_types_to_quantize=sorted(CONTRACTIONS | _BETWEEN),
        extra_options={
            "ActivationSymmetric": not on_cpu,
            "WeightSymmetric": True,
            "QuantizeBias": on_cpu,
            # Only with an eight-bit result is a layer one eight-bit operation in ONNX Runtime.
            "OpTypesToExcludeOutputQuantization": [] if on_cpu else sorted(CONTRACTIONS),
        },
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return with_graph(model, model.graph.node, model.graph.initializer)
