"""The trust boundary, in and out: every expectation is built with Pillow, zlib or plain maths."""

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from vivant import images
from vivant.errors import ImageError, OutputError
from vivant.images import encode_image, load_image, load_layer, load_matte, save_image

GRADIENT = np.stack(
    [
        np.add.outer(np.arange(24), np.arange(40)) * 4,
        np.add.outer(np.arange(24) * 10, np.zeros(40)),
        np.add.outer(np.zeros(24), np.arange(40) * 6),
    ],
    axis=2,
).astype(np.uint8)
"""Smooth, and different under every turn: what lossy formats hold within a few levels."""

ALPHA = np.repeat(np.arange(24, dtype=np.uint8)[:, None] * 11, 40, axis=1)


def encoded(picture: np.ndarray | PIL.Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture = PIL.Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(stream, form, **options)
    return stream.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, **chunks: bytes) -> bytes:
    """Write a PNG by hand; ``rows`` start with a filter byte each."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = {"IHDR": header, **chunks, "IDAT": zlib.compress(rows), "IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body))
        + kind.encode()
        + body
        + struct.pack(">I", zlib.crc32(kind.encode() + body))
        for kind, body in parts.items()
    )


def difference(left: np.ndarray, right: np.ndarray) -> int:
    assert left.shape == right.shape
    return int(np.abs(left.astype(int) - right.astype(int)).max())


# Reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, Path, str])
def test_reads_bytes_and_paths(tmp_path: Path, kind: type) -> None:
    data = encoded(GRADIENT, "png")
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    loaded = load_image(kind(path if kind in {Path, str} else data))
    assert loaded.dtype == np.uint8
    assert loaded.flags.c_contiguous
    assert loaded.flags.writeable
    assert np.array_equal(loaded, GRADIENT)


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_reads_each_format(form: str) -> None:
    loaded = load_image(encoded(GRADIENT, form, quality=95))
    assert difference(loaded, GRADIENT) <= (0 if form == "png" else 24)
    assert np.abs(loaded.astype(int) - GRADIENT).mean() < 3


def test_an_empty_looking_picture_is_legal() -> None:
    assert load_image(encoded(np.full((1, 1, 3), 7, np.uint8), "png")).tolist() == [[[7, 7, 7]]]


TURNED = {  # by hand, not by the table under test: how a camera stores the upright picture
    1: GRADIENT,
    2: GRADIENT[:, ::-1],
    3: GRADIENT[::-1, ::-1],
    4: GRADIENT[::-1],
    5: GRADIENT.transpose(1, 0, 2),
    6: GRADIENT[:, ::-1].transpose(1, 0, 2),
    7: GRADIENT[::-1, ::-1].transpose(1, 0, 2),
    8: GRADIENT[::-1].transpose(1, 0, 2),
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(orientation: int, form: str, order: str) -> None:
    entries = [(0x010F, 2, 4, b"abc\0"), (0x0112, 3, 1, struct.pack(order + "Hxx", orientation))]
    exif = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "IH", 8, len(entries))
    exif += b"".join(struct.pack(order + "HHI", *head) + value for *head, value in entries)
    options = {"png": {}, "jpeg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    stored = np.ascontiguousarray(TURNED[orientation])
    data = encoded(stored, form, exif=b"Exif\0\0" + exif + bytes(4), **options[form])
    assert difference(load_image(data), GRADIENT) <= (4 if form == "jpeg" else 0)


def test_of_a_multi_picture_jpeg_the_first_is_read() -> None:
    first, second = PIL.Image.fromarray(GRADIENT), PIL.Image.new("RGB", (40, 24), "red")
    data = encoded(first, "mpo", save_all=True, append_images=[second], quality=95)
    assert b"MPF\0" in data
    assert np.array_equal(load_image(data), load_image(encoded(GRADIENT, "jpeg", quality=95)))


def test_transparency_is_flattened_over_white() -> None:
    rgba = np.dstack([GRADIENT, ALPHA])
    share = ALPHA[..., None] / 255
    expected = np.rint(GRADIENT * share + 255 * (1 - share))
    assert difference(load_image(encoded(rgba, "png")), expected) <= 1
    assert difference(load_image(encoded(rgba, "webp", lossless=True, exact=True)), expected) <= 1
    lossy = load_image(encoded(rgba, "webp", quality=95))
    assert np.abs(lossy - expected).mean() < 3
    grey = np.dstack([GRADIENT[..., 0], ALPHA])
    expected = np.rint(GRADIENT[..., :1] * share + 255 * (1 - share)).repeat(3, axis=2)
    assert difference(load_image(encoded(PIL.Image.fromarray(grey, "LA"), "png")), expected) <= 1


def test_palettes_greys_and_single_bits() -> None:
    indexed = PIL.Image.new("P", (3, 1))
    indexed.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    indexed.putdata([0, 1, 2])
    plain = [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    assert load_image(encoded(indexed, "png")).tolist() == plain
    one_clear = load_image(encoded(indexed, "png", transparency=1))
    assert one_clear.tolist() == [[[255, 0, 0], [255, 255, 255], [0, 0, 255]]]
    each_its_alpha = load_image(encoded(indexed, "png", transparency=bytes([255, 51, 0])))
    assert each_its_alpha.tolist() == [[[255, 0, 0], [204, 255, 204], [255, 255, 255]]]
    bits = PIL.Image.fromarray(np.array([[0, 255, 255]], np.uint8)).convert("1")
    assert load_image(encoded(bits, "png"))[..., 1].tolist() == [[0, 255, 255]]
    grey = np.array([[0, 90, 255]], np.uint8)
    for transparency, seen in [(None, 90), (90, 255)]:
        options = {} if transparency is None else {"transparency": transparency}
        assert load_image(encoded(grey, "png", **options))[0, 1].tolist() == [seen] * 3


def test_sixteen_bits_become_eight() -> None:
    levels = np.array([[0, 1, 128, 129, 257 * 100, 257 * 100 + 120, 65535]], np.uint16)
    expected = np.rint(levels / 257)
    assert difference(load_image(encoded(levels, "png"))[..., 0], expected) == 0
    samples = levels.astype(">u2").repeat(3, axis=1)
    colour = load_image(png(7, 1, 16, 2, b"\0" + samples.tobytes()))
    assert difference(colour[..., 1], expected) <= 1
    key = struct.pack(">HHH", 128, 128, 128)  # a 16-bit key colour is ignored, not misread
    keyed = load_image(png(7, 1, 16, 2, b"\0" + samples.tobytes(), tRNS=key))
    assert np.array_equal(keyed, colour)


# HEIC ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_once(orientation: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(TURNED[orientation]).repeat(4, 0).repeat(4, 1)
    heif, stream = pillow_heif.from_pillow(PIL.Image.fromarray(stored)), io.BytesIO()
    heif.info["exif"] = exif.tobytes()
    heif.save(stream, quality=-1, chroma="444")
    assert difference(load_image(stream.getvalue())[2::4, 2::4], GRADIENT) <= 4


def test_heic_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"^a\.heic is HEIC.*pip install 'vivant\[heic\]'"):
        load_image(b"\0\0\0\x18ftypheic" + bytes(99), name="a.heic")


def test_broken_heic_is_an_image_error() -> None:
    pytest.importorskip("pillow_heif")
    with pytest.raises(ImageError, match="damaged"):
        load_image(b"\0\0\0\x18ftypheic" + bytes(99))


# What is refused ------------------------------------------------------------------------------


def refusal(source: object, **options: str) -> str:
    with pytest.raises(ImageError) as caught:
        load_image(source, **options)  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.isprintable()
    return message


def frames(form: str) -> bytes:
    reds = [PIL.Image.new("RGB", (8, 8), (level, 0, 0)) for level in (0, 99, 200)]
    return encoded(reds[0], form, save_all=True, append_images=reds[1:])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty: send"),
        (b"not a picture", "is not a JPEG, PNG, WebP or HEIC picture: save"),
        (frames("gif"), "is not a JPEG, PNG, WebP or HEIC picture: save"),
        (encoded(GRADIENT, "tiff"), "is not a JPEG, PNG, WebP or HEIC picture: save"),
        (frames("png"), "is animated: send"),
        (frames("webp"), "is animated: send"),
        (encoded(GRADIENT, "jpeg")[:-30], "is truncated: send"),
        (encoded(GRADIENT, "png")[:-30], "is truncated: send"),
        (encoded(GRADIENT, "webp")[:-30], "is truncated: send"),
        (png(0, 4, 8, 2, b""), "is 0 x 4, a picture without pixels: send"),
        (png(4, 4, 8, 2, bytes(20)), "is damaged: save"),
        (png(30_000, 30_000, 8, 2, b""), "is 30000 x 30000 where 50 megapixels"),
        (png(10_000, 10_000, 8, 2, b""), "is 10000 x 10000 where 50 megapixels"),
        (png(1, 65_536, 8, 2, b""), "is 1 x 65536 where 50 megapixels and 65535 a side"),
        (b"\xff\xd8\xff" + bytes(images.MAX_BYTES), "is larger than 20 MB: send"),
    ],
)
def test_bad_pictures_are_refused_in_one_line(data: bytes, reason: str) -> None:
    assert refusal(data).startswith(f"image {reason}")
    assert refusal(data, name="bad\nname").startswith(f"bad?name {reason}")


def test_bad_paths_are_refused_in_one_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(images.MAX_BYTES + 1)
    assert refusal(tmp_path / "none.jpg") == f"{tmp_path}/none.jpg does not exist: check the path"
    assert refusal(tmp_path) == f"{tmp_path} is a folder: name a picture in it"
    assert "pipe is not a regular file: save" in refusal(tmp_path / "pipe")
    assert "large is larger than 20 MB: send" in refusal(tmp_path / "large")
    assert "Not a directory" in refusal(tmp_path / "large" / "a.jpg")
    assert "a?b cannot be read (no valid path): check" in refusal("a\0b")


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.png").write_bytes(encoded(GRADIENT, "png"))
    monkeypatch.setattr(Path, "open", refuse)
    assert "a.png cannot be read (Permission denied): check" in refusal(tmp_path / "a.png")


def test_the_size_is_checked_before_a_pixel_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    data = {form: encoded(GRADIENT, form) for form in ("jpeg", "png", "webp")}
    monkeypatch.setattr(images, "MAX_PIXELS", GRADIENT.shape[0] * GRADIENT.shape[1])
    assert all(load_image(content).shape == GRADIENT.shape for content in data.values())
    monkeypatch.setattr(images, "MAX_PIXELS", GRADIENT.shape[0] * GRADIENT.shape[1] - 1)
    monkeypatch.delattr(PIL.Image, "open")
    for content in data.values():
        assert "is 40 x 24 where" in refusal(content)


@pytest.mark.parametrize("failure", [MemoryError, RecursionError, SyntaxError, KeyError, Warning])
def test_whatever_a_decoder_raises_is_an_image_error(
    monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise failure("two\nlines")

    monkeypatch.setattr(PIL.Image, "open", fail)
    assert refusal(encoded(GRADIENT, "png")).startswith("image is damaged: save")


def test_what_is_no_source_is_a_programming_error() -> None:
    for source in (None, 0, GRADIENT):
        with pytest.raises(TypeError):
            load_image(source, name="photo")  # type: ignore[arg-type]


# Mattes ----------------------------------------------------------------------------------------


def test_a_matte_is_grey_or_alpha() -> None:
    opaque = np.full_like(ALPHA, 255)
    rgb = ALPHA[..., None].repeat(3, axis=2)
    for array in (ALPHA, rgb, np.dstack([rgb, opaque]), ALPHA.astype(np.uint16) * 257):
        matte = load_matte(encoded(array, "png"))
        assert matte.flags.writeable
        assert np.array_equal(matte, ALPHA)
    assert np.array_equal(load_matte(encoded(np.dstack([GRADIENT, ALPHA]), "png")), ALPHA)
    assert not load_matte(encoded(np.dstack([GRADIENT, opaque * 0]), "png")).any()
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    assert load_matte(encoded(ALPHA, "png", exif=turned)).shape == ALPHA.shape[::-1]


def test_a_bad_matte_is_named() -> None:
    with pytest.raises(ImageError, match=r"^mask\.png is truncated"):
        load_matte(encoded(ALPHA, "png")[:-5], name="mask.png")


# Layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["png", "webp"])
def test_a_layer_is_what_shows_over_white_and_its_alpha(form: str) -> None:
    data = encoded(np.dstack([GRADIENT, ALPHA]), form)
    over_white, alpha = load_layer(data)
    assert alpha is not None
    assert np.array_equal(over_white, load_image(data))
    assert np.array_equal(alpha, ALPHA)
    assert over_white.flags.writeable
    assert alpha.flags.writeable


def test_a_layer_is_turned_upright() -> None:
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    stored = np.ascontiguousarray(np.dstack([GRADIENT, ALPHA])[:, ::-1].transpose(1, 0, 2))
    over_white, alpha = load_layer(encoded(stored, "png", exif=turned))
    assert np.array_equal(over_white, load_image(encoded(np.dstack([GRADIENT, ALPHA]), "png")))
    assert np.array_equal(alpha, ALPHA)


def test_a_layer_that_is_nowhere_transparent_has_no_alpha() -> None:
    opaque = np.dstack([GRADIENT, np.full_like(ALPHA, 255)])
    for data in (encoded(opaque, "png"), encoded(GRADIENT, "jpeg"), encoded(ALPHA, "png")):
        over_white, alpha = load_layer(data)
        assert alpha is None
        assert np.array_equal(over_white, load_image(data))


def test_a_bad_layer_is_named() -> None:
    with pytest.raises(ImageError, match=r"^table\.png is truncated"):
        load_layer(encoded(np.dstack([GRADIENT, ALPHA]), "png")[:-5], name="table.png")


# Writing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("array", [GRADIENT, ALPHA, GRADIENT.transpose(1, 0, 2)])
def test_png_keeps_every_pixel(array: np.ndarray) -> None:
    data = encode_image(array, "png")
    read = load_image if array.ndim == 3 else load_matte
    assert np.array_equal(read(data), array)
    assert data == encode_image(array, "png")


@pytest.mark.parametrize("form", ["jpeg", "webp"])
def test_lossy_formats_follow_the_quality(form: str) -> None:
    coarse, fine = encode_image(GRADIENT, form, 10), encode_image(GRADIENT, form)
    assert len(coarse) < len(fine)
    assert np.abs(load_image(fine).astype(int) - GRADIENT).mean() < 3
    assert np.abs(load_matte(encode_image(ALPHA, form)).astype(int) - ALPHA).mean() < 2


def test_jpeg_keeps_edges_that_are_in_colour_only() -> None:
    stripes = np.tile(np.array([[255, 0, 0], [0, 130, 0]], np.uint8), (16, 8, 1))
    assert difference(load_image(encode_image(stripes, "jpeg")), stripes) < 60


@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_no_metadata_but_the_profile_of_a_picture(form: str) -> None:
    for array, profiles in [(GRADIENT, 1), (ALPHA, 0)]:
        info = PIL.Image.open(io.BytesIO(encode_image(array, form))).info
        assert len(info.get("icc_profile") or b"") == profiles * 588
        assert not {"exif", "xmp", "comment", "Software"} & set(info)


@pytest.mark.parametrize(
    ("array", "form", "quality", "message"),
    [
        (GRADIENT.astype(np.float32), "png", 92, r"not float32 \[24, 40, 3\]"),
        (np.dstack([GRADIENT, ALPHA]), "png", 92, r"not uint8 \[24, 40, 4\]"),
        (GRADIENT[:0], "png", 92, r"not uint8 \[0, 40, 3\]"),
        (GRADIENT[0, 0], "png", 92, r"not uint8 \[3\]"),
        (GRADIENT, "gif", 92, "'gif' is no format: choose jpeg, png, webp"),
        (GRADIENT, "jpeg", 0, "quality 0 is out of range"),
        (np.zeros((1, 16384, 3), np.uint8), "webp", 92, "16384 x 1 does not fit into webp: save"),
        (np.zeros((1, 65536, 3), np.uint8), "jpeg", 92, "65536 x 1 does not fit into jpeg: save"),
    ],
)
def test_what_cannot_be_encoded(array: np.ndarray, form: str, quality: int, message: str) -> None:
    with pytest.raises(OutputError, match=message):
        encode_image(array, form, quality)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".webp"])
def test_save_follows_the_suffix(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"result{suffix}"
    save_image(GRADIENT, path)
    assert path.read_bytes() == encode_image(GRADIENT, images._SUFFIXES[suffix.lower()])
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["a.gif", "a", ".png", "missing/a.png"])
def test_save_refuses_what_it_cannot_write(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"\.jpg, \.jpeg, \.png, \.webp|create it first"):
        save_image(GRADIENT, tmp_path / name)
    assert not list(tmp_path.iterdir())
