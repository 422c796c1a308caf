"""The service as an ASGI application: its routes, what guards them, and how it begins and ends."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vivant_kiosk.api import admin, artworks, compositions, health, kiosk, links, preview, schemas
from vivant_kiosk.refusals import documented, handle_problems
from vivant_kiosk.security import Guard, SecurityHeaders, needs_token
from vivant_kiosk.service import Service
from vivant_kiosk.settings import Settings

_STATIC = Path(__file__).parent / "static"
_QUIET = {"/healthz", "/readyz", "/metrics"}  # asked for every few seconds

_requests = logging.getLogger("vivant_kiosk.requests")


def create_app(settings: Settings) -> FastAPI:
    """Return the service; its ``state.service`` is what the routes share.

    Raises:
        ArtworkError: there is no folder of artworks where the settings say.
    """
    service = Service(settings)
    app = FastAPI(
        title="Vivant",
        summary="A visitor's portrait, composed into a painting.",
        version=importlib.metadata.version("vivant"),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: f"{route.tags[0]}-{route.name}",
        lifespan=_lifespan,
    )
    app.state.service = service
    handle_problems(app)
    for module in (artworks, compositions, links, preview, kiosk, health):
        app.include_router(module.router)
    if settings.admin_token is not None:
        app.include_router(admin.router)
    # Not mounted at "/": there it would answer whatever the routes have no method for.
    app.router.default = StaticFiles(directory=_STATIC, html=True)
    _describe(app, settings)
    app.add_middleware(Guard, settings=settings)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Last-Event-ID"],
            expose_headers=[
                *("ETag", "Location", "Retry-After", "Vivant-Composition", admin.FACTS_HEADER)
            ],
        )
    app.add_middleware(SecurityHeaders)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestLog)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run the service: models and artworks are loaded while it answers already."""
    service: Service = app.state.service
    running = asyncio.ensure_future(service.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await service.close()


class HeadAsGet:
    """Answers HEAD as GET, of which the server sends no body; routes need not know (ASGI)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)


class RequestLog:
    """Logs a line a request: method, route, status, milliseconds; no ids, no query (ASGI)."""

    def __init__(self, app: ASGIApp, *, strangers: bool = False) -> None:
        """Log the requests to ``app``.

        Args:
            app: what answers.
            strangers: anybody may ask; only what is our own fault is logged above DEBUG, or they
                would fill the log.
        """
        self._app, self._strangers = app, strangers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            route = getattr(scope.get("route"), "path", "-")
            # An idle page asks a few times a minute, for weeks; so do supervisors.
            fine = scope["method"] in {"GET", "HEAD"} and 0 < status < 400
            theirs = self._strangers and 0 < status < 500
            level = logging.DEBUG if fine or theirs or route in _QUIET else logging.INFO
            elapsed_ms = round(1000 * (time.perf_counter() - began), 1)
            facts = {
                "method": scope["method"],
                "route": route,
                "status": status or 500,
                "ms": elapsed_ms,
            }
            _requests.log(level, "request", extra=facts)


def _describe(app: FastAPI, settings: Settings) -> None:
    """Complete the description that FastAPI makes of the routes: what ``Guard`` may answer."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = generate()
            components = description.setdefault("components", {})
            known = components.setdefault("schemas", {})
            known["Problem"] = schemas.Problem.model_json_schema()
            for unused in ("HTTPValidationError", "ValidationError"):
                known.pop(unused, None)
            components["securitySchemes"] = {
                name: {"type": "http", "scheme": "bearer"} for name in ("token", "admin_token")
            }
            for path, operations in description["paths"].items():
                for operation in operations.values():
                    _describe_guard(operation, _wanted(path, settings))
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]


def _wanted(path: str, settings: Settings) -> tuple[str, ...]:
    """Return which tokens open a path; none is needed where there is none."""
    if path.startswith(admin.router.prefix):
        return ("admin_token",)
    if settings.token is None or not needs_token(path):
        return ()
    return ("token", "admin_token") if settings.admin_token is not None else ("token",)


def _describe_guard(operation: dict[str, Any], tokens: tuple[str, ...]) -> None:
    codes = ("forbidden", "unauthorized") if tokens else ("forbidden",)
    for status, response in documented(*codes).items():
        operation["responses"].setdefault(str(status), response)
    operation["security"] = [{name: []} for name in tokens]
