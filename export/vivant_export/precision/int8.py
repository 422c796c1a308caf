"""FP32 graphs with their convolutions and linear layers in INT8, as Q/DQ nodes say it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from vivant.errors import ModelError
from vivant_export.precision.graphs import CONTRACTIONS, coordinates, leading_to, with_graph

Scheme = Literal["cpu", "tensorrt"]
"""``cpu``: what ONNX Runtime and OpenVINO compute fastest. Activations are uint8 with a zero point,
biases int32, and what stands between two convolutions stays in eight bits. (x86 without VNNI adds
such products in 16 bits and clips them.)

``tensorrt``: what TensorRT parses. Activations are int8 around zero, biases FP32; only what goes
into a convolution or linear layer is quantised."""

_BETWEEN = frozenset({"Add", "Clip", "Concat", "MaxPool", "Relu", "Resize"})
"""What ONNX Runtime computes in eight bits, or hands on in them."""

_TENSORRT_OPSET = 19  # the first whose Q/DQ nodes may have FP16 around them


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
        ModelError: there is nothing to quantise, or nothing to calibrate with.
    """
    model = _prepared(model)
    names = [model.graph.node[index].name for index in sorted(_int8_nodes(model, scheme))]
    if not names:
        raise ModelError("INT8: the graph has no convolution or linear layer; choose fp16 or fp32")
    with tempfile.TemporaryDirectory(prefix="vivant-int8-") as folder:
        full, quantised = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        onnx.save(model, full)
        _quantise(full, quantised, _Reader(batches), names, scheme)
        result = onnx.load(quantised)
    if scheme == "tensorrt":
        for opset in result.opset_import:
            opset.version = max(opset.version, _TENSORRT_OPSET)
    return result


class _Reader:
    """Batches as ONNX Runtime's calibration asks for them."""

    def __init__(self, batches: Iterable[Mapping[str, NDArray[Any]]]) -> None:
        self._batches: Iterator[Mapping[str, NDArray[Any]]] = iter(batches)
        self._read = 0

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next batch, or None after the last."""
        batch = next(self._batches, None)
        if batch is None and not self._read:
            raise ModelError("INT8: no pictures to calibrate with; name a folder of photos")
        self._read += 1
        return None if batch is None else dict(batch)


def _quantise(
    full: Path, quantised: Path, reader: _Reader, names: list[str], scheme: Scheme
) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    on_cpu = scheme == "cpu"
    options = {
        "ActivationSymmetric": not on_cpu,
        "WeightSymmetric": True,
        "QuantizeBias": on_cpu,
        # Only with an eight-bit result is a layer one eight-bit operation in ONNX Runtime.
        "OpTypesToExcludeOutputQuantization": [] if on_cpu else sorted(CONTRACTIONS),
    }
    quantize_static(
        full,
        quantised,
        reader,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=sorted(CONTRACTIONS | _BETWEEN),
        nodes_to_quantize=names,
        per_channel=True,
        activation_type=QuantType.QUInt8 if on_cpu else QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options=options,
    )


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


def _all_in(node: onnx.NodeProto, tensors: set[str], weights: set[str]) -> bool:
    """Return whether all that a node reads is in ``tensors``, sizes and limits aside."""
    read = node.input[:1] if node.op_type in ("Clip", "Resize") else node.input
    return not weights.intersection(read) and tensors.issuperset(read)


def _prepared(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return ``model`` as ONNX Runtime's quantiser wants it.

    The exporter transposes the weight of every linear layer at run time; only what is a constant
    can be quantised per channel. The note keeps the quantiser from advising to simplify.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Transpose" and node.input[0] in weights:
            order = onnx.helper.get_node_attr_value(node, "perm")
            values = numpy_helper.to_array(weights[node.input[0]]).transpose(order)
            name = node.output[0]
            weights[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    prepared = with_graph(model, nodes, (weights[name] for name in weights if name in used))
    onnx.helper.set_model_props(prepared, {"onnx.quant.pre_process": "onnxruntime.quant"})
    return prepared
