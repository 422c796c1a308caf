"""Who may ask: names of this host, pages of this service, holders of the token.

A browser in the kiosk is a door to the machine for whatever page it shows. So a request has to
name this host (else a foreign name that resolves to it, DNS rebinding, would do), and what
changes something or opens a WebSocket has to come from a page of this service.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vivant_kiosk.problems import Problem, problem
from vivant_kiosk.refusals import answer
from vivant_kiosk.settings import Settings

SUBPROTOCOL = "vivant"
"""Of the WebSocket. With a token, a client offers ``vivant.<token>`` too."""

POLICY_VIOLATION = 1008

_CONTENT = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob: data:",
    "connect-src": "'self'",
    "media-src": "'self' blob:",
    "form-action": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
_NO_FEATURES = (
    "accelerometer", "display-capture", "geolocation", "gyroscope",
    "hid", "magnetometer", "microphone", "midi", "payment", "serial", "usb",
)  # fmt: skip

HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _CONTENT.items()),
    "Permissions-Policy": ", ".join(["camera=(self)", *(f"{each}=()" for each in _NO_FEATURES)]),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
"""What every answer carries, unless it says otherwise."""

_SAFE = {"GET", "HEAD", "OPTIONS"}
_OPEN = {"/healthz", "/readyz"}  # what supervisors ask
_LOCAL = {"localhost", "127.0.0.1", "::1"}
_EVERYWHERE = {"0.0.0.0", "::", ""}  # noqa: S104  (nothing is bound here)


class Guard:
    """Lets through what ``Settings`` allow; the rest is answered with a problem (ASGI)."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._token, self._admin_token = settings.token, settings.admin_token
        named = {*_LOCAL, settings.host, *settings.allowed_hosts}
        self._hosts = {_plain(name) for name in named} - _EVERYWHERE
        self._origins = set(settings.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        reason = self._objection(scope, Headers(scope=scope))
        if reason is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await answer(reason)(scope, receive, send)
        else:
            await receive()  # "connect"
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})

    def _objection(self, scope: Scope, headers: Headers) -> Problem | None:
        host, hosts = headers.get("host", ""), headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(host, scope):
            return problem("forbidden", "header Host: not a name of this service; allow it in "
                           "allowed_hosts")  # fmt: skip
        origins = headers.getlist("origin")
        changes = scope["type"] == "websocket" or scope["method"] not in _SAFE
        if changes and not all(self._is_own_page(origin, host) for origin in origins):
            return problem("forbidden", "header Origin: another site; allow it in allowed_origins")
        if self._token is None or not needs_token(scope["path"]):
            return None
        tokens = [token for token in (self._token, self._admin_token) if token is not None]
        given = _given(scope, headers)
        if any(is_holder(token, given) for token in tokens):
            return None
        return problem("unauthorized", "header Authorization: send 'Bearer <token>'")

    def _is_ours(self, host: str, scope: Scope) -> bool:
        name = _name(host)
        address = scope.get("server") or ("", 0)
        # A socket for IPv6 and IPv4 writes addresses of the latter like this.
        return name in self._hosts or name == _plain(address[0]).removeprefix("::ffff:")

    def _is_own_page(self, origin: str, host: str) -> bool:
        origin = origin.lower()
        return origin in self._origins or urlsplit(origin)[:2] in {
            ("http", host.lower()),
            ("https", host.lower()),  # behind a proxy that ends TLS
        }


class SecurityHeaders:
    """Adds ``HEADERS`` to every answer (ASGI)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def needs_token(path: str) -> bool:
    """Return whether a token is asked for at this path, where there is one: not for pages."""
    return path not in _OPEN and (
        path.startswith("/v1/") or path in {"/v1", "/metrics", "/openapi.json"}
    )


def is_holder(token: SecretStr, given: Iterable[str]) -> bool:
    """Return whether the token is among those given, in a time that tells nothing about it."""
    expected = token.get_secret_value().encode()
    return any(hmac.compare_digest(expected, each.encode()) for each in given)


def bearer(headers: Headers) -> list[str]:
    """Return the token of a request, if it has one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return [token.strip()] if scheme.lower() == "bearer" else []


def _given(scope: Scope, headers: Headers) -> list[str]:
    """Return the tokens of a request: browsers cannot set headers of a WebSocket."""
    prefix = f"{SUBPROTOCOL}."
    offered = scope.get("subprotocols", ()) if scope["type"] == "websocket" else ()
    return bearer(headers) + [each[len(prefix) :] for each in offered if each.startswith(prefix)]


def _name(host: str) -> str:
    """Return a Host header without its port."""
    try:
        return _plain(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return ""


def _plain(name: str) -> str:
    return name.strip("[]").rstrip(".").lower()
