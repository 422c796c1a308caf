"""INR-Harmonization's own colour table on a device: ``vivant.harmonizers.inr_lut`` for buffers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vivant.backends.device import Buffer, Stream
from vivant.backends.workspace import Workspace
from vivant.closing import Closing
from vivant.gpu import kernels
from vivant.gpu.encoder import DeviceEncoder
from vivant.gpu.roles import Region
from vivant.harmonizers.inr_lut import check_table
from vivant.store import EngineStore


class DeviceLut(Closing):
    """Satisfies ``vivant.gpu.roles.DeviceHarmonizer`` with the encoder's table.

    Its memory is the workspace's, named "lut..." and "encoder...".
    """

    def __init__(self, workspace: Workspace, encoder: DeviceEncoder) -> None:
        self._workspace, self._encoder = workspace, encoder

    @classmethod
    def open(cls, store: EngineStore, workspace: Workspace) -> DeviceLut:
        """Open the encoder of the engine ``inr-harmonization`` on the workspace's device.

        Raises:
            EngineError: the engine is missing, altered, untrained or cannot be opened.
            BackendError: the inference library is not installed.
        """
        return cls(workspace, DeviceEncoder.open(store, workspace))

    def close(self) -> None:
        """Close the encoder; the memory stays the workspace's."""
        self._encoder.close()

    def enqueue(
        self,
        composite: Buffer,
        mask: Buffer,
        region: Region,  # noqa: ARG002  (the table is for pictures as a whole)
        strengths: Sequence[float],
        stream: Stream,
    ) -> list[Buffer]:
        """Put the work on ``stream``; return one picture per strength. See the role."""
        workspace, device = self._workspace, self._workspace.device
        table = self._encoder.enqueue(composite, mask, stream)["lut3d"]
        scratch = workspace.buffer("lut.scratch", (kernels.SCRATCH,), np.float32)
        moments = workspace.buffer("lut.moments", (4,), np.float32)
        kernels.moments(device, table, scratch, moments, stream)
        device.download(moments, workspace.pinned("lut.moments", (4,), np.float32), stream)
        pictures = []
        for index, strength in enumerate(strengths):
            picture = workspace.buffer(f"lut.{index}", composite.shape)
            kernels.look_up(device, composite, mask, table, strength, picture, stream)
            pictures.append(picture)
        return pictures

    def check(self) -> None:
        """See that the table consists of numbers, once the stream was synchronised.

        Raises:
            EngineError: it does not.
        """
        # Its moments are numbers if it is.
        check_table(self._workspace.pinned("lut.moments", (4,), np.float32).array)
