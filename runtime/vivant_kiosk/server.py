"""The process: two sockets, one event loop, signals, and what systemd is told."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from vivant.errors import VivantError
from vivant_kiosk import systemd
from vivant_kiosk.api.preview import MAX_FRAME_BYTES
from vivant_kiosk.app import RequestLog, create_app
from vivant_kiosk.downloads import create_downloads
from vivant_kiosk.logs import configure_logs
from vivant_kiosk.privacy import forbid_dumps
from vivant_kiosk.protocol import NEXT_HEAD_S, Connections, Limit, LimitedProtocol
from vivant_kiosk.service import Service
from vivant_kiosk.settings import Settings

API_LIMIT = Limit(all=256, each=256, websockets=True)
DOWNLOADS_LIMIT = Limit(all=64, each=16)

_DRAIN_S = 12  # for answers that are under way when the service stops; a picture may take ten
_LOOK_TICKS = 5  # of uvicorn, 0.1 s each
_REMEDIES = {
    errno.EADDRINUSE: "something listens there already; stop it, or choose another {setting}",
    errno.EACCES: "permission denied; choose a {setting} above 1023",
    errno.EADDRNOTAVAIL: "no address of this machine; choose another host",
}


class AddressError(VivantError):
    """An address on which the service cannot listen."""


def serve(
    settings: Settings,
    *,
    on_listening: Callable[[str], None] = lambda _: None,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT; what is composed then is finished, or cancelled after 5 s.

    Args:
        settings: of the service.
        on_listening: is told the address as soon as requests are answered.
        on_ready: is told the address once photos are taken.

    Raises:
        AddressError: one of the addresses cannot be had.
        ArtworkError: there is no folder of artworks where the settings say.
    """
    forbid_dumps()
    configure_logs(settings)
    with contextlib.ExitStack() as stack:
        # First of all: a taken port is found out before models are loaded for a minute.
        api = stack.enter_context(listen(settings.host, settings.port, "port"))
        sockets = [api]
        if settings.downloads is not None:
            host, port = settings.downloads.host, settings.downloads.port
            sockets.append(stack.enter_context(listen(host, port, "downloads.port")))
        server = make_server(settings, sockets, on_ready=on_ready)
        on_listening(server.url)
        server.run(sockets)
        if server.service.failure is not None:
            raise server.service.failure


def make_server(
    settings: Settings,
    sockets: Sequence[socket.socket],
    *,
    on_ready: Callable[[str], None] = lambda _: None,
) -> Server:
    """Return the server for sockets that listen: the service's, and that for downloads if any."""
    app = create_app(settings)
    service: Service = app.state.service
    ports = [each.getsockname()[1] for each in sockets]
    limits = dict(zip(ports, (API_LIMIT, DOWNLOADS_LIMIT), strict=False))
    door: ASGIApp = app
    if len(ports) > 1:
        service.downloads_port = ports[1]
        downloads = RequestLog(create_downloads(service.compositions), strangers=True)
        door = Doors(app, downloads, ports[1])
    config = uvicorn.Config(
        door,
        # Anything that makes a protocol will do.
        http=partial(LimitedProtocol, admitted=Connections(limits)),  # type: ignore[arg-type]
        ws="none",  # but for the connections whose limit allows them
        ws_max_size=MAX_FRAME_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=10,
        ws_ping_timeout=10,
        lifespan="on",
        log_config=None,
        log_level="error",  # strangers could make it warn without end
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(NEXT_HEAD_S),
        timeout_graceful_shutdown=_DRAIN_S,
    )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return Server(config, service, f"http://{host}:{ports[0]}/", on_ready)


@contextlib.contextmanager
def listen(host: str, port: int, setting: str) -> Iterator[socket.socket]:
    """Listen on an address as long as ``with`` lasts.

    Args:
        host: a name or an address.
        port: 0 takes a free one.
        setting: what the port is called, for the error.

    Raises:
        AddressError: the address cannot be had.
    """
    where = f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise AddressError(f"{where}: no such host; choose another") from error
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            # Until then, another process may bind the same port.
            listener.listen(128)
        except OSError as error:
            told = _REMEDIES.get(error.errno or 0, f"{error.strerror}; choose another address")
            raise AddressError(f"{where}: {told.format(setting=setting)}") from error
        yield listener


class Doors:
    """Leads each request to the application of the socket on which it came (ASGI)."""

    def __init__(self, api: ASGIApp, downloads: ASGIApp, downloads_port: int) -> None:
        self._api, self._downloads, self._port = api, downloads, downloads_port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        came_to = scope.get("server") or ("", 0)
        is_download = scope["type"] != "lifespan" and came_to[1] == self._port
        await (self._downloads if is_download else self._api)(scope, receive, send)


class Server(uvicorn.Server):
    """uvicorn, watched over: it tells systemd how things are, and ends well."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        url: str,
        on_ready: Callable[[str], None],
    ) -> None:
        super().__init__(config)
        self.service, self.url = service, url
        self._on_ready = on_ready
        self._is_ready = False
        self._told = ""  # to systemd
        self._watchdog_s = systemd.watchdog_interval_s()
        self._watchdog_due = 0.0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGTERM and SIGINT, with exit status 0: it was asked for."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = signal.SIGTERM, signal.SIGINT
        before = {each: signal.signal(each, self.handle_exit) for each in signals}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    async def on_tick(self, counter: int) -> bool:
        """Look after the service; return whether to end."""
        if counter % _LOOK_TICKS == 0:
            self._look()
        return await super().on_tick(counter)

    def _look(self) -> None:
        if self.service.failure is not None:
            self.should_exit = True
        if not self._told:
            systemd.notify_ready()  # the page says what is missing yet
        if not self._is_ready and self.service.ready:
            self._is_ready = True
            # Not here: a browser may take its time.
            threading.Thread(target=self._on_ready, args=(self.url,), daemon=True).start()
        status = self.service.workshop.status()
        text = status.degraded or (f"ready, {status.profile}" if self._is_ready else "starting")
        if text != self._told:
            self._told = text
            systemd.notify_status(text)
        now = time.monotonic()
        if self._watchdog_s is None or now < self._watchdog_due:
            return
        if status.alive:
            systemd.notify_watchdog()
            self._watchdog_due = now + self._watchdog_s

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, let what runs be finished, forget the rest."""
        systemd.notify_stopping()
        stopping = asyncio.ensure_future(self.service.stop())
        await super().shutdown(sockets)
        await stopping
