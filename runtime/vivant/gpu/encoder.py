"""INR-Harmonization's encoder on a device, which every way to apply the network begins with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from vivant.backends import open_device_engine
from vivant.backends.device import Buffer, DeviceEngine, Shape, Stream
from vivant.backends.workspace import Workspace
from vivant.closing import Closing
from vivant.gpu import kernels
from vivant.gpu.kernels import Taps
from vivant.gpu.tables import bilinear
from vivant.harmonizers.inr_picture import MODEL, SIDE
from vivant.manifest import Tensor
from vivant.store import EngineStore


class DeviceEncoder(Closing):
    """The graph "encoder" with the memory that it reads and writes.

    That is the workspace's, named "encoder...".
    """

    def __init__(
        self, workspace: Workspace, engine: DeviceEngine, outputs: Sequence[Tensor]
    ) -> None:
        """Take the opened graph, and its outputs as the manifest has them."""
        self._workspace, self._device, self._engine = workspace, workspace.device, engine
        self._outputs = outputs
        self._shape: Shape = ()
        self._taps: tuple[Taps, ...] = ()  # for pictures of that shape
        self._fixed: tuple[Buffer, ...] = ()  # also

    @classmethod
    def open(cls, store: EngineStore, workspace: Workspace) -> DeviceEncoder:
        """Open the encoder of the engine ``inr-harmonization`` on the workspace's device.

        Raises:
            EngineError: the engine is missing, altered, untrained or cannot be opened.
            BackendError: the inference library is not installed.
        """
        folder = store.engine(MODEL)
        engine = open_device_engine(folder, "encoder", workspace.device)
        return cls(workspace, engine, folder.manifest.graphs["encoder"].outputs)

    def close(self) -> None:
        """Close the engine; the memory stays the workspace's."""
        self._engine.close()

    def enqueue(self, composite: Buffer, mask: Buffer, stream: Stream) -> Mapping[str, Buffer]:
        """Put on ``stream`` what the encoder says about a picture, which it sees at 256x256.

        Args:
            composite: uint8 [H,W,3] RGB.
            mask: uint8 [H,W].
            stream: where the work goes.

        Returns:
            Its outputs by name, which the next call writes over.
        """
        workspace = self._workspace
        (rows, columns), (down, across) = self._tables(mask.shape, stream)
        image = workspace.buffer("encoder.image", (1, SIDE, SIDE, 3))
        weight = workspace.buffer("encoder.mask", (1, SIDE, SIDE), np.float32)
        kernels.resample_fixed(self._device, composite, image[0], down, across, stream)
        kernels.resample(self._device, mask, weight[0], rows, columns, stream)
        outputs = {
            output.name: workspace.buffer(
                f"encoder.{output.name}", tuple(map(int, output.shape)), output.dtype
            )
            for output in self._outputs
        }
        self._engine.bind({"image": image, "mask": weight, **outputs})
        self._engine.enqueue(stream)
        return outputs

    def _tables(self, shape: Shape, stream: Stream) -> tuple[tuple[Taps, ...], tuple[Buffer, ...]]:
        """Return the tables of rows and columns, for the mask and for the picture.

        The picture gets OpenCV's bytes, which the host's encoder is given. The mask's become
        shares of one.
        """
        if self._shape != shape:
            workspace = self._workspace
            rows, columns = (bilinear(length, SIDE) for length in shape)
            wanted = (replace(rows, weights=rows.weights / np.float32(255)), columns)
            self._taps = kernels.upload_tables(workspace, "encoder.tables", wanted, stream)
            small = SIDE, SIDE
            self._fixed = kernels.upload_fixed(workspace, "encoder.fixed", shape, small, stream)
            self._shape = shape
        return self._taps, self._fixed
