"""INR-Harmonization's engine: its graphs, what they are held against, what the runtime must know.

The graphs themselves are in ``inr_modules``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vivant import manifest
from vivant.backends.onnxruntime import OnnxRuntimeEngine
from vivant.closing import Closing
from vivant.harmonizers.inr import GRAPHS, InrHarmonizer
from vivant.harmonizers.inr_axes import FULL, LEVELS, QUARTER, Level, nodes_needed
from vivant.harmonizers.inr_geometry import (
    CHANNELS,
    Layout,
    arbitrary_layout,
    square_layout,
)
from vivant.images import load_image
from vivant.resampling import resample
from vivant.roles import Image, Matte
from vivant_export.graphs import Arrays, EngineSpec, GraphSpec
from vivant_export.graphs.inr_modules import (
    COLOUR_BIASES,
    COLOUR_WEIGHTS,
    HIDDEN,
    CellHead,
    EncoderGraph,
    LevelGraph,
    cell_mlps,
)
from vivant_export.networks.hinet import LUT, HiNet
from vivant_export.networks.hinet_mlps import BASE
from vivant_export.networks.hinet_procedures import FOREGROUND, arbitrary, square
from vivant_samples import PORTRAIT

OPSET = 18

_KEEP_FP32: Mapping[str, tuple[str, ...]] = {
    "quarter": ("waves", "mlps"),
    "half": ("waves", "mlps"),
    "full": ("waves", "mlps", "colours"),
}


def harmonizer_engine(network: nn.Module, *, opset: int = OPSET) -> EngineSpec:
    """Return what HINet, in eval mode, becomes."""
    assert isinstance(network, HiNet)  # noqa: S101 - what this role's models are built as
    modules = {
        "encoder": EncoderGraph(network),
        "cells": CellHead(network, FULL),
        **{level.name: LevelGraph(network, level) for level in LEVELS},
    }
    signatures = {
        "encoder": _encoder_signature(network),
        "cells": _cells_signature(network),
        **{level.name: _level_signature(network, level) for level in LEVELS},
    }
    nodes = _nodes(network)
    recorded = functools.cache(lambda: _record(modules, signatures, nodes))
    graphs = tuple(
        GraphSpec(
            name=name,
            module=modules[name].eval(),
            inputs=signatures[name][0],
            outputs=signatures[name][1],
            samples=lambda name=name: recorded()[name],  # type: ignore[misc]
            opset=opset,
            keep_fp32=_KEEP_FP32.get(name, ()),
        )
        for name in GRAPHS
    )
    return EngineSpec(
        role="harmonizer",
        graphs=graphs,
        preprocessing={"color": "RGB", "size": BASE, "resize": "bilinear", "nodes": nodes},
        end_to_end=functools.partial(_end_to_end, network, nodes),
    )


_Signature = tuple[tuple[manifest.Tensor, ...], tuple[manifest.Tensor, ...]]


def _encoder_signature(network: HiNet) -> _Signature:
    quarter, half, full = (level.grid**2 for level in LEVELS)
    return (
        (
            manifest.Tensor("image", "uint8", (1, BASE, BASE, 3), "RGB, resized"),
            manifest.Tensor("mask", "float32", (1, BASE, BASE), "0..1, resized"),
        ),
        (
            _floats("quarter_cells", "MLPs of the quarter level", quarter, _params(network, 0)),
            _floats("half_cells", "MLPs of the half level", half, _params(network, 1)),
            _floats("full_hidden", "what 'cells' makes MLPs from", full, HIDDEN),
            _floats("colour_weights", "the colours' MLP", COLOUR_WEIGHTS),
            _floats("colour_biases", "the colours' MLP", COLOUR_BIASES),
            _floats("lut3d", "output RGB by input RGB, 0..1", 1, 3, LUT, LUT, LUT),
        ),
    )


def _cells_signature(network: HiNet) -> _Signature:
    return (
        (
            _floats("hidden", "from the encoder", FULL.grid**2, HIDDEN),
            _ints("quads", "the 4x4 cells around each quad of cells", "quads", 16),
        ),
        (_floats("full_cells", "MLPs of the full level", "cells", _params(network, 2)),),
    )


def _level_signature(network: HiNet, level: Level) -> _Signature:
    step, size = level.shrink, _params(network, LEVELS.index(level))
    pixels = ("rows", step, "window", step, 4)
    inputs = [
        manifest.Tensor("pixels", "uint8", pixels, "R, G, B, mask under each position"),
        _floats("params", "MLPs of cells", "mlps", size),
        _ints("cells", "which of them are used", "cells"),
        *_axis_signature("y", ("rows",), ()),
        *_axis_signature("x", ("cells", "columns_of_cell"), ("cells",)),
        _ints("positions", "of each cell in the window", "cells", "rows", "columns_of_cell"),
        _ints("raster", "where each position is in the cells", "rows", "columns"),
    ]
    if level is not QUARTER:
        inputs += [
            _floats("below", "rows of the level below", "lines", "half_side"),
            _ints("near", "its rows that count 3/4", "rows", "lines_of_row"),
            _ints("far", "its rows that count 1/4", "rows", "lines_of_row"),
        ]
    if level is FULL:
        inputs += [
            _floats("colour_weights", "the colours' MLP", COLOUR_WEIGHTS),
            _floats("colour_biases", "the colours' MLP", COLOUR_BIASES),
        ]
    channels = 3 if level is FULL else CHANNELS
    meaning = "RGB, -1..1" if level is FULL else "what the next level is given"
    return tuple(inputs), (_floats("values", meaning, channels, "rows", "columns"),)


def _axis_signature(
    axis: str, positions: tuple[str, ...], cells: tuple[str, ...]
) -> tuple[manifest.Tensor, ...]:
    nodes, entries = f"nodes_of_{axis}", f"entries_of_{axis}"
    return (
        _floats(f"{axis}_nodes", "coordinates -1..1 of nodes", *cells, nodes),
        _floats(f"{axis}_node_basis", "weights of nodes", *positions, nodes),
        _ints(f"{axis}_table", "entries of the learnt table", *cells, entries),
        _floats(f"{axis}_table_basis", "weights of entries", *positions, entries),
    )


def _floats(name: str, meaning: str, *shape: int | str) -> manifest.Tensor:
    return manifest.Tensor(name, "float32", shape, meaning)


def _ints(name: str, meaning: str, *shape: int | str) -> manifest.Tensor:
    return manifest.Tensor(name, "int32", shape, meaning)


def _params(network: HiNet, level: int) -> int:
    """Return how many numbers a cell's MLP is made from, on ``LEVELS[level]``."""
    return len(cell_mlps(network, LEVELS[level]).cont_extraction_net[4].get_parameter("bias"))


def _nodes(network: HiNet) -> dict[str, int]:
    """Return how many nodes a cell needs on each level, for the sines that were learnt."""
    frequencies = network.decoder.INR_encoding.predict_embed["ffm"].get_parameter("weight")
    fastest = float(frequencies.detach().abs().max())
    return {level.name: nodes_needed(fastest, level.grid) for level in LEVELS}


class _Recorder(Closing):
    """Stands in for an opened graph: computes in torch, and keeps the first inputs it is given."""

    def __init__(self, module: nn.Module, signature: _Signature) -> None:
        self.first: Arrays = {}
        self._module, (self._inputs, self._outputs) = module, signature

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        arrays = {tensor.name: np.ascontiguousarray(inputs[tensor.name]) for tensor in self._inputs}
        self.first = self.first or arrays
        with torch.inference_mode():
            results = self._module(*map(torch.from_numpy, arrays.values()))
        results = results if isinstance(results, tuple) else (results,)
        named = zip(self._outputs, results, strict=True)
        return {tensor.name: result.numpy() for tensor, result in named}


def _record(
    modules: Mapping[str, nn.Module], signatures: Mapping[str, _Signature], nodes: Mapping[str, int]
) -> dict[str, list[Arrays]]:
    """Return what the runtime feeds each graph, for a picture of either procedure."""
    samples: dict[str, list[Arrays]] = {name: [] for name in modules}
    for layout in (square_layout(BASE, BASE), arbitrary_layout(100, 140, 1)):
        engines = {name: _Recorder(modules[name], signatures[name]) for name in modules}
        composite, mask = _picture(layout)
        with InrHarmonizer(engines, nodes, threads=1) as harmonizer:
            harmonizer.predict(composite, mask, layout)
        for name, engine in engines.items():
            samples[name].append(engine.first)
    return samples


def _end_to_end(
    network: HiNet, nodes: Mapping[str, int], files: Mapping[str, bytes]
) -> dict[str, float]:
    """Hold the engine's colours against the published procedures', where they are used.

    Returns:
        "end_to_end.mean_abs", of colours -1..1, and "end_to_end.differing", the share of pixels
        that differ once they are bytes; of two pictures the worse.
    """
    means, shares = [], []

    def open_graph(graph: str, threads: int) -> OnnxRuntimeEngine:
        return OnnxRuntimeEngine(files[graph], f"inr-harmonization: {graph}", threads=threads)

    with InrHarmonizer.of_graphs(open_graph, nodes) as harmonizer:
        for layout in (square_layout(2 * BASE, 2 * BASE), arbitrary_layout(160, 224, 1)):
            composite, mask = _picture(layout)
            if layout.blocks:
                expected = square(network, composite, mask, split_resolution=layout.size)
            else:
                expected = arbitrary(network, composite, mask, split_num=1)
            used = mask > FOREGROUND
            got = harmonizer.predict(composite, mask, layout)[used]
            means.append(float(np.abs(got - expected.prediction[used]).mean()))
            levels, wanted = (
                np.rint(rgb * 127.5 + 127.5) for rgb in (got, expected.prediction[used])
            )
            shares.append(float((levels != wanted).any(axis=1).mean()))
    return {"end_to_end.mean_abs": max(means), "end_to_end.differing": max(shares)}


def _picture(layout: Layout) -> tuple[Image, Matte]:
    """Return the sample portrait at a layout's size, and a soft ellipse around the person."""
    height, width = layout.height, layout.width
    mask = np.zeros((height, width), np.uint8)
    center, axes = (width // 2, 3 * height // 5), (width // 4, 2 * height // 5)
    cv2.ellipse(mask, center, axes, 0, 0, 360, 255, -1)
    soft = np.asarray(cv2.GaussianBlur(mask, (0, 0), height / 64), np.uint8)
    # Copied, for torch wants arrays that could be written to.
    return resample(load_image(PORTRAIT), height, width, "bilinear-antialiased").copy(), soft
