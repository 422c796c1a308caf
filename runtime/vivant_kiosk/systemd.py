"""What systemd is told: ready, stopping, alive. Without systemd nothing happens.

The protocol is that of ``sd_notify(3)`` and ``sd_watchdog_enabled(3)``: one datagram a message to
the socket that ``$NOTIFY_SOCKET`` names.
"""

from __future__ import annotations

import logging
import os
import socket

_log = logging.getLogger(__name__)


def notify_ready() -> None:
    """Say that requests are answered from now on."""
    _notify("READY=1")


def notify_stopping() -> None:
    """Say that the service is about to end."""
    _notify("STOPPING=1")


def notify_watchdog() -> None:
    """Say that the service is alive; due every ``watchdog_interval_s()``."""
    _notify("WATCHDOG=1")


def notify_status(text: str) -> None:
    """Say in one line what the service does; ``systemctl status`` shows it."""
    _notify("STATUS=" + " ".join(text.split()))


def watchdog_interval_s() -> float | None:
    """Return how often systemd wants to hear that this process lives, in seconds.

    It is half of what the unit's ``WatchdogSec`` allows; None where nobody listens.
    """
    allowed_us = os.environ.get("WATCHDOG_USEC", "")
    watched = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not (allowed_us.isdecimal() and int(allowed_us) and watched == str(os.getpid())):
        return None
    return int(allowed_us) / 2e6


def _notify(message: str) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # of the abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)  # a manager that hangs must not hang the service
            sender.sendto(message.encode(), address)
    except OSError as error:
        _log.warning("systemd was not told %s: %s", message, error.strerror or error)
