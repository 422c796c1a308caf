"""The way of an engine: weights, network, graphs, precision, parity gate, store."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import onnx

from vivant.manifest import Graph, Manifest
from vivant.roles import Image
from vivant.store import EngineFolder, EngineStore
from vivant_export import verify
from vivant_export.architectures import build_network, engine_spec
from vivant_export.catalogue import Model
from vivant_export.checkpoints import load_strictly
from vivant_export.gate import gate
from vivant_export.graphs import Arrays, EngineSpec, GraphSpec
from vivant_export.onnx_export import finished, opset_of, to_onnx
from vivant_export.origin import Origin
from vivant_export.precision import Scheme, calibration, rounded, to_fp16, to_int8
from vivant_export.precision.accuracy import compare_mattes

Step: TypeAlias = Callable[[str], AbstractContextManager[Any]]
"""Shows a step of the work while it lasts."""

TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "numpy")


@dataclass(frozen=True)
class Choice:
    """Which engine of a model: what ``vivant export`` was asked for.

    ``calibration`` is a folder of pictures for INT8; without it, the default set.
    """

    model: Model
    precision: str
    size: int
    target: str = "cpu"
    calibration: Path | None = None

    @property
    def variant(self) -> str:
        """The engine's name in the store, such as "fp32", "fp16-512" or "int8-tensorrt".

        It says the precision, and then only what differs from the model's default.
        """
        size = "" if self.size == self.model.size else f"-{self.size}"
        return f"{self.precision}{size}{self._dialect}"

    @property
    def _dialect(self) -> str:
        """What the target's library needs written otherwise, if anything."""
        if self.target == "rtx" and self.model.architecture.startswith("birefnet"):
            return "-rtx"
        return "-tensorrt" if self.target != "cpu" and self.precision == "int8" else ""


def export(choice: Choice, origin: Origin, store: EngineStore, step: Step) -> EngineFolder:
    """Build an engine, hold it against the network it is made from, and store it.

    Raises:
        ModelError: the weights do not fit the network, or a conversion is not possible.
        EngineError: the engine deviates too far; the store is left as it was.
        OutputError: the store cannot be written to.
    """
    spec = _spec(choice, origin, step)
    files: dict[str, bytes] = {}
    parity: dict[str, float] = {}
    for graph in spec.graphs:
        files[graph.name], moved = _file(choice, graph, step)
        parity.update(moved)
    parity.update(_measured(choice, origin, spec, files, step, parity))
    manifest = Manifest(
        model=choice.model.name,
        variant=choice.variant,
        role=spec.role,
        precision=choice.precision,
        graphs={graph.name: _entry(graph, files[graph.name]) for graph in spec.graphs},
        weights=origin.weights,
        preprocessing=spec.preprocessing,
        parity=parity,
        tools={name: importlib.metadata.version(name) for name in TOOLS},
    )
    with step("store"):
        return store.write(manifest, {f"{name}.onnx": data for name, data in files.items()})


def check(choice: Choice, origin: Origin, folder: EngineFolder, step: Step) -> Mapping[str, float]:
    """Hold an engine of the store against its network again.

    Raises:
        ModelError: the weights do not fit the network.
        EngineError: the engine deviates too far, or its files were altered.
    """
    spec = _spec(choice, origin, step)
    files = {name: folder.read(name) for name in folder.manifest.graphs}
    return _measured(choice, origin, spec, files, step, folder.manifest.parity)


def _spec(choice: Choice, origin: Origin, step: Step) -> EngineSpec:
    with step("load weights"):
        network = build_network(choice.model)
        shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
        load_strictly(network, origin.read(shapes), source=origin.weights.source)
    return engine_spec(choice.model, network, size=choice.size, target=choice.target)


def _file(choice: Choice, graph: GraphSpec, step: Step) -> tuple[bytes, dict[str, float]]:
    """Return a graph's file in the chosen precision, and how far a matte moves for it."""
    with step(f"export {graph.name}"):
        model = to_onnx(graph)
    if choice.precision == "fp32":
        return finished(model), {}
    with step(f"{graph.name} to {choice.precision}"):
        data = finished(_convert(choice, graph, model))
    if graph.from_photo is None:
        return data, {}
    with step("compare mattes"):
        batches = _batches(graph, calibration.held_out(choice.calibration))
        return data, compare_mattes(finished(model), _judged(choice, data), batches)


def _convert(choice: Choice, graph: GraphSpec, model: onnx.ModelProto) -> onnx.ModelProto:
    if choice.precision == "fp16":
        return to_fp16(model, graph.keep_fp32)
    scheme: Scheme = "cpu" if choice.target == "cpu" else "tensorrt"
    return to_int8(model, _batches(graph, calibration.pictures(choice.calibration)), scheme)


def _measured(
    choice: Choice,
    origin: Origin,
    spec: EngineSpec,
    files: Mapping[str, bytes],
    step: Step,
    known: Mapping[str, float],
) -> dict[str, float]:
    """Hold the files against the network, and all that is known of them against the catalogue."""
    with step("hold against the network"):
        judged = {name: _judged(choice, data) for name, data in files.items()}
        measured = verify.measure(spec, judged)
    # A matte of untrained weights is none: INT8 cannot be judged by it.
    if choice.precision != "int8" or origin.weights.kind != "untrained":
        name = f"{choice.model.name} {choice.variant}"
        gate(name, {**known, **measured}, choice.model.tolerances[choice.precision])
    return measured


def _judged(choice: Choice, data: bytes) -> bytes:
    """Return what to measure in a file's place: FP16 as a GPU computes it, rounding every value."""
    if choice.precision != "fp16":
        return data
    return bytes(rounded(onnx.load_from_string(data)).SerializeToString())


def _batches(graph: GraphSpec, pictures: Iterable[Image]) -> Iterator[Arrays]:
    assert graph.from_photo is not None  # noqa: S101 - true of every matte
    return map(graph.from_photo, pictures)


def _entry(graph: GraphSpec, data: bytes) -> Graph:
    digest = hashlib.sha256(data).hexdigest()
    opset = opset_of(data)
    return Graph(f"{graph.name}.onnx", digest, opset, graph.inputs, graph.outputs)
