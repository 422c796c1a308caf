"""Evening path: a low sun over the wheat, cypresses, a farm, poppies along the way."""

from __future__ import annotations

import cv2
import numpy as np

from vivant_samples.paint.brush import Canvas, Jitter, along, missed, strokes
from vivant_samples.paint.fields import (
    Array,
    blend_angles,
    grid,
    mix,
    noise,
    polygon,
    ramp,
    rgb,
    sample,
    smoothstep,
    turned,
)
from vivant_samples.paint.finish import finish
from vivant_samples.paint.forms import crown, panel, poppies
from vivant_samples.paint.painting import Painting, alpha
from vivant_samples.paint.scenes.evening_wheat import paint_wheat

ASPECT = 1.5
HORIZON = 0.47
SUN = (0.985, 0.335)
CYPRESSES = ((0.20, 0.60, 0.55, 0.085), (0.315, 0.575, 0.40, 0.06), (0.095, 0.59, 0.33, 0.055))
PATH = (
    (0.955, 0.475),
    (0.93, 0.52),
    (0.865, 0.575),
    (0.79, 0.65),
    (0.66, 0.78),
    (0.50, 0.93),
    (0.44, 1.02),
    (1.02, 1.02),
    (0.985, 0.90),
    (0.955, 0.78),
    (0.955, 0.68),
    (0.965, 0.60),
    (0.975, 0.54),
    (0.965, 0.475),
)


def paint(height: int) -> Painting:
    """Paint the scene ``height`` pixels high."""
    rng = np.random.default_rng(1888)
    x, y = grid(ASPECT)
    picture, angles, path = _compose(rng, x, y)
    canvas = Canvas(ASPECT, height, rgb("b9783a"))
    _cover(rng, canvas, picture, angles, y)
    _sun(rng, canvas)
    _hedges(rng, canvas)
    _farm(rng, canvas)
    _cypresses(rng, canvas)
    _grain(rng, canvas, path)
    _stacks(rng, canvas)
    _poppies(rng, canvas, path)
    canvas.start_layer()
    paint_wheat(rng, canvas)
    return Painting(finish(rng, canvas), {"wheat.webp": alpha(canvas.cover)})


def _compose(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array, Array]:
    """Return the composed colours, the direction of the strokes and the path's mask."""
    sky, sky_angles = _sky(rng, x, y)
    land, land_angles, path = _land(rng, x, y)
    ground = smoothstep(HORIZON - 0.002, HORIZON + 0.002, y)
    picture = mix(sky, land, ground)
    angles = np.where(ground > 0.5, land_angles, sky_angles)
    for base, tall, cells, near, far in (
        (0.0, 0.075, 2.2, "6f7cab", "e0a284"),
        (0.0, 0.04, 3.5, "51708a", "c98a63"),
    ):
        profile = noise(rng, ASPECT, (cells, 0.5), 3)[320]
        top = HORIZON - base - tall * (0.35 + profile)[None, :]
        hill = smoothstep(top - 0.002, top + 0.002, y) * (y < HORIZON + 0.002)
        glow = np.exp(-((x - SUN[0]) ** 2) / 0.05)
        picture = mix(picture, mix(rgb(near), rgb(far), glow), hill)
        slope = np.gradient(top[0]) * 640
        angles = np.where(hill > 0.5, np.arctan(slope)[None, :] * np.ones_like(y), angles)
    return picture, angles.astype(np.float32), path


def _sky(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array]:
    far = np.hypot(x - SUN[0], (y - SUN[1]) * 1.15)
    sky = ramp(
        y, [(0.0, "3c6ea8"), (0.14, "5f98b8"), (0.26, "9cc0ae"), (0.36, "e8c98a"), (0.47, "f0a467")]
    )
    halo = ramp(
        far,
        [(0.0, "fff6c0"), (0.10, "ffe68a"), (0.24, "fbcf6c"), (0.42, "f2b277"), (0.7, "e6a384")],
    )
    sky = mix(sky, halo, np.exp(-((far / 0.40) ** 2)))
    swell = (noise(rng, ASPECT, (1.3, 1.3), 2) - 0.5) * 2.2
    bands = noise(rng, ASPECT, (1.6, 7.0), 3) + 0.05 * np.sin(14 * y + 5 * x)
    cloud = smoothstep(0.53, 0.68, bands) * smoothstep(0.45, 0.30, y)
    lit = mix(rgb("f7d3b0"), rgb("ffe9a8"), np.exp(-far * 2.5))
    shade = mix(rgb("7f86b8"), rgb("d99a86"), np.exp(-far * 2.2))
    under = smoothstep(-0.02, 0.03, np.roll(bands, -14, axis=0) - bands)
    sky = mix(sky, mix(lit, shade, under), cloud * 0.85)
    around = np.arctan2(y - SUN[1], x - SUN[0]) + np.pi / 2
    ring = np.exp(-((far / 0.34) ** 2))
    flow = 0.28 * np.sin(5.5 * x + 9 * y) + swell * 0.8
    angles = blend_angles(flow, around, smoothstep(0.12, 0.6, ring))
    return sky, angles


def _land(rng: np.random.Generator, x: Array, y: Array) -> tuple[Array, Array, Array]:
    depth = np.clip((y - HORIZON) / (1 - HORIZON), 1e-3, 1)
    glow = np.exp(-((x - SUN[0] + 0.1 * depth) ** 2) / (0.06 + 0.25 * depth))
    wheat = ramp(depth, [(0.0, "eec06a"), (0.15, "e9b64a"), (0.45, "d99c33"), (1.0, "a86a24")])
    wheat = mix(wheat, rgb("ffdf7d"), glow * (0.55 - 0.35 * depth))
    # Swaths across the field, ever wider towards us, carry the eye into the depth.
    rows = noise(rng, ASPECT, (2.0, 2.0), 3)
    wave = np.sin(2.2 * np.log(depth + 0.05) * 5 + 6 * rows)
    wheat = mix(wheat, mix(rgb("8f7a3a"), rgb("9a5a2c"), depth), 0.32 * smoothstep(0.1, 0.9, wave))
    green = smoothstep(0.55, 0.7, noise(rng, ASPECT, (1.5, 9.0), 2)) * smoothstep(0.4, 0.1, depth)
    wheat = mix(wheat, rgb("8fa45a"), green * 0.7)
    path = polygon(ASPECT, PATH, 0.004)
    dirt = ramp(depth, [(0.0, "f7cf96"), (0.3, "e3b08a"), (0.65, "c99283"), (1.0, "a9777c")])
    mottle = noise(rng, ASPECT, (4, 12), 3)
    dirt = mix(dirt, rgb("7b6691"), smoothstep(0.5, 0.75, mottle) * 0.55)
    dirt = mix(dirt, rgb("ffd9a0"), smoothstep(0.5, 0.25, mottle) * 0.4)
    land = mix(wheat, dirt, path)
    land = _shadows(land)
    toward = np.arctan2(y - HORIZON + 0.05, x - 0.96)
    lean = toward * 0.55 + np.sign(toward) * 0.2
    angles = np.where(path > 0.5, 0.12 * np.sin(20 * x), turned(lean, (rows - 0.5) * 1.1))
    return land, angles, path


def _shadows(land: Array) -> Array:
    """Lay the cypresses' long shadows away from the sun, towards us and to the left."""
    shade = np.zeros(land.shape[:2], np.float32)
    for cx, base, tall, wide in CYPRESSES:
        run = (cx - SUN[0]) * 0.9
        tip = (cx + run * tall, base + tall * 0.42)
        blade = [(cx - wide * 0.6, base - 0.01), (cx + wide * 0.6, base), tip]
        shade = np.maximum(shade, polygon(ASPECT, blade, 0.008))
    return mix(land, land * 0.45 + rgb("3f4a78") * 0.42, shade * 0.8)


def _farm(rng: np.random.Generator, canvas: Canvas) -> None:
    """Set a small farm under the hills: white walls, red roofs, the gable in the sun."""
    for points, color, width in (
        (
            [(0.425, 0.466), (0.502, 0.466), (0.502, 0.500), (0.425, 0.501)],
            ("7f7298", "9a8aa6"),
            0.008,
        ),
        (
            [(0.438, 0.444), (0.498, 0.444), (0.508, 0.469), (0.416, 0.470)],
            ("84414a", "a85548"),
            0.007,
        ),
        (
            [(0.50, 0.450), (0.572, 0.450), (0.572, 0.497), (0.50, 0.499)],
            ("a894b0", "c8b2b8"),
            0.009,
        ),
        (
            [(0.587, 0.424), (0.590, 0.424), (0.608, 0.454), (0.572, 0.454)],
            ("ffe7b4", "ffd08a"),
            0.007,
        ),
        (
            [(0.570, 0.452), (0.608, 0.450), (0.608, 0.495), (0.570, 0.497)],
            ("ffe7b4", "ffd795"),
            0.008,
        ),
        (
            [(0.512, 0.420), (0.588, 0.420), (0.574, 0.454), (0.492, 0.456)],
            ("b04a38", "d0694a"),
            0.008,
        ),
        (
            [(0.535, 0.405), (0.547, 0.405), (0.547, 0.424), (0.535, 0.424)],
            ("8a4a50", "b5694f"),
            0.006,
        ),
        (
            [(0.513, 0.464), (0.523, 0.464), (0.523, 0.479), (0.513, 0.479)],
            ("4d5580", "5b6694"),
            0.006,
        ),
        (
            [(0.543, 0.462), (0.554, 0.462), (0.554, 0.496), (0.543, 0.496)],
            ("4a4468", "5f5478"),
            0.006,
        ),
        (
            [(0.584, 0.462), (0.592, 0.462), (0.592, 0.476), (0.584, 0.476)],
            ("c08a6a", "a87868"),
            0.005,
        ),
    ):
        panel(rng, canvas, points, color, width=width, streak=0.04)


def _cover(
    rng: np.random.Generator, canvas: Canvas, picture: Array, angles: Array, y: Array
) -> None:
    """Cover the picture coarse to fine; distance and the farm get the finer brushes."""
    lively = Jitter(0.045, 0.045, 0.03, 0.18)
    for width, ratio in ((0.045, 3.5), (0.026, 4.5)):
        canvas.draw(rng, along(rng, picture, angles, width=width, ratio=ratio, jitter=lively))
    canvas.draw(
        rng,
        along(
            rng,
            picture,
            angles,
            width=0.014,
            ratio=5.5,
            jitter=lively,
            where=np.maximum(0.55, missed(canvas, picture, 0.05)),
        ),
        streak=0.08,
    )
    near_horizon = np.exp(-(((y - HORIZON) / 0.06) ** 2))
    for width in (0.0075, 0.0042):
        where = missed(canvas, picture, 0.04) * np.maximum(0.35, near_horizon)
        canvas.draw(
            rng, along(rng, picture, angles, width=width, ratio=4, jitter=lively, where=where)
        )


def _sun(rng: np.random.Generator, canvas: Canvas) -> None:
    """Paint the disc thickly, ring by ring, and rays of short strokes around it."""
    for radius, color, width in (
        (0.15, "fbd074", 0.013),
        (0.125, "ffe08a", 0.013),
        (0.10, "ffd873", 0.013),
        (0.08, "fff0a8", 0.013),
    ):
        n = int(radius * 330)
        turn = np.sort(rng.uniform(0, 2 * np.pi, n))
        r = radius + rng.normal(0, 0.006, n)
        color_n = Jitter(0.03, 0.04, 0.02, 0.1)(rng, np.broadcast_to(rgb(color), (n, 3)))
        px, py = SUN[0] + r * np.cos(turn), SUN[1] + r * np.sin(turn)
        kept = py + 0.03 * np.abs(np.cos(turn)) < HORIZON - 0.06
        arc = strokes(px, py, turn + np.pi / 2, 0.055, width, color_n, 0.055 / r)
        canvas.draw(rng, arc.take(kept), relief=1.3, opacity=0.85)
    for radius, color in ((0.052, "ffe27a"), (0.036, "fff3b0"), (0.018, "fffbe0")):
        n = 34
        turn = np.linspace(0, 2 * np.pi, n, endpoint=False)
        r = np.full(n, radius)
        arc = strokes(
            SUN[0] + r * np.cos(turn),
            SUN[1] + r * np.sin(turn),
            turn + np.pi / 2,
            radius * 1.1,
            0.024,
            Jitter(0.015, 0.02, 0.01, 0.1)(rng, np.broadcast_to(rgb(color), (n, 3))),
            1.1,
        )
        canvas.draw(rng, arc, relief=1.6)


def _cypresses(rng: np.random.Generator, canvas: Canvas) -> None:
    """Build each tree of upward flames: dark blue-green, rimmed with the sun's olive gold."""
    dark, mid = rgb("16302f"), rgb("2f5240")
    for cx, base, tall, wide in CYPRESSES:
        for n, width, length, bright in (
            (160, 0.022, 0.10, 0.0),
            (420, 0.011, 0.07, 0.5),
            (420, 0.006, 0.05, 1.0),
        ):
            t = np.sort(rng.random(n) ** 0.85)
            side = np.clip(rng.normal(0, 0.45, n), -1, 1)
            girth = wide * 1.15 * (1 - t**1.6) ** 0.75 * (0.35 + 0.65 * smoothstep(0, 0.28, t))
            girth = girth * (1 + 0.16 * np.sin(t * 23 + cx * 50))
            px = cx + side * girth + 0.01 * np.sin(7 * t)
            py = base - tall * t
            rim = smoothstep(0.15, 0.95, side + rng.normal(0, 0.2, n)) * bright
            color = mix(dark, mid, rng.random(n) * 0.55 + 0.3 * bright * (side > 0))
            color = mix(color, rgb("9a8a3a"), 0.75 * rim)
            color = mix(color, rgb("34477a"), 0.4 * (rng.random(n) < 0.18) * (side < 0.3))
            angle = -np.pi / 2 + side * 0.35 * (1 - t) - side * 0.3 * t + rng.normal(0, 0.16, n)
            order = np.argsort(rng.random(n))
            flame = strokes(
                px,
                py,
                angle,
                length * rng.uniform(0.6, 1.2, n),
                width * rng.uniform(0.7, 1.3, n),
                Jitter(0.02, 0.02, 0.015, 0.1)(rng, color),
                rng.normal(0, 0.6, n) - side * 0.5,
            )
            canvas.draw(rng, flame.take(order), "leaf", relief=1.2)


def _stalks(
    rng: np.random.Generator, n: int, top: float, bottom: float, path: Array
) -> tuple[Array, Array]:
    depth = rng.random(n) ** 0.6
    py = np.sort(top + (bottom - top) * depth)
    px = rng.uniform(-0.03, ASPECT + 0.03, n)
    off = sample(path, px, py) < 0.25
    return px[off], py[off]


def _grain(rng: np.random.Generator, canvas: Canvas, path: Array) -> None:
    """Stroke the standing wheat over the field, from afar to near."""
    px, py = _stalks(rng, 15000, HORIZON + 0.025, 1.02, path)
    near = (py - HORIZON) / (1 - HORIZON)
    n = len(px)
    under = canvas.color[
        np.clip((py * canvas.height).astype(int), 0, canvas.height - 1),
        np.clip((px * canvas.height).astype(int), 0, canvas.color.shape[1] - 1),
    ]
    tint = rgb("ffe08c") * 0.5 + rgb("f0b040") * 0.5
    pick = rng.random(n)
    color = mix(under, tint, 0.45 * (pick < 0.5) * np.clip(1.1 - near * 0.5, 0, 1))
    color = mix(color, rgb("7a4a22"), 0.5 * (pick > 0.72) * near)
    color = mix(color, rgb("6d6a9a"), 0.45 * (pick > 0.94))
    length = 0.010 + 0.075 * near * rng.uniform(0.7, 1.2, n)
    lean = 0.28 * np.sin(5 * px + 9 * py) + rng.normal(0, 0.16, n)
    blades = strokes(
        px,
        py - length * 0.3,
        -np.pi / 2 + lean,
        length,
        0.0022 + 0.0065 * near,
        Jitter(0.05, 0.04, 0.03, 0.15)(rng, color),
        rng.normal(0, 0.4, n),
    )
    canvas.draw(rng, blades, "leaf", streak=0.08)


def _poppies(rng: np.random.Generator, canvas: Canvas, path: Array) -> None:
    """Scatter poppies and a few cornflowers along the way, in drifts."""
    px, py = _stalks(rng, 5200, HORIZON + 0.035, 0.95, path)
    drift = noise(rng, ASPECT, (4, 9), 2)
    edge = smoothstep(0.0, 0.25, sample(_near(path), px, py))
    kept = rng.random(len(px)) < smoothstep(0.53, 0.72, sample(drift, px, py)) * 0.55 + edge * 0.22
    px, py = px[kept], py[kept]
    n, near = len(px), (py - HORIZON) / (1 - HORIZON)
    poppies(rng, canvas, px, py, 0.004 + 0.020 * near * rng.uniform(0.7, 1.25, n))


def _near(path: Array) -> Array:
    return cv2.GaussianBlur(path, (0, 0), 22)


def _hedges(rng: np.random.Generator, canvas: Canvas) -> None:
    """Break the horizon with round trees and hedges, cooler and paler with distance."""
    for cx, cy, wide, tall in (
        (0.46, 0.455, 0.040, 0.030),
        (0.40, 0.455, 0.026, 0.045),
        (0.66, 0.466, 0.045, 0.015),
        (0.735, 0.468, 0.05, 0.010),
        (1.13, 0.466, 0.045, 0.014),
        (1.21, 0.462, 0.045, 0.024),
        (1.285, 0.452, 0.036, 0.046),
        (1.40, 0.458, 0.065, 0.030),
        (1.48, 0.445, 0.045, 0.056),
    ):
        near_sun = np.exp(-abs(cx - SUN[0]) * 2.2)
        tones = (
            ("3f5a86", "5d7f86", "e9c069") if near_sun > 0.45 else ("2c4a66", "4a7458", "c9b455")
        )
        tree = crown(rng, (cx, cy), (wide, tall), tones, leaf=0.011, light=(SUN[0] - cx, -0.12))
        canvas.draw(rng, tree)


def _stacks(rng: np.random.Generator, canvas: Canvas) -> None:
    """Stand two straw stacks in the field, lit from the left, violet on our side."""
    for cx, base, wide, tall in ((1.345, 0.575, 0.062, 0.115), (1.19, 0.53, 0.034, 0.063)):
        for n, size, detail in ((150, 0.42, 0.0), (420, 0.22, 1.0)):
            t, side = rng.random(n) ** 0.9, rng.uniform(-1, 1, n)
            roof = smoothstep(0.42, 0.5, t)
            girth = wide * np.where(
                t < 0.45, 0.86 + 0.2 * t, 1.15 * (1 - np.clip(t - 0.45, 0, 1) / 0.57)
            )
            px, py = cx + side * girth, base - tall * t + 0.006 * np.abs(side)
            lit = smoothstep(0.25, -0.85, side + rng.normal(0, 0.16, n))
            color = mix(rgb("8a5f78"), rgb("b5703a"), rng.random(n) * 0.7 * detail)
            color = mix(color, rgb("ffd676"), lit * 0.85)
            color = mix(color, rgb("6a5a94"), 0.5 * (rng.random(n) < 0.2) * (1 - lit))
            angle = np.where(
                roof > 0.5, -np.pi / 2 + side * 0.75, -np.pi / 2 + rng.normal(0, 0.12, n)
            )
            straw = strokes(
                px,
                py,
                angle,
                wide * 0.75 * rng.uniform(0.6, 1.1, n),
                wide * size * rng.uniform(0.5, 0.9, n),
                Jitter(0.035, 0.03, 0.02, 0.1)(rng, color),
                side * 0.3,
            )
            canvas.draw(rng, straw, streak=0.09)
