"""Spring garden: a pond and its bridge in pale light, a tree in blossom, irises before us."""

from __future__ import annotations

import cv2
import numpy as np

from vivant_samples.paint.brush import Canvas, Jitter, along, missed, strokes
from vivant_samples.paint.fields import (
    ROWS,
    Array,
    grid,
    mix,
    noise,
    polygon,
    ramp,
    rgb,
    sample,
    smoothstep,
)
from vivant_samples.paint.finish import finish
from vivant_samples.paint.forms import crown, tints
from vivant_samples.paint.painting import Painting, alpha
from vivant_samples.paint.scenes.spring_flowers import paint_irises, paint_lilies
from vivant_samples.paint.scenes.spring_tree import paint_blossoms, paint_willow

ASPECT = 0.8
BANK = 0.475
POND = (
    (-0.02, 0.475),
    (0.30, 0.470),
    (0.545, 0.482),
    (0.60, 0.515),
    (0.575, 0.56),
    (0.50, 0.615),
    (0.425, 0.68),
    (0.30, 0.735),
    (0.14, 0.765),
    (-0.02, 0.775),
)
PATH = (
    (0.555, 0.515),
    (0.615, 0.512),
    (0.655, 0.535),
    (0.66, 0.58),
    (0.645, 0.65),
    (0.66, 0.75),
    (0.715, 0.87),
    (0.80, 1.02),
    (0.33, 1.02),
    (0.40, 0.90),
    (0.475, 0.78),
    (0.545, 0.67),
    (0.595, 0.59),
    (0.60, 0.55),
)


def paint(height: int) -> Painting:
    """Paint the scene ``height`` pixels high."""
    rng = np.random.default_rng(1899)
    x, y = grid(ASPECT)
    picture, angles = _compose(rng, x, y)
    canvas = Canvas(ASPECT, height, rgb("b9b8a0"))
    _cover(rng, canvas, picture, angles)
    _banks(rng, canvas)
    _bridge(rng, canvas)
    _lilies(rng, canvas)
    _grass(rng, canvas)
    paint_blossoms(rng, canvas)
    paint_willow(rng, canvas)
    canvas.start_layer()
    paint_irises(rng, canvas)
    return Painting(finish(rng, canvas, impasto=0.9), {"irises.webp": alpha(canvas.cover)})


def _compose(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array]:
    """Return the composed colours and the direction of the strokes."""
    picture = ramp(y, [(0.0, "d3dfe2"), (0.18, "e9e8de"), (0.34, "f6ecd6"), (0.48, "f3e6cc")])
    haze = noise(rng, ASPECT, (3.0, 4.0), 3)
    picture = mix(picture, rgb("c3cfe0"), 0.5 * smoothstep(0.5, 0.7, haze))
    angles = 0.5 * (haze - 0.5) + 0.15
    for top, tall, cells, dark, light in (
        (0.15, 0.17, 4.0, "a3b9b8", "c9d5c4"),
        (0.25, 0.15, 5.0, "7fa296", "b4c9a8"),
        (0.35, 0.10, 7.0, "5d8a70", "a3bd82"),
    ):
        profile = noise(rng, ASPECT, (cells, 0.5), 3)[ROWS // 2] + 0.35 * np.cos(7.5 * x[0] - 0.6)
        edge = top + tall * (1 - profile)[None, :] * 0.8
        wood = smoothstep(edge - 0.006, edge + 0.010, y)
        lump = noise(rng, ASPECT, (cells * 3, 11), 3)
        tone = mix(rgb(dark), rgb(light), smoothstep(0.35, 0.68, lump))
        picture = mix(picture, tone, wood * 0.93)
        angles = np.where(wood > 0.5, -np.pi / 2 + 1.6 * (lump - 0.5), angles)
    pond = polygon(ASPECT, POND, 0.003)
    near = np.clip((y - BANK) / (1 - BANK), 0, 1)
    lawn = ramp(near, [(0.0, "b3c88c"), (0.25, "9dba70"), (0.6, "7fa25c"), (1.0, "557c4a")])
    patch = noise(rng, ASPECT, (5, 14), 3)
    lawn = mix(lawn, rgb("dfe0a0"), 0.55 * smoothstep(0.52, 0.72, patch))
    lawn = mix(lawn, rgb("5f8a78"), 0.55 * smoothstep(0.48, 0.28, patch))
    picture = mix(picture, lawn, smoothstep(BANK - 0.012, BANK - 0.004, y))
    angles = np.where(y > BANK, -0.25 + 0.6 * (patch - 0.5), angles)
    picture = mix(picture, _water(rng, picture, y), pond)
    angles = np.where(pond > 0.5, 0.0, angles)
    path = polygon(ASPECT, PATH, 0.004)
    sand = ramp(near, [(0.0, "f6ead2"), (0.4, "eedcc4"), (1.0, "d9c0ae")])
    dapple = noise(rng, ASPECT, (7, 15), 2)
    sand = mix(sand, rgb("a89cc0"), 0.62 * smoothstep(0.52, 0.70, dapple))
    sand = mix(sand, rgb("fff6e0"), 0.5 * smoothstep(0.45, 0.28, dapple))
    return mix(picture, sand, path), np.where(path > 0.5, 0.08, angles).astype(np.float32)


def _water(rng: np.random.Generator, picture: Array, y: Array) -> Array:
    """Return the pond: the far bank upside down, drawn out downwards, cooled and rippled."""
    rows = np.clip((BANK - 0.02 - (y[:, 0] - BANK) * 1.25) * ROWS, 0, ROWS - 1).astype(int)
    mirror = cv2.GaussianBlur(picture[rows], (0, 0), 2, None, 9)
    water = mix(mirror * 0.90, rgb("8fb0bc"), 0.24 * np.ones_like(y))
    ripple = noise(rng, ASPECT, (3.5, 30), 2)
    glare = smoothstep(0.50, 0.62, y) * 0.35
    water = mix(water, rgb("eef0e4"), (0.45 + glare) * smoothstep(0.55, 0.78, ripple))
    return mix(water, rgb("4f7d78"), 0.40 * smoothstep(0.43, 0.2, ripple))


def _cover(rng: np.random.Generator, canvas: Canvas, picture: Array, angles: Array) -> None:
    """Cover the picture coarse to fine in short, broken touches."""
    lively = Jitter(0.035, 0.03, 0.025, 0.2)
    for width, ratio in ((0.040, 2.6), (0.022, 3.0), (0.013, 3.4)):
        canvas.draw(
            rng, along(rng, picture, angles, width=width, ratio=ratio, jitter=lively), streak=0.07
        )
    for width, tolerance in ((0.008, 0.035), (0.005, 0.045)):
        where = missed(canvas, picture, tolerance)
        canvas.draw(
            rng, along(rng, picture, angles, width=width, ratio=3.4, jitter=lively, where=where)
        )


def _banks(rng: np.random.Generator, canvas: Canvas) -> None:
    """Plant the far bank: trees in the haze, bushes, some in flower, dark feet in the water."""
    for cx, cy, wide, tall in (
        (0.345, 0.295, 0.034, 0.135),
        (0.405, 0.325, 0.026, 0.105),
        (0.265, 0.345, 0.055, 0.080),
        (0.515, 0.360, 0.045, 0.062),
        (0.12, 0.35, 0.06, 0.08),
    ):
        haze = crown(
            rng,
            (cx, cy),
            (wide, tall),
            ("93b0a8", "a9c2b0", "d3debe"),
            leaf=0.014,
            light=(-0.5, -1.0),
            density=1.1,
        )
        canvas.draw(rng, haze, opacity=0.6)
    for cx, cy, wide, tall, tones in (
        (0.06, 0.445, 0.07, 0.035, ("4a7566", "6f9a72", "b9cf94")),
        (0.20, 0.450, 0.06, 0.028, ("557f70", "82a87c", "c4d6a0")),
        (0.33, 0.446, 0.05, 0.032, ("4a7566", "749f76", "b0c98c")),
        (0.44, 0.452, 0.05, 0.024, ("7a7f9c", "b9a8c4", "e8d8e4")),
        (0.54, 0.448, 0.05, 0.036, ("4f7a64", "7aa274", "c0d294")),
        (0.70, 0.445, 0.07, 0.048, ("47705e", "6f9a6c", "b4cc88")),
        (0.79, 0.46, 0.05, 0.05, ("416a58", "68946a", "a8c480")),
        (0.63, 0.470, 0.035, 0.022, ("8a8aa4", "d0b4c4", "f4e2e4")),
    ):
        canvas.draw(rng, crown(rng, (cx, cy), (wide, tall), tones, leaf=0.009, light=(-0.5, -1.0)))
    n = 260
    px = rng.uniform(-0.01, 0.56, n)
    dark = strokes(
        px,
        0.483 + rng.exponential(0.010, n),
        rng.normal(0, 0.08, n),
        rng.uniform(0.02, 0.05, n),
        0.006,
        Jitter()(rng, tints(rng, "3f6b62", "6f9484", n)),
    )
    canvas.draw(rng, dark, "leaf", opacity=0.75)


def _arch(t: Array, lift: float = 0.0) -> tuple[Array, Array, Array]:
    """Return x, y and direction along the bridge at shares ``t`` of its span."""
    x = 0.03 + 0.535 * t
    y = 0.530 - 0.066 * np.sin(np.pi * t) - lift
    slope = -0.066 * np.pi * np.cos(np.pi * t) / 0.535
    return x, y, np.arctan(slope)


def _bridge(rng: np.random.Generator, canvas: Canvas) -> None:
    """Span the pond with a low arched bridge and let the water take its colours."""
    n = 240
    t = rng.random(n)
    bx, by, _ = _arch(t)
    mirror = strokes(
        bx + rng.normal(0, 0.004, n),
        2 * 0.555 - by + rng.uniform(-0.005, 0.06, n),
        rng.normal(0, 0.06, n),
        0.030,
        0.007,
        Jitter()(rng, tints(rng, "35605f", "7fa49a", n)),
        0.0,
    )
    canvas.draw(rng, mirror, "leaf", opacity=0.7)
    _rail(rng, canvas, 0.012, 0.052, ("4f7c7c", "6f9c94"), behind=True)
    for drop, width, tones in (
        (-0.012, 0.016, ("3c6264", "4d7674")),
        (0.000, 0.015, ("6f9e98", "8fb8aa")),
        (0.008, 0.008, ("d4e2cc", "f0efdc")),
    ):
        n = 90
        t = np.linspace(0, 1, n)
        ax, ay, turn = _arch(t, drop)
        deck = strokes(
            ax,
            ay,
            turn,
            0.032,
            width,
            Jitter(0.02, 0.02, 0.015, 0.1)(rng, tints(rng, *tones, n)),
            0.08,
        )
        canvas.draw(rng, deck.take(rng.permutation(n)), relief=1.1)
    for t_pile in (0.22, 0.5, 0.78):
        ax, ay, _ = _arch(np.array([t_pile]))
        pile = strokes(
            ax, (ay + 0.575) / 2 + 0.006, np.pi / 2, 0.575 - ay, 0.010, rgb("3f6466")[None]
        )
        canvas.draw(rng, pile)
    _rail(rng, canvas, 0.0, 0.062, ("7fb0a6", "b4d2c0"), behind=False)


def _rail(
    rng: np.random.Generator,
    canvas: Canvas,
    lift: float,
    tall: float,
    tones: tuple[str, str],
    *,
    behind: bool,
) -> None:
    posts = np.linspace(0.02, 0.98, 11)
    px, py, _ = _arch(posts, lift)
    thick = 0.005 if behind else 0.0075
    post = strokes(
        px,
        py - tall / 2,
        -np.pi / 2,
        tall * 1.12,
        thick,
        Jitter(0.02, 0.02, 0.02, 0.1)(rng, tints(rng, *tones, 11)),
    )
    canvas.draw(rng, post, relief=1.2)
    for share, width in ((0.98, thick * 1.15), (0.52, thick * 0.8)):
        n = 48
        ax, ay, turn = _arch(np.linspace(0, 1, n), lift + tall * share)
        rail = strokes(
            ax,
            ay,
            turn,
            0.034,
            width,
            Jitter(0.02, 0.02, 0.02, 0.1)(rng, tints(rng, *tones, n)),
            0.06,
        )
        canvas.draw(rng, rail, relief=1.2)
        if not behind:
            gleam = strokes(
                ax,
                ay - width * 0.35,
                turn,
                0.026,
                width * 0.4,
                rgb("f4f2e0") * np.ones((n, 1)),
                0.06,
            )
            canvas.draw(rng, gleam.take(rng.random(n) < 0.6), relief=1.2)


def _lilies(rng: np.random.Generator, canvas: Canvas) -> None:
    """Float lily pads in drifts, with blossoms among them."""
    open_water = cv2.erode(polygon(ASPECT, POND, 0.001), np.ones((9, 17)))
    for cx, cy, wide, count in (
        (0.13, 0.665, 0.11, 46),
        (0.33, 0.635, 0.09, 34),
        (0.24, 0.705, 0.11, 36),
        (0.46, 0.585, 0.06, 26),
        (0.05, 0.60, 0.05, 16),
        (0.30, 0.570, 0.07, 20),
        (0.06, 0.735, 0.07, 18),
    ):
        px, py = cx + rng.normal(0, 0.45, count) * wide, cy + rng.normal(0, 0.13, count) * wide
        kept = sample(open_water, px, py) > 0.9
        px, py = px[kept], py[kept]
        order = np.argsort(py)
        px, py, n = px[order], py[order], len(px)
        size = 0.012 + 0.075 * (py - BANK)
        for dy, share, tones in (
            (0.10, 1.0, ("3f6f62", "557f6c")),
            (0.0, 0.94, ("7aa67a", "a4c494")),
        ):
            pads = strokes(
                px,
                py + dy * size,
                rng.normal(0, 0.06, n),
                size * 1.5 * share,
                size * 0.5 * share,
                Jitter(0.03, 0.03, 0.025, 0.15)(rng, tints(rng, *tones, n)),
            )
            canvas.draw(rng, pads, "dab", streak=0.08)
        bloom = rng.random(n) < 0.22
        paint_lilies(rng, canvas, px[bloom], py[bloom], size[bloom])


def _grass(rng: np.random.Generator, canvas: Canvas) -> None:
    """Stroke the lawns with grass, scatter daisies, and drop petals on the path."""
    pond, path = polygon(ASPECT, POND, 0.006), polygon(ASPECT, PATH, 0.006)
    n = 7000
    py = np.sort(BANK + 0.02 + (1.02 - BANK) * rng.random(n) ** 0.7)
    px = rng.uniform(-0.01, ASPECT + 0.01, n)
    free = (sample(pond, px, py) < 0.1) & (sample(path, px, py) < 0.3)
    px, py = px[free], py[free]
    n, near = len(px), (py - BANK) / (1 - BANK)
    color = mix(tints(rng, "7fa45c", "c3d48c", n), tints(rng, "3f6a50", "7fa060", n), near)
    length = 0.010 + 0.048 * near * rng.uniform(0.6, 1.2, n)
    blades = strokes(
        px,
        py - length * 0.35,
        -np.pi / 2 + rng.normal(0.08, 0.28, n),
        length,
        0.0025 + 0.0050 * near,
        Jitter(0.04, 0.035, 0.025, 0.15)(rng, color),
        rng.normal(0, 0.5, n),
    )
    canvas.draw(rng, blades, "leaf")
    drift = noise(rng, ASPECT, (7, 16), 2)
    bloom = (rng.random(n) < 0.12 * smoothstep(0.5, 0.7, sample(drift, px, py))) & (near > 0.08)
    tone = np.where(rng.random((bloom.sum(), 1)) < 0.3, rgb("f3dc7c"), rgb("fbf6ee"))
    size = (0.003 + 0.008 * near)[bloom]
    canvas.draw(rng, strokes(px[bloom], py[bloom], 0.0, size * 1.3, size, tone), "dab", relief=1.3)
    n = 520
    px, py = rng.uniform(0.3, 0.8, n), 0.55 + 0.45 * rng.random(n)
    kept = sample(path, px, py) > 0.5
    size = 0.0025 + 0.008 * (py - BANK)
    petals = strokes(
        px,
        py,
        rng.normal(0, 0.5, n),
        size * 1.8,
        size,
        tints(rng, "f6cdd4", "fff2ee", n),
        rng.normal(0, 0.6, n),
    )
    canvas.draw(rng, petals.take(kept), "leaf", relief=1.2)
