"""The stroke engine: a canvas, bristle brushes, and strokes laid one over the other.

A stroke is an arc of paint: a bristle texture bent along a parabola, in two tints that the
bristles mix, with a thickness that the final lighting turns into impasto. Covering a picture
with strokes of falling width, the fine ones only where the coarse ones missed the picture,
follows A. Hertzmann, "Painterly Rendering with Curved Brush Strokes of Multiple Sizes",
SIGGRAPH 1998.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from vivant_samples.paint.fields import ROWS, Array, sample, smoothstep

_LONG, _WIDE, _VARIANTS = 192, 48, 10
_RED, _HEIGHT, _COVER = 0, 3, 4


@dataclass(frozen=True)
class Strokes:
    """Many strokes, drawn in their order: arrays [N] and colours [N,3].

    ``x, y`` is a stroke's middle, ``angle`` its direction there (radians, 0 to the right,
    positive downwards), ``bend`` how far the direction turns from one end to the other.
    """

    x: Array
    y: Array
    angle: Array
    length: Array
    width: Array
    color: Array
    bend: Array

    def take(self, index: Array) -> Strokes:
        """Return the strokes of a boolean or integer index."""
        return Strokes(**{name: values[index] for name, values in vars(self).items()})


def strokes(
    x: Array,
    y: Array,
    angle: float | Array,
    length: float | Array,
    width: float | Array,
    color: Array,
    bend: float | Array = 0.0,
) -> Strokes:
    """Build strokes; what is one value for all is spread."""
    n = len(x)
    angles, lengths, widths, bends = (
        np.broadcast_to(np.asarray(values, np.float32), n)
        for values in (angle, length, width, bend)
    )
    return Strokes(x, y, angles, lengths, widths, np.broadcast_to(color, (n, 3)), bends)


@dataclass(frozen=True)
class Jitter:
    """How far a stroke's colour strays from the picture's, as standard deviations.

    ``value`` is lightness, ``warmth`` the yellow-blue and ``hue`` the red-green direction,
    ``chroma`` relative saturation.
    """

    value: float = 0.035
    warmth: float = 0.03
    hue: float = 0.02
    chroma: float = 0.15

    def __call__(self, rng: np.random.Generator, color: Array) -> Array:
        """Return [N,3] colours varied stroke by stroke."""
        n = len(color)
        gauss = rng.standard_normal((4, n, 1)).astype(np.float32)
        grey = color @ np.array([0.3, 0.59, 0.11], np.float32)[:, None]
        varied = grey + (color - grey) * (1 + self.chroma * gauss[0])
        varied = varied + self.value * gauss[1]
        varied = varied + self.warmth * gauss[2] * np.array([0.7, 0.25, -1.0], np.float32)
        varied = varied + self.hue * gauss[3] * np.array([0.9, -0.7, 0.2], np.float32)
        return np.asarray(np.clip(varied, 0.01, 1.0))


def _lattice(rng: np.random.Generator, across: int, along: int) -> Array:
    cells = rng.random((across, along), np.float32)
    return np.clip(cv2.resize(cells, (_LONG, _WIDE), interpolation=cv2.INTER_CUBIC), 0, 1)


def _texture(rng: np.random.Generator, brush: str) -> Array:
    """Draw one stroke lying straight: float32 [_WIDE,_LONG,2], coverage and bristle height."""
    u = np.linspace(0, 1, _LONG, dtype=np.float32)[None, :]
    v = np.linspace(-1, 1, _WIDE, dtype=np.float32)[:, None]
    bristle = 0.6 * _lattice(rng, 18, 5) + 0.4 * _lattice(rng, 7, 3)
    ragged = _lattice(rng, 14, 2)
    if brush == "flat":
        edge = smoothstep(0.02, 0.3, 1 - np.abs(v) - 0.16 * ragged)
        ends = smoothstep(0, 0.06, u - 0.05 * v**2 - 0.04 * ragged)
        ends = ends * smoothstep(0, 0.16, 1 - u - 0.28 * ragged)
        dry = 1 - 0.75 * smoothstep(0.62, 0.8, _lattice(rng, 16, 4)) * smoothstep(0.3, 0.9, u)
    elif brush == "leaf":
        outline = np.sqrt(np.clip(np.sin(np.pi * u**0.8), 0, 1))
        edge = smoothstep(0, 0.3, outline - np.abs(v) - 0.1 * ragged * outline)
        ends, dry = np.ones_like(edge), np.ones_like(edge)
    elif brush == "blade":
        outline = np.clip(1 - u, 0, 1) ** 0.7 * smoothstep(0, 0.05, u)
        edge = smoothstep(0, 0.35, outline - np.abs(v))
        ends, dry = np.ones_like(edge), np.ones_like(edge)
    else:
        radius = np.hypot(v, 2 * u - 1) + 0.22 * (ragged - 0.5)
        edge = smoothstep(0, 0.22, 0.94 - radius)
        ends, dry = np.ones_like(edge), np.ones_like(edge)
    cover = edge * ends * dry
    ridge = 0.25 * smoothstep(0.5, 0.85, np.abs(v)) + 0.2 * smoothstep(0.75, 0.95, u)
    return np.dstack([cover, cover * np.clip(0.75 * bristle + ridge, 0, 1)]).astype(np.float32)


@cache
def _brush(name: str) -> tuple[tuple[Array, ...], ...]:
    """Return the brush's textures, each as a pyramid for wide, middling and thin strokes."""
    rng = np.random.default_rng([ord(letter) for letter in name])
    pyramids = []
    for _ in range(_VARIANTS):
        full = _texture(rng, name)
        sizes = [(_LONG, _WIDE), (_LONG // 2, _WIDE // 2), (_LONG // 6, _WIDE // 6)]
        levels = (cv2.resize(full, size, interpolation=cv2.INTER_AREA) for size in sizes)
        # A clear rim, so that sampling beyond the stroke finds nothing.
        pyramids.append(tuple(np.pad(level, ((1, 1), (1, 1), (0, 0))) for level in levels))
    return tuple(pyramids)


class Canvas:
    """A picture being painted, ``height`` pixels high and ``aspect`` times as wide."""

    def __init__(self, aspect: float, height: int, ground: Array) -> None:
        self.aspect, self.height = aspect, height
        self.pixels = np.zeros((height, round(height * aspect), 5), np.float32)
        self.pixels[..., _RED:_HEIGHT] = ground

    @property
    def color(self) -> Array:
        """The colours so far, float32 [H,W,3], 0..1."""
        return self.pixels[..., _RED:_HEIGHT]

    @property
    def relief(self) -> Array:
        """The thickness of the paint, float32 [H,W], 0..1 or somewhat more."""
        return self.pixels[..., _HEIGHT]

    @property
    def cover(self) -> Array:
        """What has been covered since ``start_layer``, float32 [H,W], 0..1."""
        return self.pixels[..., _COVER]

    def start_layer(self) -> None:
        """Start to note anew what is covered."""
        self.pixels[..., _COVER] = 0

    def wash(self, corners: Sequence[tuple[float, float]], color: Array) -> None:
        """Lay a flat, thin coat over a polygon, for the strokes to stand on."""
        coat = np.zeros(self.pixels.shape[:2], np.float32)
        points = np.round(np.array(corners) * self.height * 256).astype(np.int32)
        cv2.fillPoly(coat, [points], 1.0, cv2.LINE_8, shift=8)
        coat = cv2.GaussianBlur(coat, (0, 0), 0.6)[..., None]
        self.pixels += coat * (np.array([*color, 0.25, 1], np.float32) - self.pixels)

    def draw(
        self,
        rng: np.random.Generator,
        strokes: Strokes,
        brush: str = "flat",
        *,
        opacity: float = 0.95,
        streak: float = 0.06,
        relief: float = 1.0,
    ) -> None:
        """Lay the strokes on the canvas in their order.

        ``streak`` is how far the second tint on the brush lies from the first, ``relief`` how
        thick the paint stands.
        """
        textures = _brush(brush)
        n = len(strokes.x)
        second = Jitter(streak, streak * 0.6, streak * 0.4, 0.1)(rng, strokes.color)
        second = np.clip(second + streak * 0.8, 0, 1)
        base = np.concatenate([strokes.color, np.full((n, 1), 0.1), np.ones((n, 1))], 1)
        delta = np.concatenate([second - strokes.color, np.full((n, 1), 1.0), np.zeros((n, 1))], 1)
        thick = relief * np.clip(strokes.width / 0.009, 0.25, 1)  # a thin brush holds little paint
        base[:, _HEIGHT] *= thick
        delta[:, _HEIGHT] *= thick
        base, delta = base.astype(np.float32), delta.astype(np.float32)
        geometry = (
            np.stack([strokes.x, strokes.y, strokes.length, strokes.width], 1).astype(np.float64)
            * self.height
        )
        choice = rng.integers(0, _VARIANTS, n)
        for i in range(n):
            x, y, length, width = geometry[i].tolist()
            pyramid = textures[choice[i]]
            level = pyramid[0 if width > 30 else 1 if width > 11 else 2]
            self._stamp(
                level,
                (x, y, float(strokes.angle[i]), max(length, 1.5), max(width, 1.0)),
                float(strokes.bend[i]),
                base[i],
                delta[i],
                opacity,
            )

    def _stamp(
        self,
        texture: Array,
        place: tuple[float, float, float, float, float],
        bend: float,
        base: Array,
        delta: Array,
        opacity: float,
    ) -> None:
        x, y, angle, length, width = place
        cos, sin = np.cos(angle), np.sin(angle)
        thick = width / 2 + abs(bend) * length / 8 + 1
        reach_x = abs(cos) * length / 2 + abs(sin) * thick
        reach_y = abs(sin) * length / 2 + abs(cos) * thick
        x0, x1 = max(0, int(x - reach_x)), min(self.pixels.shape[1], int(x + reach_x) + 2)
        y0, y1 = max(0, int(y - reach_y)), min(self.pixels.shape[0], int(y + reach_y) + 2)
        if x0 >= x1 or y0 >= y1:
            return
        dx = np.arange(x0, x1, dtype=np.float32) + (0.5 - x)
        dy = np.arange(y0, y1, dtype=np.float32)[:, None] + (0.5 - y)
        rows, columns = texture.shape[:2]
        along = dx * cos + dy * sin
        across = dy * cos - dx * sin - along * along * (bend / (2 * length)) + bend * length / 24
        along = (along * ((columns - 2) / length) + (columns - 1) / 2).astype(np.float32)
        across = (across * ((rows - 2) / width) + (rows - 1) / 2).astype(np.float32)
        stamp = cv2.remap(texture, along, across, cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT, 0)
        region = self.pixels[y0:y1, x0:x1]
        region += (stamp[..., :1] * opacity) * (base + stamp[..., 1:] * delta - region)


def along(
    rng: np.random.Generator,
    picture: Array,
    angles: Array,
    *,
    width: float,
    ratio: float = 4.0,
    spacing: float = 0.6,
    where: Array | None = None,
    jitter: Jitter | None = None,
    straight: bool = False,
) -> Strokes:
    """Plan strokes that follow a direction field and take the picture's colours.

    They stand on a shaken grid, ``spacing`` widths apart across and half the ``ratio`` of
    length to width apart along, in random order; ``where`` (0..1) is each one's chance.
    """
    aspect = picture.shape[1] / ROWS
    step = width * np.sqrt(spacing * ratio * 0.5)
    y, x = np.mgrid[-step : 1 + step : step, -step : aspect + step : step]
    x, y = (np.ravel(axis + rng.uniform(-0.6, 0.6, axis.shape) * step) for axis in (x, y))
    order = rng.permutation(len(x))
    x, y = x[order], y[order]
    if where is not None:
        kept = sample(where, x, y) > rng.random(len(x))
        x, y = x[kept], y[kept]
    angle = sample(angles, x, y)
    length = width * ratio * rng.uniform(0.65, 1.3, len(x))
    reach_x, reach_y = np.cos(angle) * length / 2, np.sin(angle) * length / 2
    turn = sample(angles, x + reach_x, y + reach_y) - sample(angles, x - reach_x, y - reach_y)
    turn = np.mod(turn + np.pi / 2, np.pi) - np.pi / 2
    soft = cv2.GaussianBlur(picture, (0, 0), max(0.5, width * ROWS * 0.35))
    color = (jitter or Jitter())(rng, sample(soft, x, y))
    return strokes(
        x,
        y,
        angle + rng.normal(0, 0.09, len(x)),
        length,
        width * rng.uniform(0.7, 1.25, len(x)),
        color,
        0.0 if straight else np.clip(turn, -1.3, 1.3),
    )


def missed(canvas: Canvas, picture: Array, tolerance: float) -> Array:
    """Return where the canvas differs from the picture: 0 (within tolerance) .. 1."""
    size = (picture.shape[1], picture.shape[0])
    painted = cv2.resize(np.ascontiguousarray(canvas.color), size, interpolation=cv2.INTER_AREA)
    error = np.abs(cv2.GaussianBlur(painted, (0, 0), 1.5) - picture).mean(axis=2)
    return smoothstep(tolerance * 0.5, tolerance * 1.5, cv2.GaussianBlur(error, (0, 0), 1.5))


def rework(
    rng: np.random.Generator, canvas: Canvas, angles: Array, where: Array, *, width: float
) -> None:
    """Go over what is painted with its own colours, so that edges lose their ruler."""
    size = (angles.shape[1], angles.shape[0])
    seen = cv2.resize(np.ascontiguousarray(canvas.color), size, interpolation=cv2.INTER_AREA)
    layer = along(rng, seen, angles, width=width, ratio=3.6, where=where)
    canvas.draw(rng, layer, opacity=0.85, streak=0.08)
