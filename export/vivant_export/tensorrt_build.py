"""TensorRT plans of an engine's graphs, built on the machine that is to run them.

One code for TensorRT and TensorRT-RTX, of calls that 10.3 (JetPack 6), 10.13 and 11.4 have alike.
Precision lives in the ONNX file: networks are strongly typed, and FP32 is FP32, not TF32.

TensorRT times its kernels on the GPU and builds for that one. TensorRT-RTX leaves this to the
machine that runs the plan, and builds without a GPU for all of compute capability 8.0 and later;
for Turing (7.5) a plan is built apart ("CPU-Only AOT and TensorRT-RTX Engines" in NVIDIA's
documentation). Timing caches are TensorRT's alone: in TensorRT-RTX they do nothing but need a GPU.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from vivant import plans
from vivant.backends.devices import lacking_device, open_device
from vivant.backends.tensorrt import load
from vivant.errors import BackendError, EngineError, OutputError
from vivant.files import write_atomic
from vivant.plans import PORTABLE, PlanRecord, Profile
from vivant.store import EngineFolder
from vivant_export.tensorrt_profiles import profile_of

Report: TypeAlias = Callable[[float], None]
"""Is told now and then how much of a build is done, 0..1, from another thread."""

_TURING = (7, 5)
_ABANDONED_S = 3600  # of a file that is being written: the power went, or the process was killed
_DEVICES = ("cuda", "pycuda")


@dataclass(frozen=True)
class Target:
    """What plans are built with, and for.

    Attributes:
        library: one of ``plans.LIBRARIES``.
        version: of it, in full.
        capability: compute capability of this machine's GPU; None where there is none.
    """

    library: str
    version: str
    capability: tuple[int, int] | None

    @property
    def compute_capability(self) -> str:
        """What the plans' records say."""
        portable = self.library == "tensorrt-rtx" and self.capability != _TURING
        return PORTABLE if portable else ".".join(map(str, self.capability or ()))


@dataclass(frozen=True)
class Settings:
    """What the builder is told; None leaves it to the library, and any plan fits.

    Attributes:
        workspace: the most memory in MB that a layer may take for itself; all of the GPU's.
        optimization_level: 0 (built fast) .. 5 (tries all there is); 3.
    """

    workspace: int | None = None
    optimization_level: int | None = None


def find_target(library: str) -> Target:
    """Return what plans are built with and for on this machine.

    Args:
        library: one of ``plans.LIBRARIES``.

    Raises:
        BackendError: the library is not here, or it needs a GPU to build and there is none.
    """
    version = str(load(library).__version__)
    reasons = {name: lacking_device(name) for name in _DEVICES}
    here = next((name for name, reason in reasons.items() if reason is None), None)
    if here is None:
        if library == "tensorrt":
            raise BackendError(f"{library}: builds for the GPU that it finds; {reasons['cuda']}")
        return Target(library, version, None)
    device = open_device(here)
    try:
        return Target(library, version, device.capability)
    finally:
        device.close()


def obstacle(target: Target, folder: EngineFolder, graph: str, settings: Settings) -> str | None:
    """Return why the plan of a graph has to be built (again), or None where there is one that fits.

    Raises:
        EngineError: no range is known for a free size of the graph.
    """
    # Without a GPU, what is portable has to suit the least of those that it is portable to.
    capability = target.capability or (8, 0)
    if reason := plans.obstacle(folder, graph, target.library, target.version, capability):
        return reason
    record = PlanRecord.load(plans.plan_folder(folder, target.library) / f"{graph}.json")
    if record.compute_capability != target.compute_capability:
        return f"built for compute capability {record.compute_capability}"
    if record.profiles != _profiles(folder, graph):
        return "built for other shapes than this version of Vivant feeds"
    for name, wanted in asdict(settings).items():
        if wanted not in (None, record.settings.get(name)):
            return f"built with {name} {record.settings.get(name)}, asked for is {wanted}"
    return None


def build_plan(
    target: Target,
    folder: EngineFolder,
    graph: str,
    settings: Settings,
    report: Report = lambda _: None,
) -> Path:
    """Build the plan of a graph, and put it and its record into the engine's folder.

    An interruption of the calling thread (Ctrl-C) stops the build; the folder stays as it was.

    Returns:
        The plan's file.

    Raises:
        EngineError: the graph was altered, or the library cannot build it; the message says why.
        OutputError: the store cannot be written to.
    """
    onnx, profiles = folder.read(graph), _profiles(folder, graph)
    _prepare(plans.plan_folder(folder, target.library))
    cache = _timing_cache_file(target, folder)
    stop = threading.Event()
    # In a thread of its own, so that this one can be interrupted: a signal is not seen by Python
    # while the library computes.
    with ThreadPoolExecutor(1) as worker, _named(target, folder, graph):
        try:
            plan = worker.submit(
                _build, target, onnx, profiles, settings, cache, _Progress(report, stop)
            ).result()
        except BaseException:
            stop.set()
            raise
    report(1.0)
    record = PlanRecord(
        library=target.library,
        version=target.version,
        compute_capability=target.compute_capability,
        plan=f"{graph}.plan",
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        onnx_sha256=hashlib.sha256(onnx).hexdigest(),
        settings=asdict(settings),
        profiles=profiles,
    )
    return plans.write_plan(folder, graph, record, plan)


def _prepare(path: Path) -> None:
    """Raise ``OutputError`` before a build that could not be stored; clear away what a cut left."""
    try:
        path.mkdir(exist_ok=True)
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, "no permission to write")
        for file in path.glob(".*.tmp"):
            if time.time() - file.stat().st_mtime > _ABANDONED_S:
                file.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: {error.strerror or error}; name a store you can write to with --store"
        ) from error


def _profiles(folder: EngineFolder, graph: str) -> tuple[Profile, ...]:
    profile = profile_of(folder.manifest, graph)
    return (profile,) if profile else ()


class _RefusedError(Exception):
    """What the library says against a graph, and what might help."""


@contextmanager
def _named(target: Target, folder: EngineFolder, graph: str) -> Iterator[None]:
    """Put the names of graph and library before a refusal."""
    try:
        yield
    except _RefusedError as error:
        name = str(folder.path) if graph == "model" else f"{folder.path}: {graph}"
        raise EngineError(f"{name}: {target.library} {target.version}: {error}") from error


def _build(
    target: Target,
    onnx: bytes,
    profiles: tuple[Profile, ...],
    settings: Settings,
    timing_cache: Path | None,
    progress: _Progress,
) -> bytes:
    """Return the plan of a graph; raise ``_RefusedError`` where there is none."""
    trt, said = load(target.library), _logger(target.library).said
    said.clear()
    try:
        builder = trt.Builder(_logger(target.library))
    except TypeError as error:  # what the bindings make of a null pointer
        raise _RefusedError(_last(said) or f"no builder ({error})") from error
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    if network is None:
        raise _RefusedError(_last(said))
    parser = trt.OnnxParser(network, _logger(target.library))
    if not parser.parse(onnx):
        errors = [_told(parser.get_error(index)) for index in range(parser.num_errors)]
        export = "rtx" if target.library == "tensorrt-rtx" else "tensorrt"
        raise _RefusedError(
            f"cannot parse it ({_shortened(errors)}); export it with --target {export}"
        )
    config = _configured(trt, builder, target, profiles, settings)
    if timing_cache is not None:
        _load_timing_cache(config, timing_cache)
    monitor = _monitor(trt, progress)
    config.progress_monitor = monitor
    plan = builder.build_serialized_network(network, config)
    # The plan alone tells: without a driver the library logs errors and succeeds.
    if plan is None:
        raise _RefusedError(
            f"no plan ({_last(said)}); if memory ran out, allow less with --workspace"
        )
    if timing_cache is not None:
        _save_timing_cache(config, timing_cache)
    return bytes(plan)


def _configured(
    trt: Any, builder: Any, target: Target, profiles: tuple[Profile, ...], settings: Settings
) -> Any:
    config = builder.create_builder_config()
    for profile in profiles:
        shapes = builder.create_optimization_profile()
        try:
            for name, (least, usual, most) in profile.items():
                shapes.set_shape(name, least, usual, most)
        except ValueError as error:
            raise _RefusedError(f"does not take its profile ({error}); export it again") from error
        if config.add_optimization_profile(shapes) < 0:
            raise _RefusedError("does not take its profile; export it again")
    # Details are for reading a plan with the engine inspector. They are not part of what runs.
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    config.clear_flag(trt.BuilderFlag.TF32)
    if settings.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace << 20)
    if settings.optimization_level is not None:
        config.builder_optimization_level = settings.optimization_level
    if target.library == "tensorrt-rtx" and target.capability == _TURING:
        config.num_compute_capabilities = 1
        if not config.set_compute_capability(trt.ComputeCapability.SM75, 0):
            raise _RefusedError("cannot build for compute capability 7.5; use TensorRT instead")
    return config


# Timing caches ----------------------------------------------------------------------------------


def _timing_cache_file(target: Target, folder: EngineFolder) -> Path | None:
    """Return where a store keeps what TensorRT measured, so that it measures it once."""
    if target.library != "tensorrt":
        return None
    store = folder.path.parent.parent
    return store / f"timing-{target.library}-{target.version}-{target.compute_capability}.cache"


def _load_timing_cache(config: Any, path: Path) -> None:
    """Give the builder what was measured before; one that it does not take is dropped."""
    known = path.read_bytes() if path.is_file() else b""
    for data in (known, b""):
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, False):
            return
        path.unlink(missing_ok=True)
    raise _RefusedError("does not take an empty timing cache; install it again")


def _save_timing_cache(config: Any, path: Path) -> None:
    cache = config.get_timing_cache()
    data = cache.serialize() if cache is not None else None
    if data is not None:
        write_atomic(path, bytes(data))


# What the library tells -------------------------------------------------------------------------


@dataclass
class _Progress:
    """How far a build is: phases within phases, of some steps each."""

    report: Report
    stop: threading.Event

    def __post_init__(self) -> None:
        self._phases: dict[str, list[int]] = {}  # the outermost first: steps, and those done
        self._told = 0.0  # a phase begins before the step that it is part of, and ends after

    def start(self, phase: str, steps: int) -> None:
        self._phases[phase] = [max(steps, 1), 0]

    def step(self, phase: str, step: int) -> bool:
        """Take note of a step; return whether to go on."""
        if phase in self._phases:
            self._phases[phase][1] = step + 1
        share, weight = 0.0, 1.0
        for steps, done in list(self._phases.values()):
            share += weight * min(done / steps, 1.0)
            weight /= steps
        self._told = max(self._told, min(share, 1.0))
        self.report(self._told)
        return not self.stop.is_set()

    def finish(self, phase: str) -> None:
        self._phases.pop(phase, None)


def _monitor(trt: Any, progress: _Progress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        """Nothing may be raised through it."""

        def phase_start(self, phase: str, _parent: str | None, steps: int) -> None:
            progress.start(phase, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            return progress.step(phase, step)

        def phase_finish(self, phase: str) -> None:
            progress.finish(phase)

    return Monitor()


@functools.cache
def _logger(library: str) -> Any:
    """Return what listens to a library: one for all its builders, for it keeps to the first."""
    return _listener(load(library))


def _listener(trt: Any) -> Any:
    class Listener(trt.ILogger):  # type: ignore[misc]
        """Keeps the last errors, for the message."""

        def __init__(self) -> None:
            super().__init__()
            self.said: deque[str] = deque(maxlen=3)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.ERROR:
                self.said.append(message)

    return Listener()


def _told(error: Any) -> str:
    """Return a parser's error with the node that it is about."""
    return f"{error.node_operator()} {error.node_name()}: {error.desc()}"


def _last(said: deque[str]) -> str:
    return _shortened(list(said)[-1:] or ["it does not say why"])


def _shortened(messages: list[str]) -> str:
    return " ".join("; ".join(messages).split())[:400]
