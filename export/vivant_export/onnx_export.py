"""A torch module as an ONNX model, through torch's exporter (``torch.export``, onnxscript)."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import onnx
import torch

from vivant.errors import ModelError
from vivant_export.graphs import GraphSpec
from vivant_export.networks.folding import with_folded_batchnorms

IR_VERSION = 10
"""Of the files written: what ONNX Runtime 1.18 and TensorRT 10.3 (JetPack 6) can read."""


def to_onnx(spec: GraphSpec) -> onnx.ModelProto:
    """Return the graph of ``spec`` as an ONNX model, with all weights inside.

    Its nodes still say which submodule they come from (``pkg.torch.onnx.name_scopes`` in their
    metadata), which conversions of precision may want to know; ``finished`` drops that.

    Raises:
        ModelError: torch or onnxscript cannot express the module.
    """
    sample = next(iter(spec.samples()))
    arguments = tuple(torch.tensor(sample[tensor.name]) for tensor in spec.inputs)
    try:
        program = _export(spec, arguments)
    except torch.onnx.errors.OnnxExporterError as error:
        raise ModelError(
            f"{spec.name}: torch {torch.__version__} cannot export it "
            f"({str(error).strip().splitlines()[0]}); install the versions in constraints.txt"
        ) from error
    model: onnx.ModelProto = program.model_proto
    model.ir_version = min(model.ir_version, IR_VERSION)
    return model


def finished(model: onnx.ModelProto) -> bytes:
    """Return the bytes of the file to store: ``model`` without what only debugging needs.

    The exporter's notes name paths of this machine; types of intermediate values are inferred by
    every reader.
    """
    graph = model.graph
    del model.metadata_props[:]
    del graph.metadata_props[:]
    del graph.value_info[:]
    model.doc_string = graph.doc_string = ""
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    return bytes(model.SerializeToString())


def opset_of(data: bytes) -> int:
    """Return the opset of an ONNX file's own operators."""
    model = onnx.load_from_string(data)
    return int(
        next(opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx"))
    )


def _export(spec: GraphSpec, arguments: tuple[torch.Tensor, ...]) -> Any:
    module = with_folded_batchnorms(spec.module)
    with _quiet(), torch.no_grad():
        return torch.onnx.export(
            module,
            arguments,
            dynamo=True,
            opset_version=spec.opset,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[tensor.name for tensor in spec.outputs],
            dynamic_shapes=_free_sizes(spec),
            optimize=True,
            verbose=False,
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the exporter's progress and its warnings about itself and absent libraries."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _free_sizes(spec: GraphSpec) -> Any:
    """Return torch.export's description of the free sizes, or None where there are none."""
    if not any(isinstance(size, str) for tensor in spec.inputs for size in tensor.shape):
        return None
    return tuple(
        {
            axis: torch.export.Dim(size) if isinstance(size, str) else torch.export.Dim.STATIC
            for axis, size in enumerate(tensor.shape)
        }
        for tensor in spec.inputs
    )
