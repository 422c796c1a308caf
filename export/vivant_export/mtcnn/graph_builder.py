"""A few lines that make ``onnx.helper`` pleasant: nodes by call, constants by value."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from vivant.manifest import Tensor

# Opset 17 (IR 8) is read by every ONNX Runtime and TensorRT that Vivant supports.
OPSET = 17
IR_VERSION = 8


class GraphBuilder:
    """Collects the nodes and constants of one graph; every call returns the new value's name."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[TensorProto] = []

    def constant(self, value: NDArray[Any], name: str) -> str:
        """Add a constant."""
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, op: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Add a node with one output, which takes the node's name."""
        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def model(self, name: str, inputs: list[Tensor], outputs: list[Tensor]) -> bytes:
        """Return the checked ONNX file."""
        graph = helper.make_graph(
            self._nodes,
            name,
            [_value_info(tensor) for tensor in inputs],
            [_value_info(tensor) for tensor in outputs],
            initializer=self._constants,
        )
        model = helper.make_model(
            graph,
            producer_name="vivant",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def _value_info(tensor: Tensor) -> onnx.ValueInfoProto:
    dtype = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
    return helper.make_tensor_value_info(tensor.name, dtype, list(tensor.shape))
