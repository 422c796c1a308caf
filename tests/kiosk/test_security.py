"""Who may ask, and who may not."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from vivant_kiosk.app import create_app
from vivant_kiosk.security import needs_token

from .conftest import ask

TOKEN, ADMIN_TOKEN = "t" * 16, "a" * 16


def with_tokens(settings, **changes):
    tokens = {"token": SecretStr(TOKEN), "admin_token": SecretStr(ADMIN_TOKEN)}
    return create_app(settings.model_copy(update={**tokens, **changes}))


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.:8080", "127.0.0.1:1", "[::1]:8080", "kiosk.museum", "10.0.0.9"],
)
def test_own_names_are_answered(settings, host):
    app = create_app(settings.model_copy(update={"allowed_hosts": ("Kiosk.museum",)}))
    # What it was called by was this address of its own.
    answer = ask(app, "GET", "/v1/kiosk", base_url="http://10.0.0.9", headers={"Host": host})
    assert answer.status_code == 200


def test_an_address_of_an_old_kind_is_known_on_a_socket_of_the_new(settings):
    app = create_app(settings.model_copy(update={"host": "::"}))
    mapped = ask(app, "GET", "/v1/kiosk", base_url="http://[::ffff:10.0.0.9]",
                 headers={"Host": "10.0.0.9"})  # fmt: skip
    assert mapped.status_code == 200
    assert ask(app, "GET", "/v1/kiosk", headers={"Host": "[::]"}).status_code == 403


@pytest.mark.parametrize(
    "host",
    ["evil.example", "", "localhost.evil.example", "127.0.0.1.evil.example", "user@localhost@x",
     "[::1", "10.0.0.8"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/kiosk", "/", "/healthz"])
def test_foreign_names_are_not(app, host, path):
    answer = ask(app, "GET", path, headers={"Host": host})
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("header Host")


ORIGINS = [
    ("http://localhost", 404),
    ("HTTP://LOCALHOST", 404),
    ("https://localhost", 404),
    ("http://localhost:81", 403),
    ("http://evil.example", 403),
    ("http://localhost.evil.example", 403),
    ("null", 403),
    ("", 403),
    ("file://", 403),
    ("https://page.museum", 404),
]


@pytest.mark.parametrize(("origin", "status"), ORIGINS)
def test_only_own_pages_change_anything(settings, origin, status):
    app = create_app(settings.model_copy(update={"allowed_origins": ("https://page.museum",)}))
    address = f"/v1/compositions/{'A' * 22}"
    answer = ask(app, "DELETE", address, headers={"Origin": origin})
    assert answer.status_code == status
    assert ask(app, "GET", address, headers={"Origin": origin}).status_code == 404


def test_programs_without_an_origin_are_welcome(app):
    assert ask(app, "DELETE", f"/v1/compositions/{'A' * 22}").status_code == 404


def test_other_sites_are_told_nothing_unless_allowed(settings):
    allowed = create_app(settings.model_copy(update={"allowed_origins": ("https://page.museum",)}))
    asking = {"Origin": "https://page.museum", "Access-Control-Request-Method": "DELETE"}
    for app, known in ((create_app(settings), None), (allowed, "https://page.museum")):
        preflight = ask(app, "OPTIONS", "/v1/compositions", headers=asking)
        assert preflight.headers.get("access-control-allow-origin") == known
        answer = ask(app, "GET", "/v1/kiosk", headers={"Origin": "https://page.museum"})
        assert answer.headers.get("access-control-allow-origin") == known
    evil = ask(allowed, "GET", "/v1/kiosk", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in evil.headers


@pytest.mark.parametrize(
    "path",
    ["/v1/kiosk", "/v1/artworks", "/v1/nothing", "/metrics", "/openapi.json", "//v1/kiosk"],
)
def test_a_token_is_wanted(settings, path):
    app = with_tokens(settings)
    for headers in ({}, bearer("wrong"), bearer(""), {"Authorization": TOKEN}, bearer("é")):
        answer = ask(app, "GET", path, headers={k: v.encode() for k, v in headers.items()})
        if path.startswith("//"):  # no address of the API, and no way into it
            assert answer.status_code == 404
            continue
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    if not path.startswith("//"):
        assert ask(app, "GET", path, headers=bearer(TOKEN)).status_code != 401
        assert ask(app, "GET", path, headers=bearer(ADMIN_TOKEN)).status_code != 401


@pytest.mark.parametrize("path", ["/", "/index.html", "/healthz", "/readyz"])
def test_pages_and_what_supervisors_ask_need_none(settings, path):
    assert ask(with_tokens(settings), "GET", path).status_code in {200, 503}


def test_the_token_of_the_service_does_not_open_the_studio(settings):
    app = with_tokens(settings)
    assert ask(app, "GET", "/v1/admin/artworks", headers=bearer(TOKEN)).status_code == 401
    assert ask(app, "GET", "/v1/admin/artworks", headers=bearer(ADMIN_TOKEN)).status_code == 503


def test_a_websocket_is_guarded_as_well(running, room):
    service = running(token=SecretStr(TOKEN)).until_ready()
    address = f"ws://127.0.0.1:{service.port}/v1/preview"
    good = {"subprotocols": ["vivant", f"vivant.{TOKEN}"]}
    for options in (
        {},
        {"subprotocols": ["vivant", "vivant.wrong"]},
        {**good, "origin": "http://evil.example"},
        {**good, "additional_headers": {"Host": "evil.example"}},
    ):
        with pytest.raises(InvalidStatus, match="403"):
            connect(address, **options)
    with connect(address, origin=f"http://127.0.0.1:{service.port}", **good) as socket:
        assert socket.subprotocol == "vivant"  # and not the token


def test_every_described_address_wants_the_token_but_two(settings):
    described = ask(with_tokens(settings), "GET", "/openapi.json", headers=bearer(TOKEN)).json()
    open_to_all = {path for path in described["paths"] if not needs_token(path)}
    assert open_to_all == {"/healthz", "/readyz"}
