"""Inference libraries behind one face: ``run(inputs) -> outputs``, imported when first used."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

from numpy.typing import NDArray
from typing_extensions import Self

from vivant.errors import BackendError, EngineError
from vivant.store import EngineFolder

Opened = TypeVar("Opened")
Arrays: TypeAlias = Mapping[str, NDArray[Any]]


class Closing:
    """A thing that holds resources: ``close()`` gives them back, and so does leaving ``with``."""

    def close(self) -> None:
        """Give back what is held; the object cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Engine(Protocol):
    """An opened graph, which several threads may run at a time.

    An engine never falls back in silence: where what was asked for cannot be had, opening it
    raises ``BackendError``.
    """

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute every output, by name, from ``inputs``, by name."""
        ...

    def close(self) -> None:
        """Give back what the engine holds; it cannot run afterwards."""
        ...


def _onnxruntime(graph: bytes, name: str, threads: int | None) -> Engine:
    from vivant.backends.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(graph, name, threads=threads)


def _openvino(graph: bytes, name: str, threads: int | None) -> Engine:
    from vivant.backends.openvino import OpenVinoEngine

    return OpenVinoEngine(graph, name, threads=threads)


def _openvino_bf16(graph: bytes, name: str, threads: int | None) -> Engine:
    from vivant.backends.openvino import OpenVinoEngine

    return OpenVinoEngine(graph, name, bf16=True, threads=threads)


@dataclass(frozen=True)
class Backend:
    """An inference library in one way of using it: its module, its extra, how it is opened."""

    library: str
    extra: str
    open: Callable[[bytes, str, int | None], Engine]


BACKENDS: Mapping[str, Backend] = {
    "onnxruntime": Backend("onnxruntime", "cpu", _onnxruntime),
    "openvino": Backend("openvino", "openvino", _openvino),
    "openvino-bf16": Backend("openvino", "openvino", _openvino_bf16),
}
"""By the name that a choice of ``tuning.json`` gives it; "-bf16" computes in bfloat16."""


def lacking(name: str) -> str | None:
    """Return why the backend called ``name`` cannot be used here, and the remedy, or None."""
    if name not in BACKENDS:
        known = ", ".join(BACKENDS)
        return f"backend '{name}': this version has {known}; run 'vivant tune' again"
    backend = BACKENDS[name]
    if importlib.util.find_spec(backend.library) is None:
        return f"{backend.library} is not installed; run pip install 'vivant[{backend.extra}]'"
    return None


def open_engine(
    folder: EngineFolder, graph: str = "model", *, threads: int | None = None
) -> Engine:
    """Open a graph of an engine in the backend that the store has chosen for it.

    Args:
        folder: from ``EngineStore.engine``.
        graph: its name in the manifest.
        threads: to compute with; all usable cores unless told otherwise.

    Raises:
        EngineError: the file is missing or altered, or the library cannot open it.
        BackendError: the library is not installed, or cannot do on this machine what was chosen.
    """
    if reason := lacking(folder.choice.backend):
        raise BackendError(f"{folder.path}: {reason}")
    name = str(folder.path) if graph == "model" else f"{folder.path}: {graph}"
    return BACKENDS[folder.choice.backend].open(folder.read(graph), name, threads)


def refuse_external_data(graph: bytes, name: str) -> None:
    """Raise ``EngineError`` for an ONNX file, called ``name``, with weights in another file.

    What was hashed is all that may be loaded. Libraries follow such a reference to any path, or
    (lately) to some. Without the key "location" there is none; no name in our graphs has the word
    in it.
    """
    if b"location" in graph:
        raise EngineError(
            f"{name}: names another file for its weights, which nothing vouches for; "
            "export it again"
        )


def usable_cores() -> int:
    """Return how many cores this process may run on (its affinity, not the machine's count)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
