"""The live preview over a WebSocket."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import numpy as np
import pytest
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.uri import parse_uri

from vivant.errors import PreviewError
from vivant.images import load_image
from vivant.live import Preview, State
from vivant_kiosk import protocol
from vivant_kiosk.api import preview
from vivant_kiosk.api.preview import MAX_FRAME_BYTES

from .conftest import WAIT_S, jpeg_of, until


class StandInPreview:
    """A live preview that answers every frame with its mean grey."""

    def __init__(self):
        self.number, self.shown, self.newest, self.cleared = 0, None, None, 0
        self.error = None

    def _publish(self, shade, state, message=""):
        self.number += 1
        image = np.full((6, 8, 3), shade, np.uint8)
        self.newest = Preview(image, state, message, number=self.number, latency_s=0.1234)

    def show(self, artwork):
        self.shown = artwork.id
        self._publish(0, State.WAITING)

    def submit(self, frame):
        self._publish(round(frame.mean()), State.VISITOR, "closer")

    def wait(self, after, timeout):
        if self.error is not None:
            raise self.error
        newest = self.newest
        time.sleep(0.005)
        return newest if newest is not None and newest.number > after else None

    def clear(self):
        self.shown = self.newest = None
        self.cleared += 1

    def close(self):
        pass


class Flood(StandInPreview):
    """A live preview that never runs out of previews, each of some 100 kB."""

    image = np.random.default_rng(1).integers(0, 255, (300, 400, 3), np.uint8)

    def wait(self, after, timeout):
        time.sleep(0.005)
        return Preview(self.image, State.VISITOR, "", number=after + 1, latency_s=0.1)


@pytest.fixture
def live(room):
    room.preview = StandInPreview()
    return room.preview


@pytest.fixture
def service(running, live):
    return running().until_ready()


@pytest.fixture
def address(service):
    return f"ws://127.0.0.1:{service.port}/v1/preview"


def receive(socket):
    """Return the facts about a preview, and its picture."""
    return json.loads(socket.recv(WAIT_S)), load_image(socket.recv(WAIT_S))


def closed_with(socket):
    """Return the code and the reason with which a connection is closed."""
    try:
        while True:
            socket.recv(WAIT_S)
    except ConnectionClosed as closed:
        return closed.rcvd.code, closed.rcvd.reason


def test_frames_become_previews(service, live, address):
    assert service.client.get("/v1/kiosk").json()["preview"] is True
    with connect(address) as socket:
        socket.send(json.dumps({"artwork": "meadow"}))
        facts, picture = receive(socket)
        assert (facts["state"], picture.shape, live.shown) == ("waiting", (6, 8, 3), "meadow")
        socket.send(jpeg_of(shade=200))
        facts, picture = receive(socket)
        assert facts == {
            "number": 2,
            "state": "visitor",
            "message": "closer",
            "width": 8,
            "height": 6,
            "latency_s": 0.123,
        }
        assert abs(picture.mean() - 200) < 2
    until(lambda: live.cleared == 1)
    until(lambda: not service.service.preview_taken)


def test_a_preview_outlasts_its_handshake(service, live, address, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S", 0.5)
    with connect(address) as socket:
        socket.send(json.dumps({"artwork": "meadow"}))
        receive(socket)
        time.sleep(2 * protocol.HEAD_S)
        socket.send(jpeg_of())
        assert receive(socket)[0]["number"] == 2


def test_one_client_at_a_time(service, live, address):
    with connect(address) as first:
        first.send(json.dumps({"artwork": "meadow"}))
        receive(first)
        with connect(address) as second:
            assert closed_with(second)[0] == 1013
        first.send(jpeg_of())
        assert receive(first)[0]["number"] == 2
    until(lambda: not service.service.preview_taken)
    with connect(address) as third:
        third.send(json.dumps({"artwork": "meadow"}))
        assert receive(third)[0]["state"] == "waiting"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (json.dumps({"artwork": "lake"}), "artwork: no such id"),
        (json.dumps({"artwork": 5}), "text: send"),
        (json.dumps(["artwork"]), "text: send"),
        ("[" * 100_000, "text: send"),
        ("no json", "text: send"),
        (jpeg_of(), "name an artwork before the first frame"),
    ],
)
def test_who_breaks_a_rule_is_told_which(service, live, address, message, reason):
    with connect(address) as socket:
        socket.send(message)
        code, told = closed_with(socket)
        assert code == 1008
        assert told.startswith(reason)
    until(lambda: live.cleared == 1)


def test_a_frame_that_is_no_picture_ends_it(service, live, address):
    with connect(address) as socket:
        socket.send(json.dumps({"artwork": "meadow"}))
        socket.send(b"no picture")
        assert closed_with(socket)[0] == 1008


def test_a_frame_has_a_limit(service, live, address):
    with connect(address) as socket:
        socket.send(json.dumps({"artwork": "meadow"}))
        socket.send(bytes(MAX_FRAME_BYTES + 1))
        assert closed_with(socket)[0] == 1009
    until(lambda: live.cleared == 1)


def test_previews_that_fail_end_it(service, live, address):
    live.error = PreviewError("the newest frame failed")
    with connect(address) as socket:
        assert closed_with(socket) == (1011, "the live preview failed")


def test_without_a_preview_the_page_is_told_so(running, room):
    service = running().until_ready()
    assert service.client.get("/v1/kiosk").json()["preview"] is False
    with connect(f"ws://127.0.0.1:{service.port}/v1/preview") as socket:
        assert closed_with(socket)[0] == 1013


# Clients that take nothing ----------------------------------------------------------------------


@pytest.fixture
def flooding(running, room):
    room.preview = Flood()
    return running().until_ready()


@contextlib.contextmanager
def idle_client(service):
    """Begin a preview and read nothing of it; give what sends WebSocket frames."""
    side = ClientProtocol(parse_uri(f"ws://127.0.0.1:{service.port}/v1/preview"))
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", service.port))

        def send(function, *arguments):
            function(side, *arguments)
            client.sendall(b"".join(side.data_to_send()))

        send(lambda side: side.send_request(side.connect()))
        side.receive_data(client.recv(4096))
        send(ClientProtocol.send_text, json.dumps({"artwork": "meadow"}).encode())
        until(lambda: service.service.workshop.preview.shown)
        yield send


def connection_of(service):
    (connection,) = service.server.server_state.connections
    return connection


def test_who_takes_nothing_loses_the_seat(flooding, room, monkeypatch):
    monkeypatch.setattr(preview, "_SEND_S", 0.2)
    monkeypatch.setattr(preview, "_CLOSE_S", 0.2)
    with idle_client(flooding):
        until(lambda: not flooding.service.preview_taken)
        assert room.preview.cleared == 1


def test_who_takes_nothing_and_goes_is_no_error(flooding, room, monkeypatch, caplog):
    monkeypatch.setattr(preview, "_SEND_S", 0.2)
    with idle_client(flooding):
        until(lambda: "the client does not take" in caplog.text)
    until(lambda: room.preview.cleared == 1)
    until(lambda: not flooding.server.server_state.tasks)
    assert "Exception" not in caplog.text


def test_the_connection_of_who_takes_nothing_is_ended(flooding, room, monkeypatch):
    monkeypatch.setattr(protocol, "WRITE_S", 0.2)
    with idle_client(flooding):
        until(lambda: not flooding.server.server_state.connections)
        until(lambda: room.preview.cleared == 1)


def test_who_answers_no_ping_is_gone(flooding, room, monkeypatch):
    monkeypatch.setattr(preview, "_SEND_S", 2 * WAIT_S)
    monkeypatch.setattr(protocol, "WRITE_S", 2 * WAIT_S)
    for name in ("ws_ping_interval", "ws_ping_timeout"):
        monkeypatch.setattr(flooding.server.config, name, 0.2)
    with idle_client(flooding):
        until(lambda: room.preview.cleared == 1)
        until(lambda: not flooding.server.server_state.connections)


def test_a_service_ends_well_while_a_goodbye_is_not_taken(flooding, room):
    with idle_client(flooding) as send:
        connection = connection_of(flooding)
        until(lambda: not connection.writable.is_set())
        send(ClientProtocol.send_close)
        until(connection.transport.is_closing)
        flooding.server.should_exit = True
        until(lambda: not flooding.server.servers[0].is_serving())
    flooding.stop()  # an error of its thread fails this test
