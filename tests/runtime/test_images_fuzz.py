"""Two thousand damaged files: each is a picture within the limits or an ``ImageError``."""

import io
import struct
import zlib
from collections import Counter
from collections.abc import Iterator

import numpy as np
import PIL.Image

from vivant.containers import MAX_PIXELS, MAX_SIDE
from vivant.errors import ImageError
from vivant.images import encode_image, load_image

MUTATIONS = 2000


def sources() -> list[bytes]:
    """Return small valid files that between them use most of what the formats can do."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (6, 8, 4), dtype=np.uint8)
    rgba = PIL.Image.fromarray(coarse).resize((64, 48), PIL.Image.Resampling.BICUBIC)
    rgb, grey16 = rgba.convert("RGB"), np.asarray(rgba.convert("L")).astype(np.uint16) * 257
    icc = PIL.Image.open(io.BytesIO(encode_image(np.asarray(rgb), "png"))).info["icc_profile"]
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    meta = {"icc_profile": icc, "exif": exif}
    files = [
        encoded(rgb, "jpeg", **meta),
        encoded(rgb, "jpeg", progressive=True, subsampling=0),
        encoded(rgb, "jpeg", progressive=True, restart_marker_blocks=3, **meta),
        encoded(rgb.convert("L"), "jpeg"),
        encoded(rgb.convert("CMYK"), "jpeg", progressive=True),
        encoded(rgb, "mpo", save_all=True, append_images=[rgb]),
        encoded(rgb, "png", **meta),
        encoded(rgba, "png"),
        encoded(PIL.Image.fromarray(grey16), "png", **meta),
        encoded(rgb.quantize(16), "png", transparency=bytes(range(16))),
        encoded(rgb.convert("1"), "png"),
        encoded(rgb, "png", save_all=True, append_images=[rgb.rotate(90)]),
        encoded(rgb, "webp", **meta),
        encoded(rgba, "webp", **meta),
        encoded(rgba, "webp", lossless=True, **meta),
        encoded(rgb, "webp", save_all=True, append_images=[rgb.rotate(90)]),
    ]
    try:
        import pillow_heif
    except ImportError:
        return files
    stream = io.BytesIO()
    pillow_heif.from_pillow(rgb).save(stream, exif=exif.tobytes())
    return [*files, stream.getvalue(), stream.getvalue()]


def encoded(picture: PIL.Image.Image, form: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, form, **options)
    return stream.getvalue()


def mutations(count: int, seed: int) -> Iterator[bytes]:
    """Yield damaged files, the same ones for the same seed."""
    files, random = sources(), np.random.default_rng(seed)
    damages = [truncated, flipped, overwritten, spliced, moved, lying, lying, resealed, resealed]
    for number in range(count):
        data = bytearray(files[number % len(files)])
        for _ in range(random.integers(1, 4)):
            damage = damages[random.integers(len(damages))]
            data = damage(data, random) if damage is not spliced else spliced(data, random, files)
        yield bytes(data)


def place(data: bytearray, random: np.random.Generator) -> int:
    """Pick a place in the file, every other time in its head, where the structure is."""
    return int(random.integers(min(len(data), 400) if random.integers(2) else len(data) or 1))


def truncated(data: bytearray, random: np.random.Generator) -> bytearray:
    return data[: place(data, random) + 1]


def flipped(data: bytearray, random: np.random.Generator) -> bytearray:
    for _ in range(random.integers(1, 9)):
        if data:
            data[place(data, random)] ^= 1 << int(random.integers(8))
    return data


def overwritten(data: bytearray, random: np.random.Generator) -> bytearray:
    start, length = place(data, random), int(random.integers(1, 40))
    filler = [bytes(length), b"\xff" * length, random.bytes(length)][random.integers(3)]
    data[start : start + length] = filler
    return data


def moved(data: bytearray, random: np.random.Generator) -> bytearray:
    """Repeat, drop or insert a stretch, so that all behind it shifts."""
    start, length = place(data, random), int(random.integers(1, 200))
    stretch = data[start : start + length] * int(random.integers(3))
    return data[:start] + stretch + data[start + length * int(random.integers(2)) :]


def spliced(data: bytearray, random: np.random.Generator, files: list[bytes]) -> bytearray:
    """Put the head of one file before the tail of another."""
    other = files[random.integers(len(files))]
    return data[: place(data, random)] + other[place(bytearray(other), random) :]


def lying(data: bytearray, random: np.random.Generator) -> bytearray:
    """Write an extreme number over the picture's size, or over any length."""
    number = int(random.choice([0, 1, 2, 255, 700, 7071, 16383, 32768, 65535]))
    head = {b"\xff\xd8": (b"\xff\xc0", b"\xff\xc2"), b"\x89P": (b"IHDR",), b"RI": (b"VP8", b"ALPH")}
    tags = head.get(bytes(data[:2]), (b"ispe", b"iloc", b"hvcC"))
    starts = [data.find(tag) for tag in tags if tag in data]
    start = starts[0] + int(random.integers(2, 18)) if starts else place(data, random)
    data[start : start + 2] = struct.pack(">H" if random.integers(2) else "<H", number)
    return data


def resealed(data: bytearray, random: np.random.Generator) -> bytearray:
    """Damage a PNG and put its checksums right again, so that the damage gets further in."""
    if not data.startswith(b"\x89PNG"):
        return flipped(data, random)
    start = 8
    damaged = random.integers(8)
    for number in range(12):
        if start + 12 > len(data):
            break
        length = min(int.from_bytes(data[start : start + 4], "big"), len(data) - start - 12)
        if number == damaged and length:
            data[start + 8 + int(random.integers(length))] ^= 1 << int(random.integers(8))
        checksum = zlib.crc32(data[start + 4 : start + 8 + length])
        data[start + 8 + length : start + 12 + length] = struct.pack(">I", checksum)
        start += 12 + length
    return data


def outcome(data: bytes) -> str:
    try:
        picture = load_image(data)
    except ImageError as error:
        return str(error)
    assert picture.dtype == np.uint8
    height, width, channels = picture.shape
    assert channels == 3
    assert 0 < height * width <= MAX_PIXELS
    assert max(height, width) <= MAX_SIDE
    return "picture"


def test_damaged_files_are_pictures_or_image_errors() -> None:
    outcomes = Counter(outcome(data) for data in mutations(MUTATIONS, seed=20240229))
    pictures = outcomes.pop("picture")
    assert pictures + outcomes.total() == MUTATIONS
    for message in outcomes:
        assert message.startswith("image ")
        assert message.isprintable()
    # The mutations are worth their time only while many get through, and many do not.
    assert pictures > MUTATIONS / 10
    for reason in ("is damaged: save", "is truncated: send"):
        assert outcomes[next(m for m in outcomes if reason in m)] > MUTATIONS / 20
