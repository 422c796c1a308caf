"""Connections with limits in time, size and number, on top of uvicorn's protocols.

uvicorn waits for ever for a request's head, keeps whatever a head holds, and lets anybody open
any number of connections. Phones of strangers are on the other end of one of our sockets.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEAD_S = 10.0
"""Seconds for a new connection's first request, up to the end of its headers.

A WebSocket's handshake has as many again.
"""

NEXT_HEAD_S = 30.0
"""Seconds after an answer for the rest of its request, which is thrown away, and the next head."""

WRITE_S = 60.0
"""Seconds for a client to take what is waiting for it."""

MAX_HEAD_BYTES = 32 * 1024
"""Of a request's line and headers, and of anything else that is not its body."""


@dataclass(frozen=True)
class Limit:
    """How many connections a socket takes at a time: of all clients, and of each.

    WebSockets are among them, where it takes any.
    """

    all: int
    each: int
    websockets: bool = False


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

    def takes_websockets(self, port: int) -> bool:
        """Return whether connections may become WebSockets."""
        return self._limits[port].websockets

    def leave(self, port: int, client: str) -> None:
        """Count a connection no more."""
        self._open[port, client] -= 1
        if self._open[port, client] <= 0:
            del self._open[port, client]


class _Timed(asyncio.Protocol):
    """A connection whose client is waited for, but not for ever."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._due: asyncio.TimerHandle | None = None
        self._taken: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        super().connection_lost(exc)
        self._cancel_due()
        self._cancel_taken()

    def pause_writing(self) -> None:
        """Wait for the client to take what was written."""
        super().pause_writing()
        self._taken = self.loop.call_later(WRITE_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        self._cancel_taken()

    def _expect(self, seconds: float) -> None:
        """Close the connection after so long, unless this is called again or ``_due`` cancelled."""
        self._cancel_due()
        self._due = self.loop.call_later(seconds, self.transport.close)

    def _cancel_due(self) -> None:
        if self._due is not None:
            self._due.cancel()

    def _cancel_taken(self) -> None:
        if self._taken is not None:
            self._taken.cancel()


class LimitedProtocol(_Timed, HttpToolsProtocol):
    """A connection that is closed where a limit is reached."""

    def __init__(self, *args: Any, admitted: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._connections = admitted
        self._place: tuple[int, str] | None = None
        self._pending_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Admit the connection, or end it."""
        super().connection_made(transport)
        # By default, some 64 KiB that nobody takes would count as written.
        transport.set_write_buffer_limits(0)
        port = (self.server or ("", 0))[1] or 0
        client = (self.client or ("", 0))[0]
        if self._connections.takes_websockets(port):
            # Anything that makes a protocol will do.
            made = partial(LimitedWebSocket, leave=self._leave)
            self.ws_protocol_class = made  # type: ignore[assignment]
        if self._connections.admit(port, client):
            self._place = port, client
            self._expect(HEAD_S)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        super().connection_lost(exc)
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Take bytes in, of a head no more than may be."""
        self._pending_bytes += len(data)
        super().data_received(data)
        if self._pending_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("Request head too large.")

    def on_headers_complete(self) -> None:
        """Begin the request: from here on, routes limit its time."""
        self._pending_bytes = 0
        self._cancel_due()
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
            self._expect(NEXT_HEAD_S)

    def _should_upgrade(self) -> bool:
        """Return whether to become a WebSocket: not while an answer is under way.

        The answer would get among its frames; nor would it learn that writing is paused already.
        """
        answered = self.cycle is None or self.cycle.response_complete
        idle = answered and self.transport.get_write_buffer_size() == 0
        return idle and super()._should_upgrade()

    def _leave(self) -> None:
        if self._place is not None:
            self._connections.leave(*self._place)
            self._place = None


class LimitedWebSocket(_Timed, WebSocketsSansIOProtocol):
    """A connection that became a WebSocket; it is closed where a limit is reached."""

    def __init__(self, *args: Any, leave: Callable[[], None], **kwargs: Any) -> None:
        """Take the place of the connection, which ``leave`` gives back."""
        super().__init__(*args, **kwargs)
        self._leave = leave

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the handshake."""
        super().connection_made(transport)
        self._expect(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back."""
        super().connection_lost(exc)
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Take bytes in; the first are a whole request."""
        super().data_received(data)
        if not self.handshake_initiated:
            # A request that websockets refuses: uvicorn sends no answer, and does not close.
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    async def send(self, message: Any) -> None:
        """Send what the application says, to begin with its answer to the handshake."""
        await super().send(message)
        if self.handshake_complete:
            self._cancel_due()

    def keepalive_timeout(self) -> None:
        """End: who does not answer does not take what is waiting, either."""
        super().keepalive_timeout()
        self.transport.abort()

    def shutdown(self) -> None:
        """Say goodbye, unless that has happened: uvicorn would raise."""
        if not self.transport.is_closing():
            super().shutdown()
