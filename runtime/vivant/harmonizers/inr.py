"""INR-Harmonization: a network that decides on a small picture how a large one is changed.

J. Chen et al., "Dense Pixel-to-Pixel Harmonization via Continuous Image Representation", TCSVT
2023 (WindVChen/INR-Harmonization). The encoder sees the composite at 256x256. What it decides is
carried out on the composite at its own size, tile by tile, and only where the mask is; how is
told in ``inr_geometry``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.backends import Arrays, Closing, Engine
from vivant.backends.onnxruntime import OnnxRuntimeEngine, usable_cores
from vivant.errors import EngineError, ImageError
from vivant.harmonizers.inr_axes import FULL, HALF, LEVELS, QUARTER, Level
from vivant.harmonizers.inr_geometry import (
    CHANNELS,
    LEAST_SIDE,
    Corner,
    Layout,
    Tile,
    best_layout,
    patch_tiles,
    quads,
)
from vivant.resampling import BILINEAR, resample
from vivant.roles import Image, Matte
from vivant.store import EngineFolder, EngineStore

GRAPHS = ("encoder", "cells", *(level.name for level in LEVELS))
"""What the engine consists of."""

_MODEL = "inr-harmonization"
_SIDE = 256  # of the encoder's input
_AREA = 8192  # positions of a tile, so that what it computes stays in a core's cache
_ROWS = 64  # blended at a time, likewise

_Floats: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class _Mlps:
    """A level's MLPs: what they are made from, float32 [M,P], and the place of each cell's."""

    params: _Floats
    places: NDArray[np.int32]


class InrHarmonizer(Closing):
    """Satisfies ``vivant.roles.Harmonizer``."""

    def __init__(
        self, engines: Mapping[str, Engine], nodes: Mapping[str, int], threads: int
    ) -> None:
        """Make a harmonizer of opened engines.

        Args:
            engines: by name, ``GRAPHS``.
            nodes: how many a cell has, by level; see ``inr_axes.nodes_needed``.
            threads: how many tiles are computed at a time, by one engine.
        """
        self._engines, self._nodes = engines, nodes
        self._pool = ThreadPoolExecutor(threads)

    @classmethod
    def open(cls, store: EngineStore, *, threads: int | None = None) -> InrHarmonizer:
        """Open the engine ``inr-harmonization`` of ``store``.

        Args:
            store: where it is looked for.
            threads: to compute with; all usable cores unless told otherwise.

        Raises:
            EngineError: the engine is missing, altered, untrained or cannot be opened.
            BackendError: ONNX Runtime is not installed.
        """
        folder = store.engine(_MODEL)
        return cls.of_graphs(folder.read, str(folder.path), _read_nodes(folder), threads)

    @classmethod
    def of_graphs(
        cls, read: Callable[[str], bytes], name: str, nodes: Mapping[str, int], threads: int | None
    ) -> InrHarmonizer:
        """Open the graphs that ``read`` returns by name, in ONNX Runtime.

        Raises:
            EngineError: a graph, called by ``name`` in the message, cannot be opened.
            BackendError: ONNX Runtime is not installed.
        """
        threads = threads or usable_cores()
        # Tiles side by side keep cores busier than threads within the small products of one.
        each = {level.name: 1 for level in LEVELS}
        engines = {
            graph: OnnxRuntimeEngine(
                read(graph), f"{name}: {graph}", threads=each.get(graph, threads)
            )
            for graph in GRAPHS
        }
        return cls(engines, nodes, threads)

    def close(self) -> None:
        """Close the engines."""
        self._pool.shutdown()
        for engine in self._engines.values():
            engine.close()

    def harmonize(
        self, composite: Image, mask: Matte, strengths: Sequence[float]
    ) -> tuple[Image, ...]:
        """Return one picture per strength, 0 (untouched) .. 1 (the network's colours).

        The network runs once. Its colours are blended in by strength and mask. Pixels where
        ``mask`` is 0 come back unchanged; where it is 0 everywhere, all do.

        Args:
            composite: uint8 [H,W,3] RGB.
            mask: uint8 [H,W].
            strengths: for each picture.

        Raises:
            ImageError: the mask is not of the composite's size, or that is too small.
            EngineError: the engine does not return numbers.
        """
        _check(composite, mask)
        x, y, width, height = cv2.boundingRect(mask)
        if not any(strengths) or not width:
            return tuple(composite.copy() for _ in strengths)
        prediction = self.predict(composite, mask, best_layout(*mask.shape))
        columns = slice(x, x + width)
        strips = [slice(top, min(top + _ROWS, y + height)) for top in range(y, y + height, _ROWS)]

        def at(strength: float) -> Image:
            harmonized: Image = composite.copy()

            def blend(rows: slice) -> None:
                place = rows, columns
                change = (prediction[place] + 1) * np.float32(127.5) - composite[place]
                change *= mask[place][..., np.newaxis] * np.float32(strength / 255)
                change += composite[place]
                harmonized[place] = np.rint(change)

            deque(self._pool.map(blend, strips), maxlen=0)
            return harmonized

        return tuple(at(strength) if strength else composite.copy() for strength in strengths)

    def predict(
        self,
        composite: Image,
        mask: Matte,
        layout: Layout,
        wanted: NDArray[np.bool_] | None = None,
    ) -> _Floats:
        """Return the network's colours as a published procedure gives them.

        Args:
            composite: uint8 [H,W,3] RGB.
            mask: uint8 [H,W].
            layout: the procedure and its patches.
            wanted: bool [H,W], for which pixels; where ``mask`` is not 0 if None.

        Returns:
            float32 [H,W,3], RGB, -1..1. Elsewhere than where they were wanted, they may be 0.

        Raises:
            EngineError: the engine does not return numbers.
        """
        wanted = mask > 0 if wanted is None else wanted
        prediction = np.zeros(composite.shape, np.float32)
        plan = self._plan(layout, wanted)
        if not plan:
            return prediction
        encoded = self._encode(composite, mask)
        mlps = self._mlps(encoded, [tile for _, part in plan for tile in part[FULL]])
        colours = {name: encoded[name] for name in ("colour_weights", "colour_biases")}

        pixels = np.asarray(cv2.cvtColor(composite, cv2.COLOR_RGB2RGBA), np.uint8)
        pixels[..., 3] = mask
        size = layout.size
        for (top, left), part in plan:
            crop_top, crop_left = layout.crop((top, left))
            patch = pixels[crop_top : crop_top + size, crop_left : crop_left + size]
            place = prediction[top : top + size, left : left + size].transpose(2, 0, 1)
            self._decode(part, patch, mlps, colours, place)
        if not np.isfinite(prediction.sum()):
            raise EngineError(f"{_MODEL}: its colours are no numbers; export it in fp32")
        return prediction

    def _encode(self, composite: Image, mask: Matte) -> Arrays:
        """Return what the encoder says about a picture."""
        small = resample(composite, _SIDE, _SIDE, BILINEAR)
        weight = resample(np.asarray(mask / np.float32(255)), _SIDE, _SIDE, BILINEAR)
        return self._engines["encoder"].run(
            {"image": small[np.newaxis], "mask": weight[np.newaxis]}
        )

    def _plan(
        self, layout: Layout, wanted: NDArray[np.bool_]
    ) -> list[tuple[Corner, dict[Level, list[Tile]]]]:
        """Return the corners of the patches that hold wanted pixels, with their tiles."""
        plan = []
        for top, left in layout.corners:
            part = wanted[top : top + layout.size, left : left + layout.size]
            if part.any():
                tiles = patch_tiles(layout, (top, left), part, self._nodes, _AREA)
                plan.append(((top, left), tiles))
        return plan

    def _mlps(self, encoded: Arrays, wanted: Iterable[Tile]) -> dict[Level, _Mlps]:
        """Return the MLPs of all cells; on the full level of those in ``wanted`` alone."""
        cells = np.zeros((FULL.grid, FULL.grid), bool)
        for tile in wanted:
            cells[tile.cells] = True
        index, places = quads(cells)
        inputs = {"hidden": encoded["full_hidden"], "quads": index}
        mlps = {FULL: _Mlps(self._engines["cells"].run(inputs)["full_cells"], places)}
        for level in (QUARTER, HALF):
            every = np.ones((level.grid, level.grid), bool)
            mlps[level] = _Mlps(encoded[f"{level.name}_cells"], quads(every)[1])
        return mlps

    def _decode(
        self,
        tiles: Mapping[Level, list[Tile]],
        patch: NDArray[np.uint8],
        mlps: Mapping[Level, _Mlps],
        colours: Arrays,
        place: _Floats,
    ) -> None:
        """Compute the colours of a patch, uint8 [S,S,4], into ``place``, [3,S,S]."""
        below: dict[str, _Floats] = {}
        for level in (QUARTER, HALF):
            side = len(patch) // level.shrink
            values = np.empty((CHANNELS, side, side), np.float32)
            self._run(level, tiles[level], patch, mlps[level], below, values)
            below = {"below": values.reshape(-1, side)}
        self._run(FULL, tiles[FULL], patch, mlps[FULL], {**below, **colours}, place)

    def _run(
        self,
        level: Level,
        tiles: Iterable[Tile],
        patch: NDArray[np.uint8],
        mlps: _Mlps,
        others: Arrays,
        result: _Floats,
    ) -> None:
        """Compute a level's ``tiles`` into ``result``, [channels,S,S]."""
        engine, shrink = self._engines[level.name], level.shrink
        side = len(patch) // shrink
        pixels = patch.reshape(side, shrink, side, shrink, 4)

        def compute(tile: Tile) -> None:
            inputs = {
                "pixels": pixels[tile.rows, :, tile.window],
                "params": mlps.params,
                "cells": mlps.places[tile.cells],
                **tile.tables(),
                **(tile.below if level is not QUARTER else {}),
                **others,
            }
            result[:, tile.rows, tile.columns] = engine.run(inputs)["values"]

        deque(self._pool.map(compute, tiles), maxlen=0)


def _read_nodes(folder: EngineFolder) -> dict[str, int]:
    nodes = folder.manifest.preprocessing.get("nodes")
    names = [level.name for level in LEVELS]
    if not isinstance(nodes, dict) or not all(isinstance(nodes.get(name), int) for name in names):
        raise EngineError(
            f"{folder.path}: preprocessing lacks the nodes of {', '.join(names)}; "
            f"run 'vivant export {_MODEL}' again"
        )
    return nodes


def _check(composite: Image, mask: Matte) -> None:
    if composite.shape[:2] != mask.shape:
        sizes = [f"{array.shape[1]}x{array.shape[0]}" for array in (mask, composite)]
        raise ImageError("mask: {} for a picture of {}; resize the mask".format(*sizes))
    if min(mask.shape) < LEAST_SIDE:
        raise ImageError(
            f"composite: {mask.shape[1]}x{mask.shape[0]}, the harmonizer needs {LEAST_SIDE} "
            "pixels on a side; choose a larger output"
        )
