"""MTCNN's networks as published, in plain NumPy: what an exported graph is held against."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from vivant.backends.onnxruntime import OnnxRuntimeEngine
from vivant_export.mtcnn.weights import Network

Array = NDArray[np.float64]

_SEED = 20160411
_ANY_SIZE = (61, 46)  # P-Net: odd and even, so that the pooling's ceil mode shows


def measure(network: Network, graph: bytes) -> float:
    """Return the largest deviation of ``graph`` from ``forward`` on seeded pictures.

    It is a share of the largest output of its head where that is above 1, as it is on untrained
    weights; not a number where an output is none.
    """
    height, width = (network.side, network.side) if network.side else _ANY_SIZE
    rng = np.random.default_rng(_SEED)
    pictures = rng.uniform(0, 255, (3, height, width, 3)).astype(np.float32)
    expected = forward(network, pictures)
    with OnnxRuntimeEngine(graph, network.name) as engine:
        got = engine.run({"image": pictures})
    return float(
        np.max(
            [
                np.abs(got[name] - value).max() / max(np.abs(value).max(), 1.0)
                for name, value in expected.items()
            ]
        )
    )


def forward(network: Network, pictures: NDArray[np.float32]) -> dict[str, Array]:
    """Run the published network in double precision.

    Args:
        network: its weights.
        pictures: float32 [N,H,W,3], RGB, 0..255.

    Returns:
        By head, [N,rows,columns,C] for P-Net and [N,C] else; "probability" is that of *face*.
    """
    x = (pictures.astype(np.float64) - 127.5) * 0.0078125
    for layer in network.convolutions:
        x = _prelu(_convolve(x, layer.weight, layer.bias), layer.slope)
        if layer.pool:
            x = _max_pool(x, *layer.pool)
    if network.hidden:
        # The original flattens columns before rows.
        x = x.transpose(0, 2, 1, 3).reshape(len(x), -1)
        x = _prelu(x @ network.hidden.weight + network.hidden.bias, network.hidden.slope)
    outputs = {
        name: _convolve(x, weight, bias) if weight.ndim == 4 else x @ weight + bias
        for name, (weight, bias) in network.heads.items()
    }
    exponentials = np.exp(outputs["probability"])
    outputs["probability"] = exponentials[..., 1:] / exponentials.sum(axis=-1, keepdims=True)
    return outputs


def _convolve(x: Array, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Array:
    windows = sliding_window_view(x, weight.shape[2:], axis=(1, 2))  # [N,H,W,I,kh,kw]
    return np.asarray(np.tensordot(windows, weight, axes=([3, 4, 5], [1, 2, 3])) + bias)


def _prelu(x: Array, slope: NDArray[np.float32]) -> Array:
    return np.where(x > 0, x, x * slope)


def _max_pool(x: Array, kernel: int, stride: int) -> Array:
    """Max pooling whose last window may hang over the edge (``ceil_mode``)."""
    overhang = [-(size - kernel) % stride for size in x.shape[1:3]]
    padded = np.pad(
        x, [(0, 0), (0, overhang[0]), (0, overhang[1]), (0, 0)], constant_values=-np.inf
    )
    windows = sliding_window_view(padded, (kernel, kernel), axis=(1, 2))[:, ::stride, ::stride]
    return np.asarray(windows.max(axis=(-2, -1)))
