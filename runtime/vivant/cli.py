"""The command ``vivant``."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated

import typer

from vivant.commands import (
    artworks,
    build,
    compose,
    doctor,
    export,
    fetch,
    models,
    serve,
    stages,
    tune,
)
from vivant.commands.options import print_error
from vivant.errors import VivantError

INTERRUPTED = 130

app = typer.Typer(
    help="Compose a visitor's portrait into a painting, lit by its light.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vivant {importlib.metadata.version('vivant')}")
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


app.command()(compose.compose)
app.command()(stages.faces)
app.command()(stages.matte)
app.command()(stages.harmonize)
app.command()(stages.score)
app.add_typer(artworks.app, name="artworks")
app.command()(models.models)
app.command()(fetch.fetch)
app.command()(export.export)
app.command()(export.verify)
app.command()(build.build)
app.command()(tune.tune)
app.command()(serve.serve)
app.command()(doctor.doctor)


def main() -> None:
    """Run the command line.

    Exit status: 0 done, 1 failed (one line on standard error says why), 2 wrong usage,
    130 interrupted.
    """
    try:
        app()
    except VivantError as error:
        print_error(error)
        sys.exit(1)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            print_error("interrupted; what was finished is kept, nothing is half written")
        raise


if __name__ == "__main__":
    main()
