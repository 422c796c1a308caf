"""What visitors see when something goes wrong, and how the page goes on by itself."""

from __future__ import annotations

import signal

import pytest

from .browser import EITHER, PORTRAIT, Visitor, chromium, composition_of
from .service_process import DOWNLOADS, EVERYTHING, ServiceProcess


@pytest.fixture(scope="module")
def service(store, tmp_path_factory):
    with ServiceProcess(tmp_path_factory.mktemp("service"), store.root, **EVERYTHING) as started:
        yield started.until_ready()


def test_where_there_is_no_network_the_picture_stays(visitor, service):
    visitor = visitor(PORTRAIT)
    made = composition_of(visitor.page)
    visitor.to_result("evening-path")
    problem = {"type": "urn:vivant:problem:conflict", "title": "-", "status": 409, "detail": "-"}
    visitor.page.route("**/links", lambda route: route.fulfill(status=409, json=problem))
    visitor.touch("#keep")
    visitor.until("diary.at(-2) === 'keep' && diary.at(-1) === 'result'")
    assert service.client.get(made[0]).status_code == 200


def test_a_picture_expires_while_the_service_is_away(visitor, store, tmp_path):
    with ServiceProcess(tmp_path, store.root, downloads=DOWNLOADS) as service:
        service.until_ready()
        visitor = visitor(PORTRAIT, service.url)
        visitor.page.clock.install()  # it goes on, and can be put forward
        visitor.page.reload()
        visitor.to_result()
        service.end(signal.SIGKILL)
        visitor.touch("#keep")
        visitor.until_in("service")
        visitor.touch("#trouble-title")  # somebody is there
        visitor.page.clock.run_for(59_000)
        visitor.touch("#trouble-title")
        visitor.page.clock.run_for(59_000)
        visitor.until_in("expired")
        for picture in ("#after", "#before", "#paper", "#qr"):
            assert visitor.page.get_attribute(picture, "src") is None


@EITHER
def test_the_service_is_killed_and_comes_back_during_the_countdown(visitor, store, tmp_path, size):
    settings = {"countdown_s": 8}
    with ServiceProcess(tmp_path, store.root, **settings) as service:
        service.until_ready()
        visitor = visitor(size, service.url)
        visitor.to_camera()
        visitor.touch("#shoot")
        visitor.until_on("countdown")
        service.end(signal.SIGKILL)
        visitor.until_in("service")  # the photo was taken; nobody takes it
        visitor.look("a-service-away")
        with ServiceProcess(tmp_path, store.root, **settings, port=service.port) as again:
            again.until_ready()
            visitor.until_on("result")
            assert again.client.get("/readyz").json()["ready"]


def test_the_service_stops_while_a_visitor_waits(visitor, store, tmp_path):
    settings = {"countdown_s": 0}
    with ServiceProcess(tmp_path, store.root, **settings) as service:
        service.until_ready()
        visitor = visitor(PORTRAIT, service.url)
        visitor.to_camera()
        for _ in range(3):
            service.post()
        visitor.touch("#shoot")
        visitor.until("diary.includes('progress.queued')")
        assert service.end() == 0
        with ServiceProcess(tmp_path, store.root, **settings, port=service.port) as again:
            again.until_ready()
            visitor.until_on("result")


def test_a_picture_that_takes_too_long(visitor, store, tmp_path):
    with ServiceProcess(tmp_path, store.root, countdown_s=0, composition_s=0.01) as service:
        service.until_ready()
        visitor = visitor(PORTRAIT, service.url)
        visitor.to_camera()
        visitor.touch("#shoot")
        visitor.until_in("failed")
        visitor.page.wait_for_timeout(2000)
        assert visitor.diary().count("trouble") == 1
        visitor.touch("#again")
        visitor.until_on("camera")


def test_the_service_is_away_when_the_page_is_open(visitor, store, tmp_path):
    with ServiceProcess(tmp_path, store.root) as service:
        service.until_ready()
        visitor = visitor(PORTRAIT, service.url)
        visitor.page.clock.install()  # it goes on, and can be put forward
        visitor.page.reload()
        visitor.until_on("attract")
        service.end(signal.SIGKILL)
        visitor.page.clock.run_for(15_000)
        visitor.until_in("service")
        with ServiceProcess(tmp_path, store.root, port=service.port) as again:
            again.until_ready()
            visitor.to_result("spring-garden")
        assert visitor.diary()[:3] == ["attract", "trouble", "attract"]


@EITHER
def test_others_come_first(visitor, service, size):
    visitor = visitor(size)
    refused = []

    def refuse_once(route):
        if refused:
            route.fallback()
            return
        refused.append(route)
        problem = {"type": "urn:vivant:problem:busy", "title": "-", "status": 429, "detail": "-"}
        headers = {"Retry-After": "8", "Content-Type": "application/problem+json"}
        route.fulfill(status=429, headers=headers, json=problem)

    visitor.page.route("**/v1/compositions", refuse_once)
    visitor.to_camera()
    visitor.touch("#shoot")
    visitor.until_in("busy")
    visitor.look("b-busy")
    visitor.until_on("result")
    assert len(refused) == 1


def test_a_picture_of_nobody(visitor, service):
    """The photo that is sent shows a wall; the page says how to do better."""
    visitor = visitor(PORTRAIT)
    made = composition_of(visitor.page)
    visitor.to_camera()
    visitor.page.evaluate(
        """() => { HTMLCanvasElement.prototype.toBlob = function (done, type, quality) {
            const wall = new OffscreenCanvas(640, 480);
            wall.getContext("2d").fillRect(0, 0, 640, 480);
            wall.convertToBlob({ type, quality }).then(done);
        }; }"""
    )
    visitor.touch("#shoot")
    visitor.until_in("nobody")
    visitor.look("c-nobody")
    service.until(lambda: service.client.get(made[0]).status_code == 404)
    visitor.touch("#again")
    visitor.until_on("camera")
    assert len(made) == 1


@EITHER
def test_there_is_no_camera(playwright, service, size):
    with chromium(playwright) as browser:
        visitor = Visitor(browser, service.url, size)
        visitor.until_on("attract")
        visitor.touch("#start")
        visitor.touch('.artwork[data-id="night-harbour"]')
        visitor.touch("#agree")
        visitor.until_in("camera")
        visitor.look("d-camera")
        assert visitor.errors == []
