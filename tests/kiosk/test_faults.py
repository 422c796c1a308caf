"""What happens to a museum's machine: killed, full, read-only, attacked, broken. Real processes."""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from vivant.images import encode_image
from vivant.store import EngineStore
from vivant_kiosk.protocol import HEAD_S
from vivant_samples import ARTWORKS, PORTRAIT

from .malformed import KINDS, malformed
from .service_process import ARTWORK, JPEG, ServiceProcess

ADMIN = "an-admin's-token-0123456789"
ADMITTED = {"Authorization": f"Bearer {ADMIN}"}
UPLOADS = 8
UPLOAD_S = 1.0
ANSWER_S = 5.0
MALFORMED = 1000
UNTRAINED = Path(__file__).parents[2] / "engines" / "untrained"


@pytest.fixture
def serve(tmp_path, store):
    """Start services that are killed in the end: ``serve(queue=20)``."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(
            ServiceProcess(tmp_path, options.pop("store", store.root), **options)
        )


@pytest.fixture(scope="module")
def attacked(tmp_path_factory, store):
    """A service for those tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("attacked")
    limits = {"upload_s": UPLOAD_S, "uploads": UPLOADS}
    with ServiceProcess(folder, store.root, **limits) as service:
        yield service.until_ready()


def metric(service, name):
    lines = service.client.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


def files_in(folder):
    return [path for path in folder.rglob("*") if not path.is_dir()]


# Killed and stopped -----------------------------------------------------------------------------


def test_killed_during_20_requests_it_starts_again_and_left_nothing(serve):
    service = serve(queue=20, uploads=20).until_ready()
    answers = []

    def visit():
        try:
            answers.append(httpx.Client(timeout=60).post(**request).status_code)
        except httpx.TransportError:
            answers.append(None)

    request = {
        "url": f"{service.url}/v1/compositions",
        "data": {"artwork": ARTWORK},
        "files": {"portrait": ("p.jpg", PORTRAIT.read_bytes())},
        "headers": JPEG,
    }
    visitors = [threading.Thread(target=visit) for _ in range(20)]
    for visitor in visitors:
        visitor.start()
    service.until(lambda: metric(service, "vivant_compositions_held") == 20)
    assert service.end(signal.SIGKILL) == -signal.SIGKILL
    for visitor in visitors:
        visitor.join(60)
    assert len(answers) == 20
    assert set(answers) <= {200, None}
    assert None in answers
    assert files_in(service.own) == []
    again = serve(port=service.port).until_ready()
    assert again.port == service.port
    assert again.client.get("/healthz").json() == {"status": "ok"}
    assert again.composes()
    assert files_in(again.own) == []


def test_asked_to_stop_it_finishes_or_cancels_and_ends_well(serve):
    service = serve().until_ready()
    ids = [service.post().json()["id"] for _ in range(3)]
    ends = {}

    def watch(composition_id):
        with service.client.stream("GET", f"/v1/compositions/{composition_id}/events") as stream:
            names = [line[7:] for line in stream.iter_lines() if line.startswith("event: ")]
        ends[composition_id] = names[-1]

    watchers = [threading.Thread(target=watch, args=(each,)) for each in ids]
    for watcher in watchers:
        watcher.start()
    service.until(lambda: metric(service, "vivant_queue_depth") <= 2)
    service.process.send_signal(signal.SIGTERM)
    for watcher in watchers:
        watcher.join(60)
    assert service.end() == 0
    assert set(ends) == set(ids)
    assert set(ends.values()) <= {"done", "cancelled"}
    assert ends[ids[2]] == "cancelled"
    assert "Traceback" not in service.log
    assert files_in(service.own) == []


def test_a_second_service_on_the_port_says_in_one_line_why_it_does_not_begin(attacked, serve):
    second = serve(port=attacked.port)
    assert second.process.wait(60) == 1
    assert second.log.startswith(f"error: 127.0.0.1:{attacked.port}: something listens there")
    assert second.log.count("\n") == 1
    assert attacked.client.get("/readyz").status_code == 200


# The disk ---------------------------------------------------------------------------------------

_FULL = """
own=$(dirname "$HOME")
mount -t tmpfs -o size=64k full "$own" && cd "$own" && mkdir tmp home
dd if=/dev/zero of=filling 2>/dev/null
mount -o remount,bind,ro /dev/shm
mount -o remount,bind,ro /
exec "$@"
"""
_READ_ONLY = """
mount -o remount,bind,ro /dev/shm
mount -o remount,bind,ro /
exec "$@"
"""


def namespaces_lack():
    try:
        command = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /mnt"]
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"needs a mount namespace of its own: {error}"
    return None


@pytest.mark.parametrize("confine", [_FULL, _READ_ONLY], ids=["full", "read-only"])
def test_without_a_disk_to_write_to_it_composes(serve, confine, astronaut):
    if reason := namespaces_lack():
        pytest.skip(reason)
    inside = ("unshare", "-m", "sh", "-c", confine, "sh")
    service = serve(inside=inside, admin_token=ADMIN, artworks=str(ARTWORKS)).until_ready()
    assert not writes(service.process.pid, service.temporary / "proof")
    noise = np.random.default_rng(1).integers(-9, 9, (1024, 1024, 3))
    noisy = np.clip(astronaut.repeat(2, 0).repeat(2, 1) + noise, 0, 255).astype(np.uint8)
    large = encode_image(noisy, "png")
    assert len(large) > 2**20  # frameworks put such uploads into temporary files
    assert service.post(large, headers=JPEG).status_code == 200
    tables = service.client.get(f"/v1/admin/artworks/{ARTWORK}", headers=ADMITTED).json()
    trial = service.client.post(
        "/v1/admin/trials", files={"artwork": (None, json.dumps(tables))}, headers=ADMITTED
    )
    assert (trial.status_code, trial.json()["type"]) == (409, "urn:vivant:problem:conflict")
    assert service.client.get("/readyz").status_code == 200
    assert service.end() == 0
    assert "Traceback" not in service.log


def writes(pid, path):
    """Return whether somebody in the place of a process can write to a file."""
    command = ["nsenter", "-t", str(pid), "-m", "sh", "-c", f"echo something > {path}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


# Attacks ----------------------------------------------------------------------------------------


def send(port, raw):
    """Return the status that answers a request; nobody waits for it longer than ``ANSWER_S``."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_S) as connection:
        with contextlib.suppress(ConnectionError):  # it has its answer before all of it was sent
            connection.sendall(raw)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read()
        return answer.status


def test_malformed_requests_are_refused_and_the_next_visitor_is_served(attacked):
    def attack(seed):
        kind, raw, statuses = malformed(seed)
        try:
            status = send(attacked.port, raw)
        except (OSError, http.client.HTTPException) as error:
            return kind, f"seed {seed}: {error!r}"
        return kind, None if status in statuses else f"seed {seed}: {status}"

    with ThreadPoolExecutor(UPLOADS - 2) as attackers:
        results = list(attackers.map(attack, range(MALFORMED)))
    assert [each for each in results if each[1]] == []
    kinds = Counter(kind for kind, _ in results)
    assert set(kinds) == set(KINDS)
    assert attacked.client.get("/healthz").status_code == 200
    assert attacked.composes()
    assert "Traceback" not in attacked.log


def test_those_who_hang_up_in_the_middle_leave_nothing_behind(attacked):
    before = metric(attacked, "vivant_compositions_held")
    for seed in range(50):
        _, raw, _ = malformed(seed)
        with (
            socket.create_connection(("127.0.0.1", attacked.port), ANSWER_S) as connection,
            contextlib.suppress(ConnectionError),
        ):
            connection.sendall(raw[: len(raw) // 2])
    assert attacked.composes()
    attacked.until(lambda: metric(attacked, "vivant_queue_depth") == 0)
    assert metric(attacked, "vivant_compositions_held") == before + 1
    assert "Traceback" not in attacked.log


class Slow:
    """A connection that sends a byte now and then, until it is closed."""

    def __init__(self, port, head, byte):
        self._socket = socket.create_connection(("127.0.0.1", port), HEAD_S + ANSWER_S)
        self._byte, self.answer = byte, b""
        self._socket.sendall(head)
        self._thread = threading.Thread(target=self._go_on)
        self._thread.start()

    def _go_on(self):
        give_up = time.monotonic() + HEAD_S + ANSWER_S
        self._socket.settimeout(0.2)
        with self._socket, contextlib.suppress(ConnectionError):
            while time.monotonic() < give_up:
                if self._byte:
                    self._socket.sendall(self._byte)
                received = self._received()
                if received == b"":
                    return
                self.answer += received or b""
            self.answer += b"never closed"

    def _received(self):
        try:
            return self._socket.recv(4096)
        except TimeoutError:
            return None

    def end(self):
        self._thread.join(2 * (HEAD_S + ANSWER_S))
        assert not self._thread.is_alive()
        return self.answer


def test_slow_clients_are_let_go_and_others_are_served_meanwhile(attacked):
    port = attacked.port
    idle = [Slow(port, b"", b"") for _ in range(60)]
    heads = [Slow(port, b"GET /healthz HTTP/1.1\r\nX-Slow: ", b"x") for _ in range(30)]
    body = (
        b"POST /v1/compositions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n"
        b"Content-Type: multipart/form-data; boundary=x\r\nConnection: close\r\n\r\n"
    )
    bodies = [Slow(port, body, b"x") for _ in range(UPLOADS - 1)]
    assert attacked.client.get("/v1/artworks").status_code == 200
    assert attacked.composes()
    assert all(b" 408 " in each.end() for each in bodies)
    # As many as may be: the next one is told when to come again, and that is soon.
    bodies = [Slow(port, body, b"x") for _ in range(UPLOADS)]
    refused = attacked.post()
    assert refused.status_code in {202, 429}
    if refused.status_code == 429:
        assert int(refused.headers["retry-after"]) >= 1
    assert attacked.client.get("/healthz").status_code == 200
    assert all(set(each.end().split()) & {b"408", b"429"} for each in bodies)
    assert attacked.composes()
    for each in (*idle, *heads):
        assert each.end() == b""


def test_composing_leaves_the_processors_to_pages_and_answers(attacked):
    tasks = Path(f"/proc/{attacked.process.pid}/task")
    stats = {task.name: (task / "stat").read_text() for task in tasks.iterdir()}
    niceness = {name: int(stat.rpartition(")")[2].split()[16]) for name, stat in stats.items()}
    assert niceness[str(attacked.process.pid)] == 0
    assert 10 in niceness.values()


# Engines ----------------------------------------------------------------------------------------


def composes_with_classic(service):
    ready = service.client.get("/readyz").json()
    assert (ready["ready"], ready["profile"]) == (True, "classic")
    told = ready["degraded"]
    assert told
    assert "\n" not in told
    assert service.client.get("/v1/kiosk").json()["degraded"] == told
    assert metric(service, "vivant_degraded") == 1
    seen = service.finished(service.post().json()["id"])
    assert (seen["state"], seen["profile"], seen["degraded"]) == ("done", "classic", told)
    return True


def test_engines_that_do_not_run_are_stood_in_for(serve, store, tmp_path):
    copy = EngineStore(tmp_path / "engines", allow_untrained=True)
    mtcnn = store.engine("mtcnn")
    files = {graph.file: mtcnn.read(name) for name, graph in mtcnn.manifest.graphs.items()}
    for model in ("mtcnn", "rmbg-1.4", "inr-harmonization", "bargainnet"):
        copy.write(replace(mtcnn.manifest, model=model), files)  # the wrong graphs, but for one
    service = serve(store=copy.root, profile="deep").until_ready()
    assert composes_with_classic(service)


@pytest.mark.skipif(not (UNTRAINED / "bargainnet").is_dir(), reason="no engines; run make bench")
def test_an_altered_engine_is_stood_in_for(serve, tmp_path):
    copy, altered = tmp_path / "engines", "bargainnet"  # which is opened last
    for folder in UNTRAINED.iterdir():
        if folder.name == altered:
            shutil.copytree(folder, copy / folder.name)
        else:
            copy.joinpath(folder.name).parent.mkdir(exist_ok=True)
            copy.joinpath(folder.name).symlink_to(folder)
    graph = max((copy / altered / "fp32").iterdir(), key=lambda path: path.stat().st_size)
    with graph.open("r+b") as file:
        file.seek(graph.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 1]))
    service = serve(store=copy, profile="deep", allow_untrained=True).until_ready()
    assert composes_with_classic(service)
    assert str(graph) in service.log
