"""Files that are built to hurt: each is refused, or read without the part that hurts."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import PIL.Image
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from vivant import containers
from vivant.containers import open_container
from vivant.errors import ImageError

PICTURE = np.arange(16 * 24 * 3, dtype=np.uint16).reshape(16, 24, 3).astype(np.uint8)


def encoded(form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    PIL.Image.fromarray(PICTURE).save(stream, form, **options)
    return stream.getvalue()


JPEG, PNG, WEBP = encoded("jpeg"), encoded("png"), encoded("webp", lossless=True)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def riff(*parts: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        kind + struct.pack("<I", len(part)) + part + b"\0" * (len(part) % 2) for kind, part in parts
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(open_container(data).decode())


def exif(*entries: tuple[int, int, int, bytes], count: int | None = None) -> bytes:
    """Write an EXIF directory, big-endian, of (tag, type, count, four bytes of value)."""
    head = b"MM\0*" + struct.pack(">IH", 8, len(entries) if count is None else count)
    return head + b"".join(struct.pack(">HHI", *entry[:3]) + entry[3] for entry in entries)


ROTATED = (0x0112, 3, 1, b"\0\6\0\0")


@pytest.mark.parametrize(
    ("block", "orientation"),
    [
        (exif(ROTATED), 6),
        (b"Exif\0\0" + exif(ROTATED), 6),
        (exif((0x010F, 2, 4, b"abc\0"), ROTATED), 6),
        (exif(ROTATED, count=65535), 6),
        (exif((0x010F, 2, 4, b"abc\0"), count=65535), 1),
        (exif((0x0112, 3, 1, b"\0\0\0\0")), 1),
        (exif((0x0112, 3, 1, b"\0\x09\0\0")), 1),
        (exif((0x0112, 2, 1, b"\0\6\0\0")), 1),
        (exif(ROTATED)[:-3], 1),
        (b"MM\0*\xff\xff\xff\xff", 1),
        (b"II*\0", 1),
        (b"garbage", 1),
        (b"", 1),
    ],
)
def test_the_orientation_is_read_defensively(block: bytes, orientation: int) -> None:
    data = PNG[:33] + chunk(b"eXIf", block) + PNG[33:]
    assert open_container(data).orientation == orientation
    body = block if block.startswith(b"Exif") else b"Exif\0\0" + block
    data = JPEG[:2] + segment(0xE1, body) + JPEG[2:]
    assert open_container(data).orientation == orientation


def test_no_parser_of_pillow_sees_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> None:
        pytest.fail("a hostile block reached its parser")

    for owner, name in [
        (Image.Exif, "load"),
        (TiffImagePlugin.ImageFileDirectory_v2, "load"),
        (PngImagePlugin.PngStream, "chunk_iCCP"),
        (PngImagePlugin.PngStream, "chunk_zTXt"),
        (PngImagePlugin.PngStream, "chunk_eXIf"),
        (PngImagePlugin.PngStream, "chunk_acTL"),
    ]:
        monkeypatch.setattr(owner, name, fail)
    extra = [
        (b"iCCP", b"x\0\0" + zlib.compress(bytes(9))),
        (b"zTXt", b"k\0\0" + zlib.compress(b"v")),
    ]
    extra += [(b"eXIf", exif(ROTATED)), (b"acTL", struct.pack(">II", 1, 0))]
    data = PNG[:33] + b"".join(chunk(*block) for block in extra) + PNG[33:]
    assert np.array_equal(pixels(data), PICTURE)
    tail = segment(0xE1, b"Exif\0\0" + exif(ROTATED)) + segment(0xE2, b"MPF\0" + exif(ROTATED))
    assert np.array_equal(pixels(JPEG[:2] + tail + JPEG[2:]), pixels(JPEG))


def progressive(scans: int) -> bytes:
    """Repeat the last scan of a progressive JPEG until there are so many."""
    data = encoded("jpeg", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (scans - data.count(b"\xff\xda")) + b"\xff\xd9"


def test_a_progressive_jpeg_may_have_so_many_scans() -> None:
    assert pixels(progressive(containers.MAX_SCANS)).shape == PICTURE.shape
    with pytest.raises(ImageError, match="has 25 scans where 24 are allowed"):
        open_container(progressive(containers.MAX_SCANS + 1))


def test_what_looks_like_scans_in_metadata_or_behind_the_picture_does_not_count() -> None:
    comment = segment(0xFE, b"\xff\xda\0\2" * 100)
    data = JPEG[:2] + comment + JPEG[2:] + b"\xff\xda\0\2" * 100  # as in a motion photo
    assert np.array_equal(pixels(data), pixels(JPEG))


@pytest.mark.parametrize("marker", [0xC3, 0xC5, 0xC9, 0xCA, 0xCF])
def test_jpegs_that_no_camera_writes_are_refused(marker: int) -> None:
    frame = JPEG.index(b"\xff\xc0")
    with pytest.raises(ImageError, match="no camera writes"):
        open_container(JPEG[: frame + 1] + bytes([marker]) + JPEG[frame + 2 :])


def test_a_second_frame_header_is_refused() -> None:
    frame, scan = JPEG.index(b"\xff\xc0"), JPEG.index(b"\xff\xda")
    header = JPEG[frame : frame + 19]
    with pytest.raises(ImageError, match="no camera writes"):
        open_container(JPEG[:scan] + header + JPEG[scan:])


@pytest.mark.parametrize(
    "flood",
    [
        lambda blocks: JPEG[:2] + segment(0xFE, b"") * blocks + JPEG[2:],
        lambda blocks: PNG[:33] + chunk(b"tEXt", b"") * blocks + PNG[33:],
        lambda blocks: PNG[:33] + chunk(b"IDAT", b"") * blocks + PNG[33:],
        lambda blocks: riff((b"VP8L", WEBP[20:]), *[(b"junk", b"")] * blocks),
    ],
)
def test_a_flood_of_blocks_is_refused(flood: Callable[[int], bytes]) -> None:
    assert open_container(flood(2000)).size == (24, 16)
    with pytest.raises(ImageError, match="more than 65536 parts"):
        open_container(flood(containers.MAX_BLOCKS))


def test_an_inflated_profile_is_dropped() -> None:
    bomb = b"icc\0\0" + zlib.compress(bytes(containers.MAX_PROFILE_BYTES + 1))
    data = PNG[:33] + chunk(b"iCCP", bomb) + PNG[33:]
    assert len(bomb) < 8192
    assert open_container(data).icc == b""
    assert np.array_equal(pixels(data), PICTURE)


def test_a_jpeg_profile_is_joined_in_order_or_dropped() -> None:
    def icc(*parts: bytes) -> bytes:
        blocks = b"".join(segment(0xE2, b"ICC_PROFILE\0" + part) for part in parts)
        return open_container(JPEG[:2] + blocks + JPEG[2:]).icc

    assert icc(b"\1\1all") == b"all"
    assert icc(b"\2\3b", b"\1\3a", b"\3\3c") == b"abc"
    assert icc(b"\1\2a") == icc(b"\1\2a", b"\1\2a") == icc(b"\2\2b", b"\3\2c") == icc(b"") == b""


def test_a_damaged_png_is_noticed_by_its_checksum() -> None:
    place = PNG.index(b"IDAT") + 9
    data = PNG[:place] + bytes([PNG[place] ^ 1]) + PNG[place + 1 :]
    with pytest.raises(ImageError, match="checksum"):
        open_container(data)


def test_a_webp_canvas_that_lies_is_not_believed() -> None:
    canvas = struct.pack("<II", 0, 16383)[:7] + struct.pack("<I", 16383)[:3]
    data = riff((b"VP8X", canvas), (b"VP8L", WEBP[20:]))
    assert open_container(data).size == (24, 16)
    assert np.array_equal(pixels(data)[..., :3], PICTURE)
