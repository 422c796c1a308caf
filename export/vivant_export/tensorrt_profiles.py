"""TensorRT's optimisation profiles: between which shapes a plan is to work, and where it is best.

A plan is built for ranges of the free sizes of its graph; what the runtime feeds must lie within.
The ranges follow from what the runtime can ask for, and the memory that a plan takes at run time
from their upper ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from vivant.errors import EngineError
from vivant.harmonizers.inr_axes import FULL, LEVELS, TABLE, Level
from vivant.harmonizers.inr_geometry import CHANNELS, MOST_PATCH
from vivant.manifest import Manifest, Tensor
from vivant.plans import Profile
from vivant_export.catalogue import MODELS


class Range(NamedTuple):
    """Of a free size: the smallest, the one that the plan is tuned for, the largest."""

    least: int
    usual: int
    most: int


Ranges = Mapping[str, Range]
"""By the word that stands for the size in the manifest."""

MOST_SIDE = 3840
"""Height and width in pixels of the largest picture that INR-Harmonization's plans take: what a
screen of four times Full HD shows, upright or not. Memory grows with its square."""

_MOST_PATCHES = 32  # side by side: of a picture eight times as wide as it is high


def profile_of(manifest: Manifest, graph: str) -> Profile:
    """Return the shapes of those inputs of a graph that have a free size; see ``plans.Profile``.

    Raises:
        EngineError: nobody has said between what a free size lies.
    """
    inputs = manifest.graphs[graph].inputs
    free = [tensor for tensor in inputs if any(isinstance(size, str) for size in tensor.shape)]
    words = {size for tensor in free for size in tensor.shape if isinstance(size, str)}
    ranges = _ranges(manifest, graph) if words else {}
    if missing := sorted(words - ranges.keys()):
        raise EngineError(
            f"{manifest.model}/{manifest.variant}: no range is known for '{missing[0]}', a free "
            f"size of graph '{graph}'; export it again, or add one to tensorrt_profiles.py"
        )

    def shape(tensor: Tensor, end: int) -> tuple[int, ...]:
        return tuple(ranges[size][end] if isinstance(size, str) else size for size in tensor.shape)

    return {tensor.name: (shape(tensor, 0), shape(tensor, 1), shape(tensor, 2)) for tensor in free}


def _ranges(manifest: Manifest, graph: str) -> Ranges:
    model = MODELS.get(manifest.model)
    found = _BY_ARCHITECTURE.get(model.architecture) if model else None
    return found(manifest, graph) if found else {}


def _mtcnn(_: Manifest, graph: str) -> Ranges:
    # The levels of the pyramid of a photo of WORKING_SIDE pixels, for faces of MIN_FACE.
    side = Range(12, 325, 721)
    return {
        "pnet": {"batch": Range(1, 1, 1), "height": side, "width": side},
        "rnet": {"batch": Range(1, 64, 256)},
        "onet": {"batch": Range(1, 16, 256)},
    }.get(graph, {})


def _bargainnet(_: Manifest, __: str) -> Ranges:
    return {"batch": Range(1, 6, 16)}  # the untouched composite and five strengths


def _hinet(manifest: Manifest, graph: str) -> Ranges:
    if graph == "cells":
        most = FULL.grid**2 // 4
        return {"quads": Range(1, most // 4, most)}
    return next((_tile(manifest, level) for level in LEVELS if level.name == graph), {})


def _tile(manifest: Manifest, level: Level) -> Ranges:
    """Return the sizes of what is computed at a time, of a tile or of a row of patches.

    Usual is all across a picture of 1080 x 1440 pixels. What the words mean is told in
    ``vivant_export.graphs.harmonizer``, and why in ``vivant.harmonizers.inr_geometry``.
    """
    # All positions, in patches side by side, the last of which may lie over the one before.
    positions = Range(1, 1088 // level.shrink, MOST_SIDE * 3 // 2 // level.shrink)
    # A cell has as many positions on every level, and one more where it is the nearest's.
    in_cell = Range(1, 24, MOST_SIDE // FULL.grid + 2)
    entries = TABLE // level.grid + 2
    # Where a patch takes the table as it is, a cell has an entry for each position.
    in_table = Range(1, entries, max(entries, in_cell.most))
    mlps = level.grid**2
    # An engine without them is refused for want of a range.
    nodes: Mapping[str, int] = manifest.preprocessing.get("nodes", {})
    in_sine = [Range(count, count, count) for name, count in nodes.items() if name == level.name]
    return {
        "rows": in_cell,
        "columns": positions,
        "window": positions,
        "columns_of_cell": in_cell,
        # Where a patch begins within a cell, that one counts twice.
        "cells": Range(1, level.grid, level.grid + _MOST_PATCHES),
        "mlps": Range(4, mlps // 4, mlps) if level is FULL else Range(mlps, mlps, mlps),
        **{f"nodes_of_{axis}": count for axis in "yx" for count in in_sine},
        "entries_of_y": in_table,
        "entries_of_x": in_table,
        "half_side": Range(1, 136 // level.shrink, MOST_PATCH // 2 // level.shrink),
        "lines": Range(CHANNELS, CHANNELS * positions.usual // 2, CHANNELS * positions.most // 2),
        "lines_of_row": Range(1, 4 * CHANNELS, _MOST_PATCHES * CHANNELS),
    }


_BY_ARCHITECTURE: Mapping[str, Callable[[Manifest, str], Ranges]] = {
    "mtcnn": _mtcnn,
    "bargainnet": _bargainnet,
    "hinet": _hinet,
}
