"""The bytes of a download that have arrived so far, kept beside the file they will become."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from vivant.errors import ModelError, OutputError
from vivant.files import write_atomic

_BLOCK = 1 << 20


class Part:
    """``<target>.part``, locked against a second download of the same file.

    What another run left is taken up if it came from the same ``origin``. ``validator`` is the
    server's ETag or date of it, or None; it is kept in ``<target>.part.json``.

    Raises:
        ModelError: another process is fetching this file.
        OutputError: the disk is full or may not be written to.
    """

    def __init__(self, target: Path, origin: str) -> None:
        self.path = target.with_name(target.name + ".part")
        self.validator: str | None = None
        self._note = target.with_name(target.name + ".part.json")
        self._origin = origin
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("a+b")
        try:
            self._lock()
            self._take_up()
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it; what has arrived stays for the next run."""
        with contextlib.suppress(OSError):  # after a full disk closing fails once more
            self._stream.close()
        if not self.size:
            self.path.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)

    @property
    def sha256(self) -> str:
        """Of what has arrived, hexadecimal."""
        return self._digest.hexdigest()

    def restart(self, validator: str | None) -> None:
        """Throw away what has arrived; what comes now is the version called ``validator``."""
        with self._writing():
            self._stream.truncate(0)
            if validator != self.validator or not self._note.exists():
                note = json.dumps({"origin": self._origin, "validator": validator})
                write_atomic(self._note, note.encode())
        self.validator = validator
        self.size = 0
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Add what has just arrived."""
        with self._writing():
            self._stream.write(data)
        self.size += len(data)
        self._digest.update(data)

    def finish(self, target: Path) -> None:
        """Give it its name, once the disk really has it."""
        with self._writing():
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self.path.replace(target)
            self._note.unlink(missing_ok=True)
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ModelError(
                f"{self.path}: another process is fetching it; wait until it is done"
            ) from error
        except OSError:
            return  # a network drive without locks

    def _take_up(self) -> None:
        self._digest = hashlib.sha256()
        self._stream.seek(0)
        while block := self._stream.read(_BLOCK):
            self._digest.update(block)
        self.size = self._stream.tell()
        try:
            note = json.loads(self._note.read_bytes())
            known = note["origin"] == self._origin
            self.validator = note["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            known = False
        if self.size and not known:
            self.restart(None)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.path}: {error.strerror or error}; free some space, or name another "
                "folder in VIVANT_WEIGHTS"
            ) from error
