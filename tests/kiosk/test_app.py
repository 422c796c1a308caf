"""The application: problems in one form, a description that is complete, a log that is silent."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from pydantic import SecretStr

from vivant.errors import ArtworkError
from vivant_kiosk.app import RequestLog, create_app
from vivant_kiosk.logs import PlainLines

from .conftest import ask, jpeg_of

PROBLEM = "application/problem+json"
NOBODYS_ID = "A" * 22


def problem_of(answer):
    assert answer.headers["content-type"] == PROBLEM
    body = answer.json()
    assert set(body) == {"type", "title", "status", "detail"}
    assert body["status"] == answer.status_code
    assert "\n" not in body["detail"]
    return body["type"].removeprefix("urn:vivant:problem:")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "/v1/nothing", 404, "not-found"),
        ("POST", "/v1/kiosk", 405, "method-not-allowed"),
        ("GET", "/v1/compositions", 405, "method-not-allowed"),
        ("GET", f"/v1/compositions/{NOBODYS_ID}", 404, "not-found"),
        ("GET", f"/v1/compositions/{NOBODYS_ID}/image", 404, "not-found"),
        ("GET", f"/v1/compositions/{NOBODYS_ID}/events", 404, "not-found"),
        ("DELETE", f"/v1/compositions/{NOBODYS_ID}", 404, "not-found"),
        ("GET", "/v1/compositions/short", 422, "invalid-request"),
        ("GET", f"/v1/compositions/{NOBODYS_ID}/image?stage=x", 422, "invalid-request"),
        ("GET", "/v1/artworks", 503, "not-ready"),
        ("GET", "/v1/artworks/Not_An_Id", 422, "invalid-request"),
        ("POST", "/v1/compositions", 503, "not-ready"),
        ("GET", "/healthz", 503, "not-ready"),
        ("GET", "/v1/admin/artworks", 404, "not-found"),
    ],
)
def test_whatever_goes_wrong_is_a_problem(app, method, path, status, code):
    answer = ask(app, method, path)
    assert (answer.status_code, problem_of(answer)) == (status, code)


def test_a_wrong_method_is_told_which_there_are(app):
    assert ask(app, "PUT", f"/v1/compositions/{NOBODYS_ID}").headers["allow"] == "DELETE, GET, HEAD"
    assert ask(app, "PUT", "/v1/compositions").headers["allow"] == "POST"


def test_an_error_of_ours_is_a_problem_that_tells_nothing(app):
    app.state.service.workshop.status = None
    answer = ask(app, "GET", "/healthz")
    assert (answer.status_code, problem_of(answer)) == (500, "failed")
    assert "NoneType" not in answer.text


def test_pages_and_answers_carry_the_security_headers(app):
    for path in ("/", "/v1/kiosk", "/nothing", "/readyz"):
        headers = ask(app, "GET", path).headers
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
        assert "camera=(self)" in headers["permissions-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers


def test_the_page_learns_what_it_needs(app, settings):
    facts = ask(app, "GET", "/v1/kiosk").json()
    assert facts["ready"] is False
    assert (facts["downloads"], facts["consent"]) == (False, True)
    assert facts["retention_s"] == settings.retention_s
    assert facts["languages"] == ["en", "it", "de", "fr"]


def test_it_is_not_ready_before_it_runs(app):
    answer = ask(app, "GET", "/readyz")
    assert answer.status_code == 503
    assert answer.json()["ready"] is False


def test_the_description_documents_every_route_and_its_problems(settings):
    app = create_app(settings.model_copy(update={"token": SecretStr("x" * 16)}))
    token = {"Authorization": f"Bearer {'x' * 16}"}
    described = ask(app, "GET", "/openapi.json", headers=token).json()
    assert "/v1/compositions/{id}/events" in described["paths"]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            assert {"400", "default"}.isdisjoint(operation["responses"])
            parameters = [each["name"] for each in operation.get("parameters", ())]
            assert ("422" in operation["responses"]) == bool(
                parameters or "requestBody" in operation
            ), (path, method)
            assert "403" in operation["responses"]
            assert ("401" in operation["responses"]) == bool(operation["security"])
            for status, response in operation["responses"].items():
                if int(status) >= 400 and path != "/readyz":
                    assert set(response["content"]) == {PROBLEM}, (path, method, status)
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert described["paths"]["/healthz"]["get"]["security"] == []
    identifiers = [
        operation["operationId"]
        for methods in described["paths"].values()
        for operation in methods.values()
    ]
    taken = described["paths"]["/v1/compositions"]["post"]["responses"]["202"]
    assert {link["operationId"] for link in taken["links"].values()} <= set(identifiers)
    assert len(identifiers) == len(set(identifiers))


def test_every_reference_of_the_description_leads_somewhere(app):
    described = ask(app, "GET", "/openapi.json").json()
    text = json.dumps(described)
    known = described["components"]["schemas"]
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= set(known)
    assert "HTTPValidationError" not in text


def test_a_request_is_logged_without_ids(app, caplog):
    with caplog.at_level(logging.INFO, "vivant_kiosk.requests"):
        ask(app, "GET", f"/v1/compositions/{NOBODYS_ID}/image?stage=matte")
    (record,) = [each for each in caplog.records if each.name == "vivant_kiosk.requests"]
    line = PlainLines().format(record)
    assert "method=GET route=/v1/compositions/{id}/image status=404 ms=" in line
    assert NOBODYS_ID not in line
    assert "stage=" not in line


def test_strangers_do_not_fill_the_log(caplog):
    async def answer(scope, receive, send):
        await send({"type": "http.response.start", "status": scope["status"], "headers": []})

    async def send(message):
        pass

    log = RequestLog(answer, strangers=True)
    with caplog.at_level(logging.INFO, "vivant_kiosk.requests"):
        for status in (200, 404, 405, 500):
            scope = {"type": "http", "method": "PUT", "status": status}
            asyncio.run(log(scope, None, send))
    assert [record.status for record in caplog.records] == [500]


def test_nothing_of_an_upload_is_logged(running, room, caplog):
    with caplog.at_level(logging.DEBUG):
        service = running().until_ready()
        composition_id = service.finished()
        service.post(b"no picture at all")
        service.client.get(f"/v1/compositions/{composition_id}/events")
    own = [each for each in caplog.records if each.name.startswith(("vivant", "python_multipart"))]
    lines = [PlainLines().format(each) for each in own]
    assert any("route=/v1/compositions status=202" in line for line in lines)
    assert not [line for line in lines if "private-name" in line or composition_id in line]


def test_a_service_without_its_artworks_does_not_begin(settings, tmp_path):
    with pytest.raises(ArtworkError, match="gone: no such folder of artworks; create it"):
        create_app(settings.model_copy(update={"artworks": tmp_path / "gone"}))


def test_the_studio_is_there_for_who_has_its_token(settings):
    app = create_app(settings.model_copy(update={"admin_token": SecretStr("a" * 16)}))
    assert ask(app, "GET", "/v1/admin/artworks").status_code == 401


def test_a_service_that_ran_forgets_everybody(running, room):
    service = running().until_ready()
    composition = service.service.compositions.find(service.finished(jpeg_of()))
    service.stop()
    assert service.service.compositions.held() == 0
    assert not composition.facts()["stages"]
