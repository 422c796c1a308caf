"""Links for phones: they work a few times, on a socket that serves nothing else."""

from __future__ import annotations

import re

import httpx
import pytest

from vivant.images import load_image
from vivant_kiosk import downloads as module
from vivant_kiosk.downloads import base_url, qr_code
from vivant_kiosk.settings import Downloads

from .conftest import WAIT_S, until


@pytest.fixture
def service(running, room, downloads):
    return running(downloads=downloads).until_ready()


@pytest.fixture
def link(service):
    answer = service.client.post(f"/v1/compositions/{service.finished()}/links")
    assert answer.status_code == 201
    return answer.json()


def get(url, method="GET", **headers):
    return httpx.request(method, url, headers=headers, timeout=WAIT_S)


def test_a_link_gives_its_picture_a_few_times(service, link):
    assert link["url"].startswith(f"http://127.0.0.1:{service.downloads_port}/d/")
    assert link["uses_left"] == 3
    assert 0 < link["expires_in_s"] <= 120
    assert link["qr_svg"].startswith("<svg")
    assert "style=" not in link["qr_svg"]
    for _ in range(3):
        page = get(link["url"])
        assert page.status_code == 200
        picture = get(f"{link['url']}/vivant.jpg")
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.headers["cache-control"] == "no-store"
        assert load_image(picture.content).shape == (256, 400, 3)
    for path in ("", "/vivant.jpg"):
        gone = get(f"{link['url']}{path}")
        assert (gone.status_code, "This link has ended" in gone.text) == (404, True)


def test_looking_does_not_use_a_link(link):
    for _ in range(5):
        head = get(f"{link['url']}/vivant.jpg", "HEAD")
        assert (head.status_code, head.content) == (200, b"")
        assert get(link["url"], "HEAD").status_code == 200
    picture = get(f"{link['url']}/vivant.jpg")
    assert picture.status_code == 200
    assert int(head.headers["content-length"]) == len(picture.content)


@pytest.mark.parametrize(
    ("accepted", "language", "words"),
    [
        ("de-CH,de;q=0.9,en;q=0.8", "de", "Bild speichern"),
        ("it", "it", "Salva l"),
        ("ja, fr;q=0.7", "fr", "Enregistrer l"),
        ("ja", "en", "Save the picture"),
    ],
)
def test_the_page_speaks_the_phones_language(link, accepted, language, words):
    page = get(link["url"], **{"Accept-Language": accepted})
    assert page.headers["content-language"] == language
    assert words in page.text
    style = re.search("<style>(.*)</style>", page.text, re.DOTALL).group(1)
    assert f"'sha256-{module._HASH}'" in page.headers["content-security-policy"]
    assert style == module._STYLE


def test_a_link_dies_with_its_picture(service, link):
    (composition_id,) = service.service.compositions._known
    service.client.delete(f"/v1/compositions/{composition_id}")
    assert get(link["url"]).status_code == 404
    assert get(f"{link['url']}/vivant.jpg").status_code == 404
    assert get(f"{link['url']}/vivant.jpg", "HEAD").status_code == 404


def test_a_link_expires(running, room, downloads):
    service = running(downloads=downloads, retention_s=0.5).until_ready()
    made = service.client.post(f"/v1/compositions/{service.finished()}/links").json()
    until(lambda: get(f"{made['url']}/vivant.jpg", "HEAD").status_code == 404)


@pytest.mark.parametrize(
    "path",
    ["/", "/v1/kiosk", "/v1/compositions", "/healthz", "/metrics", "/openapi.json", "/studio/",
     "/d/", "/d/guess", "/d/../v1/kiosk", "/index.html"],
)  # fmt: skip
def test_the_other_socket_serves_nothing_else(service, path):
    answer = get(f"http://127.0.0.1:{service.downloads_port}{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "server" not in answer.headers


def test_the_other_socket_takes_nothing(service):
    answer = get(f"http://127.0.0.1:{service.downloads_port}/d/x", "POST")
    assert answer.status_code == 405


def test_links_are_not_served_by_the_service_itself(service, link):
    path = link["url"].partition(str(service.downloads_port))[2]
    assert service.client.get(path).status_code == 404


def test_a_link_needs_a_finished_picture_and_downloads(running, room, downloads):
    off = running().until_ready()
    answer = off.client.post(f"/v1/compositions/{off.finished()}/links")
    assert (answer.status_code, "downloads are off" in answer.text) == (409, True)
    on = running(downloads=downloads).until_ready()
    room.go.clear()
    address = on.post().headers["location"]
    answer = on.client.post(f"{address}/links")
    assert (answer.status_code, "wait until it is done" in answer.text) == (409, True)
    assert on.client.post(f"/v1/compositions/{'A' * 22}/links").status_code == 404
    room.go.set()


def test_without_a_network_there_are_no_links(running, room, monkeypatch):
    monkeypatch.setattr(module, "_own_address", lambda: None)
    service = running(downloads=Downloads(host="0.0.0.0", port=0)).until_ready()
    assert service.client.get("/v1/kiosk").json()["downloads"] is False
    answer = service.client.post(f"/v1/compositions/{service.finished()}/links")
    assert (answer.status_code, "set downloads.address" in answer.text) == (409, True)
    monkeypatch.setattr(module, "_own_address", lambda: "10.1.2.3")
    assert service.client.get("/v1/kiosk").json()["downloads"] is True


def test_phones_are_given_an_address_that_they_can_call(monkeypatch):
    everywhere = Downloads(host="0.0.0.0")
    monkeypatch.setattr(module, "_own_address", lambda: "10.1.2.3")
    assert base_url(everywhere, 8081) == "http://10.1.2.3:8081"
    monkeypatch.setattr(module, "_own_address", lambda: None)
    assert base_url(everywhere, 8081) is None
    named = Downloads(host="0.0.0.0", address="kiosk.museum")
    assert base_url(named, 80) == "http://kiosk.museum:80"
    assert base_url(Downloads(host="fd00::1"), 80) == "http://[fd00::1]:80"


def test_a_qr_code_scales():
    svg = qr_code("http://10.1.2.3:8081/d/abc")
    assert "viewBox" in svg
    assert "width=" not in svg
