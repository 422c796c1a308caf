"""``vivant export``: the door to the exporter, which is not needed to run anything."""

from __future__ import annotations

from typing import Annotated

import typer

from vivant.commands.options import Store
from vivant.errors import ModelError
from vivant.store import open_store


def export(
    model: Annotated[str, typer.Argument(help="The model, such as 'mtcnn'.", show_default=False)],
    store: Store = None,
) -> None:
    """Build a model's engine and put it into the store."""
    try:
        from vivant_export.cli import export_model
    except ImportError as error:
        raise ModelError(
            f"exporting needs '{error.name}'; run pip install 'vivant[mtcnn]'"
        ) from error
    folder = export_model(model, open_store(store))
    largest = max(folder.manifest.parity.values())
    typer.echo(f"{folder.path}  largest deviation from the published network {largest:.1e}")
