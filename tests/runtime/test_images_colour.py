"""Colours, checked against matrix maths that shares no code with the colour engine."""

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest

from vivant.images import encode_image, load_image

GRADIENT = np.stack(
    np.broadcast_arrays(np.arange(24)[:, None] * 10, np.arange(40) * 6, 90), axis=2
).astype(np.uint8)


def encoded(picture: np.ndarray | PIL.Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture = PIL.Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(stream, form, **options)
    return stream.getvalue()


def difference(left: np.ndarray, right: np.ndarray) -> int:
    assert left.shape == right.shape
    return int(np.abs(left.astype(int) - right.astype(int)).max())


D65, D50 = np.array([0.95047, 1.0, 1.08883]), np.array([0.96422, 1.0, 0.82521])
SRGB_XY, P3_XY, ADOBE_XY = (
    np.array([[0.64, 0.33], [0.30, 0.60], [0.15, 0.06]]),
    np.array([[0.680, 0.320], [0.265, 0.690], [0.150, 0.060]]),
    np.array([[0.64, 0.33], [0.21, 0.71], [0.15, 0.06]]),
)
SRGB_CURVE = b"para" + struct.pack(">4xHxx5i", 3, *(
    round(65536 * value) for value in (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
))  # fmt: skip
ADOBE_CURVE = b"curv" + struct.pack(">4xIH", 1, 563)


def to_xyz(primaries: np.ndarray) -> np.ndarray:
    """Linear RGB to XYZ (D65), by Lindbloom's formulas."""
    x, y = primaries.T
    columns = np.array([x / y, np.ones(3), (1 - x - y) / y])
    return columns * np.linalg.solve(columns, D65)


def adapted(matrix: np.ndarray) -> np.ndarray:
    """Bradford's adaptation from D65 to D50."""
    cone = np.array(
        [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
    )
    return np.linalg.inv(cone) @ np.diag((cone @ D50) / (cone @ D65)) @ cone @ matrix


def profile(space: bytes, kind: bytes, pcs: bytes, **tags: bytes) -> bytes:
    """Write an ICC profile, version 4."""
    table, offset = struct.pack(">I", len(tags)), 132 + 12 * len(tags)
    for name, body in tags.items():
        table += name.encode() + struct.pack(">II", offset, len(body))
        offset += len(body)
    head = struct.pack(">I4xI4s4s4s12x4s", offset, 0x04000000, kind, space, pcs, b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3i", *(round(65536 * value) for value in D50))
    return head.ljust(128, b"\0") + table + b"".join(tags.values())


def xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + struct.pack(">4x3i", *(round(65536 * value) for value in values))


def matrix_profile(primaries: np.ndarray, curve: bytes) -> bytes:
    columns = zip(("rXYZ", "gXYZ", "bXYZ"), adapted(to_xyz(primaries)).T, strict=True)
    curves = dict.fromkeys(("rTRC", "gTRC", "bTRC"), curve.ljust(-(-len(curve) // 4) * 4, b"\0"))
    tags = {name: xyz(column) for name, column in columns} | curves
    return profile(b"RGB ", b"mntr", b"XYZ ", wtpt=xyz(D50), **tags)


def srgb_decode(values: np.ndarray) -> np.ndarray:
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_encode(linear: np.ndarray) -> np.ndarray:
    linear = np.clip(linear, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("form", ["png", "webp"])
@pytest.mark.parametrize(
    ("primaries", "curve", "decode"),
    [
        (P3_XY, SRGB_CURVE, srgb_decode),
        (ADOBE_XY, ADOBE_CURVE, lambda values: values ** (563 / 256)),
        (SRGB_XY, ADOBE_CURVE, lambda values: values ** (563 / 256)),
    ],
    ids=["display-p3", "adobe-rgb", "almost-srgb"],
)
def test_wide_gamut_becomes_srgb(form: str, primaries, curve, decode) -> None:
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(27, 27, 3)
    matrix = np.linalg.solve(to_xyz(SRGB_XY), to_xyz(primaries))
    expected = np.rint(255 * srgb_encode(decode(colours / 255) @ matrix.T))
    assert difference(expected, colours) > 5  # more than the tolerance, and in one case no more
    options = {"lossless": True} if form == "webp" else {}
    data = encoded(colours, form, icc_profile=matrix_profile(primaries, curve), **options)
    assert difference(load_image(data), expected) <= 2


def test_transparent_wide_gamut_is_converted_before_it_is_flattened() -> None:
    rgba = np.array([[[255, 0, 0, 255], [0, 200, 0, 0], [0, 200, 0, 128]]], np.uint8)
    data = encoded(rgba, "png", icc_profile=matrix_profile(P3_XY, SRGB_CURVE))
    opaque = encoded(rgba[..., :3].copy(), "png", icc_profile=matrix_profile(P3_XY, SRGB_CURVE))
    expected = load_image(opaque).astype(float)
    expected[0, 1] = 255
    expected[0, 2] = expected[0, 2] * 128 / 255 + 127
    assert difference(load_image(data), expected) <= 1


def test_a_grey_profile_is_applied() -> None:
    gamma = b"curv" + struct.pack(">4xIHxx", 1, 461)  # 1.8
    icc = profile(b"GRAY", b"mntr", b"XYZ ", wtpt=xyz(D50), kTRC=gamma)
    grey = np.arange(0, 256, 5, dtype=np.uint8)[None]
    expected = np.rint(255 * srgb_encode((grey / 255) ** (461 / 256)))[..., None].repeat(3, axis=2)
    assert difference(load_image(encoded(grey, "png", icc_profile=icc)), expected) <= 2


def test_cmyk_with_and_without_a_profile() -> None:
    inks = PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert difference(load_image(encoded(inks, "jpeg"))[8, 8], np.array([255, 0, 0])) <= 3
    black = PIL.Image.new("CMYK", (16, 16), (0, 0, 0, 128))
    assert difference(load_image(encoded(black, "jpeg"))[8, 8], np.full(3, 127)) <= 2
    # A press whose lightness L* falls in a straight line with the black ink.
    ramp = bytes(range(256))
    corners = b"".join((b"\xff", b"\0")[corner & 1] + b"\x80\x80" for corner in range(16))
    identity = struct.pack(">9i", *(65536 * (cell % 4 == 0) for cell in range(9)))
    table = b"mft1" + struct.pack(">4xBBBx", 4, 3, 2) + identity + ramp * 4 + corners + ramp * 3
    icc = profile(b"CMYK", b"prtr", b"Lab ", A2B0=table)
    lightness = 100 * (1 - 128 / 255)
    expected = np.rint(255 * srgb_encode(np.full(3, ((lightness + 16) / 116) ** 3)))
    loaded = load_image(encoded(black, "jpeg", icc_profile=icc))[8, 8]
    assert difference(expected, np.full(3, 127)) > 5
    assert difference(loaded, expected) <= 2


P3 = matrix_profile(P3_XY, SRGB_CURVE)


@pytest.mark.parametrize(
    "icc",
    [
        b"nonsense",
        P3[:200],
        P3[:128] + bytes(len(P3) - 128),
        profile(b"GRAY", b"mntr", b"XYZ ", kTRC=ADOBE_CURVE),
        P3 + b"mpet",
    ],
    ids=["nonsense", "cut", "zeros", "for-grey", "multi-process"],
)
@pytest.mark.parametrize("form", ["png", "webp", "jpeg"])
def test_a_profile_that_does_not_serve_is_ignored(form: str, icc: bytes) -> None:
    options = {"lossless": True} if form == "webp" else {}
    data = encoded(GRADIENT, form, icc_profile=icc, **options)
    assert np.array_equal(load_image(data), load_image(encoded(GRADIENT, form, **options)))


def test_a_heic_profile_is_applied() -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    stored, stream = PIL.Image.fromarray(GRADIENT.repeat(4, 0).repeat(4, 1)), io.BytesIO()
    options = {"icc_profile": P3, "icc_profile_type": "prof", "quality": -1, "chroma": "444"}
    pillow_heif.from_pillow(stored).save(stream, **options)
    expected = load_image(encoded(stored, "png", icc_profile=P3))
    assert np.abs(expected.astype(int) - np.asarray(stored)).mean() > 4
    assert np.abs(load_image(stream.getvalue()).astype(int) - expected).mean() < 2


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_written_pictures_carry_the_srgb_profile(form: str) -> None:
    data = encode_image(GRADIENT, form)
    icc = PIL.Image.open(io.BytesIO(data)).info["icc_profile"]
    assert icc[16:20] == b"RGB "
    assert icc[24:36] == struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    # The profile says what sRGB is: a picture in it does not change when it is read.
    assert np.array_equal(load_image(encoded(GRADIENT, "png", icc_profile=icc)), GRADIENT)


def test_threads_do_not_disturb_each_other() -> None:
    files = [encoded(GRADIENT, form, icc_profile=P3) for form in ("png", "jpeg", "webp")] * 8
    with ThreadPoolExecutor(8) as pool:
        for data, loaded in zip(files, pool.map(load_image, files), strict=True):
            assert np.array_equal(loaded, load_image(data))
