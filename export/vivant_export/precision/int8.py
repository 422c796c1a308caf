"""FP32 graphs with their convolutions and linear layers in INT8, as Q/DQ nodes say it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from vivant.errors import ModelError
from vivant_export.precision.graphs import CONTRACTIONS, coordinates, leading_to

Scheme = Literal["cpu", "tensorrt"]
"""``cpu``: what ONNX Runtime and OpenVINO compute fastest. Activations are uint8 with a zero point,
biases int32, and what stands between convolutions stays in eight bits. Processors without VNNI
saturate sums of such products.

``tensorrt``: the only one that TensorRT parses. Activations are int8 around zero, biases FP32;
only what goes into a convolution or linear layer is quantised."""

_TENSORRT_OPSET = 19
"""The first whose Q/DQ nodes have FP16 scales, so that ``to_fp16`` can take what is left."""

_PASSING = frozenset({"Add", "Clip", "Concat", "MaxPool", "Relu", "Resize"})
"""What ONNX Runtime computes in eight bits, or hands on in them."""


def to_int8(
    model: onnx.ModelProto, batches: Iterable[Mapping[str, NDArray[Any]]], scheme: Scheme
) -> onnx.ModelProto:
    """Return ``model`` with its convolutions and linear layers in INT8, weights per channel.

    FP32 stay those layers whose results are coordinates or the graph's outputs: eight bits of a
    logit are steps in an alpha.

    Args:
        model: FP32, as ``to_onnx`` returns it.
        batches: inputs by name, a run each: the ranges of all activations, least to largest, are
            taken from them.
        scheme: who is to compute it.

    Raises:
        ModelError: there is nothing to quantise, or nothing to take ranges from.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    names = [model.graph.node[index].name for index in sorted(_int8_nodes(model, scheme))]
    if not names:
        raise ModelError("INT8: the graph has no convolution or linear layer; choose fp16 or fp32")
    options, activation = _CPU, QuantType.QUInt8
    if scheme == "tensorrt":
        options, activation = _TENSORRT, QuantType.QInt8
    with tempfile.TemporaryDirectory(prefix="vivant-int8-") as folder:
        path = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            path,
            _Reader(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=sorted(CONTRACTIONS | _PASSING),
            nodes_to_quantize=names,
            per_channel=True,
            activation_type=activation,
            weight_type=QuantType.QInt8,
            extra_options=options,
        )
        return onnx.load(path)
