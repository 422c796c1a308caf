"""ONNX Runtime as a backend."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from vivant.backends import Arrays, refuse_external_data, usable_cores
from vivant.closing import Closing
from vivant.errors import BackendError, EngineError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
_CUDA_SETTINGS = {
    "use_tf32": "0",
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
}


class OnnxRuntimeEngine(Closing):
    """A graph opened in ONNX Runtime, on exactly the execution provider that was asked for."""

    def __init__(
        self, graph: bytes, name: str, *, provider: str = CPU, threads: int | None = None
    ) -> None:
        """Open ``graph``, the bytes of a verified ONNX file called ``name`` in messages.

        Raises:
            BackendError: ONNX Runtime or the provider is not here.
            EngineError: ONNX Runtime cannot open the graph, or it has weights in another file.
        """
        self._session: Any = open_session(graph, name, provider, threads)
        self._name = name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute every output, by name, from ``inputs``, by name.

        Raises ``EngineError`` where the inputs are not those that the graph takes.
        """
        try:
            results = self._session.run(self._outputs, dict(inputs))
        except Exception as error:
            raise failed(self._name, "run", error) from error
        return dict(zip(self._outputs, results, strict=True))

    def close(self) -> None:
        """Give back the session; the engine cannot run afterwards."""
        self._session = None


def open_session(
    graph: bytes,
    name: str,
    provider: str,
    threads: int | None = None,
    settings: Mapping[str, str] | None = None,
) -> Any:
    """Return a session of ONNX Runtime for ``graph`` on ``provider``, with its ``settings``.

    Session options, and why:

    - ``intra_op_num_threads``: the cores this process may use. ONNX Runtime's own default counts
      the machine's and pins threads to them, which is wrong inside containers and cgroups.
    - ``allow_spinning = 0``: worker threads sleep between runs. Spinning saves microseconds and
      costs an idle kiosk a whole core.
    - ``inter_op_num_threads = 1``, sequential: the graphs are chains.
    - ``enable_mem_pattern = False``: one block for all of a run's buffers saves no time here, and
      comes beside what the first run took: half as much memory again.
    - Optimisation level *all*; log level *fatal*: what goes wrong is raised.

    And of CUDA:

    - ``use_tf32 = 0``: an FP32 engine computes in FP32, as everywhere.
    - ``cudnn_conv_algo_search = HEURISTIC``: to time every algorithm for every new shape takes
      seconds, and a picture's size is often new.
    - ``arena_extend_strategy = kSameAsRequested``: no more memory than is needed.

    Raises:
        BackendError: ONNX Runtime or the provider is not here.
        EngineError: ONNX Runtime cannot open the graph, or it has weights in another file.
    """
    refuse_external_data(graph, name)
    ort = import_onnxruntime()
    if provider not in ort.get_available_providers():
        available = ", ".join(ort.get_available_providers())
        raise BackendError(
            f"{provider}: not in this build of ONNX Runtime (it has {available}); "
            "install 'vivant[gpu]' or choose another provider"
        )
    if provider == CUDA:
        settings = {**_CUDA_SETTINGS, **(settings or {})}
        if hasattr(ort, "preload_dlls"):  # CUDA's libraries from pip are on no search path
            ort.preload_dlls()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or usable_cores()
    options.inter_op_num_threads = 1
    options.enable_mem_pattern = False
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(
            graph, options, providers=[(provider, dict(settings or {}))], enable_fallback=0
        )
    # ONNX Runtime's exceptions share no base class but this one.
    except Exception as error:
        raise failed(name, "open", error) from error
    if session.get_providers()[0] != provider:
        raise BackendError(
            f"{provider}: ONNX Runtime could not start it and fell back; "
            "run 'vivant doctor' to see what is missing"
        )
    # It would keep the file's bytes, all of which it has copied, for as long as it lives.
    session._model_bytes = None  # noqa: SLF001 - there is no public way
    return session


def failed(name: str, what: str, error: Exception) -> EngineError:
    """Return an error of ONNX Runtime's as ours: that it cannot do ``what`` with ``name``."""
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return EngineError(f"{name}: ONNX Runtime cannot {what} it ({first_line}); export it again")


def import_onnxruntime() -> Any:
    """Return the library, its telemetry switched off, or raise ``BackendError``.

    Official builds from 1.29 on report models and runs to their maker, and keep a number of the
    device on its disk, unless they are told not to before they are imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            "onnxruntime is not installed; run pip install 'vivant[cpu]' (or 'vivant[gpu]')"
        ) from error
    return onnxruntime
