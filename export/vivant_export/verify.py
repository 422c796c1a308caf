"""What the parity gate sees: an engine's files beside the network that they were made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vivant.backends.onnxruntime import OnnxRuntimeEngine
from vivant.errors import EngineError
from vivant_export.graphs import EngineSpec, GraphSpec


def measure(spec: EngineSpec, files: Mapping[str, bytes]) -> dict[str, float]:
    """Run every graph in ONNX Runtime beside its torch module, on its samples.

    Args:
        spec: the modules, in FP32.
        files: the bytes of the ONNX files by graph name.

    Returns:
        By quantity: "<graph>.max_abs" and "<graph>.mean_abs" over all outputs and samples, and
        what ``spec.end_to_end`` measures.

    Raises:
        EngineError: an output has another shape or dtype, or is not finite.
    """
    measured: dict[str, float] = {}
    for graph in spec.graphs:
        errors = [np.abs(got - expected) for got, expected in _runs(graph, files[graph.name])]
        measured[f"{graph.name}.max_abs"] = max(float(error.max()) for error in errors)
        total, count = sum(float(e.sum()) for e in errors), sum(e.size for e in errors)
        measured[f"{graph.name}.mean_abs"] = total / count
    if spec.end_to_end:
        measured.update(spec.end_to_end(files))
    return measured


def _runs(spec: GraphSpec, file: bytes) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Yield every output of every sample: the file's and the module's, in double precision."""
    with OnnxRuntimeEngine(file, spec.name) as engine:
        for sample in spec.samples():
            inputs = [torch.tensor(sample[tensor.name]) for tensor in spec.inputs]
            with torch.inference_mode():
                expected = spec.module(*inputs)
            outputs = expected if isinstance(expected, tuple) else (expected,)
            got = engine.run(sample)
            for tensor, value in zip(spec.outputs, outputs, strict=True):
                yield _checked(spec, tensor.name, got[tensor.name], value.numpy())


def _checked(
    spec: GraphSpec, name: str, got: NDArray[Any], expected: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    if (got.shape, got.dtype) != (expected.shape, expected.dtype):
        raise EngineError(
            f"{spec.name}: output '{name}' is {got.dtype} {list(got.shape)}, the network's is "
            f"{expected.dtype} {list(expected.shape)}; install the versions in constraints.txt"
        )
    if not np.isfinite(got).all():
        raise EngineError(
            f"{spec.name}: output '{name}' has values that are no numbers; "
            "choose another precision, or check the weights"
        )
    return got.astype(np.float64), expected.astype(np.float64)
