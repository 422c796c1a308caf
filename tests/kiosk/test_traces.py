"""After a visit and its retention time, nothing of the visitor is to be found on the machine.

Markers are planted in all that a visitor sends. Then everything the service could have written
is searched for them.
"""

from __future__ import annotations

import io
import json
import struct
import time
import zlib
from pathlib import Path

import PIL.Image
import pytest
from websockets.sync.client import connect

from vivant_samples import PORTRAIT

from .service_process import ARTWORK, JPEG, WAIT_S, ServiceProcess

ADMIN = "an-admin's-token-0123456789"
ADMITTED = {"Authorization": f"Bearer {ADMIN}"}
RETENTION_S = 2.0
EXIF, COMMENT, NAME = "MARKER-exif-5b1f", "MARKER-comment-77ac", "MARKER-name-e0d4"
DESCRIPTION, ORIENTATION = 0x010E, 0x0112


def marked(picture, side=None):
    """Return a picture as a JPEG with markers in its EXIF, in a comment, and in its pixels."""
    image = PIL.Image.open(picture).convert("RGB")
    exif = PIL.Image.Exif()
    exif[DESCRIPTION] = EXIF
    stream = io.BytesIO()
    image.resize((side, side) if side else image.size).save(
        stream, "JPEG", exif=exif, comment=COMMENT, quality=95
    )
    return stream.getvalue()


def markers_of(*photos):
    """Return what is searched for: the markers, and bytes from the middle of each photo."""
    texts = [text.encode() for text in (EXIF, COMMENT, NAME)]
    return [*texts, *(photo[len(photo) // 2 :][:64] for photo in photos)]


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


def visit(service, photo, small):
    """Use everything that there is; return the addresses that must be dead afterwards."""
    named = {"portrait": (f"{NAME}.jpg", photo, "image/jpeg")}
    fields = {"artwork": ARTWORK}

    def post(files=named, **headers):
        return service.client.post("/v1/compositions", data=fields, files=files, headers=headers)

    composed = post(**JPEG)
    assert composed.status_code == 200
    taken = post()
    address = taken.headers["location"]
    events = service.client.get(f"{address}/events").text
    assert "event: done" in events
    for stage in ("matte", "composite", "done"):
        assert service.client.get(f"{address}/image", params={"stage": stage}).status_code == 200
    link = service.client.post(f"{address}/links").json()["url"]
    assert service.client.get(link).status_code == 200
    picture = service.client.get(f"{link}/vivant.jpg").content
    assert picture.startswith(b"\xff\xd8\xff")

    nobody = io.BytesIO()
    PIL.Image.new("RGB", (99, 99)).save(nobody, "JPEG", comment=COMMENT)
    failed = post({"portrait": (f"{NAME}.jpg", nobody.getvalue())}, **JPEG)
    assert failed.json()["type"].endswith(":nobody")
    for broken in (photo[: len(photo) * 2 // 3], COMMENT.encode() + photo, exif_bomb()):
        assert post({"portrait": (f"{NAME}.jpg", broken)}).status_code == 422
    assert post({NAME: (NAME, photo)}).status_code == 422
    assert service.client.get(f"/v1/artworks/{NAME}").status_code == 422
    assert service.client.get(f"/{NAME}", headers={"Accept": NAME}).status_code == 404

    tables = service.client.get(f"/v1/admin/artworks/{ARTWORK}", headers=ADMITTED).json()
    trial = service.client.post(
        "/v1/admin/trials",
        files={"artwork": (None, json.dumps(tables)), **named},
        headers=ADMITTED,
    )
    assert trial.status_code == 200
    preview(service, small)
    return [address, link, f"{link}/vivant.jpg"], picture


def exif_bomb():
    """Return a damaged PNG whose text Pillow would complain about."""
    body = b"Comment\0" + COMMENT.encode()
    chunk = struct.pack(">I", len(body)) + b"tEXt" + body
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", zlib.crc32(chunk[4:]))


def preview(service, frame):
    with connect(f"ws://127.0.0.1:{service.port}/v1/preview", max_size=2**24) as socket:
        socket.send(json.dumps({"artwork": ARTWORK}))
        deadline = time.monotonic() + WAIT_S
        state = None
        while state != "visitor":
            assert time.monotonic() < deadline, f"the preview shows {state}"
            socket.send(frame)
            state = json.loads(socket.recv(WAIT_S))["state"]
            assert socket.recv(WAIT_S).startswith(b"\xff\xd8\xff")
        socket.send(json.dumps({"artwork": NAME}))  # what the log might quote
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                socket.recv(WAIT_S)
            except Exception:  # noqa: BLE001  (closed, in whatever way)
                return


def test_nothing_of_a_visitor_is_found_after_the_retention_time(service, tmp_path):
    since = time.time() - 1
    photo, frame = marked(PORTRAIT), marked(PORTRAIT, 320)
    dead, picture = visit(service, photo, frame)
    service.until(lambda: all(service.client.get(each).status_code == 404 for each in dead))
    service.until(lambda: "vivant_compositions_held 0.0" in service.client.get("/metrics").text)
    metrics = service.client.get("/metrics").content
    markers = markers_of(photo, frame, picture)
    assert not any(marker in metrics for marker in markers)
    assert traces(markers, [tmp_path, "/tmp", "/var/tmp", "/dev/shm"], since) == []
    assert [path for path in service.own.rglob("*") if not path.is_dir()] == []
    log = service.log
    assert '"level": "debug"' in log
    ids = [part for address in dead for part in address.split("/") if len(part) == 22]
    assert ids
    assert not any(each in log for each in ids)
    assert all(line.startswith(("{", "vivant serves")) for line in log.splitlines())
    assert service.end() == 0
    assert traces(markers, [tmp_path], since) == []


def test_memory_cannot_be_dumped_into_a_file(service):
    limits = Path(f"/proc/{service.process.pid}/limits").read_text()
    core = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert core.split()[4] == "0"
    # Of a process that must not be dumped, these belong to the superuser, in any user's hands.
    dumpable = Path(f"/proc/{service.process.pid}/status").read_text()
    assert "CoreDumping:\t0" in dumpable


@pytest.mark.parametrize("marker", markers_of(marked(PORTRAIT)))
def test_the_search_finds_what_was_left(tmp_path, marker):
    since = time.time() - 1
    assert traces([marker], [tmp_path], since) == []
    (tmp_path / "own" / "tmp").mkdir(parents=True)
    spooled, log = tmp_path / "own" / "tmp" / "upload", tmp_path / "log"
    spooled.write_bytes(b"--boundary\r\n" + marker + b"\r\n")
    log.write_text(json.dumps({"message": f"upload {marker.decode('latin-1')} refused"}))
    assert sorted(traces([marker], [tmp_path], since)) == sorted([spooled, log])
