from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings

import pytest

from vivant_kiosk.logs import configure_logs, short
from vivant_kiosk.settings import Settings

ID = "Zk3vN0-_abcdefghijklmn"
LOGGERS = ("", "vivant", "vivant_kiosk", "uvicorn", "uvicorn.error", "uvicorn.access")

log = logging.getLogger("vivant_kiosk.test")


@pytest.fixture
def configured(monkeypatch, capfd):
    """Configure logging, and return the lines that were logged since; all is undone afterwards."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [(each.level, each.propagate, each.handlers[:]) for each in loggers]
    monkeypatch.setenv("JOURNAL_STREAM", "1:1")  # of another stream

    def configure(**settings):
        configure_logs(Settings(**settings))
        return lines

    def lines():
        return capfd.readouterr().err.splitlines()

    yield configure
    logging.captureWarnings(capture=False)
    for each, (level, propagate, handlers) in zip(loggers, before, strict=True):
        each.setLevel(level)
        each.propagate, each.handlers[:] = propagate, handlers


def fail(secret):
    told = {"visitor": secret}
    try:
        return told["nobody"]
    except KeyError as error:
        raise ValueError("two\nlines") from error


def test_plain_lines(configured):
    lines = configured()
    log.info("composed %s", "it", extra={"profile": "classic", "why": 'so "quoted"', "s": 1.5})
    (line,) = lines()
    when, _, rest = line.partition(" ")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", when)
    assert rest == (r'info vivant_kiosk.test composed it profile=classic why="so \"quoted\"" s=1.5')


def test_json_lines(configured):
    lines = configured(json_logs=True)
    log.warning("two\nlines", extra={"composition": short(ID)})
    record = json.loads(*lines())
    assert record.pop("ts").endswith("Z")
    assert record == {
        "level": "warning",
        "logger": "vivant_kiosk.test",
        "message": "two\nlines",
        "composition": ID[:8],
    }


def test_nobody_forges_a_line(configured):
    lines = configured()
    log.warning("Host: %s", "a\n2026 error\r\x1b[31m")
    (line,) = lines()
    assert line.endswith(r"Host: a\n2026 error\r\x1b[31m")


@pytest.mark.parametrize("json_logs", [False, True])
def test_exceptions_take_one_line_and_show_no_values(configured, json_logs):
    lines = configured(json_logs=json_logs)
    try:
        fail(4700 + 11)
    except ValueError:
        log.exception("it broke")
    (line,) = lines()
    assert "ValueError: two" in line
    assert "KeyError: 'nobody'" in line
    assert "test_logs.py" in line
    assert "4711" not in line
    if json_logs:
        assert json.loads(line)["exception"].startswith("Traceback")


@pytest.mark.parametrize("json_logs", [False, True])
@pytest.mark.parametrize("path", [f"/v1/compositions/{ID}/image", f"/d/{ID}/vivant.jpg"])
def test_ids_and_tokens_are_cut_wherever_they_come_from(configured, json_logs, path):
    lines = configured(json_logs=json_logs)
    for name in ("uvicorn.error", "asyncio"):
        logging.getLogger(name).error("GET %s", path, exc_info=RuntimeError(path))
    for line in lines():
        assert "GET /" in line
        assert ID[8:] not in line
        assert ID not in line


def test_uvicorn_goes_the_same_way_without_addresses(configured):
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(sys.stderr))
    lines = configured(log_level="debug")
    logging.getLogger("uvicorn.access").info("192.168.1.7 GET /")
    logging.getLogger("uvicorn.error").debug("< BINARY ff d8 ff")
    logging.getLogger("uvicorn.error").info("started")
    (line,) = lines()
    assert line.endswith("info uvicorn.error started")


def test_libraries_log_warnings_alone(configured):
    lines = configured(log_level="debug")
    logging.getLogger("PIL.TiffImagePlugin").debug("tag: GPSInfo")
    log.debug("ours")
    (line,) = lines()
    assert line.endswith("debug vivant_kiosk.test ours")


def test_the_level_is_kept_to(configured):
    lines = configured(log_level="warning")
    log.info("quiet")
    assert lines() == []


def test_warnings_are_lines_too(configured):
    lines = configured(json_logs=True)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)  # catch_warnings has put its own in place
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    (line,) = lines()
    assert json.loads(line)["logger"] == "py.warnings"


@pytest.mark.parametrize(
    ("level", "priority"), [("debug", 7), ("info", 6), ("warning", 4), ("error", 3)]
)
def test_journald_is_told_the_priority(configured, monkeypatch, level, priority):
    stream = os.fstat(sys.stderr.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
    lines = configured(log_level="debug")
    getattr(log, level)("told")
    (line,) = lines()
    assert line.startswith(f"<{priority}>2")
