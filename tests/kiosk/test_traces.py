"""After a visit and its retention time, nothing of the visitor is to be found on the machine.

Markers are planted in all that a visitor sends. Then everything the service could have written
is searched for them.
"""

from __future__ import annotations

import io
import json
import math
import secrets
import signal
import struct
import time
import zlib
from pathlib import Path

import PIL.Image
import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from vivant_samples import PORTRAIT

from .service_process import ARTWORK, JPEG, WAIT_S, ServiceProcess

ADMIN = "an-admin's-token-0123456789"
ADMITTED = {"Authorization": f"Bearer {ADMIN}"}
RETENTION_S = 2.0
DESCRIPTION = 0x010E  # of EXIF


class Visitor:
    """Somebody in whose photos, and beside them, there are markers that nobody else has."""

    def __init__(self):
        self.exif, self.comment, self.name = (f"marker-{secrets.token_hex(8)}" for _ in range(3))
        self.photo = self._marked(PIL.Image.open(PORTRAIT))
        self.frame = self._marked(PIL.Image.open(PORTRAIT).resize((320, 320)))
        self.nobody = self._marked(PIL.Image.new("RGB", (99, 99)))

    def _marked(self, image):
        exif = PIL.Image.Exif()
        exif[DESCRIPTION] = self.exif
        noise = PIL.Image.frombytes(
            "RGB", image.size, secrets.token_bytes(3 * math.prod(image.size))
        )
        mixed = PIL.Image.blend(image.convert("RGB"), noise, 0.02)
        stream = io.BytesIO()
        mixed.save(stream, "JPEG", exif=exif, comment=self.comment, quality=95)
        return stream.getvalue()

    @property
    def markers(self):
        """The markers, and bytes from the middle of the photos."""
        texts = [text.encode() for text in (self.exif, self.comment, self.name)]
        return [*texts, middle(self.photo), middle(self.frame)]

    @property
    def broken(self):
        """Files that are no pictures; a library might complain about them in its own words."""
        body = b"Comment\0" + self.comment.encode()
        chunk = struct.pack(">I", len(body)) + b"tEXt" + body
        png = b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", zlib.crc32(chunk[4:]))
        return [self.photo[: len(self.photo) * 2 // 3], self.comment.encode() + self.photo, png]


def middle(photo):
    return photo[len(photo) // 2 :][:64]


def traces(markers, folders, since):
    """Return the files that were written after ``since`` and contain a marker, plain or packed."""
    found = []
    for path in {path for folder in folders for path in Path(folder).rglob("*")}:
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_mtime < since:
                continue
            content = path.read_bytes()
        except OSError:  # gone meanwhile: others use these folders too
            continue
        if any(marker in content for marker in (*markers, *map(json_of, markers))):
            found.append(path)
    return found


def json_of(marker):
    return json.dumps(marker.decode("latin-1"))[1:-1].encode()


@pytest.fixture
def service(tmp_path, store):
    settings = {
        "retention_s": RETENTION_S,
        "admin_token": ADMIN,
        "preview": True,
        "json_logs": True,
        "log_level": "debug",
        "downloads": {"host": "127.0.0.1", "port": 0},
    }
    with ServiceProcess(tmp_path, store.root, **settings) as service:
        yield service.until_ready()


def visit(service, visitor):
    """Use everything that there is; return the addresses that have to be dead afterwards."""
    client, photo = service.client, (f"{visitor.name}.jpg", visitor.photo, "image/jpeg")

    def post(name="portrait", portrait=photo, **headers):
        fields, files = {"artwork": ARTWORK}, {name: portrait}
        return client.post("/v1/compositions", data=fields, files=files, headers=headers)

    assert post(**JPEG).status_code == 200
    address = post().headers["location"]
    assert "event: done" in client.get(f"{address}/events").text
    for stage in ("matte", "composite", "done"):
        assert client.get(f"{address}/image", params={"stage": stage}).status_code == 200
    link = client.post(f"{address}/links").json()["url"]
    assert client.get(link).status_code == 200
    picture = client.get(f"{link}/vivant.jpg").content
    assert picture.startswith(b"\xff\xd8\xff")
    refuse(client, post, visitor)
    tables = client.get(f"/v1/admin/artworks/{ARTWORK}", headers=ADMITTED).json()
    trial = client.post(
        "/v1/admin/trials",
        files={"artwork": (None, json.dumps(tables)), "portrait": photo},
        headers=ADMITTED,
    )
    assert trial.status_code == 200
    preview(service, visitor)
    return [address, link, f"{link}/vivant.jpg"], picture


def refuse(client, post, visitor):
    """Send what is refused, with markers where somebody might quote them."""
    name = visitor.name
    failed = post("portrait", (name, visitor.nobody), **JPEG)
    assert failed.json()["type"].endswith(":nobody")
    for broken in visitor.broken:
        assert post("portrait", (name, broken)).status_code == 422
    assert post(name, (name, visitor.photo)).status_code == 422
    assert client.get(f"/v1/artworks/{name.upper()}").status_code == 422
    assert client.get(f"/{name}?{name}", headers={"Accept": name, "Cookie": name}).is_error


def preview(service, visitor):
    """Look into the mirror until it shows the visitor, then break a rule."""
    with connect(f"ws://127.0.0.1:{service.port}/v1/preview", max_size=2**24) as socket:
        socket.send(json.dumps({"artwork": ARTWORK}))
        give_up, state = time.monotonic() + WAIT_S, None
        while state != "visitor":
            assert time.monotonic() < give_up, f"the preview shows {state}"
            socket.send(visitor.frame)
            state = json.loads(socket.recv(WAIT_S))["state"]
            assert socket.recv(WAIT_S).startswith(b"\xff\xd8\xff")
        socket.send(visitor.comment.encode() + visitor.frame)
        with pytest.raises(ConnectionClosedError):
            list(socket)


def test_nothing_of_a_visitor_is_found_after_the_retention_time(service, tmp_path):
    since, visitor = time.time() - 1, Visitor()
    dead, picture = visit(service, visitor)
    service.until(lambda: all(service.client.get(each).status_code == 404 for each in dead))
    service.until(lambda: "vivant_compositions_held 0.0" in service.client.get("/metrics").text)
    markers = [*visitor.markers, middle(picture)]
    metrics = service.client.get("/metrics").content
    assert not any(marker in metrics for marker in markers)
    assert traces(markers, [tmp_path, "/tmp", "/var/tmp", "/dev/shm"], since) == []
    assert [path for path in service.own.rglob("*") if not path.is_dir()] == []
    log = service.log
    assert '"level": "debug"' in log
    ids = [part for address in dead for part in address.split("/") if len(part) == 22]
    assert len(ids) == 3
    assert not any(each in log for each in ids)
    assert service.end() == 0
    assert traces(markers, [tmp_path], since) == []


def test_a_crash_leaves_no_core(service):
    limits = Path(f"/proc/{service.process.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4] == "0"
    assert service.end(signal.SIGABRT) == -signal.SIGABRT
    assert [path for path in service.own.rglob("*") if not path.is_dir()] == []


@pytest.mark.parametrize("number", range(5))
def test_the_search_finds_what_was_left(tmp_path, number):
    since, markers = time.time() - 1, Visitor().markers
    assert traces(markers, [tmp_path], since) == []
    marker = markers[number]
    spooled, log = tmp_path / "own" / "tmp" / "upload", tmp_path / "log"
    spooled.parent.mkdir(parents=True)
    spooled.write_bytes(b"--boundary\r\n" + marker + b"\r\n")
    log.write_text(json.dumps({"message": f"upload {marker.decode('latin-1')} refused"}))
    assert sorted(traces(markers, [tmp_path], since)) == sorted([spooled, log])
