"""Requests that are wrong in every way that came to mind; a seed decides about each."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib

import numpy as np
import PIL.Image

HEAD_BYTES = 400_000  # more than a head may have, and than comes in one piece

_BOUNDARY = "a1b2c3d4e5f6"
_ARTWORK = ("artwork", None, b"night-harbour")


def malformed(seed):
    """Return what is wrong with a request, its bytes, and the statuses that may answer it."""
    rng = random.Random(seed)
    kind = sorted(KINDS)[seed % len(KINDS)]
    statuses, build = KINDS[kind]
    return kind, build(rng), statuses


# Requests ---------------------------------------------------------------------------------------


def request(body, *headers, method="POST", length=None, content_type=None, host="127.0.0.1"):
    """Return a request for a composition; ``headers`` are lines that stand beside the usual."""
    lines = [
        f"{method} /v1/compositions HTTP/1.1",
        *([] if host is None else [f"Host: {host}"]),
        f"Content-Type: {content_type or f'multipart/form-data; boundary={_BOUNDARY}'}",
        *([] if length == "" else [f"Content-Length: {len(body) if length is None else length}"]),
        *headers,
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + body


def form(*parts, end=b"--\r\n"):
    """Return a multipart body of (name, file name or None, data)."""
    body = b""
    for name, file_name, data in parts:
        named = "" if file_name is None else f'; filename="{file_name}"'
        head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
        body += head.encode() + data + b"\r\n"
    return body + f"--{_BOUNDARY}".encode() + end


def upload(portrait, *more):
    return request(form(_ARTWORK, ("portrait", "p.jpg", portrait), *more))


def pixels(rng, side=48):
    return np.random.default_rng(rng.randrange(2**32)).integers(0, 255, (side, side, 3), np.uint8)


def picture(rng, kind="JPEG", **options):
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels(rng)).save(stream, kind, **options)
    return stream.getvalue()


def animation(rng, kind):
    frames = [PIL.Image.fromarray(pixels(rng)) for _ in range(3)]
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    return stream.getvalue()


def cut(data, rng):
    return data[: rng.randrange(4, len(data) * 9 // 10)]


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks, width=30_000, height=30_000):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def zip_bomb(_):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("portrait.jpg", bytes(3_000_000))
    return stream.getvalue()


def wrong_checksum(rng):
    data = bytearray(picture(rng, "PNG"))
    data[rng.randrange(50, len(data) - 20)] ^= 1 << rng.randrange(8)
    return bytes(data)


def enormous_jpeg(rng):
    data = bytearray(picture(rng))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(data)


def many_scans(rng):
    data = picture(rng, progressive=True)
    scan = data[data.index(b"\xff\xda") : -2]
    return data[:-2] + scan * 40 + data[-2:]


def arithmetic(rng):
    return picture(rng).replace(b"\xff\xc0", b"\xff\xc9", 1)


def lying_webp(rng):
    data = picture(rng, "WEBP")
    return data[:4] + struct.pack("<I", len(data) + rng.randrange(9, 2**30)) + data[8:]


def field(name, *values):
    return lambda rng: upload(picture(rng), (name, None, rng.choice(values)))


def text(*values):
    return lambda rng: upload(rng.choice(values) * rng.randrange(1, 50))


def portrait(build):
    return lambda rng: upload(build(rng))


def _good(rng):
    return form(_ARTWORK, ("portrait", "p.jpg", picture(rng)))


def _chunked(*chunks):
    headers = "Transfer-Encoding: chunked"
    return lambda _: request(b"".join(chunks), headers, length="")


_NO_IDS = b"../../etc/passwd", b"A B", b"\0", b"x" * 999, b"\xc3"
_NUMBERS = b"-1", b"6", b"1000000000000", b"x", b"", b"3.5", b"NaN", b"\xff", b"0x1"
_NOT_A_PICTURE = {
    "truncated JPEG": lambda rng: cut(picture(rng), rng),
    "truncated progressive JPEG": lambda rng: cut(picture(rng, progressive=True), rng),
    "truncated PNG": lambda rng: cut(picture(rng, "PNG"), rng),
    "truncated WebP": lambda rng: cut(picture(rng, "WEBP"), rng),
    "random bytes": lambda rng: rng.randbytes(rng.randrange(1, 5000)),
    "begins as a JPEG": lambda rng: b"\xff\xd8\xff" + rng.randbytes(3000),
    "begins as a PNG": lambda rng: b"\x89PNG\r\n\x1a\n" + rng.randbytes(3000),
    "begins as a WebP": lambda rng: b"RIFF\x10\x0b\0\0WEBPVP8 " + rng.randbytes(3000),
    "begins as a HEIC": lambda rng: b"\0\0\0\x18ftypheic" + rng.randbytes(3000),
    "empty file": lambda _: b"",
    "one byte": lambda rng: rng.randbytes(1),
    "GIF": lambda rng: picture(rng, "GIF"),
    "animated GIF": lambda rng: animation(rng, "GIF"),
    "animated WebP": lambda rng: animation(rng, "WEBP"),
    "animated PNG": lambda rng: animation(rng, "PNG"),
    "TIFF": lambda rng: picture(rng, "TIFF"),
    "BMP": lambda rng: picture(rng, "BMP"),
    "zip bomb": zip_bomb,
    "deflated zeros": lambda _: zlib.compress(bytes(3_000_000)),
    "PNG bomb": lambda _: png(chunk(b"IDAT", zlib.compress(bytes(1_000_000)))),
    "PNG with a bomb of text": lambda _: png(
        chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))), width=9, height=9
    ),
    "PNG of no pixels": lambda _: png(chunk(b"IDAT", zlib.compress(b"")), width=0, height=0),
    "PNG with too few pixels": lambda _: png(chunk(b"IDAT", zlib.compress(bytes(99)))),
    "PNG with a wrong checksum": wrong_checksum,
    "enormous JPEG": enormous_jpeg,
    "JPEG of many scans": many_scans,
    "arithmetic JPEG": arithmetic,
    "WebP that lies about its size": lying_webp,
}

_WRONG = {
    "text": text(b"hello ", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7\n", b"\0"),
    "no portrait": lambda _: request(form(_ARTWORK)),
    "no artwork": lambda rng: request(form(("portrait", "p.jpg", picture(rng)))),
    "nothing in the form": lambda _: request(form()),
    "two portraits": lambda rng: upload(picture(rng), ("portrait", "q.jpg", picture(rng))),
    "two artworks": lambda rng: upload(picture(rng), _ARTWORK),
    "an unknown field": field("colour", b"red"),
    "an unknown file": lambda rng: upload(picture(rng), ("hat", "hat.png", picture(rng, "PNG"))),
    "the portrait as a field": lambda rng: request(
        form(_ARTWORK, ("portrait", None, picture(rng)))
    ),
    "the artwork as a file": lambda rng: request(
        form(("artwork", "a.txt", b"night-harbour"), ("portrait", "p.jpg", picture(rng)))
    ),
    "no artwork's id": lambda rng: request(
        form(
            (
                "artwork",
                None,
                rng.choice(_NO_IDS),
            ),
            ("portrait", "p.jpg", picture(rng)),
        )
    ),
    "no such slot": field("slot", b"nowhere", b"", b"\xf0\x9f\xa6\x84", b"x" * 500),
    "no number of candidates": field("candidates", *_NUMBERS),
    "no number of alternatives": field("alternatives", *_NUMBERS),
    "many parts": lambda rng: upload(picture(rng), *[(f"f{n}", None, b"1") for n in range(9)]),
    "no last boundary": lambda rng: request(_good(rng)[: -len(_BOUNDARY) - 8]),
    "an open last boundary": lambda rng: request(form(_ARTWORK, end=b"\r\n")),
    "another boundary": lambda rng: request(
        _good(rng), content_type="multipart/form-data; boundary=other"
    ),
    "no boundary": lambda rng: request(_good(rng), content_type="multipart/form-data"),
    "JSON": lambda _: request(b'{"artwork": "night-harbour"}', content_type="application/json"),
    "a plain form": lambda _: request(
        b"artwork=night-harbour&portrait=x", content_type="application/x-www-form-urlencoded"
    ),
    "no type": lambda rng: request(_good(rng), content_type="nonsense"),
    "bare line feeds": lambda rng: request(_good(rng).replace(b"\r\n", b"\n")),
    "a part without a name": lambda rng: request(_good(rng).replace(b'name="artwork"', b"x=1")),
    "a part without headers": lambda rng: request(
        f"--{_BOUNDARY}\r\n\r\nx\r\n--{_BOUNDARY}--\r\n".encode()
    ),
    "a header without a colon": lambda rng: request(
        _good(rng).replace(b"Content-Disposition:", b"Content-Disposition", 1)
    ),
    "a body cut short": lambda rng: request(cut(_good(rng), rng)),
    "an empty body": lambda _: request(b""),
    "a random body": lambda rng: request(rng.randbytes(rng.randrange(1, 3000))),
    "a length too small": lambda rng: request(_good(rng), length=rng.randrange(1, 200)),
}

_REFUSED = {422}
KINDS = {
    **{kind: (_REFUSED, portrait(build)) for kind, build in _NOT_A_PICTURE.items()},
    **{kind: (_REFUSED, build) for kind, build in _WRONG.items()},
    "an unknown artwork": (
        {404},
        lambda rng: request(
            form(("artwork", None, b"mona-lisa"), ("portrait", "p.jpg", picture(rng)))
        ),
    ),
    "a field too large": ({413}, field("slot", b"x" * 70_000)),
    "a length far too large": ({413}, lambda rng: request(_good(rng), length=10**12)),
    "a length too large": ({408}, lambda rng: request(_good(rng), length=len(_good(rng)) + 9999)),
    "a chunk cut short": ({408}, _chunked(b"ffff\r\nhello")),
    "no length": ({400}, lambda rng: request(_good(rng), length=rng.choice(["x", "-5", "1 2"]))),
    "two lengths": ({400}, lambda rng: request(_good(rng), "Content-Length: 5")),
    "a length and chunks": (
        {400},
        lambda rng: request(b"0\r\n\r\n", "Transfer-Encoding: chunked"),
    ),
    "no chunk": ({400}, _chunked(b"hello\r\nworld\r\n0\r\n\r\n")),
    "a huge header": ({400}, lambda rng: request(b"", "X-Large: " + "x" * HEAD_BYTES)),
    "many headers": (
        {400},
        lambda rng: request(b"", *(f"X-{n}: {rng.random()}" for n in range(20_000))),
    ),
    "no HTTP": ({400}, lambda rng: rng.randbytes(200) + b"\r\n\r\n"),
    "a control character in a header": ({400}, lambda rng: request(b"", "X-Odd: a\0b")),
    "no host": ({400, 403}, lambda rng: request(_good(rng), host=None)),
    "another host": ({403}, lambda rng: request(_good(rng), host="evil.example")),
    "another origin": ({403}, lambda rng: request(_good(rng), "Origin: https://evil.example")),
    "another method": (
        {400, 405},
        lambda rng: request(b"", method=rng.choice(["PUT", "PATCH", "DELETE", "BREW"])),
    ),
    "no form of an answer": ({406}, lambda rng: request(_good(rng), "Accept: text/html")),
}
