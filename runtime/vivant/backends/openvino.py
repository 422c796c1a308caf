"""OpenVINO as a backend: the fastest one for INT8 and bfloat16 on Intel processors."""

from __future__ import annotations

import threading
from typing import Any

from numpy.typing import NDArray

from vivant.backends import Arrays, refuse_external_data, usable_cores
from vivant.closing import Closing
from vivant.errors import BackendError, EngineError

DEVICE = "CPU"


class OpenVinoEngine(Closing):
    """A graph compiled by OpenVINO for this processor.

    Properties, and why:

    - ``INFERENCE_PRECISION_HINT``: float32 unless bfloat16 was asked for. OpenVINO's own default
      is bfloat16 wherever the processor has it. Quantised layers run in INT8 under either.
    - ``PERFORMANCE_HINT = LATENCY``: one picture at a time, on all threads.
    - ``INFERENCE_NUM_THREADS``: the cores this process may use, not the machine's.
    - ``ENABLE_CPU_PINNING = False``: other work of the process shares these cores.
    """

    def __init__(
        self, graph: bytes, name: str, *, bf16: bool = False, threads: int | None = None
    ) -> None:
        """Compile ``graph``, the bytes of a verified ONNX file called ``name`` in messages.

        Raises:
            BackendError: OpenVINO is not here, or bfloat16 is asked of a processor without it.
            EngineError: OpenVINO cannot open the graph, or it has weights in another file.
        """
        refuse_external_data(graph, name)
        ov = _import_openvino()
        core = ov.Core()
        if bf16 and "BF16" not in core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"):
            raise BackendError(
                f"{name}: this processor does not compute in bfloat16; run 'vivant tune' again"
            )
        properties = {
            "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or usable_cores(),
            "ENABLE_CPU_PINNING": False,
        }
        try:
            model = core.read_model(graph)
            # Asked before compiling, which may give an output a second name.
            self._outputs = [output.get_any_name() for output in model.outputs]
            self._model: Any = core.compile_model(model, DEVICE, properties)
        except RuntimeError as error:
            raise _failed(name, "open", error) from error
        self._name = name
        self._requests = threading.local()  # one runs one picture at a time

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute every output, by name, from ``inputs``, by name.

        Raises ``EngineError`` where the inputs are not those that the graph takes.
        """
        request = getattr(self._requests, "request", None)
        if request is None:
            request = self._requests.request = self._model.create_infer_request()
        try:
            results = request.infer(dict(inputs), share_inputs=True)
        except (RuntimeError, ValueError) as error:
            raise _failed(self._name, "run", error) from error
        return dict(zip(self._outputs, results.values(), strict=True))

    def close(self) -> None:
        """Give back the compiled graph; the engine cannot run afterwards."""
        self._model, self._requests = None, threading.local()


def _failed(name: str, what: str, error: Exception) -> EngineError:
    """Return an error of OpenVINO's, whose messages are a page that ends in the reason, as ours."""
    reason = " ".join(str(error).split())[-200:]
    return EngineError(f"{name}: OpenVINO cannot {what} it ({reason}); export it again")


def _import_openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise BackendError(
            "openvino is not installed; run pip install 'vivant[openvino]'"
        ) from error
    return openvino
