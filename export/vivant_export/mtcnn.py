"""MTCNN's three networks as ONNX graphs, built from the weights in the ``mtcnn`` wheel.

Zhang et al. 2016, "Joint Face Detection and Alignment using Multitask Cascaded Convolutional
Networks"; weights of ipazc/mtcnn (MIT), equal to those of timesler/facenet-pytorch (MIT).

The graphs compute what the published networks compute, in a form that inference libraries run
faster. PReLU is ``Relu(x) - slope * Relu(-x)`` with the scalings as 1x1 depthwise convolutions,
and channels are padded to whole blocks, so that ONNX Runtime stays in its blocked layout from the
first convolution to the last (1.2 to 1.5 times as fast as an elementwise PReLU, which itself is
faster than the operator). The two-class softmax is the sigmoid of the difference, and the
normalisation ``(x - 127.5) / 128`` is folded into the first convolution.
"""

from __future__ import annotations

import hashlib
import importlib.metadata

import numpy as np

from vivant.manifest import Graph, Manifest, Tensor, Weights
from vivant.store import EngineFolder, EngineStore
from vivant_export import mtcnn_parity
from vivant_export.graph_builder import GraphBuilder
from vivant_export.mtcnn_weights import (
    LAYOUTS,
    WEIGHTS_SHA256,
    Array,
    Convolution,
    Network,
    load_network,
)

BLOCK = 16  # channels in a block of ONNX Runtime's layout (NCHWc) on AVX-512; 8 elsewhere


_MEANINGS = {
    "probability": "probability that this is a face, 0..1",
    "regression": "offsets of x1, y1, x2, y2 in shares of the box's size",
    "landmarks": "five x, then five y, in shares of the box's size: eyes, nose, mouth corners",
}
_HEAD_SIZES = {"regression": 4, "landmarks": 10}


def export(store: EngineStore) -> EngineFolder:
    """Build the three graphs, hold them against the published form, and store the engine.

    Raises:
        ModelError: the ``mtcnn`` wheel is missing or is not the one that is known.
        EngineError: a graph does not compute what the published network computes.
        OutputError: the store cannot be written to.
    """
    networks = [load_network(name) for name in LAYOUTS]
    files = {f"{network.name}.onnx": build_graph(network) for network in networks}
    parity = {
        f"{network.name}.max_abs": mtcnn_parity.check(network, files[f"{network.name}.onnx"])
        for network in networks
    }
    manifest = Manifest(
        model="mtcnn",
        variant="fp32",
        role="faces",
        precision="fp32",
        graphs={
            network.name: Graph(
                file=f"{network.name}.onnx",
                sha256=hashlib.sha256(files[f"{network.name}.onnx"]).hexdigest(),
                inputs=(_input(network),),
                outputs=_outputs(network),
            )
            for network in networks
        },
        weights=Weights(
            kind="official",
            source=f"PyPI mtcnn {importlib.metadata.version('mtcnn')}",
            licence="MIT",
            sha256=WEIGHTS_SHA256,
        ),
        preprocessing={"color": "RGB", "range": "0..255", "resize": "adaptive average pooling"},
        parity=parity,
        tools={name: importlib.metadata.version(name) for name in ("onnx", "numpy")},
    )
    return store.write(manifest, files)


def build_graph(network: Network) -> bytes:
    """Return the ONNX file of ``network``: float32 [N,H,W,3] RGB 0..255 in, its heads out."""
    graph = GraphBuilder()
    x = graph.node("Transpose", "image", name="nchw", perm=[0, 3, 1, 2])
    for index, layer in enumerate(_padded(network.convolutions), start=1):
        weight, bias = _fold_normalisation(layer) if index == 1 else (layer.weight, layer.bias)
        x = _convolve(graph, x, weight, bias, f"conv{index}")
        x = _prelu(graph, x, layer.slope, f"prelu{index}")
        if layer.pool:
            kernel, stride = layer.pool
            x = graph.node(
                "MaxPool",
                x,
                name=f"pool{index}",
                kernel_shape=[kernel, kernel],
                strides=[stride, stride],
                ceil_mode=1,
            )
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


def _convolve(graph: GraphBuilder, x: str, weight: Array, bias: Array, name: str) -> str:
    w = graph.constant(weight, f"{name}.weight")
    return graph.node("Conv", x, w, graph.constant(bias, f"{name}.bias"), name=name)


def _multiply(graph: GraphBuilder, x: str, weight: Array, bias: Array, name: str) -> str:
    w = graph.constant(weight, f"{name}.weight")
    return graph.node("Gemm", x, w, graph.constant(bias, f"{name}.bias"), name=name)


def _padded(layers: tuple[Convolution, ...]) -> list[Convolution]:
    """Return the trunk with zero channels added to fill the blocks; they stay zero throughout."""
    padded, extra_in = [], 0
    for layer in layers:
        extra = -len(layer.bias) % BLOCK
        weight = np.pad(layer.weight, ((0, extra), (0, extra_in), (0, 0), (0, 0)))
        bias, slope = np.pad(layer.bias, (0, extra)), np.pad(layer.slope, (0, extra))
        padded.append(Convolution(weight, bias, slope, layer.pool))
        extra_in = extra
    return padded


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
