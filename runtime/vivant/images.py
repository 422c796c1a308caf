"""The trust boundary: bytes of unknown origin to ``uint8 [H,W,3]`` RGB, and back.

Everything that a visitor, a camera or a museum sends passes through here. What comes out is an
upright sRGB picture within the limits named in ``vivant.containers``, or an ``ImageError``. No
global state is touched, so any number of threads may read at once.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
import PIL.Image
from PIL.Image import Transpose

from vivant.containers import (
    MAX_BYTES,
    MAX_PIXELS,
    MAX_PROFILE_BYTES,
    MAX_SIDE,
    Container,
    open_container,
)
from vivant.errors import ImageError, OutputError
from vivant.files import one_line, write_atomic
from vivant.roles import Image, Matte

if TYPE_CHECKING:
    from PIL import ImageCms

ImageSource: TypeAlias = bytes | bytearray | memoryview | str | os.PathLike[str]
"""The content of a picture file, or the path to one."""

ImageFormat: TypeAlias = Literal["jpeg", "png", "webp"]
"""What pictures are written as."""

_SUFFIXES: dict[str, ImageFormat] = {
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".webp": "webp",
}

_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""EXIF orientation to the transposition that undoes it."""

_ICC_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Pillow mode to the colour space that a profile for it must have."""


def load_image(source: ImageSource, *, name: str | None = None) -> Image:
    """Read a picture of unknown origin: JPEG, PNG, WebP, or HEIC where the extra is installed.

    The EXIF orientation is applied, an ICC profile is converted to sRGB (relative colorimetric
    with black point compensation), 16 bits become 8, transparency is flattened over white. A
    profile that is broken or does not fit the pixels is ignored. Of a file with several
    stills, such as the MPO that phones write, the first one is read.

    Args:
        source: The file's content (bytes-like) or the path to it (``str`` or ``PathLike``).
        name: What to call the picture in an error; the path, or "image", when left out.

    Returns:
        ``uint8 [H,W,3]`` RGB, upright, sRGB; writable and contiguous.

    Raises:
        ImageError: When the picture is missing, unreadable, no picture, truncated, damaged,
            animated, empty, or larger than ``MAX_BYTES``, ``MAX_PIXELS`` or ``MAX_SIDE``.
    """
    with _named_errors(_label(source, name)):
        return _to_array(_decode_flat(source)[0])


def load_layer(source: ImageSource, *, name: str | None = None) -> tuple[Image, Matte | None]:
    """Read a picture to lay over others: what it shows over white, and its transparency.

    Args:
        source: The file's content (bytes-like) or the path to it (``str`` or ``PathLike``).
        name: What to call the picture in an error; the path, or "image", when left out.

    Returns:
        What ``load_image`` returns, and alpha, ``uint8 [H,W]``, 0..255, upright, or ``None``
        when the picture is nowhere transparent; writable and contiguous, both.

    Raises:
        ImageError: As ``load_image`` does.
    """
    with _named_errors(_label(source, name)):
        flat, alpha = _decode_flat(source)
        return _to_array(flat), None if alpha is None else np.array(alpha)


def load_matte(source: ImageSource, *, name: str | None = None) -> Matte:
    """Read a matte or mask from a picture file, in any format that ``load_image`` reads.

    Where the picture has transparency, that is the matte: a cut-out serves as its own mask.
    A fully opaque picture is one of grey values (many tools save masks as RGB or RGBA):
    its luma (ITU-R BT.601) is the matte. Values are data, so colour profiles are ignored.

    Args:
        source: The file's content (bytes-like) or the path to it (``str`` or ``PathLike``).
        name: What to call the picture in an error; the path, or "image", when left out.

    Returns:
        ``uint8 [H,W]``, 0..255, upright; writable and contiguous.

    Raises:
        ImageError: As ``load_image`` does.
    """
    with _named_errors(_label(source, name)):
        colour, alpha = _split_alpha(_decode_upright(open_container(_read(source))))
        return np.array(colour.convert("L") if alpha is None else alpha)


def encode_image(
    image: Image | Matte,
    format: ImageFormat,  # noqa: A002  (the word of Pillow and of every command line)
    quality: int = 92,
) -> bytes:
    """Encode a picture or a matte, without metadata but for the sRGB profile of a picture.

    Equal pixels give equal bytes. JPEG keeps the full colour resolution (4:4:4): a composite
    has edges in colour that are no edges in light.

    Args:
        image: ``uint8 [H,W,3]`` RGB, sRGB, or ``uint8 [H,W]``.
        format: "jpeg", "png" or "webp" (lossy).
        quality: 1..100 for JPEG and WebP; PNG is lossless.

    Raises:
        OutputError: When the array is no picture, or the format cannot hold it.
    """
    _check_encodable(image, format, quality)
    picture = PIL.Image.fromarray(image)
    options = {
        "jpeg": {"quality": quality, "subsampling": 0},
        "png": {"compress_level": 4},  # half the time of the default for 5 % more bytes
        "webp": {"quality": quality},
    }[format]
    stream = io.BytesIO()
    try:
        picture.save(stream, format, icc_profile=_srgb() if image.ndim == 3 else None, **options)
    except (OSError, ValueError) as error:  # WebP ends at 16383 pixels a side, JPEG at 65500
        size = f"{picture.width} x {picture.height}"
        raise OutputError(f"a picture of {size} does not fit into {format}: save a PNG") from error
    return stream.getvalue()


def save_image(image: Image | Matte, path: str | os.PathLike[str], quality: int = 92) -> None:
    """Write a picture or a matte as its suffix says: .jpg, .jpeg, .png or .webp.

    The file appears whole or not at all; ``encode_image`` says what is in it.

    Raises:
        OutputError: When the suffix is another one, the array is no picture, or the file
            cannot be written.
    """
    form = _SUFFIXES.get(Path(path).suffix.lower())
    if form is None:
        raise OutputError(f"{one_line(path)} must end in one of {', '.join(_SUFFIXES)}")
    write_atomic(path, encode_image(image, form, quality))


def _label(source: ImageSource, name: str | None) -> str:
    origin = "image" if isinstance(source, bytes | bytearray | memoryview) else os.fspath(source)
    return one_line(name or origin)


@contextlib.contextmanager
def _named_errors(label: str) -> Iterator[None]:
    """Let nothing out but an ``ImageError`` that names the picture."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{label} {error}") from error.__cause__
    except Exception as error:
        # Hostile bytes make the parsers and decoders below raise anything from SyntaxError to
        # MemoryError, by version and by platform. To the caller it is one and the same: a bad
        # picture. This is the only place where that judgement is made.
        raise ImageError(f"{label} is damaged: save it again as JPEG, PNG or WebP") from error


def _read(source: ImageSource) -> bytes:
    """Return the file's content, which is never read further than the limit."""
    if isinstance(source, bytes | bytearray | memoryview):
        _check_bytes(memoryview(source).nbytes)
        return bytes(source)
    path = Path(source)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ImageError("is a folder: name a picture in it")
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device may never end
            raise ImageError("is not a regular file: save the picture to one")
        _check_bytes(status.st_size)
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ImageError("does not exist: check the path") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = getattr(error, "strerror", None) or "no valid path"
        raise ImageError(f"cannot be read ({reason}): check path and permissions") from error
    _check_bytes(len(data))
    return data


def _check_bytes(count: int) -> None:
    if count == 0:
        raise ImageError("is empty: send the file again")
    if count > MAX_BYTES:
        raise ImageError(f"is larger than {MAX_BYTES >> 20} MB: send a smaller file")


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if min(size) < 1:
        raise ImageError(f"is {width} x {height}, a picture without pixels: send another one")
    if width * height > MAX_PIXELS or max(size) > MAX_SIDE:
        limit = f"{MAX_PIXELS // 1_000_000} megapixels and {MAX_SIDE} a side are allowed"
        raise ImageError(f"is {width} x {height} where {limit}: send a smaller one")


def _decode_upright(container: Container) -> PIL.Image.Image:
    _check_size(container.size)
    picture = container.decode()
    _check_size(picture.size)  # HEIF may hold more than its header admits
    turn = _UPRIGHT.get(container.orientation)
    return picture if turn is None else picture.transpose(turn)


def _decode_flat(source: ImageSource) -> tuple[PIL.Image.Image, PIL.Image.Image | None]:
    """Return the picture as sRGB over white, and alpha as L, or None if all opaque."""
    container = open_container(_read(source))
    colour, alpha = _split_alpha(_decode_upright(container))
    return _flatten_over_white(_to_srgb(colour, container.icc), alpha), alpha


def _split_alpha(picture: PIL.Image.Image) -> tuple[PIL.Image.Image, PIL.Image.Image | None]:
    """Return the colours as L, RGB or CMYK, 8 bits each, and alpha as L, or None if all opaque."""
    if picture.mode in {"I", "I;16"}:
        levels = (np.arange(65536) * 255 + 32767) // 65535
        return PIL.Image.fromarray(levels.astype(np.uint8)[np.asarray(picture)]), None
    alpha = None
    if picture.has_transparency_data:
        picture = _as_mode(picture, "LA" if picture.mode in {"1", "L", "LA"} else "RGBA")
        alpha = picture.getchannel("A")
        alpha = None if alpha.getextrema() == (255, 255) else alpha
    mode = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(picture.mode, "RGB")
    return _as_mode(picture, mode), alpha


def _to_srgb(colour: PIL.Image.Image, icc: bytes) -> PIL.Image.Image:
    # A profile may chain half a million "mpet" steps, minutes of work; no camera uses any.
    if 0 < len(icc) <= MAX_PROFILE_BYTES and b"mpet" not in icc:
        from PIL import ImageCms  # most pictures do without

        with contextlib.suppress(ImageCms.PyCMSError, OSError):
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            if profile.profile.xcolor_space.strip() == _ICC_SPACES[colour.mode]:
                transform = ImageCms.buildTransform(
                    profile,
                    ImageCms.createProfile("sRGB"),
                    inMode=colour.mode,
                    outMode="RGB",
                    renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                    flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
                )
                if colour.mode == "RGB" and _changes_nothing(transform):
                    return colour
                return transform.apply(colour)
    return _as_mode(colour, "RGB")


def _changes_nothing(transform: ImageCms.ImageCmsTransform) -> bool:
    """Return whether a transform of RGB leaves every 15th value of each channel as it is.

    Most profiles are one of the many forms of sRGB; applied to a photo, they would cost three
    times what its decoding does.
    """
    steps = np.arange(0, 256, 15, dtype=np.uint8)
    values = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(len(steps), -1, 3)
    return np.array_equal(np.asarray(transform.apply(PIL.Image.fromarray(values))), values)


def _flatten_over_white(colour: PIL.Image.Image, alpha: PIL.Image.Image | None) -> PIL.Image.Image:
    if alpha is None:
        return colour
    page = PIL.Image.new("RGB", colour.size, "white")
    page.paste(colour, mask=alpha)
    return page


def _to_array(picture: PIL.Image.Image) -> Image:
    """Copy the pixels out in strips; in one piece, Pillow makes two more copies on the way."""
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    for top in range(0, picture.height, 256):
        bottom = min(top + 256, picture.height)
        pixels[top:bottom] = np.asarray(picture.crop((0, top, picture.width, bottom)))
    return pixels


def _as_mode(picture: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    return picture if picture.mode == mode else picture.convert(mode)  # convert always copies


def _check_encodable(image: Image | Matte, form: str, quality: int) -> None:
    if form not in get_args(ImageFormat):
        raise OutputError(f"{form!r} is no format: choose {', '.join(get_args(ImageFormat))}")
    if not 1 <= quality <= 100:
        raise OutputError(f"quality {quality} is out of range: choose 1 to 100")
    pixels = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not pixels or not image.size:
        found = f"{image.dtype} {list(image.shape)}"
        raise OutputError(f"a picture is uint8 [H,W,3] or [H,W], not {found}: convert it first")


def _srgb() -> bytes:
    """Return the sRGB profile, without the date of today that its maker writes into it."""
    from PIL import ImageCms

    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return icc[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + icc[36:]
