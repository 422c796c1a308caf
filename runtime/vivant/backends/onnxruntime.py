"""ONNX Runtime as a backend."""

from __future__ import annotations

import os
from typing import Any

from numpy.typing import NDArray

from vivant.backends import Arrays, Closing
from vivant.errors import BackendError, EngineError

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"

# Without this key a tensor of an ONNX file cannot have its data elsewhere. ONNX Runtime follows it
# to any path, or (lately) to some: what was hashed is all that may be loaded. No name in an engine
# of ours has the word in it.
_EXTERNAL = b"location"


class OnnxRuntimeEngine(Closing):
    """A graph opened in ONNX Runtime, on exactly the execution provider that was asked for.

    Session options, and why:

    - ``intra_op_num_threads``: the cores this process may use. ONNX Runtime's own default counts
      the machine's and pins threads to them, which is wrong inside containers and cgroups.
    - ``allow_spinning = 0``: worker threads sleep between runs. Spinning saves microseconds and
      costs an idle kiosk a whole core.
    - ``inter_op_num_threads = 1``, sequential: the graphs are chains.
    - Optimisation level *all*; log level *fatal*: what goes wrong is raised.
    """

    def __init__(
        self, graph: bytes, name: str, *, provider: str = CPU, threads: int | None = None
    ) -> None:
        """Open ``graph``, the bytes of a verified ONNX file called ``name`` in messages.

        Raises:
            BackendError: ONNX Runtime or the provider is not here.
            EngineError: ONNX Runtime cannot open the graph, or it has weights in another file.
        """
        if _EXTERNAL in graph:
            raise EngineError(
                f"{name}: names another file for its weights, which nothing vouches for; "
                "export it again"
            )
        ort = _import_onnxruntime()
        if provider not in ort.get_available_providers():
            available = ", ".join(ort.get_available_providers())
            raise BackendError(
                f"{provider}: not in this build of ONNX Runtime (it has {available}); "
                "install 'vivant[gpu]' or choose another provider"
            )
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or usable_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = ort.InferenceSession(graph, options, providers=[provider])
        # ONNX Runtime's exceptions share no base class but this one.
        except Exception as error:
            first_line = str(error).splitlines()[0]
            raise EngineError(
                f"{name}: ONNX Runtime cannot open it ({first_line}); export it again"
            ) from error
        if self._session.get_providers()[0] != provider:
            raise BackendError(
                f"{provider}: ONNX Runtime could not start it and fell back; "
                "run 'vivant doctor' to see what is missing"
            )
        # It would keep the file's bytes, all of which it has copied, for as long as it lives.
        self._session._model_bytes = None  # noqa: SLF001 - there is no public way
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute every output, by name, from ``inputs``, by name."""
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))

    def close(self) -> None:
        """Give back the session; the engine cannot run afterwards."""
        self._session = None


def usable_cores() -> int:
    """Return how many cores this process may run on (its affinity, not the machine's count)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _import_onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            "onnxruntime is not installed; run pip install 'vivant[cpu]' (or 'vivant[gpu]')"
        ) from error
    return onnxruntime
