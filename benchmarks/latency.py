"""How long a visitor waits: every stage and the whole way, on one photo and one artwork.

The photo is encoded as a camera would send it; a run is everything from its bytes to the
finished picture's bytes. Artworks stay decoded between runs, as they do in a kiosk. Whatever is
measured runs in a process of its own, so that nothing but Vivant is in its memory. What a visit
is, on the processor and on a device, is told in ``visits``.

On a device two times are told for a stage: what the host waits for it, and the device's own work
between events. On "host" the device is NumPy: that shows that the code runs, and its times mean
nothing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from engines import measured_store
from interleave import peak_mb, show_progress
from pictures import sample_artwork, sample_frame
from report import (
    Row,
    median,
    parser,
    percentile,
    plot,
    plot_course,
    row,
    speeds,
    table,
    write_json,
)
from visits import DEVICES, Setting, open_visit
from vivant import machine, models
from vivant.artwork import load_artwork
from vivant.errors import VivantError
from vivant.images import encode_image, load_image
from vivant.machine import MachineState
from vivant.mattes.grabcut import GrabCutMatter
from vivant.portrait import prominent
from vivant.profiles import PROFILES, find_profile
from vivant.roles import Matting
from vivant.store import EngineStore, open_store
from vivant.studio import WORKING_SIDE, reduce_to

WARMUP = 3
COLD_STARTS = 3

Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Measured:
    """What a number of runs came to.

    Attributes:
        runs: milliseconds of every run, by stage.
        gpu_runs: the same of the device's own work. Stages of two streams overlap: no sum of
            them means anything.
        peak_mb: the most memory that the process held.
        size: of the picture.
        device_mb: of the device's memory in use before the studio was opened, and after the runs;
            None without a device.
        state: of the machine right after the runs, while it is still warm.
    """

    runs: dict[str, list[float]]
    gpu_runs: dict[str, list[float]]
    peak_mb: float
    size: str
    device_mb: tuple[float, float] | None
    state: MachineState


@dataclass(frozen=True)
class Soaked:
    """Memory in MB after each picture, the process's and the device's, and the machine's state."""

    resident_mb: list[float]
    device_mb: list[float]
    state: MachineState


def main() -> None:
    """Print the table; write it as JSON and as a plot where asked."""
    options = _parser()
    arguments = options.parse_args()
    if arguments.profile is None:
        arguments.profile = "classic" if arguments.device == "cpu" else "deep"
    if arguments.device != "cpu" and not _has_networks(arguments.profile):
        options.error(f"--profile {arguments.profile}: runs on the processor alone")
    # Inherited by the processes that measure, before any library in them counts processors.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = _report_soak if arguments.soak else _report_stages
            report(_setting(arguments, Path(folder)), arguments)
        except VivantError as error:
            sys.exit(f"error: {error}")


def _report_stages(setting: Setting, arguments: argparse.Namespace) -> None:
    measured = _in_new_process(measure, setting, arguments.rounds)
    if arguments.only not in {None, *measured.runs}:
        sys.exit(f"error: no stage '{arguments.only}'; there are {', '.join(measured.runs)}")
    chosen = {
        stage: times for stage, times in measured.runs.items() if arguments.only in {None, stage}
    }
    engines = _engines(setting)
    rows = []
    for stage, times in chosen.items():
        facts = engines.get(stage, {})
        if stage == "end-to-end":
            facts = {**_joined(engines), **_cold_start(setting)}
        rows.append(_row(stage, times, measured, arguments, facts))
    _print(rows, measured)
    if arguments.json:
        write_json(arguments.json, rows)
    if arguments.plot:
        plot(arguments.plot, chosen, f"{_profile(arguments)} profile, {arguments.threads} threads")


def _report_soak(setting: Setting, arguments: argparse.Namespace) -> None:
    soaked = _in_new_process(soak, setting, arguments.soak)
    result = row(
        "end-to-end",
        peak_mb=round(max(soaked.resident_mb)),
        threads=arguments.threads,
        **_joined(_engines(setting)),
        profile=_profile(arguments),
        pictures=len(soaked.resident_mb),
        state=asdict(soaked.state),
        **_grown("resident", soaked.resident_mb),
        **_grown("device", soaked.device_mb),
    )
    print(f"{_profile(arguments)} profile, {result['pictures']} pictures in a row")
    for name in ("resident", "device"):
        if course := result.get(f"{name}_mb"):
            print(f"  {name} memory, warmed up  {course[0]:8.1f} MB")
            growth = result["growth_percent" if name == "resident" else "device_growth_percent"]
            print(f"  {name} memory, at the end {course[1]:8.1f} MB, {growth:+.2f} %")
    if arguments.json:
        write_json(arguments.json, [result])
    if arguments.plot:
        title = f"{_profile(arguments)} profile, memory over {result['pictures']} pictures"
        plot_course(arguments.plot, soaked.resident_mb, title, "resident MB")


def _grown(name: str, course: Sequence[float]) -> dict[str, Any]:
    """Return a memory once it is warmed up and at the end, and how much it grew in percent."""
    if not course:
        return {}
    warm = max(1, len(course) // 10)  # by then allocators have what they keep
    before, after = course[warm - 1], course[-1]
    key = "growth_percent" if name == "resident" else f"{name}_growth_percent"
    growth = (after / before - 1) * 100 if before else 0.0
    return {f"{name}_mb": [round(before, 1), round(after, 1)], key: round(growth, 2)}


# In a process of its own --------------------------------------------------------------------------


def first_picture(setting: Setting, started: float) -> dict[str, float]:
    """Return milliseconds from ``started``, when the process was, to its first picture, by part."""
    imported = time.monotonic()
    visit = open_visit(setting)
    opened = time.monotonic()
    visit.compose()
    end = time.monotonic()
    return {
        "cold_start_ms": (end - started) * 1000,
        "cold_import_ms": (imported - started) * 1000,
        "cold_open_ms": (opened - imported) * 1000,
        "cold_picture_ms": (end - opened) * 1000,
    }


def measure(setting: Setting, rounds: int) -> Measured:
    """Compose ``rounds`` times, and a few times before that do not count."""
    visit = open_visit(setting)
    runs: dict[str, list[float]] = {}
    gpu_runs: dict[str, list[float]] = {}
    for turn in range(WARMUP + rounds):
        run = visit.compose()
        show_progress(turn + 1, WARMUP + rounds)
        if turn < WARMUP:
            continue
        for stage, seconds in run.seconds.items():
            runs.setdefault(stage, []).append(seconds * 1000)
        for stage, spent in run.gpu_ms.items():
            gpu_runs.setdefault(stage, []).append(spent)
    state = machine.state()
    return Measured(runs, gpu_runs, peak_mb(), run.size, visit.device_mb(), state)


def soak(setting: Setting, pictures: int) -> Soaked:
    """Compose ``pictures`` times, and watch the memory."""
    visit = open_visit(setting)
    resident, device = [], []
    for turn in range(pictures):
        visit.compose()
        resident.append(_resident_mb())
        if used := visit.device_mb():
            device.append(used[1])
        show_progress(turn + 1, pictures)
    return Soaked(resident, device, machine.state())


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


# What is reported ---------------------------------------------------------------------------------


def _in_new_process(function: Callable[..., Returned], *arguments: Any) -> Returned:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def _setting(arguments: argparse.Namespace, folder: Path) -> Setting:
    photo = (
        arguments.photo.read_bytes() if arguments.photo else encode_image(sample_frame(), "jpeg")
    )
    store = _store(arguments)
    profile = find_profile(arguments.profile, store)
    trained = _facts("matte", profile.matte, store).get("weights") != "untrained"
    return Setting(
        profile=profile.name,
        store=store,
        photo=photo,
        artwork=load_artwork(arguments.artwork) if arguments.artwork else sample_artwork(folder),
        matting=None if trained else _grabcut(photo, store),
        device=arguments.device,
        mapped=arguments.mapped,
    )


def _grabcut(photo: bytes, store: EngineStore) -> Matting:
    image = reduce_to(load_image(photo), WORKING_SIDE)
    faces = models.open_model(models.FACES, "mtcnn", store).detect(image)
    return GrabCutMatter().matte(image, prominent(faces))


def _store(arguments: argparse.Namespace) -> EngineStore:
    """Return the named store as it is; without one, that of untrained engines, completed."""
    if arguments.store:
        return open_store(arguments.store, allow_untrained=True)
    profile = PROFILES[arguments.profile]
    names = [
        name
        for role, known in models.ROLES.items()
        if models.find(known, name := getattr(profile, role)).needs_engine
    ]
    return measured_store(None, [(name, "fp32") for name in names])


def _has_networks(profile: str) -> bool:
    return models.find(models.MATTES, PROFILES[profile].matte).needs_engine


def _profile(arguments: argparse.Namespace) -> str:
    """Return the profile's name, the device, and whether it ran as a named store was tuned."""
    device = "" if arguments.device == "cpu" else f" {arguments.device}"
    tuned = " tuned" if arguments.store and open_store(arguments.store).choices else ""
    mapped = " mapped" if device and arguments.mapped else ""
    return f"{arguments.profile}{device}{mapped}{tuned}"


def _engines(setting: Setting) -> dict[str, Row]:
    """Return, by stage, what its model runs on; its name alone for one without an engine."""
    store = setting.store
    profile = find_profile(setting.profile, store)
    stages = {"faces": "faces", "matte": "matte", "harmonize": "harmonizer", "score": "scorer"}
    return {
        stage: _facts(role, getattr(profile, role), store, setting.device)
        for stage, role in stages.items()
    }


def _facts(role: str, name: str, store: EngineStore, device: str = "cpu") -> Row:
    if not models.find(models.ROLES[role], name).needs_engine:
        return {"model": name}
    engine = store.engine(name)
    backend = engine.choice.backend
    if device in {"cuda", "pycuda"} and not backend.startswith("tensorrt"):
        backend = "onnxruntime-cuda"  # as vivant.backends.open_device_engine does
    return {
        "model": name,
        "backend": backend,
        "precision": engine.choice.variant,
        "weights": engine.manifest.weights.kind,
    }


def _joined(engines: dict[str, Row]) -> Row:
    """Return what all engines run on, each once."""
    return {
        key: " + ".join(sorted({facts[key] for facts in engines.values() if key in facts}))
        for key in ("backend", "precision")
    }


def _cold_start(setting: Setting) -> dict[str, int]:
    """Return the median milliseconds of some first pictures, each in a new process."""
    cold = [_in_new_process(first_picture, setting, time.monotonic()) for _ in range(COLD_STARTS)]
    return {key: round(statistics.median(start[key] for start in cold)) for key in cold[0]}


def _row(
    stage: str,
    times: Sequence[float],
    measured: Measured,
    arguments: argparse.Namespace,
    facts: Mapping[str, Any],
) -> Row:
    gpu = measured.gpu_runs.get(stage)
    on_device = {"device": arguments.device, "device_mb": measured.device_mb}
    return row(
        stage,
        ours_ms=median(times),
        peak_mb=round(measured.peak_mb),
        threads=arguments.threads,
        p95_ms=percentile(times, 0.95),
        p99_ms=percentile(times, 0.99),
        profile=_profile(arguments),
        size=measured.size,
        rounds=len(times),
        state=asdict(measured.state),
        **(on_device if measured.device_mb else {}),
        **(_spread("gpu", gpu) if gpu else {}),
        **facts,
    )


def _spread(name: str, times: Sequence[float]) -> dict[str, float]:
    return {
        f"{name}_ms": median(times),
        f"{name}_p95_ms": percentile(times, 0.95),
        f"{name}_p99_ms": percentile(times, 0.99),
    }


def _print(rows: Sequence[Row], measured: Measured) -> None:
    first, last = rows[0], rows[-1]
    print(f"{first['profile']} profile, picture {measured.size}, {first['threads']} threads")
    header = ["stage", "p50", "p95", "p99 ms", "backend", "precision"]
    keys = ["stage", "ours_ms", "p95_ms", "p99_ms", "backend", "precision"]
    if measured.gpu_runs:
        header[4:4] = ["device p50", "p95", "p99 ms"]
        keys[4:4] = ["gpu_ms", "gpu_p95_ms", "gpu_p99_ms"]
    print(table(header, [[each.get(key) for key in keys] for each in rows]))
    print(f"  {first['rounds']} runs, peak memory {measured.peak_mb:.0f} MB")
    if measured.device_mb:
        print("  device's memory in use {:.0f} MB before, {:.0f} after".format(*measured.device_mb))
    for line in speeds(first["state"]):
        print(f"  {line}")
    if first.get("device") == "host":
        print("  the device is NumPy on the processor: this shows that it runs, not how fast")
    if "cold_start_ms" in last:
        print(
            "  cold start to first picture {cold_start_ms} ms (import {cold_import_ms}, "
            "open {cold_open_ms}, picture {cold_picture_ms})".format(**last)
        )


def _parser() -> argparse.ArgumentParser:
    options = parser(__doc__, rounds=20)
    options.add_argument(
        "--profile", choices=list(PROFILES)[::-1], help="classic, or deep on a device"
    )
    options.add_argument(
        "--device", choices=DEVICES, default="cpu", help="what computes; host checks the code only"
    )
    options.add_argument(
        "--mapped", action="store_true", help="the device reads photos from host memory (Jetson)"
    )
    options.add_argument("--photo", type=Path, help="a photo instead of the 1920x1080 sample")
    options.add_argument("--artwork", type=Path, help="an artwork instead of the 1920x1080 sample")
    options.add_argument(
        "--soak", type=int, metavar="N", help="compose N times in a row and watch the memory"
    )
    return options


if __name__ == "__main__":
    main()
