"""What is installed on a kiosk, and the page that says how: read, and run as far as it goes."""

from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
import typer.testing
from pydantic_core import PydanticUndefined

from vivant.cli import app
from vivant_kiosk.settings import Downloads, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SCRIPT = DEPLOY / "kiosk.sh"
UNITS = sorted(DEPLOY.glob("*.service"))
GUIDE = (ROOT / "docs" / "kiosk.md").read_text()
WAIT_S = 30


def entries(path):
    """Return (section, key, value) in order; systemd's files have keys more than once."""
    section = None
    for line in path.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            yield section, key, value


def values(path, wanted):
    return [value for _, key, value in entries(path) if key == wanted]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_understands_the_units(unit, tmp_path):
    text = re.sub(r"(?m)^(ExecStart=)\S+", r"\1/bin/true", unit.read_text())
    (tmp_path / unit.name).write_text(text)
    drop_ins = tmp_path / "vivant.service.d"
    drop_ins.mkdir()
    shutil.copy(DEPLOY / "gpu.conf", drop_ins)
    command = ["systemd-analyze", "verify", "--man=no", tmp_path / unit.name]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    # Restarts that slow down came with systemd 254; older ones leave them out.
    mine = [line for line in told.splitlines() if str(tmp_path) in line]
    assert not [line for line in mine if not re.search(r"Restart(Steps|MaxDelaySec)", line)]


def test_the_service_is_started_with_options_that_exist():
    (command,) = values(DEPLOY / "vivant.service", "ExecStart")
    program, *arguments = shlex.split(command)
    assert Path(program).name == "vivant"
    shown = typer.testing.CliRunner().invoke(app, ["serve", "--help"]).stdout
    assert arguments[0] == "serve"
    assert {each for each in arguments if each.startswith("--")} <= set(shown.split())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("Type", "notify"),
        ("Restart", "always"),
        ("StartLimitIntervalSec", "0"),
        ("LimitCORE", "0"),
        ("MemorySwapMax", "0"),
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("IPAddressDeny", "any"),
    ],
)
def test_the_service_starts_again_and_lets_nothing_out(key, value):
    assert values(DEPLOY / "vivant.service", key) == [value]


def test_no_unit_swaps_or_dumps():
    for unit in UNITS:
        assert values(unit, "LimitCORE") == values(unit, "MemorySwapMax") == ["0"]


def test_telemetry_is_off():
    assert "ORT_DISABLE_TELEMETRY=1" in values(DEPLOY / "vivant.service", "Environment")


def test_the_camera_is_open_to_the_page_alone():
    policy = json.loads((DEPLOY / "chromium-policy.json").read_text())
    page = f"http://{Settings().host}:{Settings().port}"
    assert policy["VideoCaptureAllowed"] is False
    assert policy["VideoCaptureAllowedUrls"] == policy["URLAllowlist"] == [page]
    assert policy["URLBlocklist"] == ["*"]
    assert page in SCRIPT.read_text()


def settings_in_guide():
    rows = re.findall(r"(?m)^\| `([\w.]+)` \| (.+?) \|", GUIDE)
    return dict(rows)


def defaults():
    for prefix, table in (("", Settings), ("downloads.", Downloads)):
        for name, field in table.model_fields.items():
            yield prefix + name, field.default


@pytest.mark.parametrize(("name", "default"), [*defaults()], ids=[name for name, _ in defaults()])
def test_the_guide_has_every_setting(name, default):
    told = settings_in_guide()[name]
    if default is PydanticUndefined:
        assert told == "needed"
    elif default is None:
        assert told == "none"
    else:
        assert json.loads(told.strip("`")) == (list(default) if default == () else default)


def test_the_guide_has_no_other_settings():
    assert set(settings_in_guide()) == {name for name, _ in defaults()}


def test_the_guide_names_what_exists():
    for file in set(re.findall(r"deploy/([\w.-]+)", GUIDE)):
        assert (DEPLOY / file).is_file()
    metrics = (ROOT / "runtime" / "vivant_kiosk" / "metrics.py").read_text()
    for figure in set(re.findall(r"`(vivant_\w+)", GUIDE)):
        assert f'"{figure.removesuffix("_total")}"' in metrics
    words = (ROOT / "runtime/vivant_kiosk/static/languages/en.json").read_text()
    for told in re.findall(r"(?m)^\| ([A-Z][^|]+?) \| [^|]+ \| [^|]+ \|$", GUIDE):
        assert told in words


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_shells_can_read_the_script(shell):
    read = subprocess.run([shell, "-n", SCRIPT], capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")
    assert os.access(SCRIPT, os.X_OK)


@pytest.fixture
def program(tmp_path):
    """Put a shell script into a folder that is the first of $PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def write(name, text):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)

    return write


@pytest.fixture
def screen(tmp_path, program):
    """The script, with time that runs faster; and where its session is."""
    session = tmp_path / "session"
    session.mkdir()
    program("sleep", f"exec {shutil.which('sleep')} 0.02")
    started = []

    def start(**environment):
        process = subprocess.Popen(
            [SCRIPT],
            env={
                "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
                "XDG_RUNTIME_DIR": str(session),
                **environment,
            },
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process, session

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


class Lives(http.server.BaseHTTPRequestHandler):
    page_silent_s = 5

    def do_GET(self):
        allowed = self.path == "/healthz" or self.headers["Authorization"] == "Bearer secret"
        self.send_response(200 if allowed else 401)
        self.end_headers()
        if allowed:
            figure = f"vivant_page_silent_seconds {self.page_silent_s}.25"
            self.wfile.write(f"# HELP\n{figure}\n".encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    """A service of which only this is known: it lives."""
    with http.server.HTTPServer(("127.0.0.1", 0), Lives) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def browser(tmp_path, program):
    """A browser that goes on until it is killed, whatever becomes of its page."""
    shown = tmp_path / "shown"
    program("chromium", f"echo >> {shown}; trap '' TERM; while :; do sleep 1; done")
    return lambda: shown.read_text().count("\n") if shown.is_file() else 0


def until(condition):
    give_up = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


@needs_curl
def test_the_screen_shows_the_page_again_and_again(tmp_path, program, screen, service):
    shown = tmp_path / "shown"
    program("chromium", f'echo "$@" >> {shown}; mkdir -p {tmp_path}/session/vivant-screen')
    process, session = screen(VIVANT_URL=f"{service}/#token=secret")
    until(lambda: shown.is_file() and shown.read_text().count("\n") >= 3)
    first = shown.read_text().splitlines()[0].split()
    assert f"--app={service}/#token=secret" in first
    assert {"--kiosk", f"--user-data-dir={session}/vivant-screen"} <= set(first)
    process.terminate()
    process.wait(WAIT_S)
    assert not list(session.iterdir())


@needs_curl
def test_a_page_that_crashed_is_shown_again(program, browser, screen, service):
    program("pgrep", "exit 1")  # no renderer
    process, _ = screen(VIVANT_URL=f"{service}/#token=secret")
    until(lambda: browser() >= 2)
    assert process.poll() is None


@needs_curl
def test_a_page_that_hangs_is_shown_again(tmp_path, program, browser, screen, service, monkeypatch):
    looked = tmp_path / "looked"
    program("pgrep", f"echo >> {looked}")  # there is a renderer
    screen(VIVANT_URL=f"{service}/#token=secret")
    until(lambda: looked.is_file() and looked.read_text().count("\n") >= 20)
    assert browser() == 1
    monkeypatch.setattr(Lives, "page_silent_s", 200)
    until(lambda: browser() >= 2)


@needs_curl
def test_nothing_is_shown_while_the_service_is_away(tmp_path, program, screen):
    asked = tmp_path / "asked"
    program("curl", f"echo >> {asked}; exit 7")
    program("chromium", f"touch {tmp_path}/shown")
    screen()
    until(lambda: asked.is_file() and asked.read_text().count("\n") >= 3)
    assert not (tmp_path / "shown").exists()


def test_says_that_there_is_no_browser(screen):
    process, _ = screen(VIVANT_BROWSER="no-such-browser")
    _, told = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert "no Chromium" in told
