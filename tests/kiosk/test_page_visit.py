"""The visitor's journey in a real browser, before a real service."""

from __future__ import annotations

import re

import cv2
import httpx
import numpy as np
import pytest

from .browser import BOTH, EITHER, LANDSCAPE, PORTRAIT, composition_of
from .service_process import DOWNLOADS, EVERYTHING, WAIT_S, ServiceProcess


@pytest.fixture(scope="module")
def service(store, tmp_path_factory):
    with ServiceProcess(tmp_path_factory.mktemp("service"), store.root, **EVERYTHING) as started:
        yield started.until_ready()


def difference(one, other):
    return float(np.abs(one.astype(int) - other).mean())


@BOTH
def test_the_whole_journey(visitor, service, size):
    visitor = visitor(size)
    made = composition_of(visitor.page)
    visitor.until_on("attract")
    visitor.look("1-attract")
    visitor.touch("#start")
    visitor.until_on("choose")
    assert visitor.page.locator(".artwork").count() == 3
    visitor.look("2-choose")
    visitor.touch('.artwork[data-id="night-harbour"]')
    visitor.until_on("consent")
    visitor.look("3-consent")
    visitor.touch("#agree")
    visitor.until_on("camera")
    visitor.page.wait_for_selector(
        '#hint[data-text="camera.visitor"], #hint[data-text="camera.apart"]'
    )
    visitor.look("4-camera")
    visitor.touch("#shoot")
    visitor.until_on("result")
    assert visitor.diary() == [
        *("attract", "choose", "consent", "camera", "countdown", "progress"),
        *(each for each in visitor.diary() if each.startswith("progress.")),
        "result",
    ]
    assert len(made) == 1
    visitor.page.wait_for_timeout(4000)  # until the slider has shown itself
    slide_to(visitor, 0)
    after = visitor.shown("#comparison")
    slide_to(visitor, 100)
    before = visitor.shown("#comparison")
    assert difference(before, after) > 0.5  # harmonized, and nothing moved but the slider
    slide_to(visitor, 50)
    visitor.look("6-result")
    facts = service.client.get(made[0]).json()
    assert facts["state"] == "done"
    seconds = re.search(r"(\d+):(\d\d)", visitor.text("#expiry"))
    left = int(seconds[1]) * 60 + int(seconds[2])
    assert abs(left - facts["expires_in_s"]) < 3
    take_it_along(visitor)
    visitor.touch("#back")
    visitor.until_on("result")
    visitor.touch("#retake")
    visitor.until_on("camera")
    assert service.client.get(made[0]).status_code == 200  # a phone has its address
    visitor.page.wait_for_selector("#shoot:enabled")
    visitor.touch("#shoot")
    visitor.until_on("result")
    visitor.touch("#done")
    visitor.until_on("attract")
    visitor.page.wait_for_selector("#toast:visible")
    assert service.client.get(made[1]).status_code == 404


def test_on_every_screen_the_page_shows_that_it_lives(visitor):
    visitor = visitor()
    visitor.page.clock.install()
    visitor.page.reload()
    visitor.until_on("attract")
    visitor.touch("#start")
    visitor.until_on("choose")
    # Later, the page is back on its first screen, which asks anyway.
    with visitor.page.expect_response("**/v1/kiosk", timeout=20_000):
        visitor.page.clock.run_for(31_000)


def slide_to(visitor, value):
    visitor.page.locator("#compare").evaluate(
        "(e, value) => { e.value = value; e.dispatchEvent(new Event('input')); }", value
    )
    visitor.page.wait_for_timeout(300)


def take_it_along(visitor):
    """The code on the screen leads a phone to the picture, as often as was said."""
    visitor.touch("#keep")
    visitor.until_on("keep")
    visitor.look("7-keep")
    url, _, _ = cv2.QRCodeDetector().detectAndDecode(visitor.shown("#qr")[..., ::-1])
    assert url
    assert url == visitor.text("#address").strip()
    with httpx.Client(timeout=WAIT_S, headers={"Accept-Language": "it"}) as phone:
        page = phone.get(url)
        assert page.status_code == 200
        assert 'lang="it"' in page.text
        for _ in range(DOWNLOADS["uses"]):
            picture = phone.get(f"{url}/vivant.jpg")
            assert picture.status_code == 200
            assert picture.content.startswith(b"\xff\xd8\xff")
        assert phone.get(f"{url}/vivant.jpg").status_code == 404
        assert phone.get(url).status_code == 404
        root = httpx.URL(url).join("/")
        for path in ("v1/kiosk", "healthz", "", "v1/compositions", "studio/"):
            assert phone.get(root.join(path)).status_code == 404


def test_progress_is_shown_as_it_comes(visitor):
    visitor = visitor(PORTRAIT)
    visitor.to_camera("spring-garden")
    held, looked = [], []

    def hold(route):  # or it would be over before anybody looks
        if looked:
            route.continue_()
        else:
            held.append(route)

    visitor.page.route("**/image?stage=harmonized", hold)
    visitor.touch("#shoot")
    visitor.until("diary.includes('progress.composite')")
    visitor.look("5-progress", fade_ms=1500)
    looked.append("5-progress")
    for route in held:
        route.continue_()
    visitor.until_on("result")
    stages = ["progress.running", "progress.matte", "progress.composite", "progress.harmonized"]
    assert visitor.diary()[-5:] == [*stages, "result"]


def test_nobody_is_there_any_more(visitor, browser, store, tmp_path):
    settings = {"idle_s": 40, "idle_warning_s": 8, "countdown_s": 0, "consent": False}
    with ServiceProcess(tmp_path, store.root, **settings) as service:
        service.until_ready()
        visitor = visitor(LANDSCAPE, service.url)
        made = composition_of(visitor.page)
        visitor.page.clock.install()  # it goes on, and can be put forward
        visitor.page.reload()
        visitor.touch("[data-language=de]")
        visitor.touch("#start")
        visitor.touch('.artwork[data-id="night-harbour"]')
        visitor.page.wait_for_selector("#shoot:enabled")
        visitor.touch("#shoot")
        visitor.until_on("result")
        visitor.page.clock.run_for(40_000)
        visitor.page.wait_for_selector("#idle[open]")
        visitor.look("8-idle")
        visitor.touch("#still-here")
        assert visitor.page.locator("#idle[open]").count() == 0
        visitor.until_on("result")
        visitor.page.clock.run_for(50_000)
        visitor.until_on("attract")
        service.until(lambda: service.client.get(made[0]).status_code == 404)
        assert visitor.page.get_attribute("html", "lang") == "en"


@EITHER
def test_languages(visitor, size):
    visitor = visitor(size)
    titles = {}
    for language in ("it", "de", "fr", "en"):
        visitor.until_on("attract")
        visitor.touch(f"[data-language={language}]")
        visitor.page.wait_for_selector(f"html[lang={language}]")
        titles[language] = visitor.text("#screen-attract h1")
        visitor.look(f"9-attract-{language}")
        visitor.touch("#start")
        visitor.until_on("choose")
        visitor.touch(".artwork >> nth=0")
        visitor.until_on("consent")
        visitor.look(f"9-consent-{language}")
        visitor.touch("#back")
        visitor.until_on("choose")
        visitor.touch("#back")
    assert len(set(titles.values())) == 4


def test_a_visitor_deletes_the_picture_although_a_phone_has_its_address(visitor, service):
    visitor = visitor(LANDSCAPE)
    made = composition_of(visitor.page)
    visitor.to_result()
    visitor.touch("#retake")
    visitor.page.wait_for_selector("#shoot:enabled")
    service.until(lambda: service.client.get(made[0]).status_code == 404)
    visitor.touch("#shoot")
    visitor.until_on("result")
    visitor.touch("#keep")
    visitor.until("document.getElementById('address').textContent")
    visitor.touch("#back")
    visitor.until_on("result")
    assert service.client.get(made[1]).status_code == 200
    visitor.touch("#delete")
    visitor.until_on("attract")
    visitor.page.wait_for_selector("#toast:visible")
    assert service.client.get(made[1]).status_code == 404


def test_who_has_the_picture_on_the_phone_may_leave(visitor, service):
    visitor = visitor(PORTRAIT)
    visitor.touch("[data-language=fr]")
    visitor.to_result("spring-garden")
    visitor.touch("#keep")
    visitor.until("document.getElementById('address').textContent")
    url = visitor.text("#address")
    visitor.touch("#keep-done")
    visitor.until_on("attract")
    visitor.page.wait_for_selector("#toast[lang=fr]:visible")
    assert "téléphone" in visitor.text("#toast")
    assert httpx.get(f"{url}/vivant.jpg", timeout=WAIT_S).status_code == 200


def test_a_finger_that_bounces_means_the_first_touch(visitor):
    visitor = visitor(PORTRAIT)
    visitor.until_on("attract")
    visitor.page.evaluate(
        """() => {
          const at = { detail: 1, clientX: 500, clientY: 900, bubbles: true, cancelable: true };
          for (const touched of ["#start", ".artwork", ".artwork"]) {
            document.querySelector(touched).dispatchEvent(new MouseEvent("click", at));
          }
        }"""
    )
    visitor.page.wait_for_timeout(500)
    assert visitor.diary()[-1] == "choose"


@EITHER
def test_a_picture_is_printed_alone(visitor, size):
    visitor = visitor(size)
    visitor.page.add_init_script("window.print = () => { window.printed = true; };")
    visitor.page.reload()
    visitor.to_result("evening-path")
    visitor.touch("#print")
    visitor.until("window.printed")
    visitor.page.emulate_media(media="print")
    visible = visitor.page.evaluate(
        """() => [...document.querySelectorAll("button, h1, p, input")]
            .filter((e) => e.checkVisibility({ visibilityProperty: true })).length"""
    )
    assert visible == 0


def test_by_keyboard_alone(visitor):
    visitor = visitor(LANDSCAPE)
    visitor.until_on("attract")

    def press_on(selector):
        visitor.page.wait_for_selector(f"{selector}:visible:enabled")
        for _ in range(30):
            if visitor.page.evaluate("s => document.activeElement?.matches(s)", selector):
                visitor.page.keyboard.press("Enter")
                return
            visitor.page.keyboard.press("Tab")
        pytest.fail(f"the focus never came to {selector}")

    press_on("#start")
    press_on('.artwork[data-id="evening-path"]')
    press_on("#agree")
    visitor.until_on("camera")
    press_on("#shoot")
    visitor.until_on("result")
    for _ in range(30):
        if visitor.page.evaluate("document.activeElement?.id") == "compare":
            break
        visitor.page.keyboard.press("Tab")
    value = int(visitor.page.input_value("#compare"))
    visitor.page.keyboard.press("ArrowLeft" if value > 50 else "ArrowRight")
    assert int(visitor.page.input_value("#compare")) != value
    press_on("#done")
    visitor.until_on("attract")


def test_nothing_moves_for_those_who_want_none(visitor):
    visitor = visitor(PORTRAIT, reduced_motion="reduce")
    visitor.until_on("attract")
    visitor.page.wait_for_timeout(500)
    running = visitor.page.evaluate(
        "() => document.getAnimations().filter((each) => each.playState === 'running').length"
    )
    assert running == 0
