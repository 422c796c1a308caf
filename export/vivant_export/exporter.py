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
from vivant_export import calibration, verify
from vivant_export.accuracy import compare_mattes
from vivant_export.architectures import build_network, engine_spec
from vivant_export.catalogue import Model
from vivant_export.checkpoints import load_strictly
from vivant_export.gate import gate
from vivant_export.graphs import Arrays, EngineSpec, GraphSpec
from vivant_export.onnx_export import finished, to_onnx
from vivant_export.origin import Origin
from vivant_export.precision import Scheme, to_fp16, to_int8

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
    with step("hold against the network"):
        parity.update(verify.measure(spec, files))
        _gate(choice, origin, parity)
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
    with step("hold against the network"):
        parity = verify.measure(spec, {name: folder.read(name) for name in folder.manifest.graphs})
        _gate(choice, origin, parity)
    return parity


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
        return data, compare_mattes(finished(model), data, batches)


def _convert(choice: Choice, graph: GraphSpec, model: onnx.ModelProto) -> onnx.ModelProto:
    if choice.precision == "fp16":
        return to_fp16(model, graph.keep_fp32)
    scheme: Scheme = "cpu" if choice.target == "cpu" else "tensorrt"
    return to_int8(model, _batches(graph, calibration.pictures(choice.calibration)), scheme)


def _batches(graph: GraphSpec, pictures: Iterable[Image]) -> Iterator[Arrays]:
    assert graph.from_photo is not None  # noqa: S101 - true of every matte
    return map(graph.from_photo, pictures)


def _gate(choice: Choice, origin: Origin, parity: Mapping[str, float]) -> None:
    """Let an engine pass, or not; INT8 on untrained weights, where a matte is none, always."""
    if choice.precision == "int8" and origin.weights.kind == "untrained":
        return
    name = f"{choice.model.name} {choice.variant}"
    gate(name, parity, choice.model.tolerances[choice.precision])


def _entry(graph: GraphSpec, data: bytes) -> Graph:
    digest = hashlib.sha256(data).hexdigest()
    return Graph(f"{graph.name}.onnx", digest, graph.opset, graph.inputs, graph.outputs)
