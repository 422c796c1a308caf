"""A real ``vivant serve``: a process with a folder of its own for all that it could write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import tomli_w

from vivant_samples import PORTRAIT

WAIT_S = 60.0
"""That something has to happen in; nothing is timed."""

DOWNLOADS = {"host": "127.0.0.1", "port": 0, "uses": 2}
EVERYTHING = {"preview": True, "printing": True, "downloads": DOWNLOADS, "countdown_s": 2}
"""That a museum can switch on."""

ARTWORK = "night-harbour"
JPEG = {"Accept": "image/jpeg"}

VIVANT = str(Path(sys.executable).with_name("vivant"))

_SERVES = "vivant serves "


class ServiceProcess:
    """A service with the classic profile and the sample artworks, unless told otherwise.

    Its log is in ``folder``; whatever else it wants to write has to go below ``folder / "own"``,
    which is its working directory, and where its home and its temporary folder are.
    """

    def __init__(self, folder, store, *, inside=(), hidden=None, **settings):
        """Start it.

        ``inside`` is a command that the service is run by; ``hidden`` are more variables of its
        environment; the rest are settings, a ``port`` of 0 is a free one.
        """
        self.folder, self.own = folder, folder / "own"
        self.own.mkdir(parents=True, exist_ok=True)
        self.temporary, self.home = self.own / "tmp", self.own / "home"
        for each in (self.temporary, self.home):
            each.mkdir(exist_ok=True)
        chosen = {"port": 0, "profile": "classic", "store": str(store), "preview": False}
        file = folder / "kiosk.toml"
        file.write_text(tomli_w.dumps(chosen | settings))
        self._log = folder / "log"
        self._told = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*inside, VIVANT, "serve", "--settings", str(file)],
                cwd=self.own,
                env=self._environment() | (hidden or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.client = None

    def _environment(self):
        kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        xdg = ("CACHE_HOME", "CONFIG_HOME", "DATA_HOME", "STATE_HOME", "RUNTIME_DIR")
        return {
            **kept,
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            **{f"XDG_{name}": str(self.home / name.lower()) for name in xdg},
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_WAIT_POLICY": "passive",  # other tests want the processors too
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end(signal.SIGKILL)

    @property
    def log(self):
        """What it has written so far."""
        with self._log.open("rb") as log:
            log.seek(self._told)
            return log.read().decode()

    def until_ready(self):
        """Wait until photos are taken."""
        self.until(lambda: _SERVES in self.log)
        self.url = self.log.partition(_SERVES)[2].split()[0].rstrip("/")
        self.port = int(self.url.rpartition(":")[2])
        self.client = httpx.Client(base_url=self.url, timeout=WAIT_S)
        self.until(lambda: self.client.get("/readyz").status_code == 200)
        return self

    def until(self, condition):
        """Wait until ``condition()``."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert self.process.poll() is None, f"the service has ended:\n{self.log}"
            assert time.monotonic() < deadline, f"it did not happen:\n{self.log}"
            time.sleep(0.02)

    def end(self, number=signal.SIGTERM):
        """Send a signal; return the exit status."""
        if self.client is not None:
            self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def post(self, photo=None, *, client=None, headers=None, **fields):
        """Send a photo for a sample artwork."""
        return (client or self.client).post(
            "/v1/compositions",
            data={"artwork": ARTWORK, **fields},
            files={"portrait": ("portrait.jpg", PORTRAIT.read_bytes() if photo is None else photo)},
            headers=headers,
        )

    def composes(self):
        """Return whether a visitor gets a picture."""
        answer = self.post(headers=JPEG)
        return answer.status_code == 200 and answer.content.startswith(b"\xff\xd8\xff")

    def finished(self, composition_id):
        """Wait for a composition; return what is known of it."""
        seen = {}

        def ended():
            seen.update(self.client.get(f"/v1/compositions/{composition_id}").json())
            return seen["state"] in {"done", "failed", "cancelled"}

        self.until(ended)
        return seen
