"""Problems as HTTP answers (RFC 9457), and as the API's description documents them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from vivant_kiosk.problems import Problem, problem

MEDIA_TYPE = "application/problem+json"

_CLIENT_GONE = 499  # as nginx logs it; nobody is there to read it
_CODES = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}
_DETAILS = {
    "not-found": "no such address; /openapi.json lists what there is",
    "method-not-allowed": "no such method here; the header Allow lists those there are",
}


class Refused(Exception):  # noqa: N818  (an answer, not a mistake of ours)
    """A request that is answered with a problem."""

    def __init__(self, reason: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason.detail)
        self.reason, self.headers = reason, headers


def refused(code: str, detail: str, **headers: str) -> Refused:
    """Return the exception for a problem; underscores in names of headers become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Refused(problem(code, detail), named)


def answer(reason: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the problem as an HTTP response."""
    own = {"Cache-Control": "no-store", **(headers or {})}
    if reason.status == 401:
        own["WWW-Authenticate"] = "Bearer"
    body = json.dumps(reason.as_json(), ensure_ascii=False)
    return Response(body, reason.status, own, MEDIA_TYPE)


def documented(*codes: str) -> dict[int | str, dict[str, Any]]:
    """Return the problems of these codes as FastAPI's ``responses``."""
    reasons: dict[int, list[Problem]] = {}
    for code in codes:
        reason = problem(code, "...")
        reasons.setdefault(reason.status, []).append(reason)
    return {status: _response(alike) for status, alike in reasons.items()}


def _response(reasons: list[Problem]) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    examples = {reason.code: {"value": reason.as_json()} for reason in reasons}
    response: dict[str, Any] = {
        "description": "; ".join(reason.title for reason in reasons),
        "content": {MEDIA_TYPE: {"schema": schema, "examples": examples}},
    }
    if reasons[0].status == 429:
        response["headers"] = {
            "Retry-After": {
                "description": "Seconds after which to try again.",
                "required": True,
                "schema": {"type": "integer", "minimum": 1},
            }
        }
    return response


def handle_problems(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem, those of the framework included."""

    @app.exception_handler(Refused)
    async def _refused(_: Request, error: Refused) -> Response:
        return answer(error.reason, error.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        return answer(problem("invalid-request", _told(error)))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        code = _CODES.get(error.status_code, "invalid-request")
        headers = dict(error.headers or {})
        if code == "method-not-allowed":
            headers["Allow"] = _allowed(app, request) or headers.get("Allow", "GET")
        return answer(problem(code, _DETAILS.get(code) or str(error.detail)), headers)

    @app.exception_handler(ClientDisconnect)
    async def _gone(_: Request, __: ClientDisconnect) -> Response:
        return Response(status_code=_CLIENT_GONE)

    @app.exception_handler(Exception)
    async def _unexpected(_: Request, __: Exception) -> Response:
        # The server logs the exception; it is no business of the client's.
        return answer(problem("failed", "an error of the service; its log says more"))


def _told(error: RequestValidationError) -> str:
    """Return one line about the first thing wrong, without quoting what was sent."""
    first = error.errors()[0]
    where, *name = first["loc"]
    return f"{where} {'.'.join(map(str, name))}: {first['msg'].lower()}; correct it"


def _allowed(app: FastAPI, request: Request) -> str:
    """Return all methods of the route's address; the framework names those of one function."""
    template = getattr(request.scope.get("route"), "path", "")
    known = {method.upper() for method in app.openapi()["paths"].get(template, {})}
    return ", ".join(sorted(known | {"HEAD"} if "GET" in known else known))
