"""Log lines on standard error, one a record, for people or as JSON; journald keeps them.

What a visitor sent is never logged. Composition ids are logged as their first eight characters
(``short``); where a library logs a request's path, ids and download tokens in it are cut.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from vivant_kiosk.settings import Settings

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "color_message"}
_SECRETS = re.compile(r"(?:(?<=/compositions/[\w-]{8})|(?<=/d/))[\w-]+")
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.NOTSET, 7))


def configure_logs(settings: Settings) -> None:
    """Send what this process logs to standard error, as ``settings`` want it.

    Libraries log warnings alone. Some would write down what visitors sent: Pillow a photo's EXIF
    at "debug", websockets the frames of the preview.
    """
    formatter = JsonLines() if settings.json_logs else PlainLines()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Prioritised(formatter) if _goes_to_journal() else formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    level = logging.getLevelName(settings.log_level.upper())
    for name in ("vivant", "vivant_kiosk"):
        logging.getLogger(name).setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(max(level, logging.INFO))
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)  # addresses of phones
    logging.captureWarnings(capture=True)


def short(identifier: str) -> str:
    """Return as much of a composition's id as may be logged."""
    return identifier[:8]


class JsonLines(logging.Formatter):
    """A JSON object a record: ts, level, logger, message, then its extras and exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        told = {
            "ts": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info and record.exc_info[1]:
            told["exception"] = "".join(traceback.format_exception(record.exc_info[1]))
        return _without_secrets(json.dumps(told, default=str))


class PlainLines(logging.Formatter):
    """Time, level, logger, message, extras as key=value; an exception as where it came from."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line."""
        extras = _extras(record)
        if record.exc_info and (error := record.exc_info[1]):
            extras["exception"] = " from ".join(map(_named, _chain(error)))
            frames = traceback.extract_tb(error.__traceback__)
            extras["at"] = " > ".join(f"{_module(f.filename)}:{f.lineno} {f.name}" for f in frames)
        parts = (
            _time(record),
            record.levelname.lower(),
            record.name,
            _escaped(record.getMessage()),
            *(f"{name}={_quoted(value)}" for name, value in extras.items()),
        )
        return _without_secrets(" ".join(parts))


class Prioritised(logging.Formatter):
    """Lines that begin with their priority, as ``sd-daemon(3)`` has it: journald takes it off."""

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        """Return the line with its priority."""
        priority = next(number for level, number in _PRIORITIES if record.levelno >= level)
        return f"<{priority}>{self._inner.format(record)}"


def _goes_to_journal() -> bool:
    """Return whether standard error is the stream that systemd names in ``$JOURNAL_STREAM``."""
    try:
        stream = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # closed, or no file
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stream.st_dev}:{stream.st_ino}"


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _named(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()


def _module(path: str) -> str:
    return "/".join(path.rsplit("/", 2)[-2:])


def _quoted(value: object) -> str:
    text = str(value)
    return text if re.fullmatch(r"[^\s\"=\\]+", text) else json.dumps(text, ensure_ascii=False)


def _escaped(text: str) -> str:
    """Return the text without line breaks and control characters, so that nobody forges lines."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _without_secrets(line: str) -> str:
    return _SECRETS.sub("...", line)
