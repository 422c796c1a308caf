"""The process and its connections: limits, addresses, signals, what systemd is told."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from starlette.websockets import WebSocket

from vivant.errors import ArtworkError
from vivant_kiosk import protocol, server, service, workshop
from vivant_kiosk.protocol import MAX_HEAD_BYTES, Limit
from vivant_kiosk.server import AddressError, listen, serve

from .conftest import WAIT_S, jpeg_of, until

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/compositions"
UPGRADE = (
    b"GET /v1/preview HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
LONG_HEADER = b"X: " + b"x" * 8192 + b"\r\n"  # for websockets, not for us


@contextlib.contextmanager
def connected(port):
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as client:
        yield client


def all_of(client):
    """Return what comes until the connection is closed, however that is."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            received += part
    return received


def fill(connection):
    """Write until the client takes no more; in the server's thread."""
    transport = connection.transport
    while transport.get_write_buffer_size() == 0 and not transport.is_closing():
        transport.write(bytes(1024))


def is_admitted(port):
    with (
        connected(port) as client,
        contextlib.suppress(BrokenPipeError, ConnectionResetError),
    ):
        client.sendall(GET + b"\r\n")
        return client.recv(100).startswith(b"HTTP/1.1")
    return False


def test_a_taken_port_is_told_with_the_remedy():
    with listen("127.0.0.1", 0, "port") as taken:
        port = taken.getsockname()[1]
        told = f"127.0.0.1:{port}: something listens there already; stop it, or choose another port"
        with pytest.raises(AddressError, match=told), listen("127.0.0.1", port, "port"):
            pass


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("no-such-host.invalid", "no such host; choose another"),
        ("198.51.100.7", "no address of this machine; choose another host"),
    ],
)
def test_an_address_that_cannot_be_had_is_told(host, told):
    with pytest.raises(AddressError, match=f"{host}:0: {told}"), listen(host, 0, "port"):
        pass


def test_addresses_are_had_before_anything_is_opened(settings, downloads, monkeypatch):
    monkeypatch.setattr(server, "configure_logs", lambda _: None)
    monkeypatch.setattr(server, "create_app", lambda _: pytest.fail("something was opened"))
    with listen("127.0.0.1", 0, "port") as taken:
        there = downloads.model_copy(update={"port": taken.getsockname()[1]})
        with pytest.raises(AddressError, match=r"choose another downloads\.port"):
            serve(settings.model_copy(update={"downloads": there}))


def test_artworks_that_cannot_be_loaded_end_the_service(settings, room, monkeypatch):
    def broken(folder):
        raise ArtworkError("the disk was pulled out")

    monkeypatch.setattr(service, "Exhibition", broken)
    monkeypatch.setattr(server, "configure_logs", lambda _: None)
    addresses = []
    with pytest.raises(ArtworkError, match="pulled out"):
        serve(settings, on_listening=addresses.append)
    assert addresses[0].startswith("http://127.0.0.1:")


def test_a_head_that_does_not_come_is_not_waited_for(running, room, monkeypatch):
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)
    running_service = running()
    for start in (b"", b"GET /heal", GET):
        with connected(running_service.port) as client:
            client.sendall(start)
            assert all_of(client) == b""


def test_a_second_head_is_not_waited_for_either(running, room, monkeypatch):
    monkeypatch.setattr(protocol, "NEXT_HEAD_S", 0.1)
    with connected(running().port) as client:
        client.sendall(GET + b"\r\n" + GET)
        assert all_of(client).count(b"HTTP/1.1 200 OK") == 1


def test_a_body_that_nobody_reads_is_not_waited_for(running, room, monkeypatch):
    monkeypatch.setattr(protocol, "NEXT_HEAD_S", 0.1)
    with connected(running().port) as client:
        client.sendall(GET + b"Content-Length: 1000000\r\n\r\nbegin")
        assert all_of(client).startswith(b"HTTP/1.1 200 OK")


def test_a_connection_serves_many_requests(running, room):
    with connected(running().port) as client:
        client.sendall(3 * (GET + b"\r\n") + GET + b"Connection: close\r\n\r\n")
        assert all_of(client).count(b"HTTP/1.1 200 OK") == 4


@pytest.mark.parametrize(
    "start",
    [
        GET + b"X: ",
        b"GET /",
        GET.replace(b"GET /healthz", POST) + b"Transfer-Encoding: chunked\r\n\r\n1;",
    ],
)
def test_a_head_has_a_limit(running, room, start):
    running_service = running().until_ready()
    with connected(running_service.port) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(start)
            for _ in range(40):  # what comes in one piece with what is in order is not counted
                client.sendall(b"x" * (MAX_HEAD_BYTES // 2))
        assert all_of(client)[:12] in {b"HTTP/1.1 400", b""}
    assert running_service.client.get("/healthz").status_code == 200


def test_connections_are_limited_by_client_and_by_socket(running, room, downloads, monkeypatch):
    monkeypatch.setattr(server, "DOWNLOADS_LIMIT", Limit(all=9, each=2))
    running_service = running(downloads=downloads)
    port = running_service.downloads_port
    gone = b"GET /d/x HTTP/1.1\r\nHost: x\r\n\r\n"

    def answered(client):
        client.sendall(gone)
        return client.recv(100).startswith(b"HTTP/1.1 404")

    with connected(port) as first, connected(port) as second:
        assert answered(first)
        assert answered(second)
        with connected(port) as third:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                third.sendall(gone)
            assert all_of(third) == b""
        # The page's own connections are not counted among these.
        assert running_service.client.get("/healthz").status_code == 200

    until(lambda: is_admitted(port))


def test_counts_of_connections_come_back_to_nothing():
    connections = protocol.Connections({1: Limit(all=3, each=2)})
    assert [connections.admit(1, "a") for _ in range(3)] == [True, True, False]
    assert [connections.admit(1, "b") for _ in range(2)] == [True, False]
    for client in ("a", "b", "a"):
        connections.leave(1, client)
    assert not connections._open
    assert connections.admit(1, "c")


def test_who_takes_nothing_is_given_up(running, room, monkeypatch):
    monkeypatch.setattr(protocol, "WRITE_S", 0.1)
    running_service = running().until_ready()
    picture = b"GET /v1/artworks/meadow/picture HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connected(running_service.port) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(500 * picture)
        connections = running_service.server.server_state.connections
        until(lambda: connections)
        until(lambda: not connections)


def test_the_last_bytes_that_nobody_takes_are_enough(running, room, monkeypatch):
    monkeypatch.setattr(protocol, "WRITE_S", 0.1)
    running_service = running()
    connections = running_service.server.server_state.connections
    with connected(running_service.port):
        until(lambda: connections)
        (connection,) = connections

        def is_given_up():
            connection.loop.call_soon_threadsafe(fill, connection)
            return not connections

        until(is_given_up)


@pytest.mark.parametrize(
    ("head", "answer"),
    [
        (UPGRADE.replace(b"preview", b"x" * 8192), b"HTTP/1.1 414"),
        (UPGRADE + LONG_HEADER, b"HTTP/1.1 431"),
        (UPGRADE + 128 * b"X: x\r\n", b"HTTP/1.1 431"),
        (UPGRADE + b"Content-Length: 9\r\n", b""),
    ],
    ids=["line", "header", "headers", "body"],
)
def test_a_handshake_that_fails_ends_the_connection(running, room, monkeypatch, head, answer):
    monkeypatch.setattr(server, "API_LIMIT", Limit(all=1, each=1, websockets=True))
    port = running().port
    with connected(port) as client:
        client.sendall(head + b"\r\n")
        assert all_of(client)[:12] == answer
    until(lambda: is_admitted(port))


def test_a_handshake_that_does_not_come_to_an_end_is_not_waited_for(running, room, monkeypatch):
    async def hesitate(self, _):
        while (await self.receive())["type"] != "websocket.disconnect":
            pass

    monkeypatch.setattr(WebSocket, "accept", hesitate)
    monkeypatch.setattr(protocol, "HEAD_S", 0.1)
    with connected(running().port) as client:
        client.sendall(UPGRADE + b"\r\n")
        assert all_of(client) == b""


def test_a_websocket_keeps_the_place_of_its_connection(running, room, monkeypatch):
    monkeypatch.setattr(server, "API_LIMIT", Limit(all=1, each=1, websockets=True))
    port = running().port
    with connected(port) as client:
        client.sendall(UPGRADE + b"\r\n")
        assert client.recv(12) == b"HTTP/1.1 101"
        assert not is_admitted(port)
    until(lambda: is_admitted(port))


def test_a_websocket_does_not_begin_in_the_middle_of_an_answer(running, room, monkeypatch):
    monkeypatch.setattr(protocol, "NEXT_HEAD_S", 0.1)
    with connected(running().port) as client:
        client.sendall(GET + b"\r\n" + UPGRADE + b"\r\n")
        answers = all_of(client)
    assert answers.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 101" not in answers


def test_a_websocket_does_not_begin_before_an_answer_is_taken(running, room, monkeypatch):
    monkeypatch.setattr(protocol, "NEXT_HEAD_S", 0.1)
    running_service = running()
    connections = running_service.server.server_state.connections
    with connected(running_service.port) as client:
        until(lambda: connections)
        (connection,) = connections

        def ask():
            fill(connection)
            connection.data_received(UPGRADE + b"\r\n")

        connection.loop.call_soon_threadsafe(ask)
        assert all_of(client).lstrip(b"\0").startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize("more", [b"", LONG_HEADER])
def test_downloads_have_no_websockets(running, room, downloads, more):
    with connected(running(downloads=downloads).downloads_port) as client:
        client.sendall(UPGRADE + more + b"\r\n")
        assert client.recv(12) == b"HTTP/1.1 404"
        client.sendall(GET + b"Connection: close\r\n\r\n")
        assert all_of(client).count(b"HTTP/1.1 404") == 1


def test_what_runs_at_the_end_is_finished_and_what_waits_is_not(running, room):
    running_service = running(queue=2).until_ready()
    room.go.clear()
    answers = {}

    def ask(name):
        answers[name] = running_service.post(headers={"Accept": "image/jpeg"})

    first = threading.Thread(target=ask, args=("first",))
    first.start()
    assert room.entered.wait(WAIT_S)
    second = threading.Thread(target=ask, args=("second",))
    second.start()
    until(lambda: running_service.service.workshop.status().waiting == 1)
    running_service.server.should_exit = True
    second.join(WAIT_S)
    assert answers["second"].status_code == 409
    room.go.set()
    first.join(WAIT_S)
    assert answers["first"].status_code == 200
    assert answers["first"].content == jpeg_of(400, 256)


def test_systemd_is_told_how_things_are(running, room, tmp_path, monkeypatch):
    opening = threading.Event()
    monkeypatch.setattr(workshop.Room, "open", lambda *_: opening.wait(WAIT_S) and room)
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(WAIT_S)

        def told(message):
            while manager.recv(1000) != message:
                pass
            return True

        running_service = running()
        assert told(b"READY=1")  # pages are answered
        assert told(b"STATUS=starting")
        assert told(b"WATCHDOG=1")
        opening.set()
        assert told(b"STATUS=ready, classic")
        running_service.server.should_exit = True
        assert told(b"STOPPING=1")


def test_a_workshop_that_hangs_is_not_vouched_for(running, room, monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "1000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    told = []
    monkeypatch.setattr(server.systemd, "notify_watchdog", lambda: told.append(1))
    running_service = running().until_ready()
    until(lambda: told)
    running_service.service.workshop._busy_until = 0.0
    assert running_service.client.get("/healthz").status_code == 503
    running_service.server._look()
    count = len(told)
    running_service.server._look()
    assert len(told) == count


@contextlib.contextmanager
def process_of(meadow, store):
    """Run the service as a process; give it and its port once it is ready."""
    command = [sys.executable, "-m", "vivant.cli", "serve", "--port", "0", "--profile", "classic"]
    options = ["--artworks", str(meadow), "--store", str(store.root)]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True) as process:
        told = process.stderr.readline()
        assert "vivant serves http://127.0.0.1:" in told
        for line in process.stderr:
            if "ready" in line:
                break
        yield process, int(told.partition("127.0.0.1:")[2].partition("/")[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(meadow, store, number):
    with process_of(meadow, store) as (process, _):
        process.send_signal(number)
        assert process.wait(WAIT_S) == 0
        assert "Traceback" not in process.stderr.read()


def test_a_signal_ends_it_well_whatever_clients_have_begun(meadow, store):
    begun = (
        GET,
        UPGRADE,
        UPGRADE + b"\r\n",
        UPGRADE + LONG_HEADER + b"\r\n",
        UPGRADE + b"Content-Length: 9\r\n\r\n",
    )
    with process_of(meadow, store) as (process, port), contextlib.ExitStack() as stack:
        for start in begun:
            stack.enter_context(connected(port)).sendall(start)
        assert is_admitted(port)  # after them, so they have been seen
        process.send_signal(signal.SIGTERM)
        told = process.stderr.read()
        assert process.wait(WAIT_S) == 0, told
        assert "error" not in told
