"""Ways to run one graph of an engine on a GPU: torch's, and ours through the device layer.

Each is a contender of ``interleave``: made in a process of its own, it returns a function that runs
once. Inputs are put on the device once and stay there. A run is timed twice: by events, which mark
the device's own work, and by the clock, from the call until the device is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines import network_of
from vivant.backends import open_device_engine
from vivant.backends.devices import open_device
from vivant.errors import BackendError, VivantError
from vivant.manifest import Graph
from vivant.store import EngineStore
from vivant.tuning import Choice

if TYPE_CHECKING:
    from torch import nn

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Task:
    """What is run: a graph of an engine, and its inputs by name; ``size`` is for people."""

    stage: str
    model: str
    graph: str
    size: str
    inputs: Arrays


@dataclass
class Ran:
    """What a contender did on the device.

    Attributes:
        outputs: of its first run, by name.
        gpu_ms: of the device's own work, every run, those that warm up first.
        wall_ms: from call to result, every run.
        device_bytes: that it took of the device's memory: weights, workspace, and what allocators
            keep of the most that they had; without CUDA's own context. None on the host.
    """

    outputs: Arrays
    gpu_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    device_bytes: int | None = None


class Runner(Protocol):
    """A graph on a device, ready to run.

    ``used_before`` is what ``used`` said when the device was open and nothing on it yet.
    """

    used_before: int | None

    def run(self) -> float:
        """Run once; return milliseconds of the device's own work."""
        ...

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return what the last run gave."""
        ...

    def used(self) -> int | None:
        """Return the bytes of the device's memory in use, by whomever; None on the host."""
        ...


def torch_way(
    store: EngineStore, task: Task, device: str, *, half: bool, compiled: bool
) -> Callable[[], Ran]:
    """Run what the engine was made from, with the engine's inputs and outputs, in torch.

    Args:
        store: of the engines; torch gets the weights that the manifest names.
        task: what is run.
        device: of ours; torch runs on the GPU, or on the processor beside the host device.
        half: by automatic mixed precision, the weights of convolutions and products in FP16.
        compiled: by ``torch.compile`` in its default mode.
    """
    return kept(lambda: TorchRunner(_module(store, task), task, device, half, compiled))


def engine_way(
    store: EngineStore, task: Task, device: str, *, variant: str, backend: str
) -> Callable[[], Ran]:
    """Run a variant of the engine in one of our backends."""
    return kept(lambda: EngineRunner(store, task, device, variant, backend))


def kept(make: Callable[[], Runner]) -> Callable[[], Ran]:
    """Make a runner and run it once; return what runs it again, and keeps the books.

    Raises:
        BackendError: for whatever went wrong: the comparison goes on without this one.
    """
    with _said():
        runner = make()
        ran = Ran({})
        _run(runner, ran, runner.used_before)
        ran.outputs = runner.outputs()

    def again() -> Ran:
        _run(runner, ran, runner.used())
        return ran

    return again


def _run(runner: Runner, ran: Ran, used_before: int | None) -> None:
    start = time.perf_counter()
    ran.gpu_ms.append(runner.run())
    ran.wall_ms.append((time.perf_counter() - start) * 1000)
    used = runner.used()
    if used is not None and used_before is not None:
        # The other contenders sit still meanwhile: the difference is this one's.
        ran.device_bytes = (ran.device_bytes or 0) + used - used_before


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except VivantError as error:
        raise BackendError(str(error)) from error
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        raise BackendError(f"{type(error).__name__}: {said}"[:200]) from error


class EngineRunner:
    """A graph of ours."""

    def __init__(
        self, store: EngineStore, task: Task, device: str, variant: str, backend: str
    ) -> None:
        chosen = replace(store, choices={task.model: Choice(variant, backend)})
        folder = chosen.engine(task.model)
        self._device = open_device(device)
        self.used_before = self.used()
        self._engine = open_device_engine(folder, task.graph, self._device)
        self._stream = self._device.stream()
        self._start, self._end = self._device.event(), self._device.event()
        inputs = {}
        for name, array in task.inputs.items():
            staging = self._device.pinned(array.shape, array.dtype)
            staging.array[...] = array
            inputs[name] = self._device.allocate(array.shape, array.dtype)
            self._device.upload(staging, inputs[name], self._stream)
            self._device.synchronise(self._stream)
            self._device.free(staging)
        self._outputs = {
            name: self._device.allocate(shape, dtype)
            for name, (shape, dtype) in shapes(folder.manifest.graphs[task.graph], task).items()
        }
        self._engine.bind({**inputs, **self._outputs})

    def run(self) -> float:
        """Run once; return milliseconds between the events around it."""
        self._device.record(self._start, self._stream)
        self._engine.enqueue(self._stream)
        self._device.record(self._end, self._stream)
        self._device.synchronise(self._stream)
        return self._device.elapsed(self._start, self._end)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return what the last run gave."""
        arrays = {}
        for name, buffer in self._outputs.items():
            staging = self._device.pinned(buffer.shape, buffer.dtype)
            self._device.download(buffer, staging, self._stream)
            self._device.synchronise(self._stream)
            arrays[name] = staging.array.copy()
            self._device.free(staging)
        return arrays

    def used(self) -> int | None:
        """Return the bytes of the device's memory in use."""
        return self._device.memory_used() if self._device.kind == "cuda" else None


def shapes(graph: Graph, task: Task) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Return shape and dtype of every output, with the inputs' sizes for the words in them."""
    words = {
        word: size
        for tensor in graph.inputs
        for word, size in zip(tensor.shape, task.inputs[tensor.name].shape, strict=True)
    }
    return {
        tensor.name: (tuple(words.get(size, size) for size in tensor.shape), np.dtype(tensor.dtype))
        for tensor in graph.outputs
    }


class TorchRunner:
    """A module in torch.

    Args:
        module: in eval mode, and the names of its outputs.
        task: its inputs, by position.
        device: "host" for the processor, else the GPU.
        half: mixed precision.
        compiled: by ``torch.compile``.
    """

    def __init__(
        self,
        module: tuple[nn.Module, tuple[str, ...]],
        task: Task,
        device: str,
        half: bool,
        compiled: bool,
    ) -> None:
        import torch

        self._on_gpu = device != "host"
        if self._on_gpu and not torch.cuda.is_available():
            raise BackendError(
                f"torch {torch.__version__} sees no GPU; take its build for CUDA, and see what "
                "'vivant doctor' says of the driver"
            )
        place = "cuda" if self._on_gpu else "cpu"
        torch.zeros(1, device=place)  # makes the context
        self.used_before = self.used()
        network, self._names = module
        if half:
            for layer in network.modules():
                if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d | torch.nn.Linear):
                    layer.half()
        network = network.to(place)
        self._run: Callable[..., Any] = torch.compile(network) if compiled else network
        self._inputs = [torch.from_numpy(array).to(place) for array in task.inputs.values()]
        self._mixed = torch.autocast(place, torch.float16, enabled=half)
        self._returned: tuple[Any, ...] = ()

    def run(self) -> float:
        """Run once; return milliseconds, by events where there is a GPU."""
        import torch

        with torch.inference_mode(), self._mixed:
            if not self._on_gpu:
                begin = time.perf_counter()
                self._keep(self._run(*self._inputs))
                return (time.perf_counter() - begin) * 1000
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            self._keep(self._run(*self._inputs))
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end))

    def _keep(self, returned: Any) -> None:
        self._returned = returned if isinstance(returned, tuple) else (returned,)

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Return what the last run gave; floats as float32."""
        arrays = [output.float().cpu().numpy() for output in self._returned]
        return dict(zip(self._names, arrays, strict=True))

    def used(self) -> int | None:
        """Return the bytes of the GPU's memory in use."""
        import torch

        if not self._on_gpu:
            return None
        free, total = torch.cuda.mem_get_info()
        return int(total - free)


def _module(store: EngineStore, task: Task) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the module of the task's graph, and the names of its outputs."""
    from vivant_export.architectures import engine_spec
    from vivant_export.catalogue import find_model

    known = find_model(task.model)
    spec = engine_spec(known, network_of(store, task.model), size=known.size, target="cpu")
    graph = next(graph for graph in spec.graphs if graph.name == task.graph)
    return graph.module, tuple(tensor.name for tensor in graph.outputs)
