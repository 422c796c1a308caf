"""``vivant doctor``: what this machine has, which profile runs, and why not a better one."""

from __future__ import annotations

import platform
from dataclasses import replace
from typing import Any

import typer

from vivant.commands.options import Json, Store, print_json
from vivant.errors import VivantError
from vivant.machine import processor, version
from vivant.profiles import PROFILES, obstacles, with_matte_here
from vivant.store import EngineStore, open_store
from vivant.tuning import read_tuning

LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "onnxruntime", "onnxruntime-gpu")
EXTRAS = {
    "openvino": "openvino",
    "pillow-heif": "heic",
    "onnx": "mtcnn",
    "mtcnn": "mtcnn",
    "torch": "export",
}


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
    return {
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "processor": processor(),
            "python": platform.python_version(),
        },
        "libraries": {name: version(name) for name in (*LIBRARIES, *EXTRAS)},
        "providers": _providers(),
        "store": str(store.root),
        "engines": {
            f"{model}/{variant}": _engine_state(store, model, variant)
            for model in store.models()
            for variant in store.variants(model)
        },
        "tuning": _tuning(store),
        "profile": profile,
        "matte": with_matte_here(PROFILES[profile], store).matte if profile else None,
        "obstacles": {name: list(reasons) for name, reasons in blocked.items() if reasons},
    }


def _show(report: dict[str, Any]) -> None:
    machine = report["machine"]
    typer.echo(f"{machine['system']}, {machine['processor']}, Python {machine['python']}")
    typer.echo("\nlibraries")
    for name, installed in report["libraries"].items():
        extra = f"not installed (extra [{EXTRAS[name]}])" if name in EXTRAS else "not installed"
        typer.echo(f"  {name:24} {installed or extra}")
    typer.echo(f"  {'providers':24} {', '.join(report['providers']) or 'none'}")
    typer.echo(f"\nengines in {report['store']}")
    for engine, state in report["engines"].items() or [("none", "run 'vivant export mtcnn'")]:
        typer.echo(f"  {engine:24} {state}")
    typer.echo(f"  {'tuning':24} {report['tuning']}")
    typer.echo("\nprofiles, best first")
    for profile in PROFILES.values():
        chosen = f"  <- runs, with {report['matte']}" if profile.name == report["profile"] else ""
        typer.echo(f"  {profile.name:24} {profile.summary}{chosen}")
        for reason in report["obstacles"].get(profile.name, []):
            typer.echo(f"  {'':24} not here: {reason}")


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
        import onnxruntime
    except ImportError:
        return []
    return list(onnxruntime.get_available_providers())


def _engine_state(store: EngineStore, model: str, variant: str) -> str:
    """Read every graph of an engine against its hash: "ok" and its weights, or what is wrong."""
    try:
        folder = replace(store, allow_untrained=True).engine(model, variant)
        for graph in folder.manifest.graphs:
            folder.read(graph)
    except VivantError as error:
        return str(error)
    return f"ok, {folder.manifest.weights.kind} weights"
