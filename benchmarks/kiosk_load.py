"""How the kiosk's service bears a crowd: many clients at once, a real process, for minutes.

Each client is a visitor with no patience: it sends a photo, follows the events to the end, gets
the picture, and comes again at once. Some wait for the JPEG itself, some cancel on the way, some
delete their picture; who is told to come later does. Clients and service share the machine's
processors, as a kiosk's page and its service do.

Nothing may be lost: every answer is a success or 429, every composition comes to its end. Beside
it stand the memory once it is warmed up and at the end, and how long the service's event loop was
blocked, seen from within (its own gauge) and from without (a process that asks every 50 ms).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import math
import multiprocessing
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil

from pictures import sample_frame
from report import Row, common_parser, percentile, plot_course, row, table, write_json
from vivant import machine
from vivant.images import encode_image

ARTWORK = "night-harbour"
RETENTION_S = 20
"""For which the service keeps pictures: by the end of the warm-up as many go as come."""

PROBE_S = 0.05
GOOD = {200, 201, 202, 204, 429}

_WARM_SHARE = 0.2  # of the time; at most a minute
_WINDOW_SHARE = 0.2  # of the time, for each median of the memory
_READY_S = 120.0
_ANSWER_S = 90.0
_SERVES = "vivant serves "


class Lost(Exception):  # noqa: N818  (what happened to a visitor)
    """A visitor who got neither a picture nor a reason."""


@dataclass
class Seen:
    """What the clients have seen so far.

    Attributes:
        statuses: how often each was answered.
        ends: how visits ended: "picture", "jpeg", "cancelled".
        lost: what went wrong, a line each.
        made_s: seconds from the upload that was taken to the picture.
        waited_s: seconds from the first try to the picture.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    made_s: list[float] = field(default_factory=list)
    waited_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Watched:
    """What was measured beside the clients.

    Attributes:
        resident_mb: of the service, every second.
        lag_s: longest delay of its event loop, by its own gauge: until it was ready, and at all.
        probes_s: how long every answer to ``/healthz`` took.
    """

    resident_mb: list[float]
    lag_s: tuple[float, float]
    probes_s: list[float]


def main() -> None:
    """Print what happened; write it as JSON and as a plot where asked."""
    arguments = _parser().parse_args()
    # Inherited by the service and by the one that asks.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    seen, watched = run(arguments.clients, arguments.seconds, arguments.store)
    result = _row(arguments, seen, watched)
    _print(result, seen)
    if arguments.json:
        write_json(arguments.json, [result])
    if arguments.plot:
        title = f"the service's memory under {arguments.clients} clients"
        plot_course(arguments.plot, watched.resident_mb, title, "resident MB")
    if seen.lost:
        sys.exit(1)


def run(clients: int, seconds: float, store: Path | None = None) -> tuple[Seen, Watched]:
    """Start a service, and send it that many clients for that long."""
    photo = encode_image(sample_frame(), "jpeg")
    with service(store) as (url, process), probe(url) as asked:
        before = _metric(url, "vivant_event_loop_lag_max_seconds")
        seen, resident = asyncio.run(_crowd(url, clients, seconds, photo, process))
        after = _metric(url, "vivant_event_loop_lag_max_seconds")
        return seen, Watched(resident, (before, after), asked())


# The service ------------------------------------------------------------------------------------


@contextlib.contextmanager
def service(store: Path | None) -> Iterator[tuple[str, psutil.Process]]:
    """Run ``vivant serve`` with the classic profile; yield its address and its process."""
    with tempfile.TemporaryDirectory() as folder:
        settings, log = Path(folder, "kiosk.toml"), Path(folder, "log")
        settings.write_text(f"profile = 'classic'\nport = 0\nretention_s = {RETENTION_S}\n")
        command = [str(Path(sys.executable).with_name("vivant")), "serve"]
        command += ["--settings", str(settings)]
        command += ["--store", str(store.resolve())] if store else []
        with log.open("w") as written:
            process = subprocess.Popen(command, stdout=written, stderr=written)
        try:
            yield _until_ready(process, log), psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def _until_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    give_up = time.monotonic() + _READY_S
    while time.monotonic() < give_up and process.poll() is None:
        if found := re.search(rf"{_SERVES}(http://\S+)/", log.read_text()):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{found[1]}/readyz").status_code == 200:
                    return found[1]
        time.sleep(0.1)
    sys.exit(f"error: the service does not begin:\n{log.read_text()}")


def _metric(url: str, name: str) -> float:
    text = httpx.get(f"{url}/metrics", timeout=_ANSWER_S).text
    return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1])


# The clients ------------------------------------------------------------------------------------


async def _crowd(
    url: str, clients: int, seconds: float, photo: bytes, process: psutil.Process
) -> tuple[Seen, list[float]]:
    seen, resident = Seen(), []
    end = time.monotonic() + seconds

    async def watch() -> None:
        while time.monotonic() < end:
            resident.append(process.memory_info().rss / 2**20)
            await asyncio.sleep(1)

    visitors = [_Visitor(url, photo, seen, random.Random(seed)) for seed in range(clients)]
    await asyncio.gather(watch(), *(visitor.come_until(end) for visitor in visitors))
    return seen, resident


class _Visitor:
    """One client, which comes again and again."""

    def __init__(self, url: str, photo: bytes, seen: Seen, rng: random.Random) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=_ANSWER_S)
        self._photo, self._seen, self._rng = photo, seen, rng

    async def come_until(self, end: float) -> None:
        async with self._client:
            while time.monotonic() < end:
                await self._visit_or_be_lost(end)

    async def _visit_or_be_lost(self, end: float) -> None:
        try:
            await self._visit(end)
        except (Lost, httpx.HTTPError) as error:
            self._seen.lost.append(repr(error))

    async def _visit(self, end: float) -> None:
        began = time.monotonic()
        wants_jpeg = self._rng.random() < 0.2
        headers = {"Accept": "image/jpeg" if wants_jpeg else "application/json"}
        while True:
            sent = time.monotonic()
            answer = self._note(
                await self._client.post(
                    "/v1/compositions",
                    data={"artwork": ARTWORK},
                    files={"portrait": ("portrait.jpg", self._photo)},
                    headers=headers,
                )
            )
            if answer.status_code != 429:
                break
            if time.monotonic() > end:
                return
            await asyncio.sleep(float(answer.headers["retry-after"]) + self._rng.random())
        if wants_jpeg:
            _check_picture(answer)
            self._finished("jpeg", sent, began)
        else:
            await self._follow(answer.json()["links"], sent, began)

    async def _follow(self, links: dict[str, str], sent: float, began: float) -> None:
        cancels, deletes = self._rng.random() < 0.1, self._rng.random() < 0.25
        name = ""
        async with self._client.stream("GET", links["events"]) as stream:
            self._note(stream)
            async for line in stream.aiter_lines():
                if not line.startswith("event: "):
                    continue
                name = line.removeprefix("event: ")
                if name == "matte" and cancels:
                    self._note(await self._client.delete(links["self"]))
        if name == "cancelled" and cancels:
            self._seen.ends["cancelled"] += 1
            return
        if name != "done":
            raise Lost(f"the last event is '{name}'")
        if not cancels:  # else it was done, and deleted, before it could be cancelled
            _check_picture(self._note(await self._client.get(links["image"])))
            if deletes:
                self._note(await self._client.delete(links["self"]))
        self._finished("picture", sent, began)

    def _note(self, answer: httpx.Response) -> httpx.Response:
        self._seen.statuses[answer.status_code] += 1
        if answer.status_code not in GOOD:
            raise Lost(f"{answer.request.method} was answered {answer.status_code}")
        return answer

    def _finished(self, end: str, sent: float, began: float) -> None:
        now = time.monotonic()
        self._seen.ends[end] += 1
        self._seen.made_s.append(now - sent)
        self._seen.waited_s.append(now - began)


def _check_picture(answer: httpx.Response) -> None:
    if not (answer.content.startswith(b"\xff\xd8\xff") and answer.content.endswith(b"\xff\xd9")):
        raise Lost("the picture is no JPEG, or half of one")


# The one who asks from without ------------------------------------------------------------------


@contextlib.contextmanager
def probe(url: str) -> Iterator[Any]:
    """Ask ``/healthz`` all the time, from another process; yield what ends it and tells."""
    context = multiprocessing.get_context("spawn")
    pipe, far_end = context.Pipe()
    process = context.Process(target=_ask, args=(url, far_end), daemon=True)
    process.start()
    far_end.close()
    pipe.recv()  # it has begun

    def times() -> list[float]:
        pipe.send("enough")
        answers: list[float] = pipe.recv()
        return answers

    try:
        yield times
    finally:
        process.terminate()
        process.join()


def _ask(url: str, pipe: Connection) -> None:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_ANSWER_S)
    times: list[float] = []
    pipe.send("begun")
    while not pipe.poll(PROBE_S):
        began = time.perf_counter()
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        times.append(time.perf_counter() - began if answer.status == 200 else math.inf)
    pipe.send(times)


# What is reported -------------------------------------------------------------------------------


def memory(resident_mb: Sequence[float]) -> tuple[float, float, float]:
    """Return the memory once it is warmed up and at the end, MB, and its growth in percent.

    Both are medians over a fifth of the time: memory goes up and down with each picture.
    """
    window = max(1, round(_WINDOW_SHARE * len(resident_mb)))
    warm = min(round(_WARM_SHARE * len(resident_mb)), 60)
    before = statistics.median(resident_mb[warm : warm + window])
    after = statistics.median(resident_mb[-window:])
    return before, after, (after / before - 1) * 100


def _row(arguments: argparse.Namespace, seen: Seen, watched: Watched) -> Row:
    before, after, growth = memory(watched.resident_mb)
    return row(
        "kiosk",
        threads=arguments.threads,
        peak_mb=round(max(watched.resident_mb)),
        clients=arguments.clients,
        seconds=arguments.seconds,
        visits=dict(seen.ends),
        per_minute=round(60 * len(seen.made_s) / arguments.seconds, 1),
        statuses={str(status): count for status, count in sorted(seen.statuses.items())},
        lost=seen.lost,
        made_s=_spread(seen.made_s),
        waited_s=_spread(seen.waited_s),
        warm_and_end_mb=[round(before, 1), round(after, 1)],
        memory_growth_percent=round(growth, 2),
        lag_ms=[round(1000 * lag, 1) for lag in watched.lag_s],
        probes=len(watched.probes_s),
        probe_ms={name: 1000 * value for name, value in _spread(watched.probes_s, 4).items()},
        state=asdict(machine.state()),
    )


def _spread(seconds: Sequence[float], digits: int = 2) -> dict[str, float]:
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "most": 1.0}
    return {name: percentile(seconds, share, digits) for name, share in shares.items() if seconds}


def _print(result: Row, seen: Seen) -> None:
    print(f"{result['clients']} clients for {result['seconds']:g} s, {result['threads']} threads")
    named = {
        "from the upload to the picture, s": result["made_s"],
        "from the first try to the picture, s": result["waited_s"],
        "answers to /healthz, ms": result["probe_ms"],
    }
    lines = [[name, *spread.values()] for name, spread in named.items() if spread]
    print(table(["", "p50", "p95", "p99", "most"], lines))
    visits = ", ".join(f"{count} {end}" for end, count in result["visits"].items())
    print(f"  visits: {visits}; {result['per_minute']} pictures a minute")
    print("  answers: " + ", ".join(f"{n} x {s}" for s, n in result["statuses"].items()))
    print(f"  lost: {len(seen.lost)} {Counter(seen.lost).most_common(3) if seen.lost else ''}")
    warm, end = result["warm_and_end_mb"]
    print(
        f"  memory: {warm:.0f} MB warmed up, {end:.0f} MB at the end, "
        f"{result['memory_growth_percent']:+.2f} %, peak {result['peak_mb']} MB"
    )
    ready, ever = result["lag_ms"]
    print(f"  event loop: {ready} ms late at most until it was ready, {ever} ms at all")


def _parser() -> argparse.ArgumentParser:
    options = common_parser(__doc__)
    options.add_argument("--clients", type=int, default=50)
    options.add_argument("--seconds", type=float, default=300)
    return options


if __name__ == "__main__":
    main()
