"""Writing artwork folders: a draft becomes an artwork in one step, or not at all.

Pictures get new names and stand beside the old ones. A hidden file beside ``artwork.toml`` names
them, and is loaded as any artwork is, with all checks. Then it takes the place of
``artwork.toml``: that one renaming is the saving. Whatever interrupts it, a visitor stands in
the old artwork or in the new one, and a composition that began in the old one still finds its
pictures: they are removed at the next save, or when the service starts again.

Files that Vivant did not write are never removed, but for ``artwork.toml`` and the pictures that
it names, when an artwork is deleted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from vivant.artwork import Artwork, load_artwork
from vivant.artwork_file import FILE_NAME, SCHEMA
from vivant.errors import ArtworkError, ImageError, OutputError
from vivant.files import one_line, write_atomic

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_ID_LETTERS = 64

_ID = re.compile("[a-z0-9]+(-[a-z0-9]+)*")
_OURS = re.compile(r"(painting|occluder)-[0-9a-f]{8}\.(jpg|png|webp)")
_UNFINISHED = re.compile(r"\.artwork-[0-9a-f]{16}\.toml|\.[0-9a-f]{16}\.tmp")
_LIST = re.compile(r"\[\n((?:    .*,\n)+)\]")  # no string of TOML ends a line with a bracket
_SIGNATURES = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"), (b"RIFF", ".webp"))

_UNSUPPORTED = {errno.EBADF, errno.EINVAL, errno.ENOTSUP}
"""What file systems answer that cannot sync folders; there are some over a network."""

_lock = threading.Lock()


@dataclass(frozen=True)
class Draft:
    """An artwork as a curator sends it.

    Attributes:
        tables: ``artwork``, ``slot`` and ``fallback`` as in ``artwork.toml``. A slot's
            ``occluder`` is the name of a file of the artwork as it is, or the number of one of
            ``occluders``.
        picture: a JPEG, PNG or WebP file; ``None`` keeps the one that is there.
        occluders: PNG or WebP files by number.
    """

    tables: Mapping[str, Any]
    picture: bytes | None = None
    occluders: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The artwork's, as it stands in the draft."""
        return str(self.tables["artwork"].get("id", ""))


def save(folder: Path, draft: Draft) -> Path:
    """Add an artwork to ``folder``, or replace the one of its id; return its own folder.

    Raises:
        ArtworkError: The draft breaks a rule; each problem by its key, slots counting from 1.
        OutputError: The folder cannot be written to, and the old artwork stays; or the new one
            is in place, but a power cut may yet undo it. The message says which.
    """
    _check_id(draft.id)
    with _lock:
        with _writing(folder):
            home = find_home(folder, draft.id) or _free(folder / draft.id)
            _sweep(home)
            home.mkdir(exist_ok=True)
            _replace(draft, home)
        _confirm(home)
        return home


@contextlib.contextmanager
def attempt(folder: Path, draft: Draft) -> Iterator[Artwork]:
    """Give the draft as an artwork that is gone after ``with``; ``folder`` stays as it is.

    Raises:
        ArtworkError, OutputError: As ``save`` does.
    """
    with contextlib.ExitStack() as stack:
        with _writing(_temporary_folder()):
            scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="vivant-draft-"))
            there = Path(scratch)
            _copy_pictures(find_home(folder, draft.id), there)
            artwork = _load(_write(draft, there), there)
        yield artwork


def delete(folder: Path, artwork_id: str) -> bool:
    """Remove an artwork: its ``artwork.toml`` first, then its pictures, then its folder if empty.

    Returns:
        Whether there was one.

    Raises:
        OutputError: The folder cannot be written to.
    """
    with _lock, _writing(folder):
        home = find_home(folder, artwork_id)
        if home is None:
            return False
        _sweep(home)
        named = pictures(home)
        (home / FILE_NAME).unlink()
        _discard(named)
        _remove_if_empty(home)
        return True


def find_home(folder: Path, artwork_id: str) -> Path | None:
    """Return the folder of the artwork with that id, broken or not."""
    homes = sorted(file.parent for file in folder.glob(f"*/{FILE_NAME}"))
    return next((home for home in homes if id_of(home) == artwork_id), None)


def id_of(home: Path) -> str:
    """Return the artwork's id, or the name of its folder where the file has none."""
    table = read_tables(home).get("artwork")
    found = table.get("id") if isinstance(table, dict) else None
    return found if isinstance(found, str) and _ID.fullmatch(found) else home.name


def read_tables(home: Path) -> dict[str, Any]:
    """Return what the artwork's file holds; nothing where it is no TOML."""
    try:
        return tomllib.loads((home / FILE_NAME).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):  # loading it says what is wrong
        return {}


def pictures(home: Path) -> set[Path]:
    """Return the picture files in ``home`` that its artwork names."""
    found = set()
    for path in _named(home, read_tables(home)):
        with contextlib.suppress(OSError, ValueError):  # a name too long, or with a null byte
            if path.is_file() and path.resolve().is_relative_to(home.resolve()):
                found.add(path)
    return found


def recover(folder: Path) -> None:
    """Remove what interrupted saves left behind."""
    with _lock:
        for home in [path for path in folder.glob("*") if path.is_dir()]:
            with contextlib.suppress(OSError):  # not ours to tidy; what is left does no harm
                _sweep(home)


def _named(home: Path, tables: Mapping[str, Any]) -> set[Path]:
    """Return the paths that an artwork's tables name, whatever is there."""
    slots = tables.get("slot")
    places = [(tables.get("artwork"), "image")]
    places += [(slot, "occluder") for slot in (slots if isinstance(slots, list) else ())]
    names = [table.get(key) for table, key in places if isinstance(table, dict)]
    return {home / name for name in names if isinstance(name, str)}


def _check_id(artwork_id: str) -> None:
    if not _ID.fullmatch(artwork_id) or len(artwork_id) > MOST_ID_LETTERS:
        found, allowed = one_line(repr(artwork_id)), "lowercase letters, digits, single dashes"
        raise ArtworkError(f"artwork.id: found {found}, allowed: {allowed} between, at most 64")


def _free(home: Path) -> Path:
    if (home / FILE_NAME).exists():
        taken = f"the folder {home.name!r} is that of artwork {id_of(home)!r}"
        raise ArtworkError(f"artwork.id: {taken}; choose another")
    return home


def _replace(draft: Draft, home: Path) -> None:
    """Let the draft take the place of what is in ``home``, or leave all as it was."""
    before = set(home.iterdir())
    try:
        file = _write(draft, home)
        _load(file, home)
        _sync_entries(home)  # the pictures are there to stay before a file names them
        _sync_entries(home.parent)
        file.replace(home / FILE_NAME)
    except BaseException:
        # A server may rename and its answer get lost: what artwork.toml names now must stay.
        _discard(set(home.iterdir()) - before - pictures(home) - {home / FILE_NAME})
        _remove_if_empty(home)
        raise


def _confirm(home: Path) -> None:
    """See that the renaming is on the disk.

    It cannot be taken back: visitors may stand in the new artwork already, and a disk that
    fails is none to write to again. But whoever saved expects it to be there tomorrow, so is told.
    """
    try:
        _sync_entries(home)
    except OSError as error:
        raise OutputError(
            f"{one_line(home)}: saved, but the disk did not confirm it ({error.strerror}), and a "
            "power cut may bring back what was there before; check the disk, then save again"
        ) from error


def _write(draft: Draft, home: Path) -> Path:
    """Write the draft's pictures and tables into ``home``; return the file with the tables."""
    file = home / f".artwork-{secrets.token_hex(8)}.toml"
    file.touch()  # it says, should the pictures be all that there will be, that nobody needs them
    artwork, slots = dict(draft.tables["artwork"]), []
    if draft.picture is not None:
        artwork["image"] = _put(home, "painting", draft.picture, "artwork.image")
    elif "image" not in artwork:
        raise ArtworkError("artwork.image: no picture; choose one")
    for number, table in enumerate(draft.tables.get("slot", ()), 1):
        slot = dict(table)
        chosen, key = slot.get("occluder"), f"slot[{number}].occluder"
        if type(chosen) is int:
            if chosen not in draft.occluders:
                raise ArtworkError(f"{key}: occluder {chosen} was not sent; choose it again")
            slot["occluder"] = _put(home, "occluder", draft.occluders[chosen], key)
        slots.append(slot)
    tables: dict[str, Any] = {"schema": SCHEMA, "artwork": artwork}
    tables |= {"slot": slots} if slots else {}
    tables |= {"fallback": draft.tables["fallback"]} if draft.tables.get("fallback") else {}
    write_atomic(file, _toml(tables))
    _sync(file)
    return file


def _copy_pictures(home: Path | None, target: Path) -> None:
    if home is None:
        return
    for path in pictures(home):
        place = os.path.normpath(path.relative_to(home))
        if place.startswith(os.pardir):  # back in by its own name, which the target has not
            continue
        copy = target / place
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def _toml(tables: Mapping[str, Any]) -> bytes:
    """Return the tables as a file that people can read: one key a line, its list beside it."""
    try:
        return _LIST.sub(_in_one_line, tomli_w.dumps(tables)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtworkError("artwork: holds what TOML cannot; leave out what is empty") from error


def _in_one_line(found: re.Match[str]) -> str:
    items = (line.strip().removesuffix(",") for line in found[1].splitlines())
    return f"[{', '.join(items)}]"


def _put(home: Path, stem: str, data: bytes, key: str) -> str:
    """Write a picture under a name of its own, and return that: equal bytes, equal name."""
    suffix = next((suffix for start, suffix in _SIGNATURES if data.startswith(start)), None)
    if suffix is None:
        raise ArtworkError(f"{key}: neither JPEG, PNG nor WebP; save the picture as one of these")
    name = f"{stem}-{hashlib.sha256(data).hexdigest()[:8]}{suffix}"
    if not (home / name).is_file():
        write_atomic(home / name, data)
        _sync(home / name)
    return name


def _load(file: Path, home: Path) -> Artwork:
    """Load what was written, with all checks; its errors name keys and not our files."""
    try:
        return load_artwork(file)
    except (ArtworkError, ImageError) as error:
        problems = str(error).removeprefix(f"{one_line(file)}: ")
        raise ArtworkError(problems.replace(f"{home.name}/", "")) from error


def _sweep(home: Path) -> None:
    """Remove our own files that no artwork needs, and the folder if nothing else was in it.

    A file that somebody broke or put away for now still needs its pictures.
    """
    files = set(home.iterdir()) if home.is_dir() else set()
    stale = {path for path in files if _UNFINISHED.fullmatch(path.name)}
    tables = read_tables(home)
    if tables or (stale and home / FILE_NAME not in files):
        stale |= {path for path in files if _OURS.fullmatch(path.name)}
    needed = _targets(_named(home, tables))
    stale = {path for path in stale if not path.is_symlink() and path.resolve() not in needed}
    for path in stale:
        path.unlink()
    if stale:
        _remove_if_empty(home)


def _targets(paths: set[Path]) -> set[Path]:
    """Return the files behind ``paths``: people also write ``./sub/../a.png``, and link."""
    found = set()
    for path in paths:
        with contextlib.suppress(OSError, RuntimeError, ValueError):  # no path, links in a circle
            found.add(path.resolve())
    return found


def _discard(paths: set[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            path.unlink()


def _remove_if_empty(home: Path) -> None:
    with contextlib.suppress(OSError):  # it is not empty, or a link
        home.rmdir()


def _temporary_folder() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:  # it has tried to write to every one that there is
        raise OutputError(
            "temporary folder: none can be written to; free space on the disk, or set TMPDIR"
        ) from error


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OutputError as error:
        raise OutputError(_cannot(error.__cause__, folder)) from error
    except OSError as error:
        raise OutputError(_cannot(error, folder)) from error


def _cannot(cause: BaseException | None, folder: Path) -> str:
    reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else "no valid name"
    return (
        f"{one_line(folder)}: cannot be written to ({reason}); let the service write there, "
        "and see that the disk is not full"
    )


def _sync(path: Path) -> None:
    """See that a file or a folder's entries are on the disk, should the power fail next."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_entries(folder: Path) -> None:
    """Sync a folder, where its file system can: nobody could save on the others otherwise."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
