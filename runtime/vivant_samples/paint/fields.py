"""Fields a scene is composed of: noise, masks, gradients and colours.

Lengths are shares of the picture's height: y runs 0 (top) .. 1 (bottom), x runs 0 .. the
aspect ratio. A field is a float32 array [R,C] or [R,C,3] over the whole picture on a fixed
grid of ``ROWS`` rows, so that a scene is the same at whatever size it is painted. Colours are
sRGB, 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]

ROWS = 640


def grid(aspect: float) -> tuple[Array, Array]:
    """Return the x and y of every field cell, each [ROWS, ROWS * aspect]."""
    columns = round(ROWS * aspect)
    y, x = np.mgrid[0:ROWS, 0:columns].astype(np.float32)
    return (x + 0.5) / ROWS, (y + 0.5) / ROWS


def noise(
    rng: np.random.Generator, aspect: float, cells: tuple[float, float], octaves: int = 3
) -> Array:
    """Return smooth value noise, 0..1, mean 0.5, with ``cells`` (x, y) lumps per unit length."""
    size = (round(ROWS * aspect), ROWS)
    total = np.zeros(size[::-1], np.float32)
    for octave in range(octaves):
        columns = max(2, round(cells[0] * aspect * 2**octave)) + 1
        rows = max(2, round(cells[1] * 2**octave)) + 1
        lattice = rng.random((rows, columns), np.float32) - 0.5
        total += cv2.resize(lattice, size, interpolation=cv2.INTER_CUBIC) * 0.5**octave
    return np.clip(0.5 + total * 0.75, 0, 1)


def smoothstep(low: ArrayLike, high: ArrayLike, value: ArrayLike) -> Array:
    """Return 0 below ``low``, 1 above ``high`` and a smooth cubic between."""
    low, high = np.asarray(low, np.float32), np.asarray(high, np.float32)
    t = np.clip((np.asarray(value, np.float32) - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def rgb(code: str) -> Array:
    """Return the colour of an ``rrggbb`` code as float32 [3]."""
    return np.frombuffer(bytes.fromhex(code), np.uint8).astype(np.float32) / 255


def mix(first: Array, second: Array, share: ArrayLike) -> Array:
    """Blend two colours (or colour fields) by a share 0..1 of the second."""
    return first + (second - first) * np.asarray(share, np.float32)[..., None]


def ramp(value: Array, stops: Sequence[tuple[float, str]]) -> Array:
    """Colour a field by linear interpolation between (value, ``rrggbb``) stops."""
    places = [place for place, _ in stops]
    colors = np.stack([rgb(code) for _, code in stops])
    channels = [np.interp(value, places, colors[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def polygon(aspect: float, points: Sequence[tuple[float, float]], feather: float = 0.002) -> Array:
    """Return the mask, 0..1, of a polygon with an edge softened over ``feather``."""
    mask = np.zeros((ROWS, round(ROWS * aspect)), np.float32)
    corners = np.round(np.array(points) * ROWS * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 1.0, cv2.LINE_8, shift=4)
    return cv2.GaussianBlur(mask, (0, 0), max(0.3, feather * ROWS))


def sample(field: Array, x: Array, y: Array) -> Array:
    """Return the field's nearest cell for each point; points outside take the border's."""
    column = np.clip((x * ROWS).astype(int), 0, field.shape[1] - 1)
    row = np.clip((y * ROWS).astype(int), 0, field.shape[0] - 1)
    return np.asarray(field[row, column])


def turned(angle: Array, by: Array) -> Array:
    """Turn a direction field by another one, both in radians."""
    return np.asarray(np.mod(angle + by + np.pi / 2, np.pi) - np.pi / 2)


def blend_angles(first: Array, second: Array, share: Array) -> Array:
    """Blend two direction fields; a direction and its opposite are the same."""
    cos = np.cos(2 * first) * (1 - share) + np.cos(2 * second) * share
    sin = np.sin(2 * first) * (1 - share) + np.sin(2 * second) * share
    return np.asarray(np.arctan2(sin, cos) / 2)


def flow(stream: Array) -> Array:
    """Return the direction along a stream function's level lines."""
    down, across = np.gradient(stream)
    return np.asarray(np.arctan(-across / np.where(np.abs(down) < 1e-6, 1e-6, down)))
