"""Inference libraries behind one face: ``run(inputs) -> outputs``, imported when first used."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from numpy.typing import NDArray

from vivant.errors import BackendError, EngineError
from vivant.store import EngineFolder

if TYPE_CHECKING:
    from vivant.backends.device import Device, DeviceEngine
    from vivant.backends.tensorrt import TensorRtEngine

Opened = TypeVar("Opened")
Arrays: TypeAlias = Mapping[str, NDArray[Any]]


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


def _onnxruntime(folder: EngineFolder, graph: str, threads: int | None) -> Engine:
    from vivant.backends.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(folder.read(graph), _name(folder, graph), threads=threads)


def _onnxruntime_cuda(folder: EngineFolder, graph: str, threads: int | None) -> Engine:
    from vivant.backends.onnxruntime import CUDA, OnnxRuntimeEngine

    data, name = folder.read(graph), _name(folder, graph)
    return OnnxRuntimeEngine(data, name, provider=CUDA, threads=threads)


def _openvino(folder: EngineFolder, graph: str, threads: int | None) -> Engine:
    from vivant.backends.openvino import OpenVinoEngine

    return OpenVinoEngine(folder.read(graph), _name(folder, graph), threads=threads)


def _openvino_bf16(folder: EngineFolder, graph: str, threads: int | None) -> Engine:
    from vivant.backends.openvino import OpenVinoEngine

    return OpenVinoEngine(folder.read(graph), _name(folder, graph), bf16=True, threads=threads)


def _tensorrt(folder: EngineFolder, graph: str, threads: int | None) -> Engine:  # noqa: ARG001
    from vivant.backends.devices import open_device
    from vivant.backends.staged import StagedEngine

    with ExitStack() as opened:
        device = open_device("cuda")
        opened.callback(device.close)
        engine = StagedEngine(_planned(folder, graph, device), device)
        opened.pop_all()
    return engine


@dataclass(frozen=True)
class Backend:
    """An inference library in one way of using it.

    Attributes:
        library: its module.
        extra: of this package, which installs it.
        open: a graph of an engine, to be computed by so many threads.
        gpu: it needs an NVIDIA GPU.
    """

    library: str
    extra: str
    open: Callable[[EngineFolder, str, int | None], Engine]
    gpu: bool = False


BACKENDS: Mapping[str, Backend] = {
    "onnxruntime": Backend("onnxruntime", "cpu", _onnxruntime),
    "openvino": Backend("openvino", "openvino", _openvino),
    "openvino-bf16": Backend("openvino", "openvino", _openvino_bf16),
    "onnxruntime-cuda": Backend("onnxruntime", "gpu", _onnxruntime_cuda, gpu=True),
    "tensorrt": Backend("tensorrt", "tensorrt", _tensorrt, gpu=True),
    "tensorrt-rtx": Backend("tensorrt_rtx_bindings", "rtx", _tensorrt, gpu=True),
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
    return _lacking_gpu(name) if backend.gpu else None


def _lacking_gpu(name: str) -> str | None:
    from vivant.gpu_state import newest_cuda

    if newest_cuda() is None:
        return f"{name}: no NVIDIA driver here; install it, or run 'vivant tune' again"
    if name == "onnxruntime-cuda":
        from vivant.backends.onnxruntime import CUDA, import_onnxruntime

        if CUDA not in import_onnxruntime().get_available_providers():
            return (
                "onnxruntime is the build without CUDA; run pip uninstall onnxruntime, "
                "then pip install 'vivant[gpu]'"
            )
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
        DeviceError: the backend needs a GPU, which cannot be had.
    """
    if reason := lacking(folder.choice.backend):
        raise BackendError(f"{folder.path}: {reason}")
    return BACKENDS[folder.choice.backend].open(folder, graph, threads)


def open_device_engine(
    folder: EngineFolder, graph: str, device: Device, *, threads: int | None = None
) -> DeviceEngine:
    """Open a graph of an engine on a device: its inputs and outputs are the device's buffers.

    TensorRT and TensorRT-RTX run it where they were chosen for it; else ONNX Runtime does, on the
    kind of processor that the device is.

    Args:
        folder: from ``EngineStore.engine``.
        graph: its name in the manifest.
        device: from ``open_device``; it has to outlive the engine.
        threads: to compute with where the device is a CPU.

    Raises:
        EngineError: the file or plan is missing, altered or for something else, or the library
            cannot open it.
        BackendError: the library is not here.
        DeviceError: the device failed.
    """
    if folder.choice.backend in ("tensorrt", "tensorrt-rtx"):
        return _planned(folder, graph, device)
    from vivant.backends.onnxruntime_device import OnnxRuntimeDeviceEngine

    data, name = folder.read(graph), _name(folder, graph)
    described = folder.manifest.graphs[graph]
    tensors = (*described.inputs, *described.outputs)
    static = all(isinstance(side, int) for tensor in tensors for side in tensor.shape)
    return OnnxRuntimeDeviceEngine(data, name, device, static=static, threads=threads)


def _planned(folder: EngineFolder, graph: str, device: Device) -> TensorRtEngine:
    """Open the plan of ``graph`` that the library chosen for the engine has built."""
    from vivant.backends.tensorrt import TensorRtEngine, load
    from vivant.plans import read_plan

    library = folder.choice.backend
    version = str(load(library).__version__)
    plan = read_plan(folder, graph, library, version, device.capability)
    description = folder.manifest.graphs[graph]
    return TensorRtEngine(plan, _name(folder, graph), description, device, library)


def _name(folder: EngineFolder, graph: str) -> str:
    """Return what messages call a graph."""
    return str(folder.path) if graph == "model" else f"{folder.path}: {graph}"


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
