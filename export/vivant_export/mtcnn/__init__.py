"""MTCNN's three networks as ONNX graphs, built from the weights in the ``mtcnn`` wheel.

Zhang et al. 2016, "Joint Face Detection and Alignment using Multitask Cascaded Convolutional
Networks"; weights of ipazc/mtcnn (MIT), equal to those of timesler/facenet-pytorch (MIT).

The graphs compute what the published networks compute, in a form that inference libraries run
faster. Max pooling comes before the PReLU that it follows (see ``_pooled_layer``). Elsewhere PReLU
is ``Relu(x) - slope * Relu(-x)`` with the scalings as 1x1 depthwise convolutions. Channels are
padded to whole blocks. So ONNX Runtime stays in its blocked layout from the first convolution to
the last, which its PRelu operator and elementwise arithmetic would leave. The two-class softmax is
the sigmoid of the difference, and the normalisation ``(x - 127.5) / 128`` is folded into the first
convolution.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vivant.errors import ModelError
from vivant.manifest import Graph, Manifest, Tensor, Weights
from vivant.store import EngineFolder, EngineStore
from vivant_export.catalogue import find_model
from vivant_export.gate import gate
from vivant_export.mtcnn import parity
from vivant_export.mtcnn.graph_builder import OPSET, GraphBuilder
from vivant_export.mtcnn.weights import (
    INSTALL,
    LAYOUTS,
    SHAPES,
    WEIGHTS_SHA256,
    Array,
    Convolution,
    Network,
    read_network,
    wheel_state,
)
from vivant_export.origin import Origin

BLOCK = 16  # channels in a block of ONNX Runtime's layout (NCHWc) on AVX-512; 8 elsewhere


_MEANINGS = {
    "probability": "probability that this is a face, 0..1",
    "regression": "offsets of x1, y1, x2, y2 in shares of the box's size",
    "landmarks": "five x, then five y, in shares of the box's size: eyes, nose, mouth corners",
}
_HEAD_SIZES = {"regression": 4, "landmarks": 10}


def published() -> Origin:
    """Return the weights of the installed ``mtcnn`` wheel.

    Raises ``ModelError`` where it is missing; reading raises it where a file is not the known one.
    """
    try:
        version = importlib.metadata.version("mtcnn")
    except importlib.metadata.PackageNotFoundError as error:
        raise ModelError(
            f"mtcnn: the wheel with the weights is not installed; {INSTALL}"
        ) from error
    weights = Weights("official", f"PyPI mtcnn {version}", "MIT", WEIGHTS_SHA256)
    return Origin(weights, lambda _: wheel_state())


def export(store: EngineStore, origin: Origin | None = None) -> EngineFolder:
    """Build the three graphs, hold them against the published form, and store the engine.

    Args:
        store: where the engine goes.
        origin: other weights than those of the ``mtcnn`` wheel.

    Raises:
        ModelError: the weights are missing, altered, or not MTCNN's.
        EngineError: a graph does not compute what the published network computes.
        OutputError: the store cannot be written to.
    """
    origin = origin or published()
    networks = _networks(origin)
    files = {name: build_graph(network) for name, network in networks.items()}
    manifest = Manifest(
        model="mtcnn",
        variant="fp32",
        role="faces",
        precision="fp32",
        graphs={
            name: Graph(
                file=f"{name}.onnx",
                sha256=hashlib.sha256(files[name]).hexdigest(),
                opset=OPSET,
                inputs=(_input(network),),
                outputs=_outputs(network),
            )
            for name, network in networks.items()
        },
        weights=origin.weights,
        preprocessing={"color": "RGB", "range": "0..255", "resize": "adaptive average pooling"},
        parity=_measure(networks, files),
        tools={name: importlib.metadata.version(name) for name in ("onnx", "numpy")},
    )
    return store.write(manifest, {f"{name}.onnx": data for name, data in files.items()})


def check(folder: EngineFolder, origin: Origin | None = None) -> Mapping[str, float]:
    """Hold an engine of the store against the published form again; raises as ``export``."""
    networks = _networks(origin or published())
    return _measure(networks, {name: folder.read(name) for name in networks})


def _networks(origin: Origin) -> dict[str, Network]:
    state = origin.read(SHAPES)
    if {key: tuple(value.shape) for key, value in state.items()} != SHAPES:
        # A file's, so that torch is here, which read it.
        from vivant_export.checkpoints import check_state

        check_state(SHAPES, state, source=origin.weights.source)
    arrays = {key: np.asarray(value, np.float32) for key, value in state.items()}
    return {name: read_network(name, arrays) for name in LAYOUTS}


def _measure(networks: Mapping[str, Network], files: Mapping[str, bytes]) -> dict[str, float]:
    measured = {
        f"{name}.max_abs": parity.measure(network, files[name])
        for name, network in networks.items()
    }
    gate("mtcnn", measured, find_model("mtcnn").tolerances["fp32"])
    return measured


def build_graph(network: Network) -> bytes:
    """Return the ONNX file of ``network``: float32 [N,H,W,3] RGB 0..255 in, its heads out."""
    graph = GraphBuilder()
    x = graph.node("Transpose", "image", name="nchw", perm=[0, 3, 1, 2])
    signs = np.ones(3, np.float32)
    for index, layer in enumerate(network.convolutions, start=1):
        weight, bias = _fold_normalisation(layer) if index == 1 else (layer.weight, layer.bias)
        weight = _widen(weight, axis=1, size=len(signs)) * signs[:, None, None]
        if layer.pool:
            x, signs = _pooled_layer(graph, x, replace(layer, weight=weight, bias=bias), index)
        else:
            x = _convolve(graph, x, _widen(weight), _widen(bias), f"conv{index}")
            x = _prelu(graph, x, _widen(layer.slope), f"prelu{index}")
            signs = np.ones(_blocks(len(bias)), np.float32)
    if network.hidden:
        x = graph.node("Transpose", x, name="nwhc", perm=[0, 3, 2, 1])
        x = graph.node("Flatten", x, name="flat")
        x = _multiply(graph, x, network.hidden.weight, network.hidden.bias, "dense")
        x = _prelu_dense(graph, x, network.hidden.slope, "dense_prelu")
    for name, (weight, bias) in network.heads.items():
        _head(graph, x, name, weight, bias)
    return graph.model(network.name, [_input(network)], list(_outputs(network)))


def _head(graph: GraphBuilder, x: str, name: str, weight: Array, bias: Array) -> None:
    """One output; two-class softmax is the sigmoid of the classes' difference, folded in too."""
    is_class = name == "probability"
    end = name if not is_class else "face_logit"
    if weight.ndim == 4:
        if is_class:
            weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
        x = _convolve(graph, x, weight, bias, f"{name}_conv")
        end = graph.node("Transpose", x, name=end, perm=[0, 2, 3, 1])
    else:
        if is_class:
            weight, bias = weight[:, 1:] - weight[:, :1], bias[1:] - bias[:1]
        end = _multiply(graph, x, weight, bias, end)
    if is_class:
        graph.node("Sigmoid", end, name=name)


def _fold_normalisation(layer: Convolution) -> tuple[Array, Array]:
    """Fold ``(x - 127.5) / 128`` into a convolution without padding, in double precision."""
    weight = layer.weight.astype(np.float64) / 128
    bias = layer.bias - 127.5 * weight.sum(axis=(1, 2, 3))
    return weight.astype(np.float32), bias.astype(np.float32)


def _convolve(graph: GraphBuilder, x: str, weight: Array, bias: Array | None, name: str) -> str:
    constants = [graph.constant(weight, f"{name}.weight")]
    if bias is not None:
        constants.append(graph.constant(bias, f"{name}.bias"))
    return graph.node("Conv", x, *constants, name=name)


def _multiply(graph: GraphBuilder, x: str, weight: Array, bias: Array, name: str) -> str:
    w = graph.constant(weight, f"{name}.weight")
    return graph.node("Gemm", x, w, graph.constant(bias, f"{name}.bias"), name=name)


def _pooled_layer(graph: GraphBuilder, x: str, layer: Convolution, index: int) -> tuple[str, Array]:
    """Convolution, PReLU and max pooling, with the pooling first: it leaves a quarter to do.

    PReLU is the larger of the lines ``p`` and ``slope * p`` where the slope is at most 1, else
    the smaller. The largest over a window of the larger of two lines is the larger of the
    lines' largest, so that pooling may come first; a falling line's largest is at the smallest
    ``p``, hence the negated copies of those channels. The smaller of two lines is the negative
    of a larger: such channels come out negated.

    Returns:
        The value's name, and the sign of each of its channels, which the next layer undoes.
    """
    falling = np.flatnonzero(layer.slope < 0)
    weight = _widen(np.concatenate([layer.weight, -layer.weight[falling]]))
    bias = _widen(np.concatenate([layer.bias, -layer.bias[falling]]))
    x = _convolve(graph, x, weight, bias, f"conv{index}")
    x = _max_pool(graph, x, *layer.pool, f"pool{index}") if layer.pool else x
    signs = np.where(layer.slope > 1, -1, 1).astype(np.float32)
    first, bend = (np.zeros((len(signs), len(bias)), np.float32) for _ in range(2))
    np.fill_diagonal(first, signs)
    np.fill_diagonal(bend, np.where(layer.slope < 0, -1, signs * (layer.slope - 1)))
    bend[falling, len(signs) + np.arange(len(falling))] = -layer.slope[falling]
    line, over = (
        _convolve(graph, x, _widen(mix)[:, :, None, None], None, f"prelu{index}.{name}")
        for name, mix in (("line", first), ("over", bend))
    )
    over = graph.node("Relu", over, name=f"prelu{index}.bend")
    return graph.node("Add", line, over, name=f"prelu{index}"), _widen(signs)


def _max_pool(graph: GraphBuilder, x: str, kernel: int, stride: int, name: str) -> str:
    sides = {"kernel_shape": [kernel, kernel], "strides": [stride, stride]}
    return graph.node("MaxPool", x, name=name, ceil_mode=1, **sides)


def _blocks(channels: int) -> int:
    return -(-channels // BLOCK) * BLOCK


def _widen(array: Array, axis: int = 0, size: int | None = None) -> Array:
    """Return ``array`` with zero channels added, to ``size`` or to whole blocks."""
    missing = (size or _blocks(array.shape[axis])) - array.shape[axis]
    return np.pad(array, [(0, missing if i == axis else 0) for i in range(array.ndim)])


def _prelu(graph: GraphBuilder, x: str, slope: Array, name: str) -> str:
    """``Relu(x) - slope * Relu(-x)`` on [N,C,H,W].

    ``Max(x, slope * x)`` would be shorter and wrong: some slopes are negative or above 1.
    """
    positive = graph.node("Relu", x, name=f"{name}.positive")
    negated = _scale(graph, x, np.full_like(slope, -1), f"{name}.negated")
    negative = graph.node("Relu", negated, name=f"{name}.negative")
    return graph.node("Add", _scale(graph, negative, -slope, f"{name}.scaled"), positive, name=name)


def _scale(graph: GraphBuilder, x: str, factor: Array, name: str) -> str:
    """Multiply every channel by its factor: a 1x1 depthwise convolution."""
    weight = graph.constant(factor.reshape(-1, 1, 1, 1), f"{name}.weight")
    return graph.node("Conv", x, weight, name=name, group=len(factor))


def _prelu_dense(graph: GraphBuilder, x: str, slope: Array, name: str) -> str:
    """``Relu(x) + slope * Min(x, 0)`` on [N,C]."""
    zero = graph.constant(np.zeros(1, np.float32), f"{name}.zero")
    positive = graph.node("Relu", x, name=f"{name}.positive")
    negative = graph.node("Min", x, zero, name=f"{name}.negative")
    factor = graph.constant(slope, f"{name}.slope")
    scaled = graph.node("Mul", negative, factor, name=f"{name}.scaled")
    return graph.node("Add", positive, scaled, name=name)


def _input(network: Network) -> Tensor:
    shape: tuple[int | str, ...] = (
        ("batch", network.side, network.side, 3)
        if network.side
        else ("batch", "height", "width", 3)
    )
    return Tensor("image", "float32", shape, "RGB, 0..255, not normalised")


def _outputs(network: Network) -> tuple[Tensor, ...]:
    lead = ("batch",) if network.side else ("batch", "rows", "columns")
    return tuple(
        Tensor(name, "float32", (*lead, _HEAD_SIZES.get(name, 1)), _MEANINGS[name])
        for name in network.heads
    )
