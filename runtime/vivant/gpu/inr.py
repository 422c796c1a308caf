"""INR-Harmonization on a device, at the picture's own size: ``harmonizers.inr`` for buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vivant.backends import open_device_engine
from vivant.backends.device import Buffer, DeviceEngine, Shape, Stream
from vivant.backends.workspace import Workspace
from vivant.closing import Closing
from vivant.gpu import kernels
from vivant.gpu.encoder import DeviceEncoder
from vivant.gpu.inr_tiles import Strip, plan
from vivant.gpu.roles import Region
from vivant.harmonizers.inr import GRAPHS, check_size, no_numbers, read_nodes
from vivant.harmonizers.inr_axes import FULL, HALF, QUARTER, Level
from vivant.harmonizers.inr_geometry import CHANNELS, best_layout
from vivant.harmonizers.inr_picture import MODEL
from vivant.store import EngineStore


@dataclass(frozen=True)
class _Picture:
    """What is worked on: the picture, its mask, the tables, and the stream that it is put on."""

    composite: Buffer
    mask: Buffer
    block: Buffer
    stream: Stream


class DeviceInr(Closing):
    """Satisfies ``vivant.gpu.roles.DeviceHarmonizer`` with the network's own colours.

    Its memory is the workspace's, named "inr..." and "encoder...".
    """

    def __init__(
        self,
        workspace: Workspace,
        encoder: DeviceEncoder,
        engines: Mapping[str, DeviceEngine],
        nodes: Mapping[str, int],
        params: int,
    ) -> None:
        """Make a harmonizer of opened engines.

        Args:
            workspace: whose memory and device it uses.
            encoder: the first of ``GRAPHS``.
            engines: by name, the others.
            nodes: how many a cell has, by level; see ``inr_axes.nodes_needed``.
            params: what a cell's MLP is made from on the full level, how many numbers.
        """
        self._workspace, self._device = workspace, workspace.device
        self._encoder, self._engines = encoder, engines
        self._nodes, self._params = nodes, params
        self._computed = False

    @classmethod
    def open(cls, store: EngineStore, workspace: Workspace) -> DeviceInr:
        """Open the engine ``inr-harmonization`` of ``store`` on the workspace's device.

        Raises:
            EngineError: the engine is missing, altered, untrained or cannot be opened.
            BackendError: the inference library is not installed.
        """
        folder = store.engine(MODEL)
        nodes = read_nodes(folder)
        params = int(folder.manifest.graphs["cells"].outputs[0].shape[1])
        encoder = DeviceEncoder.open(store, workspace)
        engines = {
            graph: open_device_engine(folder, graph, workspace.device) for graph in GRAPHS[1:]
        }
        return cls(workspace, encoder, engines, nodes, params)

    def close(self) -> None:
        """Close the engines; the memory stays the workspace's."""
        self._encoder.close()
        for engine in self._engines.values():
            engine.close()

    def enqueue(
        self,
        composite: Buffer,
        mask: Buffer,
        region: Region,
        strengths: Sequence[float],
        stream: Stream,
    ) -> list[Buffer]:
        """Put the work on ``stream``; return one picture per strength. See the role.

        The network runs once, for the region.

        Raises:
            ImageError: the composite is too small.
            EngineError: the graphs cannot be used so.
        """
        check_size(*mask.shape)
        workspace, device = self._workspace, self._device
        pictures = [
            workspace.buffer(f"inr.picture.{index}", composite.shape)
            for index, _ in enumerate(strengths)
        ]
        self._computed = not region.empty
        if region.empty:
            for picture in pictures:
                device.copy(composite, picture, stream)
            return pictures
        colours = self._predict(composite, mask, region, stream)
        scratch = self._floats("inr.scratch", (kernels.SCRATCH,))
        moments = self._floats("inr.moments", (4,))
        kernels.moments(device, colours, scratch, moments, stream)
        device.download(moments, workspace.pinned("inr.moments", (4,), np.float32), stream)
        for strength, picture in zip(strengths, pictures, strict=True):
            kernels.blend(
                device, composite, mask, colours, strength, picture, stream, x=region.x, y=region.y
            )
        return pictures

    def check(self) -> None:
        """See that the colours are numbers, once the stream was synchronised.

        Raises:
            EngineError: they are not.
        """
        if not self._computed:
            return
        # The moments of what is no number are none.
        moments = self._workspace.pinned("inr.moments", (4,), np.float32).array
        if not np.isfinite(moments).all():
            raise no_numbers()

    def _predict(self, composite: Buffer, mask: Buffer, region: Region, stream: Stream) -> Buffer:
        """Return where the colours of a region will be, float32 [3,height,width], RGB, -1..1."""
        encoded = self._encoder.enqueue(composite, mask, stream)
        layout = best_layout(*mask.shape)
        todo = plan(layout, region, self._nodes)  # while the device is busy with the encoder
        block = self._workspace.uploaded("inr.tables", todo.block, stream)
        mlps = {
            QUARTER: encoded["quarter_cells"],
            HALF: encoded["half_cells"],
            FULL: self._cells(encoded["full_hidden"], todo.quads.on(block), stream),
        }
        last = {name: encoded[name] for name in ("colour_weights", "colour_biases")}
        colours = self._floats("inr.colours", (3, region.height, region.width))
        picture = _Picture(composite, mask, block, stream)
        for band in todo.bands:
            below: dict[str, Buffer] = {}
            for level in (QUARTER, HALF):
                side = layout.size // level.shrink
                values = self._floats(f"inr.{level.name}", (CHANNELS, side, band.patches * side))
                self._compute(
                    picture, level, band.strips[level], {"params": mlps[level], **below}, values
                )
                below = {"below": values.part(0, (CHANNELS * side * band.patches, side))}
            others = {"params": mlps[FULL], **below, **last}
            self._compute(picture, FULL, band.strips[FULL], others, colours)
        return colours

    def _cells(self, hidden: Buffer, quads: Buffer, stream: Stream) -> Buffer:
        """Return where the full level's MLPs will be, float32 [4Q,P], of quads [Q,16]."""
        found = self._floats("inr.full_cells", (4 * quads.shape[0], self._params))
        engine = self._engines["cells"]
        engine.bind({"hidden": hidden, "quads": quads, "full_cells": found})
        engine.enqueue(stream)
        return found

    def _compute(
        self,
        picture: _Picture,
        level: Level,
        strips: Sequence[Strip],
        others: Mapping[str, Buffer],
        target: Buffer,
    ) -> None:
        """Compute strips of a level into ``target``, float32 [channels,rows,columns]."""
        engine, device, stream = self._engines[level.name], self._device, picture.stream
        step = level.shrink
        for strip in strips:
            columns = strip.pixels.on(picture.block)
            for run in strip.runs:
                rows = run.pixels.on(picture.block)
                (count,), (window,) = rows.shape, columns.shape
                pixels = self._workspace.buffer("inr.pixels", (count, step, window, step, 4))
                values = self._floats("inr.values", (target.shape[0], count, strip.columns))
                kernels.gather(
                    device, picture.composite, picture.mask, rows, columns, pixels, stream
                )
                inputs = {name: table.on(picture.block) for name, table in run.inputs.items()}
                engine.bind({"pixels": pixels, **inputs, **others, "values": values})
                engine.enqueue(stream)
                kernels.scatter(device, values, run.row, strip.column, target, stream)

    def _floats(self, name: str, shape: Shape) -> Buffer:
        return self._workspace.buffer(name, shape, np.float32)
