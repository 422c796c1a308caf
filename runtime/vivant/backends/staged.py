"""An engine on a device for callers whose arrays are the host's."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivant.backends import Arrays
from vivant.backends.device import Device
from vivant.backends.tensorrt import TensorRtEngine
from vivant.backends.workspace import Workspace
from vivant.closing import Closing


class StagedEngine(Closing):
    """An ``Engine`` that takes its inputs to a device and its outputs back, by pinned memory.

    It owns the device and the engine on it. Several threads may run it; they take turns.
    """

    def __init__(self, engine: TensorRtEngine, device: Device) -> None:
        self._engine, self._device = engine, device
        self._workspace, self._stream = Workspace(device), device.stream()
        self._lock = threading.Lock()

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Compute every output, by name, from ``inputs``, by name.

        Raises ``EngineError`` where the inputs are not those that the graph takes.
        """
        with self._lock:
            device, stream, workspace = self._device, self._stream, self._workspace
            outputs = self._engine.outputs({name: array.shape for name, array in inputs.items()})
            sizes = {name: tuple(int(side or 0) for side in o.shape) for name, o in outputs.items()}
            landing = {n: workspace.pinned(n, sizes[n], o.dtype) for n, o in outputs.items()}
            results = {n: workspace.buffer(n, sizes[n], o.dtype) for n, o in outputs.items()}
            try:
                sent = {
                    name: workspace.uploaded(name, np.asarray(array), stream)
                    for name, array in inputs.items()
                }
                self._engine.bind({**sent, **results})
                self._engine.enqueue(stream)
                for name, result in results.items():
                    device.download(result, landing[name], stream)
            finally:
                device.synchronise(stream)
            return {name: pinned.array.copy() for name, pinned in landing.items()}

    def close(self) -> None:
        """Give back the engine, its memory and the device."""
        self._engine.close()
        self._workspace.close()
        self._device.close()
