from __future__ import annotations

import os
import socket

import pytest

from vivant_kiosk import systemd


@pytest.fixture(params=["file", "abstract"])
def manager(request, tmp_path, monkeypatch):
    """The socket on which systemd listens."""
    name = str(tmp_path / "notify")
    if request.param == "abstract":
        name = f"@vivant-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1))
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listener


@pytest.mark.parametrize(
    ("notify", "message"),
    [
        (systemd.notify_ready, b"READY=1"),
        (systemd.notify_stopping, b"STOPPING=1"),
        (systemd.notify_watchdog, b"WATCHDOG=1"),
        (lambda: systemd.notify_status("two\nlines"), b"STATUS=two lines"),
    ],
)
def test_tells_systemd(manager, notify, message):
    notify()
    assert manager.recv(100) == message


def test_without_systemd_nothing_happens(monkeypatch, caplog):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    systemd.notify_ready()
    assert not caplog.records


def test_a_manager_that_is_gone_ends_nothing(monkeypatch, caplog, tmp_path):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    systemd.notify_ready()
    assert "READY=1: No such file" in caplog.text


def test_is_twice_as_often_alive_as_asked(monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert systemd.watchdog_interval_s() == 15.0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert systemd.watchdog_interval_s() == 15.0


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": ""},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"},
    ],
)
def test_nobody_watches(monkeypatch, environment):
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert systemd.watchdog_interval_s() is None
