"""``vivant models``: what can be exported, what it may be used for, and what is here of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer

from vivant.commands.options import Json, Store, print_json
from vivant.errors import EngineError
from vivant.manifest import Manifest
from vivant.store import MANIFEST, EngineStore, open_store

if TYPE_CHECKING:
    from vivant_export.catalogue import Model

PLANS = (".plan", ".engine")  # what a library has built for one device, from the exported graph


def models(store: Store = None, json: Json = False) -> None:
    """List the models that can be fetched and exported, and what is here of each."""
    from vivant_export.catalogue import MODELS

    engines = open_store(store)
    rows = [describe(model, engines) for model in MODELS.values()]
    if json:
        print_json(rows)
        return
    for row in rows:
        licence = row["licence"]
        use = "any use" if licence["commercial"] else "non-commercial"
        typer.echo(
            f"{row['name']:18} {row['role']:11} {licence['name']:14} {use:15} {_state(row)}\n"
            f"{'':18} {row['summary']}"
        )
    typer.echo("\nvivant fetch MODEL gets the weights, vivant export MODEL builds the engine")


def describe(model: Model, store: EngineStore) -> dict[str, Any]:
    """Return what ``model`` is and what is here of it, ready for JSON.

    ``weights`` is their path, not verified here, or null; ``exported`` and ``built`` are variants
    in the store.
    """
    from vivant_export.weights import weights_path

    path = weights_path(model)
    variants = dict(_variants(model.name, store))
    return {
        "name": model.name,
        "role": model.role,
        "summary": model.summary,
        "licence": {
            "name": model.licence.name,
            "commercial": model.licence.commercial,
            "summary": model.licence.summary,
            "url": model.licence.url,
        },
        "precisions": list(model.precisions),
        "sizes": list(model.sizes),
        "weights": str(path) if path else None,
        "exported": [name for name, built in variants.items() if not built],
        "built": [name for name, built in variants.items() if built],
    }


def _variants(model: str, store: EngineStore) -> Iterator[tuple[str, bool]]:
    """Yield each variant in the store, and whether it was built for one device."""
    for variant in store.variants(model):
        try:
            manifest = Manifest.load(store.root / model / variant / MANIFEST)
        except EngineError:  # 'vivant doctor' says what is wrong with it
            continue
        yield variant, any(graph.file.endswith(PLANS) for graph in manifest.graphs.values())


def _state(row: dict[str, Any]) -> str:
    parts = ["weights here"] if row["weights"] else []
    parts += [f"{what} {', '.join(row[what])}" for what in ("exported", "built") if row[what]]
    return "; ".join(parts) or "absent"
