"""TensorRT and TensorRT-RTX as backends: a plan that was built here, on a device's streams.

Only names are used that TensorRT 10.3 (JetPack 6), 10.13 (JetPack 7) and 11.4 share;
``tests/test_tensorrt_names.py`` holds the code to it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from vivant.backends.device import Buffer, Device, Graph, Shape, Stream
from vivant.backends.ports import Placed, Port, place, recall
from vivant.backends.tensorrt_ports import port_list, profile_list, suitable
from vivant.closing import Closing
from vivant.errors import BackendError, EngineError
from vivant.manifest import Graph as Description

EXTRAS = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}
"""By the library's name in the store, what to install."""

MOST_BINDINGS = 256  # that are known; some networks have a hundred for one picture
MOST_GRAPHS = 32  # that are recorded; the rest runs kernel by kernel


def load(library: str) -> Any:
    """Return the Python module of "tensorrt" or "tensorrt-rtx".

    Raises:
        BackendError: it is not here.
    """
    try:
        if library == "tensorrt":
            import tensorrt as trt
        else:
            import tensorrt_rtx_libs  # noqa: F401, I001 - the bindings find them loaded
            import tensorrt_rtx_bindings as trt
    except ImportError as error:
        raise BackendError(
            f"{library} is not here ({error}); run pip install 'vivant[{EXTRAS[library]}]', "
            "on a Jetson use JetPack's"
        ) from error
    return trt


@cache
def _logger(trt: Any) -> Any:
    """Return the one logger of a library: it keeps the first that it is given, for all engines."""
    return trt.Logger(trt.Logger.INTERNAL_ERROR)


@dataclass(eq=False)
class _Context:
    """An execution context, and what it was last told of shapes and addresses."""

    execution: Any
    told: _Bound | None = None


@dataclass(eq=False)
class _Bound:
    """Where everything lies, for the profile that its shapes lie in.

    A CUDA graph stands for the state of the context that it was recorded from. So what is recorded
    has a context of its own, which is told nothing else.
    """

    buffers: Mapping[str, Buffer]
    profile: int
    has_run: bool = False
    own: _Context | None = None
    graph: Graph | None = None


class TensorRtEngine(Closing):
    """A ``DeviceEngine`` of TensorRT or TensorRT-RTX.

    Buffers that are bound again are worth a CUDA graph: their second run sets up a context of
    their own, the third is recorded, and replayed from then on. That goes for the first 32 such
    sets of buffers; the others run as they come, in a context that they share. A set is forgotten
    when 256 others were bound since. (TensorRT-RTX records by itself, once it has compiled the
    kernels for a shape.)

    All contexts share the memory for what lies between the layers: runs on several streams have
    to be ordered by events.
    """

    def __init__(
        self, plan: bytes, name: str, description: Description, device: Device, library: str
    ) -> None:
        """Open a plan.

        Args:
            plan: its bytes, vouched for by its record (``plans.read_plan``): a plan is code.
            name: of it in messages.
            description: of the graph, from the engine's manifest.
            device: that runs it.
            library: "tensorrt" or "tensorrt-rtx".

        Raises:
            BackendError: the library is not here.
            EngineError: it refuses the plan, or the plan's inputs and outputs are not the graph's.
        """
        self._name, self._library, self._device = name, library, device
        self._trt = trt = load(library)
        self._strategy = trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self._errors = _recorder(trt)
        self._runtime = trt.Runtime(_logger(trt))
        self._runtime.error_recorder = self._errors  # its engine and their contexts inherit it
        self._runtime.engine_host_code_allowed = False
        found = self._runtime.deserialize_cuda_engine(plan)
        self._engine: Any = self._done(found, "load the plan")
        self._ports = port_list(trt, self._engine, description, name)
        self._profiles = profile_list(self._engine, self._ports)
        self._settings = self._rtx_settings() if library == "tensorrt-rtx" else None
        self._kept: OrderedDict[Placed, _Bound] = OrderedDict()
        self._shared: dict[int, _Context] = {}
        self._bound: _Bound | None = None
        self._last: Stream | None = None
        self._setup = device.stream()
        self._scratch = device.allocate((max(int(self._engine.device_memory_size_v2), 1),))

    def bind(self, buffers: Mapping[str, Buffer]) -> None:
        """Set where every input and output lies, by name; their shapes are this run's.

        Not while a stream is captured.

        Raises:
            EngineError: a name, dtype or shape is not the graph's, or the plan was not built for
                this shape.
        """
        self._bound = None  # where this fails, nothing runs
        placed = place(self._ports, buffers, self._name)
        if placed not in self._kept and len(self._kept) >= MOST_BINDINGS:
            self._settle()  # what is forgotten may still be running
        self._bound = recall(self._kept, placed, lambda: self._bind(buffers), MOST_BINDINGS)

    def enqueue(self, stream: Stream) -> None:
        """Put a run, with what is bound, on ``stream``; not while that is captured.

        Raises:
            EngineError: the library failed; on a device that does the work later, then.
            DeviceError: the device failed.
        """
        bound = self._current()
        self._last = stream
        if bound.own is not None and bound.graph is None:
            with self._device.capture(stream) as graph:
                self._put(bound, bound.own, stream)
            bound.graph = graph
        if bound.graph is not None:
            self._device.replay(bound.graph, stream)
            return
        if bound.has_run and self._may_record():
            bound.own = self._context(bound.profile)
        self._put(bound, bound.own or self._shared[bound.profile], stream)
        bound.has_run = True

    def outputs(self, shapes: Mapping[str, Shape]) -> Mapping[str, Port]:
        """Return the outputs, by name, that inputs of ``shapes`` lead to.

        Raises:
            EngineError: a name or shape is not the graph's, or not one that it was built for.
        """
        inputs = {port.name: port for port in self._ports if port.is_input}
        if inputs.keys() != shapes.keys():
            raise EngineError(
                f"{self._name}: takes {', '.join(inputs)}, not {', '.join(shapes) or 'nothing'}"
            )
        for name, port in inputs.items():
            if not port.takes(shapes[name]):
                raise EngineError(
                    f"{self._name}: '{name}' is {port.described()}, not of shape "
                    f"{list(shapes[name])}"
                )
        context = self._shaped(self._share(suitable(self._profiles, shapes, self._name)), shapes)
        return {
            port.name: Port(
                port.name, port.dtype, tuple(context.get_tensor_shape(port.name)), False
            )
            for port in self._ports
            if not port.is_input
        }

    def profile(self, stream: Stream) -> list[tuple[str, float]]:
        """Return the layers and their milliseconds, of one run with what is bound.

        The names are as detailed as the plan was built to tell.
        """
        bound = self._current()
        watched = self._context(bound.profile)  # one that is watched stays slow
        watched.execution.profiler = profiler = _profiler(self._trt)
        self._last = stream
        self._put(bound, watched, stream)
        self._device.synchronise(stream)
        return list(profiler.times)

    def close(self) -> None:
        """Wait for the runs, and give back all; the engine cannot run afterwards."""
        if self._engine is None:
            return
        try:
            self._settle()
        finally:
            self._kept.clear()
            self._shared.clear()
            self._bound = self._settings = self._engine = self._runtime = None
            self._device.free(self._scratch)

    def _current(self) -> _Bound:
        if self._bound is None:
            raise EngineError(f"{self._name}: nothing is bound; bind its buffers first")
        return self._bound

    def _may_record(self) -> bool:
        recorded = sum(bound.own is not None for bound in self._kept.values())
        return self._library == "tensorrt" and recorded < MOST_GRAPHS

    def _put(self, bound: _Bound, kept: _Context, stream: Stream) -> None:
        def work() -> None:
            self._tell(kept, bound)  # another may have been told since
            self._done(kept.execution.execute_async_v3(stream.handle), "run the plan")

        reads = [bound.buffers[port.name] for port in self._ports if port.is_input]
        writes = [bound.buffers[port.name] for port in self._ports if not port.is_input]
        self._device.enqueue(work, reads, [*writes, self._scratch], stream)

    def _bind(self, buffers: Mapping[str, Buffer]) -> _Bound:
        """Return a new binding, which the library has agreed to."""
        shapes = {name: buffer.shape for name, buffer in buffers.items()}
        bound = _Bound(dict(buffers), suitable(self._profiles, shapes, self._name))
        self._tell(self._share(bound.profile), bound)
        return bound

    def _share(self, profile: int) -> _Context:
        """Return the context for what is not recorded."""
        if profile not in self._shared:
            self._shared[profile] = self._context(profile)
        return self._shared[profile]

    def _context(self, profile: int) -> _Context:
        """Return a new context."""
        found = self._engine.create_execution_context(self._settings or self._strategy)
        context = self._done(found, "create a context")
        context.set_device_memory(self._scratch.pointer, self._scratch.nbytes)
        if self._profiles[0]:
            done = context.set_optimization_profile_async(profile, self._setup.handle)
            self._done(done, f"use profile {profile}")
            self._device.synchronise(self._setup)
        return _Context(context)

    def _tell(self, kept: _Context, bound: _Bound) -> None:
        """Set shapes and addresses in a context, unless they are."""
        if kept.told is bound:
            return
        context = self._shaped(kept, {name: each.shape for name, each in bound.buffers.items()})
        for port in self._ports:
            buffer = bound.buffers[port.name]
            shape = tuple(context.get_tensor_shape(port.name))
            if shape != buffer.shape:
                raise EngineError(
                    f"{self._name}: '{port.name}' becomes {list(shape)}, not "
                    f"{list(buffer.shape)}; bind a buffer that fits"
                )
            done = context.set_tensor_address(port.name, buffer.pointer)
            self._done(done, f"take the address of '{port.name}'")
        kept.told = bound

    def _shaped(self, kept: _Context, shapes: Mapping[str, Shape]) -> Any:
        """Set the inputs' shapes in a context, and return it with those of the outputs."""
        context, kept.told = kept.execution, None
        for name in self._profiles[0]:
            self._done(context.set_input_shape(name, shapes[name]), f"take {shapes[name]}")
        try:
            unknown = context.infer_shapes()
        except RuntimeError as error:
            raise self._failed(f"infer its shapes ({error})") from error
        if unknown:
            raise self._failed(f"infer the shapes of {', '.join(unknown)}")
        return context

    def _rtx_settings(self) -> Any:
        """Return what TensorRT-RTX alone has: it compiles and records while it runs."""
        settings = self._engine.create_runtime_config()
        settings.set_execution_context_allocation_strategy(self._strategy)
        settings.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        cache = settings.create_runtime_cache()  # what is compiled, for all contexts
        self._done(settings.set_runtime_cache(cache), "share its kernels")
        return settings

    def _settle(self) -> None:
        """Wait for the last run; all others came before it."""
        if self._last is not None:
            self._device.synchronise(self._last)

    def _done(self, result: Any, what: str) -> Any:
        """Return what a call returned, unless that means that it failed."""
        if result is None or result is False:
            raise self._failed(what)
        return result

    def _failed(self, what: str) -> EngineError:
        reasons = " ".join(" / ".join(self._errors.texts[-3:]).split())[:400]
        self._errors.clear()
        return EngineError(
            f"{self._name}: {self._library} cannot {what} "
            f"({reasons or 'it gives no reason'}); run 'vivant doctor'"
        )


def _recorder(trt: Any) -> Any:
    """Return what TensorRT reports its errors to; ``texts`` are theirs since the last ``clear``."""

    class Recorder(trt.IErrorRecorder):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.codes: list[Any] = []
            self.texts: list[str] = []

        def report_error(self, code: Any, text: str) -> bool:
            self.codes.append(code)
            self.texts.append(text)
            return False  # the call that failed says so itself

        def num_errors(self) -> int:
            return len(self.texts)

        def get_error_code(self, number: int) -> Any:
            return self.codes[number]

        def get_error_desc(self, number: int) -> str:
            return self.texts[number]

        def has_overflowed(self) -> bool:
            return False

        def clear(self) -> None:
            self.codes.clear()
            self.texts.clear()

    return Recorder()


def _profiler(trt: Any) -> Any:
    """Return what TensorRT tells the times of its layers to; ``times`` are those."""

    class Profiler(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.times: list[tuple[str, float]] = []

        def report_layer_time(self, layer: str, milliseconds: float) -> None:
            self.times.append((layer, milliseconds))

    return Profiler()
