"""Compositions over HTTP: a photo in, events, pictures, the end of it."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from vivant.errors import SubjectError
from vivant.images import load_image
from vivant_kiosk.api import compositions as module
from vivant_kiosk.api.compositions import preferred
from vivant_kiosk.api.schemas import Composition

from .conftest import FACTS, WAIT_S, form_of, jpeg_of, request_of, until


def events_of(text):
    """Return number, name and data of each event, and the comments."""
    events, comments = [], []
    for block in text.strip().split("\n\n"):
        if block.startswith(":"):
            comments.append(block)
            continue
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        events.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
    return events, comments


def code_of(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()["type"].rpartition(":")[2]


@pytest.fixture
def service(running, room):
    return running().until_ready()


def test_a_photo_is_taken_and_its_picture_given(service, room):
    taken = service.post(jpeg_of(3000, 40))
    assert taken.status_code == 202
    facts = taken.json()
    Composition.model_validate(facts)
    assert taken.headers["location"] == facts["links"]["self"]
    assert taken.headers["cache-control"] == "no-store"
    until(lambda: service.client.get(facts["links"]["self"]).json()["state"] == "done")
    facts = service.client.get(facts["links"]["self"]).json()
    Composition.model_validate(facts)
    assert facts["figures"] == FACTS["figures"]
    assert facts["stages"] == ["matte", "composite", "harmonized", "done"]
    assert 0 < facts["expires_in_s"] <= 120
    picture = service.client.get(facts["links"]["image"])
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.headers["cache-control"] == "no-store"
    assert load_image(picture.content).shape == (256, 400, 3)
    matte = service.client.get(facts["links"]["image"], params={"stage": "matte"})
    assert matte.content == jpeg_of(shade=1)
    assert room.photos == [(32, 2400, 3)]  # reduced to the working size


def test_events_come_while_it_is_made(service, room):
    room.go.clear()
    address = service.post().headers["location"]
    with service.client.stream("GET", f"{address}/events") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"
        text = ""
        for part in stream.iter_text():
            text += part
            if "event: matte" in text:
                room.go.set()
    events, _ = events_of(text)
    names = ["queued", "running", "matte", "composite", "harmonized", "done"]
    assert [name for _, name, _ in events] == names
    assert [number for number, _, _ in events] == [1, 2, 3, 4, 5, 6]
    shown = events[3][2]
    assert (shown["stage"], shown["width"], shown["height"]) == ("composite", 60, 40)
    assert service.client.get(shown["image"]).content == jpeg_of(shade=2)
    done = events[-1][2]
    assert done["image"] == f"{address}/image"
    assert done["state"] == "done"


def test_who_comes_late_is_told_everything_or_the_rest(service):
    address = f"/v1/compositions/{service.finished()}/events"
    assert len(events_of(service.client.get(address).text)[0]) == 6
    rest = service.client.get(address, headers={"Last-Event-ID": "4"}).text
    assert [number for number, _, _ in events_of(rest)[0]] == [5, 6]
    odd = service.client.get(address, headers={"Last-Event-ID": "x"}).text
    assert len(events_of(odd)[0]) == 6
    ended = service.client.get(address, headers={"Last-Event-ID": "6"})
    assert (ended.status_code, ended.text) == (204, "")  # by which an EventSource ends


def test_what_is_there_can_be_asked_for_with_head(service):
    composition_id = service.finished()
    for path in ("/healthz", "/v1/artworks", f"/v1/compositions/{composition_id}/image"):
        head, whole = service.client.head(path), service.client.get(path)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("content-type", "content-length"):
            assert head.headers[name] == whole.headers[name]


def test_a_silent_stream_is_kept_alive(service, room, monkeypatch):
    monkeypatch.setattr(module, "KEEP_ALIVE_S", 0.01)
    room.go.clear()
    address = service.post().headers["location"]
    with service.client.stream("GET", f"{address}/events") as stream:
        text = ""
        for part in stream.iter_text():
            text += part
            if text.count(": still there") == 2:
                room.go.set()
    assert events_of(text)[0][-1][1] == "done"


def test_nobody_listens_once_a_stream_is_closed(service, room):
    room.go.clear()
    composition_id = service.post().json()["id"]
    composition = service.service.compositions.find(composition_id)
    before = len(composition._listeners)
    with service.client.stream("GET", f"/v1/compositions/{composition_id}/events") as stream:
        parts = stream.iter_text()
        next(parts)
        assert len(composition._listeners) == before + 1
    until(lambda: len(composition._listeners) == before)
    room.go.set()


def test_who_accepts_a_jpeg_gets_it_at_once(service):
    answer = service.post(headers={"Accept": "image/jpeg"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "image/jpeg"
    assert load_image(answer.content).shape == (256, 400, 3)
    address = f"/v1/compositions/{answer.headers['vivant-composition']}"
    assert service.client.get(address).json()["state"] == "done"


def test_what_a_visitor_can_mend_is_a_problem(service, room):
    room.error = SubjectError("nobody in sight; step closer")
    answer = service.post(headers={"Accept": "image/jpeg"})
    assert (answer.status_code, code_of(answer)) == (422, "nobody")
    facts = service.client.get(f"/v1/compositions/{service.finished()}").json()
    assert facts["state"] == "failed"
    assert facts["error"]["detail"] == "nobody in sight; step closer"
    Composition.model_validate(facts)


def test_who_waits_and_goes_away_wants_no_picture(service, room):
    room.go.clear()
    body = form_of({"artwork": b"meadow"}, jpeg_of())
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(request_of(body, accept="image/jpeg"))
        assert room.entered.wait(WAIT_S)
        assert service.service.compositions.held() == 1
    until(lambda: service.service.compositions.held() == 0)
    assert service.service.workshop.status().alive


def test_a_full_queue_says_when_to_come_again(service, room):
    room.go.clear()
    service.post()
    assert room.entered.wait(WAIT_S)
    second = service.post().json()
    assert (second["state"], second["position"]) == ("queued", 1)
    third = service.post()
    assert (third.status_code, code_of(third)) == (429, "busy")
    assert int(third.headers["retry-after"]) >= 1
    assert 'vivant_uploads_refused_total{reason="busy"} 1.0' in service.client.get("/metrics").text
    room.go.set()


def test_who_is_deleted_is_forgotten_at_once(service, room):
    room.go.clear()
    address = service.post().headers["location"]
    assert room.entered.wait(WAIT_S)
    with service.client.stream("GET", f"{address}/events") as stream:
        parts = stream.iter_text()
        text = next(parts)
        with contextlib.closing(service.client.delete(address)) as deleted:
            assert (deleted.status_code, deleted.content) == (204, b"")
        text += "".join(parts)
    assert events_of(text)[0][-1][1:] == ("cancelled", {})
    for path in ("", "/image", "/events"):
        assert code_of(service.client.get(f"{address}{path}")) == "not-found"
    assert code_of(service.client.delete(address)) == "not-found"


def test_what_expired_is_forgotten(running, room):
    service = running(retention_s=0.2).until_ready()
    address = f"/v1/compositions/{service.finished()}"
    until(lambda: service.client.get(address).status_code == 404)
    until(lambda: service.service.compositions.held() == 0)


@pytest.mark.parametrize(
    ("fields", "code", "told"),
    [
        ({"artwork": "lake"}, "unknown-artwork", "artwork: no such id"),
        ({"artwork": "../meadow"}, "invalid-request", "form artwork"),
        ({"slot": "right"}, "no-place", "slot: the artwork has none"),
        ({"candidates": "6"}, "invalid-request", "form candidates"),
        ({"candidates": "many"}, "invalid-request", "form candidates"),
        ({"alternatives": "0"}, "invalid-request", "form alternatives"),
        ({"url": "http://example.org/me.jpg"}, "invalid-request", "form url"),
        ({"image_path": "/etc/passwd"}, "invalid-request", "form image_path"),
    ],
)
def test_a_wrong_field_is_named(service, fields, code, told):
    answer = service.post(**fields)
    assert code_of(answer) == code
    assert answer.json()["detail"].startswith(told)
    assert service.service.compositions.held() == 0


def test_what_is_no_picture_is_told_so(service):
    answer = service.post(b"GIF89a and so on")
    assert (answer.status_code, code_of(answer)) == (422, "not-a-picture")
    assert answer.json()["detail"].startswith("portrait is not a JPEG")


def test_a_portrait_has_to_be_there_once(service):
    nothing = service.client.post("/v1/compositions", data={"artwork": "meadow"})
    assert code_of(nothing) == "invalid-request"
    files = [("portrait", ("a.jpg", jpeg_of())), ("portrait", ("b.jpg", jpeg_of()))]
    twice = service.client.post("/v1/compositions", data={"artwork": "meadow"}, files=files)
    assert code_of(twice) == "invalid-request"
    as_text = service.client.post("/v1/compositions", data={"artwork": "meadow", "portrait": "x"})
    assert code_of(as_text) == "invalid-request"


def test_an_answer_that_there_is_not_is_not_made(service):
    answer = service.post(headers={"Accept": "image/png"})
    assert (answer.status_code, code_of(answer)) == (406, "not-acceptable")


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("image/jpeg", "image/jpeg"),
        ("image/*", "image/jpeg"),
        ("image/jpeg, */*;q=0.5", "image/jpeg"),
        ("image/jpeg;q=0.5, application/json", "application/json"),
        ("application/json;q=0.1, image/jpeg;q=0.2", "image/jpeg"),
        ("image/jpeg;q=0", None),
        ("application/json;q=0, */*", "image/jpeg"),
        ("image/jpeg;q=0, image/*, */*;q=0.1", "application/json"),
        ("text/html", None),
        ("image/jpeg;q=high", None),
    ],
)
def test_the_preferred_form_is_chosen(accept, media_type):
    assert preferred(accept) == media_type


def test_the_real_models_make_a_picture(running, store, astronaut):
    from vivant.images import encode_image
    from vivant_samples import ARTWORKS

    service = running(artworks=ARTWORKS, store=store.root).until_ready()
    photo = encode_image(astronaut, "jpeg")
    answer = service.post(photo, headers={"Accept": "image/jpeg"}, artwork="night-harbour")
    assert load_image(answer.content).shape == (1280, 1920, 3)
    address = f"/v1/compositions/{answer.headers['vivant-composition']}"
    facts = service.client.get(address).json()
    Composition.model_validate(facts)
    assert facts["figures"][0]["placement"]["slot"] == "by-the-table"
