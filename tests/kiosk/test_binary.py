"""The executable that ``make kiosk-binary`` builds; nothing here builds it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from vivant_kiosk.__main__ import from_folder
from vivant_samples import PORTRAIT

FOLDER = Path(__file__).parents[2] / "dist" / "vivant-kiosk"
READY_S = 120

built = pytest.mark.skipif(
    not (FOLDER / "vivant-kiosk").is_file(), reason="no dist/vivant-kiosk; run make kiosk-binary"
)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.fixture
def environment(tmp_path):
    """What a program finds on a machine without Python."""
    return {"PATH": "/nonexistent", "HOME": str(tmp_path)}


@pytest.fixture
def service(tmp_path, environment):
    """A client of the executable, which is ready; its process; what it logs."""
    port = free_port()
    with (tmp_path / "log").open("w+") as log:
        process = subprocess.Popen(
            [FOLDER / "vivant-kiosk", "--port", str(port), "--json-logs"],
            env=environment,
            cwd=tmp_path,
            stderr=log,
        )
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            try:
                wait_until_ready(client, process)
                yield client, process, log
            finally:
                process.kill()
                process.wait()


def wait_until_ready(client, process):
    give_up = time.monotonic() + READY_S
    while time.monotonic() < give_up:
        assert process.poll() is None
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(f"not ready within {READY_S} s")


@built
def test_composes_a_picture_where_there_is_no_python(service, tmp_path):
    client, process, log = service
    ready = client.get("/readyz").json()
    assert (ready["profile"], ready["artworks"]) == ("classic", 3)
    page = client.get("/")
    assert page.status_code == 200
    assert "<html" in page.text
    artwork = client.get("/v1/artworks").json()["artworks"][0]["id"]
    answer = client.post(
        "/v1/compositions",
        headers={"Accept": "image/jpeg"},
        data={"artwork": artwork},
        files={"portrait": ("a-visitor.png", PORTRAIT.read_bytes())},
    )
    assert answer.status_code == 200
    assert answer.content.startswith(b"\xff\xd8\xff")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    log.seek(0)
    written = log.read()
    assert "ready" in written
    assert "a-visitor" not in written
    assert answer.headers["Vivant-Composition"] not in written
    assert [path.name for path in tmp_path.iterdir()] == ["log"], "telemetry, or a temporary file"


@built
def test_says_in_one_line_why_it_does_not_begin(environment, tmp_path):
    command = [FOLDER / "vivant-kiosk", "--host", "0.0.0.0"]
    ended = subprocess.run(
        command,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=READY_S,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1


@built
def test_nothing_for_development_and_nothing_under_the_gpl_is_inside():
    names = {path.name.lower() for path in (FOLDER / "_internal").rglob("*")}
    unwanted = ("torch", "openvino", "tensorrt", "pytest", "readline", "x265", "libheif")
    assert names
    assert not [name for name in names for word in unwanted if word in name]


def test_takes_settings_and_engines_from_its_folder(tmp_path, monkeypatch):
    monkeypatch.setitem(os.environ, "VIVANT_ENGINES", "")
    monkeypatch.delenv("VIVANT_ENGINES")
    assert from_folder(tmp_path, ["--port", "1"]) == ["--port", "1"]
    assert os.environ["VIVANT_ENGINES"] == str(tmp_path / "engines")
    (tmp_path / "kiosk.toml").touch()
    beside = f"--settings={tmp_path / 'kiosk.toml'}"
    assert from_folder(tmp_path, ["--port", "1"]) == [beside, "--port", "1"]
    for own in (["--settings", "own.toml"], ["--settings=own.toml"]):
        assert from_folder(tmp_path, own) == own


def test_engines_named_by_the_environment_stay(tmp_path, monkeypatch):
    monkeypatch.setenv("VIVANT_ENGINES", "/elsewhere")
    from_folder(tmp_path, [])
    assert os.environ["VIVANT_ENGINES"] == "/elsewhere"
