"""HTTP connections with limits in time, size and number, on top of uvicorn's protocol.

uvicorn waits for ever for a request's head, keeps whatever a head holds, and lets anybody open
any number of connections. Phones of strangers are on the other end of one of our sockets.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 10.0
"""Seconds for a new connection's first request, up to the end of its headers."""

NEXT_HEAD_S = 30.0
"""Seconds after an answer for the rest of its request, which is thrown away, and the next head."""

WRITE_S = 60.0
"""Seconds for a client to take what is waiting for it."""

MAX_HEAD_BYTES = 32 * 1024
"""Of a request's line and headers, and of anything else that is not its body."""


@dataclass(frozen=True)
class Limit:
    """How many connections a socket takes at a time: of all clients, and of each."""

    all: int
    each: int


class Connections:
    """Counts the connections of each socket."""

    def __init__(self, limits: Mapping[int, Limit]) -> None:
        """Begin with none; the limits are by port."""
        self._limits = limits
        self._open: Counter[tuple[int, str]] = Counter()

    def admit(self, port: int, client: str) -> bool:
        """Count a connection, unless there are as many as may be; return whether it was."""
        limit = self._limits[port]
        there = sum(count for (other, _), count in self._open.items() if other == port)
        if there >= limit.all or self._open[port, client] >= limit.each:
            return False
        self._open[port, client] += 1
        return True

    def leave(self, port: int, client: str) -> None:
        """Count a connection no more."""
        self._open[port, client] -= 1
        if self._open[port, client] <= 0:
            del self._open[port, client]


class LimitedProtocol(HttpToolsProtocol):
    """A connection that is closed where a limit is reached."""

    def __init__(self, *args: Any, admitted: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections = admitted
        self._place: tuple[int, str] | None = None
        self._due: asyncio.TimerHandle | None = None
        self._taken: asyncio.TimerHandle | None = None
        self._pending_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection, or end it."""
        super().connection_made(transport)
        port = (self.server or ("", 0))[1] or 0
        client = (self.client or ("", 0))[0]
        if self._connections.admit(port, client):
            self._place = port, client
            self._expect_head(HEAD_S)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        super().connection_lost(exc)
        self._cancel_timers()
        self._leave()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over; WebSockets have limits of their own."""
        self._cancel_timers()
        self._leave()
        super().handle_websocket_upgrade()

    def data_received(self, data: bytes) -> None:
        """Take bytes in, of a head no more than may be."""
        self._pending_bytes += len(data)
        super().data_received(data)
        if self._pending_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("Request head too large.")

    def on_headers_complete(self) -> None:
        """Begin the request: from here on, routes limit its time."""
        self._pending_bytes = 0
        if self._due is not None:
            self._due.cancel()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, which routes limit."""
        self._pending_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request."""
        self._pending_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, but not for ever."""
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._expect_head(NEXT_HEAD_S)

    def pause_writing(self) -> None:
        """Wait for the client to take what was written, but not for ever."""
        super().pause_writing()
        self._taken = self.loop.call_later(WRITE_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self._taken is not None:
            self._taken.cancel()

    def _expect_head(self, seconds: float) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = self.loop.call_later(seconds, self.transport.close)

    def _cancel_timers(self) -> None:
        for timer in (self._due, self._taken):
            if timer is not None:
                timer.cancel()

    def _leave(self) -> None:
        if self._place is not None:
            self._connections.leave(*self._place)
            self._place = None
