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

from vivant.backends import Arrays, Engine, open_engine, usable_cores
from vivant.closing import Closing
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
    published_layout,
    quads,
)
from vivant.harmonizers.inr_picture import MODEL, Place, blend, encode, on_strips
from vivant.roles import Image, Matte, check_mask
from vivant.store import EngineFolder, EngineStore

GRAPHS = ("encoder", "cells", *(level.name for level in LEVELS))
"""What the engine consists of."""

FOREGROUND = 100
"""Of 255: what the mask exceeds where the published result is the network's."""

_AREA = 8192  # positions of a tile, so that what it computes stays in a core's cache

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
            BackendError: the inference library is not installed.
        """
        folder = store.engine(MODEL)

        def open_graph(graph: str, threads: int) -> Engine:
            return open_engine(folder, graph, threads=threads)

        return cls.of_graphs(open_graph, read_nodes(folder), threads)

    @classmethod
    def of_graphs(
        cls,
        open_graph: Callable[[str, int], Engine],
        nodes: Mapping[str, int],
        threads: int | None = None,
    ) -> InrHarmonizer:
        """Open each of ``GRAPHS`` with a function of its name and number of threads.

        Args:
            open_graph: opens a graph.
            nodes: how many a cell has, by level; see ``inr_axes.nodes_needed``.
            threads: to compute with; all usable cores unless told otherwise.
        """
        threads = threads or usable_cores()
        # Tiles side by side keep cores busier than threads within the small products of one.
        each = {level.name: 1 for level in LEVELS}
        engines = {graph: open_graph(graph, each.get(graph, threads)) for graph in GRAPHS}
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
        if not any(strengths) or not mask.any():
            return tuple(composite.copy() for _ in strengths)
        prediction = self.predict(composite, mask, best_layout(*mask.shape))

        def colours(place: Place) -> _Floats:
            return np.asarray((prediction[place] + 1) * np.float32(127.5))

        return blend(composite, mask, strengths, colours, self._pool)

    def exact(self, composite: Image, mask: Matte, split: int | None = None) -> Image:
        """Return what the published procedures give: no strength, and a hard edge.

        Where ``mask`` exceeds 100 of 255 are the network's colours, truncated to bytes; elsewhere
        is the composite. (The authors' scripts send the composite through floats and truncate it
        too, which costs some of its values a level. That is left out.) Patches that they read a
        pixel off are read so; see ``Layout.crop``.

        Args:
            composite: uint8 [H,W,3] RGB.
            mask: uint8 [H,W].
            split: patches along the shorter side; the procedures' own number if None, see
                ``published_layout``.

        Raises:
            ImageError: the mask is not of the composite's size, or that is too small, or cannot be
                cut so.
            EngineError: the engine does not return numbers.
        """
        _check(composite, mask)
        height, width = mask.shape
        layout = published_layout(height, width, split)
        wanted = mask > FOREGROUND
        prediction = self.predict(composite, mask, layout, wanted)
        result: Image = composite.copy()

        def work(place: Place) -> None:
            levels = (prediction[place] * np.float32(0.5) + np.float32(0.5)) * 255
            np.copyto(result[place], levels.astype(np.uint8), where=wanted[place][..., np.newaxis])

        on_strips(wanted.view(np.uint8), work, self._pool)
        return result

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
        x, y, width, height = cv2.boundingRect(wanted.view(np.uint8))
        if not width:
            return prediction
        encoding = self._pool.submit(encode, self._engines["encoder"], composite, mask)
        plan = self._plan(layout, wanted)  # meanwhile
        encoded = encoding.result()
        mlps = self._mlps(encoded, [tile for _, part in plan for tile in part[FULL]])
        colours = {name: encoded[name] for name in ("colour_weights", "colour_biases")}

        size = layout.size
        for (top, left), part in plan:
            crop_top, crop_left = layout.crop((top, left))
            crop = np.s_[crop_top : crop_top + size, crop_left : crop_left + size]
            patch = np.asarray(cv2.cvtColor(composite[crop], cv2.COLOR_RGB2RGBA), np.uint8)
            cv2.insertChannel(mask[crop], patch, 3)
            place = prediction[top : top + size, left : left + size].transpose(2, 0, 1)
            self._decode(part, patch, mlps, colours, place)
        if not np.isfinite(prediction[y : y + height, x : x + width].sum()):
            raise no_numbers()
        return prediction

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


def read_nodes(folder: EngineFolder) -> dict[str, int]:
    """Return how many nodes a cell has, by level, as the engine's export found it.

    Raises:
        EngineError: the manifest does not say.
    """
    nodes = folder.manifest.preprocessing.get("nodes")
    names = [level.name for level in LEVELS]
    if not isinstance(nodes, dict) or not all(isinstance(nodes.get(name), int) for name in names):
        raise EngineError(
            f"{folder.path}: preprocessing lacks the nodes of {', '.join(names)}; "
            f"run 'vivant export {MODEL}' again"
        )
    return nodes


def check_size(height: int, width: int) -> None:
    """Raise ``ImageError`` where a composite is too small to be cut up."""
    if min(height, width) < LEAST_SIDE:
        raise ImageError(
            f"composite: {width}x{height}, the harmonizer needs {LEAST_SIDE} pixels on a side; "
            "choose a larger output"
        )


def no_numbers() -> EngineError:
    """Return the error for colours that are no numbers."""
    return EngineError(f"{MODEL}: its colours are no numbers; export it in fp32")


def _check(composite: Image, mask: Matte) -> None:
    check_mask(composite, mask)
    check_size(*mask.shape)
