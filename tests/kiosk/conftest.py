"""What the kiosk's tests share: a small exhibition, models that do as told, a running server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import time

import httpx
import numpy as np
import PIL.Image
import pytest
from playwright.sync_api import sync_playwright

from vivant_kiosk import workshop
from vivant_kiosk.app import create_app
from vivant_kiosk.compositions import Picture, Stage
from vivant_kiosk.room import EndedError
from vivant_kiosk.server import listen, make_server
from vivant_kiosk.settings import Downloads, Settings

from .browser import CHROMIUM, PORTRAIT, Visitor, chromium, write_camera

WAIT_S = 60.0
"""That something has to happen in; nothing is timed."""

ARTWORK = """
schema = 1
[artwork]
id = "meadow"
image = "painting.png"
title = "A Meadow"
artist = "Nobody"
output_height = 256
[[slot]]
name = "left"
shot = ["half-body"]
box = [0.1, 0.3, 0.3, 0.7]
[fallback]
order = ["half-body"]
"""

FACTS = {
    "size": [400, 256],
    "profile": "classic",
    "score": 0.9,
    "figures": [
        {
            "score": 0.9,
            "strength": 0.5,
            "shot": {
                "type": "half-body",
                "people": 1,
                "heads": 3.2,
                "cut": True,
                "confidence": 0.8,
            },
            "placement": {
                "slot": "left",
                "source": [0, 0, 10, 10],
                "target": [1, 2, 30, 40],
                "scale": 1.5,
                "flip": False,
            },
            "candidates": [{"name": "left", "placement": 0, "strength": 0.5, "score": 0.9}],
        }
    ],
    "timings": {"matte": 0.1},
    "warnings": ["a note"],
}


def jpeg_of(width=60, height=40, shade=90):
    """Return a JPEG file."""
    stream = io.BytesIO()
    PIL.Image.new("RGB", (width, height), (shade, shade, shade)).save(stream, "JPEG")
    return stream.getvalue()


def form_of(fields, portrait):
    """Return a multipart body."""
    parts = [
        b'--xx\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), value)
        for name, value in fields.items()
    ]
    head = b'--xx\r\nContent-Disposition: form-data; name="portrait"; filename="p.jpg"\r\n\r\n'
    return b"".join(parts) + head + portrait + b"\r\n--xx--\r\n"


def request_of(body, *, accept="application/json", length=None):
    """Return a request as it goes over the wire; the body may be shorter than it says."""
    return (
        b"POST /v1/compositions HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n"
        b"Content-Type: multipart/form-data; boundary=xx\r\nContent-Length: %d\r\n\r\n"
        % (accept.encode(), len(body) if length is None else length)
    ) + body


def until(condition):
    """Wait until ``condition()``."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def ask(app, method, path, *, client=("127.0.0.1", 1234), base_url="http://localhost", **options):
    """Return an application's answer to one request, without a server and without its lifespan."""

    async def send():
        # An error is answered before it is raised for the server's log.
        transport = httpx.ASGITransport(app, client=client, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=base_url) as one:
            return await one.request(method, path, **options)

    return asyncio.run(send())


class StandInRoom:
    """Models that paint grey, when ``go`` is set, or raise ``error``."""

    name, engines, preview = "classic", (), None

    def __init__(self):
        self.go, self.entered, self.error = threading.Event(), threading.Event(), None
        self.go.set()
        self.photos = []

    def compose(self, image, composition, limit_s):
        self.entered.set()
        self.photos.append(image.shape)
        composition.show(Stage.MATTE, Picture(jpeg_of(shade=1), 60, 40))
        deadline = time.monotonic() + WAIT_S
        while not self.go.wait(0.01):
            assert time.monotonic() < deadline
            if composition.finished:
                raise EndedError
        if self.error is not None:
            raise self.error
        for shade, stage in enumerate((Stage.COMPOSITE, Stage.HARMONIZED), start=2):
            composition.show(stage, Picture(jpeg_of(shade=shade), 60, 40))
        composition.finish(FACTS, {Stage.DONE: Picture(jpeg_of(400, 256), 400, 256)})

    def close(self):
        if self.preview is not None:
            self.preview.close()


@pytest.fixture(scope="session")
def meadow(tmp_path_factory):
    """A folder with one small artwork."""
    folder = tmp_path_factory.mktemp("artworks")
    (folder / "meadow").mkdir()
    pixels = np.random.default_rng(5).integers(0, 255, (256, 400, 3), np.uint8)
    PIL.Image.fromarray(pixels).save(folder / "meadow" / "painting.png")
    (folder / "meadow" / "artwork.toml").write_text(ARTWORK)
    return folder


@pytest.fixture
def settings(meadow):
    """Settings of a service that shows the meadow."""
    return Settings(profile="classic", port=0, artworks=meadow, preview=False, queue=1)


@pytest.fixture
def app(settings):
    """The service as an application; it is not run."""
    return create_app(settings)


@pytest.fixture
def room(monkeypatch):
    """What every workshop of this test composes with."""
    stand_in = StandInRoom()
    monkeypatch.setattr(workshop.Room, "open", lambda *_: stand_in)
    return stand_in


class Running:
    """A service that runs, in a thread."""

    def __init__(self, settings, stack):
        sockets = [stack.enter_context(listen(settings.host, settings.port, "port"))]
        if settings.downloads is not None:
            sockets.append(stack.enter_context(listen(settings.downloads.host, 0, "port")))
            self.downloads_port = sockets[1].getsockname()[1]
        self.port = sockets[0].getsockname()[1]
        self.server = make_server(settings, sockets)
        self.service = self.server.service
        self.url = self.server.url.rstrip("/")
        self.client = stack.enter_context(httpx.Client(base_url=self.url, timeout=WAIT_S))
        self._thread = threading.Thread(target=self.server.run, args=(sockets,), daemon=True)
        self._thread.start()
        stack.callback(self.stop)

    def stop(self):
        self.server.should_exit = True
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()

    def until_ready(self):
        until(lambda: self.service.ready)
        return self

    def post(self, photo=None, *, headers=None, **fields):
        """Send a photo for the meadow."""
        return self.client.post(
            "/v1/compositions",
            data={"artwork": "meadow", **fields},
            files={"portrait": ("private-name.jpg", jpeg_of() if photo is None else photo)},
            headers=headers,
        )

    def finished(self, photo=None, **fields):
        """Send a photo; return its id once it is finished."""
        composition_id = self.post(photo, **fields).json()["id"]
        until(lambda: self.service.compositions.find(composition_id).finished)
        return composition_id


@pytest.fixture
def running(settings):
    """Start services: ``running(queue=2)``."""
    with contextlib.ExitStack() as stack:
        yield lambda **changes: Running(settings.model_copy(update=changes), stack)


@pytest.fixture
def downloads():
    """Settings for downloads on this machine alone."""
    return Downloads(host="127.0.0.1", port=1)


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    return write_camera(tmp_path_factory.mktemp("camera") / "camera.mjpeg")


@pytest.fixture(scope="module")
def playwright():
    if CHROMIUM is None:
        pytest.skip("needs chromium; run make .venv/.browser")
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(playwright, camera):
    with chromium(playwright, camera) as opened:
        yield opened


@pytest.fixture
def visitor(browser, service):
    """A visitor, in the orientation that a test wants: ``visitor(LANDSCAPE)``."""
    there = []

    def come(size=PORTRAIT, url=None, **options):
        there.append(Visitor(browser, url or service.url, size, **options))
        return there[-1]

    yield come
    for each in there:
        errors = each.errors
        each.close()
        assert errors == []
