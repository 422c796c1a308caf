"""MTCNN's published weights, read from the installed ``mtcnn`` wheel without importing it.

The wheel of ipazc/mtcnn (MIT) carries the weights of timesler/facenet-pytorch (MIT), bit for bit.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vivant.errors import ModelError

Array = NDArray[np.float32]

# joblib files are pickles: these very files are opened, and no other.
WEIGHTS_SHA256 = {
    "pnet.lz4": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet.lz4": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet.lz4": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
INSTALL = "run pip install 'vivant[mtcnn]'"


@dataclass(frozen=True)
class Convolution:
    """Weight [O,I,kh,kw], bias [O], PReLU slope [O], then max pooling (kernel, stride) if any."""

    weight: Array
    bias: Array
    slope: Array
    pool: tuple[int, int] | None


@dataclass(frozen=True)
class Dense:
    """Weight [in,out], bias [out], PReLU slope [out]."""

    weight: Array
    bias: Array
    slope: Array


@dataclass(frozen=True)
class Network:
    """One of the three networks in its published form: the numbers, and what follows what.

    ``heads`` are (weight, bias) by name: "probability" has two classes, the second is *face*.
    Their weights are [O,I,1,1] where there is no hidden layer (P-Net), else [in,out]. ``side``
    is that of the square input, or None where any size goes (P-Net).
    """

    name: str
    convolutions: tuple[Convolution, ...]
    hidden: Dense | None
    heads: dict[str, tuple[Array, Array]]
    side: int | None


# By network: pooling after each convolution, hidden layer, heads in the file's order, input side.
LAYOUTS: dict[str, tuple[tuple[tuple[int, int] | None, ...], bool, tuple[str, ...], int | None]] = {
    "pnet": (((2, 2), None, None), False, ("regression", "probability"), None),
    "rnet": (((3, 2), (3, 2), None), True, ("regression", "probability"), 24),
    "onet": (
        ((3, 2), (3, 2), (2, 2), None),
        True,
        ("regression", "landmarks", "probability"),
        48,
    ),
}


def load_network(name: str) -> Network:
    """Read "pnet", "rnet" or "onet" from the installed ``mtcnn`` wheel, without importing it.

    Raises:
        ModelError: the wheel is missing, or its file is not the one whose hash is known.
    """
    arrays = iter(_read_arrays(f"{name}.lz4"))
    pools, has_hidden, heads, side = LAYOUTS[name]
    convolutions = tuple(
        Convolution(
            next(arrays).transpose(3, 2, 0, 1), next(arrays), next(arrays).reshape(-1), pool
        )
        for pool in pools
    )
    hidden = Dense(next(arrays), next(arrays), next(arrays)) if has_hidden else None

    def head() -> tuple[Array, Array]:
        weight, bias = next(arrays), next(arrays)
        return (weight if has_hidden else weight.transpose(3, 2, 0, 1)), bias

    return Network(name, convolutions, hidden, {key: head() for key in heads}, side)


def _read_arrays(file_name: str) -> list[Array]:
    spec = importlib.util.find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"mtcnn: the wheel with the weights is not installed; {INSTALL}")
    path = Path(spec.submodule_search_locations[0]) / "assets" / "weights" / file_name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}; {INSTALL}") from error
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256[file_name]:
        raise ModelError(f"{path}: not the known weights (SHA-256 differs); {INSTALL}")
    import joblib

    arrays: list[Array] = joblib.load(io.BytesIO(data))
    return arrays
