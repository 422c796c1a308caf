"""MTCNN's published weights: state dicts in the layout of timesler/facenet-pytorch (MIT).

The wheel of ipazc/mtcnn (MIT) carries those weights, bit for bit; it is read without importing
it. Keys are those of facenet-pytorch's ``MTCNN`` module, such as "rnet.dense4.weight".
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Iterator, Mapping
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
class Layout:
    """What follows what in a published network.

    Convolutions have (channels, kernel, pooling after it as (kernel, stride), or None); the
    hidden layer (inputs, outputs); heads, in the wheel's order, (key, outputs). ``side`` is that
    of the square input, or None where any size goes.
    """

    convolutions: tuple[tuple[int, int, tuple[int, int] | None], ...]
    hidden: tuple[int, int] | None
    heads: Mapping[str, tuple[str, int]]
    side: int | None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter by key, in the wheel's order."""
        shapes: dict[str, tuple[int, ...]] = {}
        channels = 3
        for index, (out, kernel, _) in enumerate(self.convolutions, start=1):
            shapes[f"conv{index}.weight"] = (out, channels, kernel, kernel)
            shapes[f"conv{index}.bias"] = shapes[f"prelu{index}.weight"] = (out,)
            channels = out
        kernel_sides: tuple[int, ...] = (1, 1)
        if self.hidden:
            index = len(self.convolutions) + 1
            inputs, channels = self.hidden
            shapes[f"dense{index}.weight"] = (channels, inputs)
            shapes[f"dense{index}.bias"] = shapes[f"prelu{index}.weight"] = (channels,)
            kernel_sides = ()
        for key, outputs in self.heads.values():
            shapes[f"{key}.weight"] = (outputs, channels, *kernel_sides)
            shapes[f"{key}.bias"] = (outputs,)
        return shapes


LAYOUTS: Mapping[str, Layout] = {
    "pnet": Layout(
        convolutions=((10, 3, (2, 2)), (16, 3, None), (32, 3, None)),
        hidden=None,
        heads={"regression": ("conv4_2", 4), "probability": ("conv4_1", 2)},
        side=None,
    ),
    "rnet": Layout(
        convolutions=((28, 3, (3, 2)), (48, 3, (3, 2)), (64, 2, None)),
        hidden=(576, 128),
        heads={"regression": ("dense5_2", 4), "probability": ("dense5_1", 2)},
        side=24,
    ),
    "onet": Layout(
        convolutions=((32, 3, (3, 2)), (64, 3, (3, 2)), (64, 3, (2, 2)), (128, 2, None)),
        hidden=(1152, 256),
        heads={
            "regression": ("dense6_2", 4),
            "landmarks": ("dense6_3", 10),
            "probability": ("dense6_1", 2),
        },
        side=48,
    ),
}

SHAPES: Mapping[str, tuple[int, ...]] = {
    f"{name}.{key}": shape
    for name, layout in LAYOUTS.items()
    for key, shape in layout.shapes().items()
}
"""Every parameter of the three networks, by key."""


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


def read_network(name: str, state: Mapping[str, Array]) -> Network:
    """Return "pnet", "rnet" or "onet" from the weights of all three, by key (``SHAPES``)."""
    layout = LAYOUTS[name]
    convolutions = tuple(
        Convolution(
            state[f"{name}.conv{index}.weight"],
            state[f"{name}.conv{index}.bias"],
            state[f"{name}.prelu{index}.weight"],
            pool,
        )
        for index, (_, _, pool) in enumerate(layout.convolutions, start=1)
    )
    hidden = None
    if layout.hidden:
        last = len(convolutions) + 1
        hidden = Dense(
            state[f"{name}.dense{last}.weight"].T,
            state[f"{name}.dense{last}.bias"],
            state[f"{name}.prelu{last}.weight"],
        )
    heads = {
        head: (state[f"{name}.{key}.weight"], state[f"{name}.{key}.bias"])
        for head, (key, _) in layout.heads.items()
    }
    if hidden:
        heads = {head: (weight.T, bias) for head, (weight, bias) in heads.items()}
    return Network(name, convolutions, hidden, heads, layout.side)


def wheel_state() -> dict[str, Array]:
    """Return the weights in the installed ``mtcnn`` wheel, by key.

    Raises:
        ModelError: the wheel is missing, or a file is not the one whose hash is known.
    """
    return dict(_wheel_arrays())


def _wheel_arrays() -> Iterator[tuple[str, Array]]:
    for name, layout in LAYOUTS.items():
        arrays = _read_arrays(f"{name}.lz4")
        for key, array in zip(layout.shapes(), arrays, strict=True):
            # The wheel has Keras' order: kernels [kh,kw,I,O], matrices [in,out], slopes [1,1,C].
            if key.startswith("prelu"):
                value = array.reshape(-1)
            else:
                value = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
            yield f"{name}.{key}", value


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
