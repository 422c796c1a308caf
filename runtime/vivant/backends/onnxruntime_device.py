"""ONNX Runtime on a device's memory: its inputs and outputs are the device's buffers."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vivant.backends.device import Buffer, Device, Stream
from vivant.backends.onnxruntime import CPU, CUDA, failed, import_onnxruntime, open_session
from vivant.backends.ports import Placed, Port, place, recall
from vivant.closing import Closing
from vivant.errors import EngineError

PROVIDERS = {"cpu": CPU, "cuda": CUDA}
"""By the kind of a device."""

MOST_BINDINGS = 256  # some networks have a hundred for one picture
MOST_GRAPHS = 4  # ONNX Runtime forgets none of them
_DTYPES = {
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(float16)": np.float16,
    "tensor(float)": np.float32,
}


@dataclass(frozen=True)
class _Bound:
    """ONNX Runtime's binding to buffers, which never changes, and how it is to be run."""

    binding: Any
    options: Any
    reads: tuple[Buffer, ...]
    writes: tuple[Buffer, ...]


class OnnxRuntimeDeviceEngine(Closing):
    """A ``DeviceEngine`` of ONNX Runtime.

    A session puts its work on one stream for as long as it lives. So the engine has a stream of
    its own, which waits for the one that it is enqueued on, and the other way round.

    On a GPU, a graph whose shapes are all fixed is recorded as a CUDA graph, for each of the first
    few sets of buffers that are bound. Where ONNX Runtime refuses to (a node that is not CUDA's),
    it runs node by node.
    """

    def __init__(
        self,
        graph: bytes,
        name: str,
        device: Device,
        *,
        static: bool = False,
        threads: int | None = None,
    ) -> None:
        """Open ``graph``, the bytes of a verified ONNX file called ``name`` in messages.

        Args:
            graph: the file's bytes.
            name: of it.
            device: whose memory is bound.
            static: all shapes are fixed.
            threads: to compute with, on a CPU.

        Raises:
            BackendError: ONNX Runtime or its provider for this device is not here.
            EngineError: ONNX Runtime cannot open the graph.
        """
        self._device, self._name = device, name
        self._stream = device.stream()
        self._begun, self._ended = device.event(), device.event()
        self._graphs = static and device.kind == "cuda"
        self._session: Any = self._open(graph, threads)
        self._ports = [
            *(self._port(each, is_input=True) for each in self._session.get_inputs()),
            *(self._port(each, is_input=False) for each in self._session.get_outputs()),
        ]
        self._bindings: OrderedDict[Placed, _Bound] = OrderedDict()
        self._made = 0
        self._bound: _Bound | None = None

    def _open(self, graph: bytes, threads: int | None) -> Any:
        provider = PROVIDERS[self._device.kind]
        if self._device.kind == "cpu":
            return open_session(graph, self._name, provider, threads)
        settings = {"user_compute_stream": str(self._stream.handle)}
        if self._graphs:
            with contextlib.suppress(EngineError):
                recording = {**settings, "enable_cuda_graph": "1"}
                return open_session(graph, self._name, provider, threads, recording)
            self._graphs = False
        return open_session(graph, self._name, provider, threads, settings)

    def _port(self, found: Any, *, is_input: bool) -> Port:
        if found.type not in _DTYPES:
            raise EngineError(f"{self._name}: '{found.name}' is a {found.type}; export it again")
        sides = (side if isinstance(side, int) else None for side in found.shape)
        return Port(found.name, np.dtype(_DTYPES[found.type]), tuple(sides), is_input)

    def bind(self, buffers: Mapping[str, Buffer]) -> None:
        """Set where every input and output lies, by name; their shapes are this run's.

        Raises:
            EngineError: a name, dtype or shape is not the graph's. An output's free sides are
                checked when it runs.
        """
        self._bound = None  # where this fails, nothing runs
        placed = place(self._ports, buffers, self._name)
        self._bound = recall(self._bindings, placed, lambda: self._bind(buffers), MOST_BINDINGS)

    def _bind(self, buffers: Mapping[str, Buffer]) -> _Bound:
        binding = self._session.io_binding()
        kind = self._device.kind
        try:
            for port in self._ports:
                buffer = buffers[port.name]
                bind = binding.bind_input if port.is_input else binding.bind_output
                bind(port.name, kind, 0, port.dtype.type, list(buffer.shape), buffer.pointer)
        except Exception as error:
            raise failed(self._name, "bind", error) from error
        reads = (buffers[port.name] for port in self._ports if port.is_input)
        writes = (buffers[port.name] for port in self._ports if not port.is_input)
        return _Bound(binding, self._options(), tuple(reads), tuple(writes))

    def _options(self) -> Any:
        """Return how to run the next binding: the host does not wait for the device."""
        options = import_onnxruntime().RunOptions()
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        if self._graphs:
            self._made += 1
            number = self._made if self._made <= MOST_GRAPHS else -1  # which records nothing
            options.add_run_config_entry("gpu_graph_id", str(number))
        return options

    def enqueue(self, stream: Stream) -> None:
        """Put a run, with what is bound, on ``stream``; not while that is captured.

        Raises:
            EngineError: ONNX Runtime failed; on a device that does the work later, then.
        """
        bound, session = self._bound, self._session
        if bound is None or session is None:
            raise EngineError(f"{self._name}: nothing is bound; bind its buffers first")

        def work() -> None:
            try:
                session.run_with_iobinding(bound.binding, bound.options)
            except Exception as error:
                raise failed(self._name, "run", error) from error

        device = self._device
        device.record(self._begun, stream)
        device.wait(self._begun, self._stream)
        device.enqueue(work, bound.reads, bound.writes, self._stream)
        device.record(self._ended, self._stream)
        device.wait(self._ended, stream)

    def close(self) -> None:
        """Wait for the runs, and give back the session; the engine cannot run afterwards."""
        if self._session is None:
            return
        try:
            self._device.synchronise(self._stream)
        finally:
            self._bindings.clear()
            self._session = self._bound = None
