"""FP32 graphs in FP16."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from vivant.errors import ModelError
from vivant_export.precision.nodes import (
    CONTRACTIONS,
    coordinates,
    element_types,
    leading_to,
    with_graph,
)

FP32_OPERATORS = frozenset(
    [
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "LpNormalization",
        "RMSNormalization",
        "Softmax",
        "LogSoftmax",
        "ReduceL2",
        "ReduceMean",
        "ReduceSum",
        "ReduceSumSquare",
        "GlobalAveragePool",
        "CumSum",
        "Exp",
        "Log",
        "Pow",
        "Reciprocal",
        "Sqrt",
        "Sin",
        "Cos",
        "DeformConv",
        "GridSample",
        "RoiAlign",
    ]
)
"""What is computed in FP32 wherever it stands: sums over many values and quotients by small ones;
functions that leave the range of FP16 or lose their digits in it; positions in pixels, which above
1024 have no halves in FP16."""

_QUANTIZING = frozenset({"QuantizeLinear", "DequantizeLinear"})
_QUANTIZING_OPSET = 19  # the first that lets them have FP16 on their other side
_EXACT_IN_FP16 = frozenset({TensorProto.UINT8, TensorProto.INT8, TensorProto.BOOL})
_SCOPES = "pkg.torch.onnx.name_scopes"  # where torch's exporter notes the submodules of a node


def to_fp16(model: onnx.ModelProto, keep: Sequence[str] = ()) -> onnx.ModelProto:
    """Return ``model`` with its arithmetic in FP16; its inputs and outputs keep their types.

    FP32 stay ``FP32_OPERATORS``, the arithmetic that leads to coordinates, what uses a constant
    that FP16 cannot hold (above 65504, or nothing but values below 6.1e-5, such as an epsilon),
    and the submodules ``keep``. Values pass between such nodes unrounded, which the published
    converters (onnxruntime.transformers, onnxconverter-common) do not grant.

    Args:
        model: FP32, as ``to_onnx`` returns it; or INT8 of the scheme "tensorrt", whose opset
            becomes 19 at least.
        keep: submodules by path; all below them is meant too.

    Raises:
        ModelError: the graph has control flow, or a submodule to keep has no node in it.
    """
    nodes = model.graph.node
    if any(attribute.HasField("g") for node in nodes for attribute in node.attribute):
        raise ModelError("FP16: the graph has branches or loops; export it without, or in FP32")
    if not _QUANTIZING.isdisjoint(node.op_type for node in nodes):
        model = _at_opset(model, _QUANTIZING_OPSET)
    types = element_types(model)
    full = _full_nodes(model, types, keep)
    writer = _Writer(model, types)
    for index, node in enumerate(nodes):
        writer.write(node, half=index not in full)
    return with_graph(model, writer.nodes, writer.weights.values())


def rounded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return an FP16 model computing in FP32, every result rounded to FP16: to judge it by.

    ONNX Runtime has hardly any FP16 kernels for CPUs. It computes such nodes in FP32 and does not
    round from one to the next: an engine that overflows on a GPU looks faultless.
    """
    types = element_types(model)
    nodes: list[NodeProto] = []
    for original in model.graph.node:
        node, after = _copied(original), []
        if node.op_type != "Cast":
            for slot in _slots_of_type(node.input, types, TensorProto.FLOAT16):
                name = node.input[slot]
                node.input[slot] = f"{name}_read_{len(nodes)}"
                nodes.append(_cast(name, node.input[slot], TensorProto.FLOAT))
            for slot in _slots_of_type(node.output, types, TensorProto.FLOAT16):
                name = node.output[slot]
                node.output[slot] = f"{name}_exact"
                after.append(_cast(node.output[slot], name, TensorProto.FLOAT16))
        nodes += [node, *after]
    return with_graph(model, nodes, model.graph.initializer)


class _Writer:
    """Writes the nodes of a model one after the other, and casts where they are first needed."""

    def __init__(self, model: onnx.ModelProto, types: Mapping[str, int]) -> None:
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, TensorProto] = {}
        self._model, self._types = model, types
        self._originals = {tensor.name: tensor for tensor in model.graph.initializer}
        self._outputs = {output.name for output in model.graph.output}
        self._halves: set[str] = set()  # tensors that are FP16 under their own names
        self._aliases: set[str] = set()  # names of tensors in their other type

    def write(self, original: NodeProto, *, half: bool) -> None:
        """Append ``original``, in FP16 if ``half``."""
        node, schema = _copied(original), _schema(self._model, original)
        halves = _fp16_slots(node.input, schema.inputs) if half else ()
        for slot, name in enumerate(node.input):
            if self._types.get(name) == TensorProto.FLOAT:
                node.input[slot] = self._name_of(name, half=slot in halves)
            elif name in self._originals:
                self.weights[name] = self._originals[name]
        self.nodes.append(node)
        if half:
            self._make_half(node, schema)

    def _name_of(self, name: str, *, half: bool) -> str:
        """Return the name under which FP32 tensor ``name`` is to be had in one of the types."""
        alias = f"{name}_fp16" if half else f"{name}_fp32"
        if name in self._originals:
            tensor = self._originals[name]
            if not half:
                self.weights[name] = tensor
            elif alias not in self.weights:
                values = numpy_helper.to_array(tensor).astype(np.float16)
                self.weights[alias] = numpy_helper.from_array(values, alias)
            return alias if half else name
        if half == (name in self._halves):
            return name
        if alias not in self._aliases:
            to = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            self.nodes.append(_cast(name, alias, to))
            self._aliases.add(alias)
        return alias

    def _make_half(self, node: NodeProto, schema: Any) -> None:
        """Let the results of ``node``, which was just written, be FP16."""
        if node.op_type == "Cast":
            node.attribute[0].i = TensorProto.FLOAT16
        for slot in _fp16_slots(node.output, schema.outputs):
            name = node.output[slot]
            if self._types.get(name) != TensorProto.FLOAT:
                continue
            if name in self._outputs:
                alias = node.output[slot] = f"{name}_fp16"
                self._aliases.add(alias)
                self.nodes.append(_cast(alias, name, TensorProto.FLOAT))
            else:
                self._halves.add(name)


def _full_nodes(model: onnx.ModelProto, types: Mapping[str, int], keep: Sequence[str]) -> set[int]:
    """Return the indices of the nodes that stay FP32."""
    nodes = model.graph.node
    ways = leading_to(nodes, coordinates(nodes))
    full = {index for index in ways if nodes[index].op_type not in CONTRACTIONS}
    full |= _in_submodules(nodes, keep)
    magnitudes = {tensor.name: _magnitude(tensor) for tensor in model.graph.initializer}
    for index, node in enumerate(nodes):
        slots = _fp16_slots(node.input, _schema(model, node).inputs)
        floats = [node.input[i] for i in slots if types.get(node.input[i]) == TensorProto.FLOAT]
        if node.op_type == "Cast":
            to_float = node.attribute[0].i == TensorProto.FLOAT
            fits = to_float and types.get(node.input[0]) in _EXACT_IN_FP16
        else:
            fits = bool(floats) and all(_fits(magnitudes.get(name, 0.0)) for name in floats)
        if node.op_type in FP32_OPERATORS or not fits:
            full.add(index)
    return full


def _in_submodules(nodes: Sequence[NodeProto], paths: Sequence[str]) -> set[int]:
    """Return the nodes that torch's exporter says are of the submodules at ``paths``.

    It says nothing of those few that it writes anew, ``Split``: they go with what they read.
    """
    kept: set[int] = set()
    results: set[str] = set()
    missing = set(paths)
    for index, node in enumerate(nodes):
        note = next((p.value for p in node.metadata_props if p.key == _SCOPES), None)
        scopes = set(ast.literal_eval(note)) if note else set()
        if scopes & set(paths) or (note is None and results & set(node.input)):
            kept.add(index)
            results.update(node.output)
            missing -= scopes
    if missing:
        raise ModelError(f"FP16: no node is of {', '.join(sorted(missing))}; name a submodule")
    return kept


def _magnitude(tensor: TensorProto) -> float:
    """Return the largest finite magnitude in an FP32 tensor; 0.0 for any other tensor."""
    if tensor.data_type != TensorProto.FLOAT:
        return 0.0
    values = np.abs(numpy_helper.to_array(tensor))
    return float(np.max(values, initial=0.0, where=np.isfinite(values)))


def _fits(magnitude: float) -> bool:
    """Return whether FP16 holds values of such a magnitude with all its digits."""
    limits = np.finfo(np.float16)
    return magnitude == 0 or float(limits.tiny) <= magnitude <= float(limits.max)


def _fp16_slots(names: Sequence[str], formal: Sequence[Any]) -> list[int]:
    """Return which of a node's inputs or outputs its operator lets be FP16."""
    last = len(formal) - 1
    return [i for i in range(len(names)) if "tensor(float16)" in formal[min(i, last)].types]


def _slots_of_type(names: Sequence[str], types: Mapping[str, int], kind: int) -> list[int]:
    return [slot for slot, name in enumerate(names) if types.get(name) == kind]


def _schema(model: onnx.ModelProto, node: NodeProto) -> Any:
    version = next(o.version for o in model.opset_import if o.domain == node.domain)
    return onnx.defs.get_schema(node.op_type, version, node.domain)


def _cast(source: str, target: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}_cast", to=to)


def _at_opset(model: onnx.ModelProto, version: int) -> onnx.ModelProto:
    """Return ``model`` at an opset of ``version`` at least, which means what it meant before."""
    raised = with_graph(model, model.graph.node, model.graph.initializer)
    for opset in raised.opset_import:
        opset.version = max(opset.version, version)
    return raised


def _copied(node: NodeProto) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    return copy
