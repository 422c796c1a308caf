"""Writing a file so that a reader never sees half of it."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from vivant.errors import OutputError

_REMEDIES = {
    errno.ENOENT: "its folder does not exist: create it first",
    errno.ENOTDIR: "its folder is a file: choose another folder",
    errno.EISDIR: "it is a folder: name a file in it",
    errno.EACCES: "permission denied: choose a folder that you may write to",
    errno.EPERM: "permission denied: choose a folder that you may write to",
    errno.EROFS: "the disk is read-only: choose another folder",
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.ENAMETOOLONG: "its name is too long: choose a shorter one",
}


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` whole or not at all.

    The bytes go to a temporary name in the same folder, which then takes the place of
    ``path`` in one step; a file that stood there before survives every failure. The new file
    has the permissions that the umask gives, and a symbolic link is replaced, not followed.

    Raises:
        OutputError: When the file cannot be written; nothing is left behind.
    """
    target = Path(path)
    # "x" keeps clear of other writers, and unlike tempfile it grants the usual permissions.
    temporary = target.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
        temporary.replace(target)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise OutputError(f"{one_line(target)} cannot be written: {_remedy(error)}") from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)


def one_line(name: str | os.PathLike[str]) -> str:
    """Return a file name of unknown origin fit for a message: one line, printable, not endless."""
    text = "".join(letter if letter.isprintable() else "?" for letter in os.fspath(name))
    return text if len(text) <= 200 else f"...{text[-200:]}"


def _remedy(error: OSError | ValueError) -> str:
    known = isinstance(error, OSError) and _REMEDIES.get(error.errno or 0)
    return known or f"{one_line(str(error))}: choose another name or folder"
