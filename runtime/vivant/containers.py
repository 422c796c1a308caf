"""What a picture file says about itself, read without decoding a pixel.

Pillow parses every block that it meets while it opens a file: EXIF directories, text, tables of
further pictures, animation control. Vivant needs next to none of it, and some of those parsers
can be made to allocate gigabytes or to run for minutes. So JPEG, PNG and WebP are walked here,
once and in linear time. Out come the size, the orientation, the colour profile, and a bare file
that holds the picture and nothing else: Pillow sees only that. HEIF is left to libheif, which
keeps limits of its own.

References: ITU-T T.81 annex B (JPEG), W3C PNG, RFC 9649 (WebP), CIPA DC-008 (EXIF), ICC.1 annex B.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import PIL.Image

from vivant.errors import ImageError

MAX_BYTES = 20 * 1024 * 1024
"""The largest file, in bytes."""

MAX_PIXELS = 50_000_000
"""The largest picture, width times height."""

MAX_SIDE = 65_535
"""The longest side, in pixels: the most that JPEG can say."""

MAX_SCANS = 24
"""The most scans of a JPEG. Encoders write up to 20; each walks the whole picture again."""

MAX_BLOCKS = 65_536
"""The most segments or chunks in a file; a large PNG has some thousands."""

MAX_PROFILE_BYTES = 4 * 1024 * 1024
"""The largest ICC profile; those of printing presses reach 3 MB."""

Block: TypeAlias = tuple[bytes, memoryview]
"""The kind of a segment or chunk, and what is in it."""


@dataclass(frozen=True)
class Container:
    """A picture file, opened but not decoded.

    ``size`` is (width, height) in pixels as stored, ``orientation`` (EXIF, 1..8) says how to turn
    it upright, ``icc`` is the colour profile or empty. ``decode`` returns the pixels, not turned.
    """

    size: tuple[int, int]
    orientation: int
    icc: bytes
    decode: Callable[[], PIL.Image.Image]


def open_container(data: bytes) -> Container:
    """Open a JPEG, PNG, WebP or HEIF file; of several still pictures, the first or primary one.

    Raises:
        ImageError: When the bytes are none of these, or are truncated, animated or absurd.
        Exception: Whatever a damaged header leads to, be it here or in libheif.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return _open_jpeg(data)
    if data.startswith(_PNG_SIGNATURE):
        return _open_png(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _open_webp(data)
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return _open_heif(data)
    raise ImageError("is not a JPEG, PNG, WebP or HEIC picture: save it as one of these")


def _decode(form: str, bare: bytes) -> PIL.Image.Image:
    picture = PIL.Image.open(io.BytesIO(bare), formats=[form])
    picture.load()
    return picture


def _limited(blocks: Iterator[Block]) -> Iterator[Block]:
    for number, block in enumerate(blocks):
        if number == MAX_BLOCKS:
            raise ImageError(f"has more than {MAX_BLOCKS} parts: save it again")
        yield block


def _first_of_each(blocks: Iterator[Block]) -> dict[bytes, memoryview]:
    found: dict[bytes, memoryview] = {}
    for kind, body in _limited(blocks):
        found.setdefault(kind, body)
    return found


def _truncated() -> ImageError:
    return ImageError("is truncated: send the whole file again")


def _animated() -> ImageError:
    return ImageError("is animated: send a still picture")


# JPEG ------------------------------------------------------------------------------------------

_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")  # those that begin a segment, and the end
_START, _END, _SCAN = b"\xd8", b"\xd9", b"\xda"
_EXIF, _ICC, _COMMENT = b"\xe1", b"\xe2", b"\xfe"
_JFIF, _ADOBE = b"\xe0", b"\xee"  # these two tell the colour space of the samples
_METADATA = {bytes([marker]) for marker in range(0xE0, 0xF0)} - {_JFIF, _ADOBE} | {_COMMENT}
_FRAMES = {b"\xc0", b"\xc1", b"\xc2"}  # baseline, extended, progressive; all with Huffman codes
_ODD_FRAMES = {bytes([marker]) for marker in range(0xC3, 0xD0)} - {b"\xc4", b"\xc8", b"\xcc"}


def _open_jpeg(data: bytes) -> Container:
    """Open the first picture of a JPEG, MPO, Ultra HDR or motion photo file."""
    size, exif, scans = None, b"", 0
    profile: list[bytes] = []
    kept: list[bytes | memoryview] = [b"\xff" + _START]
    for marker, segment in _limited(_jpeg_segments(data)):
        body = segment[4:]
        if marker in _FRAMES and size is None:
            height, width = struct.unpack_from(">xHH", body)
            size = width, height
        elif marker in _FRAMES or marker in _ODD_FRAMES:
            # Arithmetic codes take minutes to decode from a few bytes; browsers refuse them too.
            raise ImageError("is a kind of JPEG that no camera writes: save it again")
        elif marker == _SCAN:
            scans += 1
        elif marker == _EXIF and not exif and bytes(body[:6]) == b"Exif\0\0":
            exif = bytes(body)
        elif marker == _ICC and bytes(body[:12]) == b"ICC_PROFILE\0":
            profile.append(bytes(body[12:]))
        if marker not in _METADATA:
            kept.append(segment)
    if size is None:
        raise _truncated()
    if scans > MAX_SCANS:
        raise ImageError(f"has {scans} scans where {MAX_SCANS} are allowed: save it again")
    bare = b"".join([*kept, b"\xff" + _END])
    return Container(size, _orientation(exif), _join(profile), partial(_decode, "JPEG", bare))


def _jpeg_segments(data: bytes) -> Iterator[Block]:
    """Yield each segment whole, marker and length included; a scan with its data."""
    view, end = memoryview(data), 2
    while found := _MARKER.search(data, end):
        marker, end = found[1], found.end()
        if marker == _END:
            return
        end += struct.unpack_from(">H", data, end)[0]
        if marker == _SCAN:
            following = _MARKER.search(data, end)
            end = following.start() if following else len(data)
        yield marker, view[found.start() : end]
    raise _truncated()


def _join(parts: list[bytes]) -> bytes:
    """Join the numbered parts of an ICC profile; nothing when one is missing."""
    parts = sorted(parts)
    complete = all(part[:2] == bytes([n, len(parts)]) for n, part in enumerate(parts, 1))
    return b"".join(part[2:] for part in parts) if complete else b""


# PNG -------------------------------------------------------------------------------------------

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _open_png(data: bytes) -> Container:
    pixels: list[memoryview] = []
    chunks: dict[bytes, memoryview] = {}
    for kind, body in _limited(_png_chunks(data)):
        if kind == b"IDAT":
            pixels.append(body)
        else:
            chunks.setdefault(kind, body)
    if chunks.get(b"acTL", b"\0\0\0\1")[:4] != b"\0\0\0\1":
        raise _animated()
    width, height, depth = struct.unpack_from(">IIB", chunks[b"IHDR"])
    if depth == 16:  # Pillow compares a transparent colour with 8 bits of each sample
        chunks.pop(b"tRNS", None)
    bare = [
        _png_chunk(kind, chunks[kind]) for kind in (b"IHDR", b"PLTE", b"tRNS") if kind in chunks
    ]
    bare += [_png_chunk(b"IDAT", b"".join(pixels)), _png_chunk(b"IEND", b"")]
    return Container(
        (width, height),
        _orientation(bytes(chunks.get(b"eXIf", b""))),
        _inflate(bytes(chunks.get(b"iCCP", b""))),
        partial(_decode, "PNG", b"".join([_PNG_SIGNATURE, *bare])),
    )


def _png_chunks(data: bytes) -> Iterator[Block]:
    view, start = memoryview(data), len(_PNG_SIGNATURE)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if end > len(data):
            break
        (checksum,) = struct.unpack_from(">I", data, end - 4)
        if kind[:1].isupper() and zlib.crc32(view[start + 4 : end - 4]) != checksum:
            raise ImageError("is damaged, its checksum is wrong: send the file again")
        yield kind, view[start + 8 : end - 4]
        if kind == b"IEND":
            return
        start = end
    raise _truncated()


def _png_chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    return b"".join(
        [
            struct.pack(">I", len(body)),
            kind,
            body,
            struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))),
        ]
    )


def _inflate(chunk: bytes) -> bytes:
    """Return the profile in an iCCP chunk: name, null byte, method, deflated profile."""
    inflater = zlib.decompressobj()
    try:
        icc = inflater.decompress(chunk.partition(b"\0")[2][1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return icc if inflater.eof else b""


# WebP ------------------------------------------------------------------------------------------

_ANIMATION, _ALPHA = 0x02, 0x10


def _open_webp(data: bytes) -> Container:
    chunks = _first_of_each(_webp_chunks(data))
    if chunks.get(b"VP8X", b"\0")[0] & _ANIMATION or b"ANMF" in chunks:
        raise _animated()
    if b"VP8L" in chunks:
        (bits,) = struct.unpack_from("<xI", chunks[b"VP8L"])
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        bare = _webp_chunk(b"VP8L", chunks[b"VP8L"])
    else:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<6xHH", chunks[b"VP8 "]))
        bare = _webp_chunk(b"VP8 ", chunks[b"VP8 "])
        if b"ALPH" in chunks:
            canvas = struct.pack("<II", _ALPHA, width - 1)[:7] + struct.pack("<I", height - 1)[:3]
            bare = _webp_chunk(b"VP8X", canvas) + _webp_chunk(b"ALPH", chunks[b"ALPH"]) + bare
    return Container(
        (width, height),
        _orientation(bytes(chunks.get(b"EXIF", b""))),
        bytes(chunks.get(b"ICCP", b"")),
        partial(_decode, "WEBP", _webp_chunk(b"RIFF", b"WEBP" + bare)),
    )


def _webp_chunks(data: bytes) -> Iterator[Block]:
    view = memoryview(data)
    start, stop = 12, 8 + int.from_bytes(data[4:8], "little")
    if stop > len(data):
        raise _truncated()
    while start + 8 <= stop:
        kind, length = struct.unpack_from("<4sI", data, start)
        yield kind, view[start + 8 : min(start + 8 + length, stop)]
        start += 8 + length + length % 2


def _webp_chunk(kind: bytes, body: bytes | memoryview) -> bytes:
    return b"".join([kind, struct.pack("<I", len(body)), body, b"\0" * (len(body) % 2)])


# HEIF ------------------------------------------------------------------------------------------

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def _open_heif(data: bytes) -> Container:
    """Open the primary picture; libheif itself turns it upright and leaves EXIF out of it."""
    try:
        import pillow_heif
    except ImportError:
        raise ImageError(
            "is HEIC, which needs an extra: pip install 'vivant[heic]', or send a JPEG"
        ) from None
    heif = pillow_heif.open_heif(data)
    picture = heif[heif.primary_index]
    icc = picture.info.get("icc_profile")
    return Container(picture.size, 1, icc if isinstance(icc, bytes) else b"", picture.to_pillow)


# EXIF ------------------------------------------------------------------------------------------

_ORIENTATION, _SHORT = 0x0112, 3


def _orientation(exif: bytes) -> int:
    """Return the orientation, 1..8, from the first EXIF directory; 1 when it cannot be read."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, start)
        for offset in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, value = struct.unpack_from(order + "HH4xH", tiff, offset)
            if tag == _ORIENTATION:
                return value if kind == _SHORT and 1 <= value <= 8 else 1
    except struct.error:  # the directory is cut short
        pass
    return 1
