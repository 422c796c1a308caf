"""``vivant doctor``: what this machine has, which profile runs, and why not a better one.

Also which GPU there is and how fast it may run, which libraries and devices are ready, and which
plans fit. Nothing is changed.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import typer

from vivant import machine, plans
from vivant.backends import BACKENDS, lacking
from vivant.backends.devices import lacking_device, open_device
from vivant.backends.onnxruntime import import_onnxruntime
from vivant.commands.options import Json, Store, print_json
from vivant.errors import BackendError, VivantError
from vivant.machine import processor, version
from vivant.profiles import PROFILES, obstacles, with_matte_here
from vivant.store import EngineFolder, EngineStore, open_store
from vivant.tuning import read_tuning

LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "onnxruntime")
EXTRAS = {
    "onnxruntime-gpu": "gpu",
    "openvino": "openvino",
    "cuda-bindings": "cuda",
    "pycuda": "pycuda",
    "tensorrt": "tensorrt",
    "tensorrt-rtx-cu13-bindings": "rtx",
    "pillow-heif": "heic",
    "onnx": "mtcnn",
    "mtcnn": "mtcnn",
    "torch": "export",
}
DEVICES = ("cuda", "pycuda", "host")

_JETSON = {
    "cuda": "cuda-bindings of the board's CUDA is not here; on JetPack 6 run "
    "pip install 'cuda-bindings>=12.8,<13', on JetPack 7 pip install 'vivant[cuda]'",
    "pycuda": "pycuda is not here; it is built against JetPack's CUDA headers, see docs/jetson.md",
    "onnxruntime-cuda": "the package index has no onnxruntime-gpu for Jetson; install the wheel "
    "for your JetPack, see docs/jetson.md",
    "tensorrt": "tensorrt is not here; run sudo apt-get install python3-libnvinfer, and make the "
    "virtual environment with --system-site-packages",
    "tensorrt-rtx": "TensorRT-RTX does not run on a Jetson; use tensorrt",
}
"""What to do on a Jetson about a device or backend that is not here."""

Fit = Callable[[EngineFolder, str, str], "str | None"]
"""Why the plan of a graph by a library cannot be used here; None where it can."""


def doctor(store: Store = None, json: Json = False) -> None:
    """Say what this machine has and which profile would run.

    Exit status: 0 when a profile can run, 1 when none can.
    """
    report = examine(open_store(store))
    if json:
        print_json(report)
    else:
        _show(report)
    if report["profile"] is None:
        raise typer.Exit(1)


def examine(store: EngineStore) -> dict[str, Any]:
    """Return what there is here, ready for JSON."""
    blocked = {profile.name: obstacles(profile, store) for profile in PROFILES.values()}
    profile = next((name for name, reasons in blocked.items() if not reasons), None)
    state = asdict(machine.state())
    remedy = _lacking_on_jetson if state["board"] else lambda _, reason: reason
    return {
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": state["processor"],
            "python": platform.python_version(),
            **{key: value for key, value in state.items() if key != "processor"},
        },
        "devices": {name: remedy(name, lacking_device(name)) for name in DEVICES},
        "backends": {name: remedy(name, lacking(name)) for name in BACKENDS},
        "libraries": {name: version(name) for name in (*LIBRARIES, *EXTRAS)},
        "providers": _providers(),
        "store": str(store.root),
        "engines": {
            f"{model}/{variant}": _engine_state(store, model, variant)
            for model in store.models()
            for variant in store.variants(model)
        },
        "plans": dict(_plans(store)),
        "tuning": _tuning(store),
        "profile": profile,
        "matte": with_matte_here(PROFILES[profile], store).matte if profile else None,
        "obstacles": {name: list(reasons) for name, reasons in blocked.items() if reasons},
    }


def _show(report: dict[str, Any]) -> None:
    _show_machine(report["machine"])
    typer.echo("\nlibraries")
    for name, installed in report["libraries"].items():
        extra = f"not installed (extra [{EXTRAS[name]}])" if name in EXTRAS else "not installed"
        _line(name, installed or extra)
    _line("providers", ", ".join(report["providers"]) or "none")
    for title in ("devices", "backends"):
        typer.echo(f"\n{title}")
        for name, reason in report[title].items():
            _line(name, f"not here: {reason}" if reason else "ready")
    typer.echo(f"\nengines in {report['store']}")
    for engine, state in report["engines"].items() or [("none", "run 'vivant export mtcnn'")]:
        _line(engine, state)
    for plan, reason in report["plans"].items():
        _line(plan, f"a plan; {reason}" if reason else "a plan that fits")
    _line("tuning", report["tuning"])
    typer.echo("\nprofiles, best first")
    for profile in PROFILES.values():
        chosen = f"  <- runs, with {report['matte']}" if profile.name == report["profile"] else ""
        _line(profile.name, f"{profile.summary}{chosen}")
        for reason in report["obstacles"].get(profile.name, []):
            _line("", f"not here: {reason}")


def _line(name: str, text: str) -> None:
    typer.echo(f"  {name:26} {text}")


def _show_machine(machine: Mapping[str, Any]) -> None:
    typer.echo(f"{machine['system']}, {machine['processor']}, Python {machine['python']}")
    for card in machine["cards"]:
        _show_card(card, machine["cuda"])
    if machine["board"]:
        _show_board(machine["board"])
    if not machine["cards"] and not machine["board"]:
        typer.echo("no NVIDIA GPU; where there is one, install NVIDIA's driver")
    for note in machine["notes"]:
        typer.echo(f"could not be read: {note}")


def _show_card(card: Mapping[str, Any], cuda: str | None) -> None:
    """Show a graphics card: what it is, then how fast it runs and may run."""
    told = {key: "?" if value is None else _plain(value) for key, value in card.items()}
    typer.echo(f"\n{told['name']}")
    _line("driver", f"{told['driver']}, for CUDA {cuda or '?'}")
    _line("compute capability", told["capability"])
    _line("processors", "{sm_mhz} of {sm_max_mhz} MHz".format(**told))
    _line("memory", "{memory_mhz} of {memory_max_mhz} MHz".format(**told))
    _line("memory in use", "{memory_used_mb} of {memory_mb} MiB".format(**told))
    _line("power", "{power_w} of {power_limit_w} W".format(**told))
    _line("temperature", "{temperature_c} degrees Celsius".format(**told))
    _line("persistence mode", told["persistence"])


def _show_board(board: Mapping[str, Any]) -> None:
    """Show a Jetson: its software, its power mode, and whether its clocks are held at the top."""
    typer.echo(f"\n{board['name'] or 'Jetson'}")
    release = board["release"] or "cannot be seen; in a container, mount /etc/nv_tegra_release"
    _line("Jetson Linux", release)
    _line("JetPack", board["jetpack"] or "unknown; 'apt show nvidia-jetpack' tells it")
    _line("power mode", board["power_mode"] or "unknown; 'nvpmodel -q' tells it")
    for name, clock in board["clocks"].items():
        held = "held there" if clock["locked"] else "not held; 'sudo jetson_clocks' does"
        least, most, now = (_plain(clock[f"{key}_mhz"]) for key in ("least", "most", "now"))
        _line(f"{name} clock", f"{now} of {least}..{most} MHz, {held}")
    if "EMC" not in board["clocks"]:
        _line("EMC clock", "root alone may see it: 'sudo jetson_clocks --show'")


def _plain(value: object) -> str:
    return f"{value:.0f}" if isinstance(value, float) else str(value)


def _lacking_on_jetson(name: str, reason: str | None) -> str | None:
    """Return ``reason`` with a Jetson's remedy, where it is to install something."""
    return _JETSON.get(name, reason) if reason and "pip install" in reason else reason


def _plans(store: EngineStore) -> Iterator[tuple[str, str | None]]:
    """Find every plan of the store; with each, why it cannot be used here, if so."""
    fit = _fit()
    for model in store.models():
        for variant in store.variants(model):
            try:
                folder = replace(store, allow_untrained=True).engine(model, variant)
            except VivantError:
                continue  # said of the engine
            for library in plans.LIBRARIES:
                for graph in folder.manifest.graphs:
                    path = plans.plan_folder(folder, library) / f"{graph}.plan"
                    if path.exists() or path.with_suffix(".json").exists():
                        yield f"{model}/{variant}/{library}/{graph}", fit(folder, graph, library)


def _fit() -> Fit:
    """Return the check of a plan; the device is asked for its capability once, when needed."""

    @functools.cache
    def capability() -> tuple[int, int]:
        device = open_device("cuda")
        try:
            return device.capability
        finally:
            device.close()

    def fit(folder: EngineFolder, graph: str, library: str) -> str | None:
        from vivant.backends.tensorrt import load

        try:
            version = str(load(library).__version__)
            return plans.obstacle(folder, graph, library, version, capability())
        except VivantError as error:
            return f"whether it fits cannot be told: {error}"

    return fit


def _tuning(store: EngineStore) -> str:
    """Return which choices the store follows, and whether they were measured here."""
    tuning = read_tuning(store.root)
    if not tuning.choices:
        return "none; 'vivant tune' finds the fastest engine and library for this machine"
    chosen = ", ".join(
        f"{name}: {choice.variant} in {choice.backend}" for name, choice in tuning.choices.items()
    )
    if tuning.processor == processor():
        return chosen
    return f"{chosen}; measured on another machine, run 'vivant tune' on this one"


def _providers() -> list[str]:
    try:
        return list(import_onnxruntime().get_available_providers())
    except BackendError:
        return []


def _engine_state(store: EngineStore, model: str, variant: str) -> str:
    """Read every graph of an engine against its hash: "ok" and its weights, or what is wrong."""
    try:
        folder = replace(store, allow_untrained=True).engine(model, variant)
        for graph in folder.manifest.graphs:
            folder.read(graph)
    except VivantError as error:
        return str(error)
    return f"ok, {folder.manifest.weights.kind} weights"
