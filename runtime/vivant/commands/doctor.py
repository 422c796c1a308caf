"""``vivant doctor``: what this machine has, which profile runs, and why not a better one."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import typer

from vivant.backends.onnxruntime import usable_cores
from vivant.commands.options import Json, Store, print_json
from vivant.errors import VivantError
from vivant.profiles import PROFILES, obstacles
from vivant.store import EngineStore, open_store

LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "onnxruntime", "onnxruntime-gpu")
EXTRAS = {"pillow-heif": "heic", "onnx": "mtcnn", "mtcnn": "mtcnn", "torch": "export"}


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
    return {
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "cores": usable_cores(),
        },
        "libraries": {name: _version(name) for name in (*LIBRARIES, *EXTRAS)},
        "providers": _providers(),
        "store": str(store.root),
        "engines": {model: _engine_state(store, model) for model in store.models()},
        "profile": next((name for name, reasons in blocked.items() if not reasons), None),
        "obstacles": {name: list(reasons) for name, reasons in blocked.items() if reasons},
    }


def _show(report: dict[str, Any]) -> None:
    machine = report["machine"]
    typer.echo(f"{machine['system']}, Python {machine['python']}, {machine['cores']} cores")
    typer.echo("\nlibraries")
    for name, version in report["libraries"].items():
        extra = f"not installed (extra [{EXTRAS[name]}])" if name in EXTRAS else "not installed"
        typer.echo(f"  {name:24} {version or extra}")
    typer.echo(f"  {'providers':24} {', '.join(report['providers']) or 'none'}")
    typer.echo(f"\nengines in {report['store']}")
    for model, state in report["engines"].items() or [("none", "run 'vivant export mtcnn'")]:
        typer.echo(f"  {model:24} {state}")
    typer.echo("\nprofiles, best first")
    for profile in PROFILES.values():
        chosen = "  <- runs" if profile.name == report["profile"] else ""
        typer.echo(f"  {profile.name:24} {profile.summary}{chosen}")
        for reason in report["obstacles"].get(profile.name, []):
            typer.echo(f"  {'':24} not here: {reason}")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _providers() -> list[str]:
    try:
        import onnxruntime
    except ImportError:
        return []
    return list(onnxruntime.get_available_providers())


def _engine_state(store: EngineStore, model: str) -> str:
    """Read every graph of every variant against its hash: "ok", or what is wrong."""
    return "; ".join(_variant_state(store, model, variant) for variant in store.variants(model))


def _variant_state(store: EngineStore, model: str, variant: str) -> str:
    try:
        folder = store.engine(model, variant)
        for graph in folder.manifest.graphs:
            folder.read(graph)
    except VivantError as error:
        return f"{variant}: {error}"
    return f"{variant}: ok, {folder.manifest.weights.kind} weights"
