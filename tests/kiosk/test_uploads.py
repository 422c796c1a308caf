"""Uploads: counted, timed, few at a time, and never on a disk."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile

import numpy as np
import PIL.Image
import pytest
from starlette.requests import ClientDisconnect, Request

from vivant_kiosk.refusals import Refused
from vivant_kiosk.uploads import MAX_FORM_BYTES, MAX_PARTS, Uploads, parse_form

from .conftest import form_of, jpeg_of, request_of, until

FORM = "multipart/form-data; boundary=xx"


def part(name, content, *, filename=None):
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return f"--xx\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"


def request(*chunks, headers=(), ended=True, lost=False):
    """Return a request whose body comes in these chunks, and then not any more."""
    waiting = list(chunks)

    async def receive():
        if waiting:
            more = len(waiting) > 1 or not ended
            return {"type": "http.request", "body": waiting.pop(0), "more_body": more}
        if lost:
            return {"type": "http.disconnect"}
        await asyncio.sleep(3600)
        return None

    named = [(name.encode(), value.encode()) for name, value in dict(headers).items()]
    return Request({"type": "http", "method": "POST", "headers": named}, receive), waiting


def read(uploads, asked, max_bytes=10):
    async def inner():
        async with uploads.body(asked, max_bytes=max_bytes) as body:
            return body

    return asyncio.run(inner())


@pytest.fixture
def refusals():
    return []


@pytest.fixture
def uploads(refusals):
    return Uploads(1, 0.05, refusals.append)


def test_a_body_is_put_together(uploads, refusals):
    asked, _ = request(b"123", b"", b"4567890")
    assert read(uploads, asked) == b"1234567890"
    assert refusals == []


def test_a_body_that_says_it_is_too_large_is_not_read(uploads, refusals):
    asked, waiting = request(b"1", b"2", headers={"content-length": "11"})
    with pytest.raises(Refused) as caught:
        read(uploads, asked)
    assert caught.value.reason.code == "too-large"
    assert waiting == [b"1", b"2"]
    assert refusals == ["too-large"]


def test_a_body_that_turns_out_too_large_is_not_read_to_its_end(uploads, refusals):
    asked, waiting = request(b"123456", b"78901", b"2345")
    with pytest.raises(Refused):
        read(uploads, asked)
    assert waiting == [b"2345"]
    assert refusals == ["too-large"]


def test_a_body_that_does_not_arrive_is_given_up(uploads, refusals):
    asked, _ = request(b"123", ended=False)
    with pytest.raises(Refused) as caught:
        read(uploads, asked)
    assert (caught.value.reason.status, refusals) == (408, ["too-slow"])
    assert uploads._held == 0


def test_a_client_that_goes_away_leaves_nothing(uploads, refusals):
    asked, _ = request(b"123", ended=False, lost=True)
    with pytest.raises(ClientDisconnect):
        read(uploads, asked)
    assert (uploads._held, refusals) == (0, [])


def test_only_so_many_are_held(uploads, refusals):
    async def two():
        first, second = request(b"1")[0], request(b"2")[0]
        async with uploads.body(first, max_bytes=10), uploads.body(second, max_bytes=10):
            pytest.fail("one is held already")

    with pytest.raises(Refused) as caught:
        asyncio.run(two())
    assert caught.value.reason.status == 429
    assert caught.value.headers == {"Retry-After": "2"}
    # It was refused inside the first one, which counts what is raised there.
    assert refusals == ["busy", "busy"]
    assert read(uploads, request(b"3")[0]) == b"3"


def test_a_form_is_taken_apart():
    body = b"".join(
        (part("a", "é".encode()), part("f", b"\r\n--x\r\n\x00", filename="x"), b"--xx--\r\n")
    )
    form = parse_form(FORM, body)
    assert form.fields == {"a": "é"}
    assert form.files == {"f": b"\r\n--x\r\n\x00"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b""),
        ("application/json", b"{}"),
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=" + "x" * 1000, b""),
        (FORM, b""),
        (FORM, b"--yy\r\n"),
        (FORM, part("a", b"never ended")),
        (FORM, b"--xx\r\nContent-Disposition: form-data\r\n\r\nnameless\r\n--xx--\r\n"),
        (FORM, b"--xx\r\nno header\r\n\r\n--xx--\r\n"),
        (FORM, b"--xx\r\n" + b"A: b\r\n" * 1000 + b"\r\n--xx--\r\n"),
        (FORM, part("a", b"1") + part("a", b"2") + b"--xx--\r\n"),
        (FORM, part("a", b"1") + part("a", b"2", filename="a") + b"--xx--\r\n"),
        (FORM, b"".join(part(f"p{n}", b"") for n in range(MAX_PARTS + 1)) + b"--xx--\r\n"),
    ],
)
def test_what_is_no_proper_form_is_refused(content_type, body):
    with pytest.raises(Refused) as caught:
        parse_form(content_type, body)
    assert caught.value.reason.code == "invalid-request"


@pytest.mark.parametrize(("filename", "limit"), [("f", 50), (None, MAX_FORM_BYTES)])
def test_a_part_that_is_too_large_is_refused(filename, limit):
    def form(size):
        return part("p", b"x" * size, filename=filename) + b"--xx--\r\n"

    assert parse_form(FORM, form(limit), max_file_bytes=50)
    with pytest.raises(Refused) as caught:
        parse_form(FORM, form(limit + 1), max_file_bytes=50)
    assert caught.value.reason.code == "too-large"


@pytest.fixture
def large_photo(tmp_path_factory):
    """A JPEG of about 15 MB, which is mostly what cameras write beside the picture."""
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    noise = np.random.default_rng(1).integers(0, 255, (1500, 2000, 3), np.uint8)
    PIL.Image.fromarray(noise).save(path, quality=100, subsampling=0)
    data = path.read_bytes()
    filling = b"\xff\xfe\xff\xff" + b"c" * 65533  # comments
    return data[:2] + filling * ((15_000_000 - len(data)) // len(filling)) + data[2:]


def test_no_file_is_made_of_an_upload(running, room, large_photo, monkeypatch):
    service = running().until_ready()
    assert len(large_photo) > 14_000_000

    def refuse(*_, **__):
        pytest.fail("a temporary file was made")

    opened = []
    real = os.open
    monkeypatch.setattr(tempfile, "_mkstemp_inner", refuse)
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(os, "open", lambda *a, **k: opened.append(a[0]) or real(*a, **k))
    assert service.post(large_photo, headers={"Accept": "image/jpeg"}).status_code == 200
    assert room.photos == [(1500, 2000, 3)]
    assert opened == []


def test_who_sends_too_much_reads_the_answer(running, room):
    service = running().until_ready()
    large = b"x" * 25_000_000
    answer = service.post(large)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "more than 20 MB; send a smaller file"
    chunked = service.client.post(
        "/v1/compositions",
        content=(large[start : start + 100_000] for start in range(0, len(large), 100_000)),
        headers={"Content-Type": FORM},
    )
    assert chunked.status_code == 413
    # The file itself, where the form around it is no larger than it may be.
    body = form_of({}, b"x" * (20 * 1024 * 1024 + 1))
    almost = service.client.post("/v1/compositions", content=body, headers={"Content-Type": FORM})
    assert almost.status_code == 413
    assert service.post().status_code == 202


def test_who_sends_too_slowly_reads_the_answer(running, room):
    service = running(upload_s=0.1).until_ready()
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(request_of(b"--xx", length=1000))
        assert client.recv(100).startswith(b"HTTP/1.1 408")
    assert 'reason="too-slow"} 1.0' in service.client.get("/metrics").text


def test_while_uploads_are_held_others_are_told_to_come_again(running, room):
    service = running(uploads=1).until_ready()
    body = form_of({"artwork": b"meadow"}, jpeg_of())
    with socket.create_connection(("127.0.0.1", service.port)) as slow:
        slow.sendall(request_of(body[:50], length=len(body)))
        until(lambda: service.service.uploads._held == 1)
        second = service.post()
        assert second.status_code == 429
        assert second.headers["retry-after"] == "2"
        slow.sendall(body[50:])
        assert slow.recv(100).startswith(b"HTTP/1.1 202")
    assert service.service.uploads._held == 0
