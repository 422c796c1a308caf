"""Options that several commands share, and how results are printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from vivant.errors import PlacementError, SubjectError

Store = Annotated[
    Path | None,
    typer.Option(
        "--store", help="Engine store [default: $VIVANT_ENGINES, else engines/ of the checkout]."
    ),
]
Untrained = Annotated[
    bool,
    typer.Option("--allow-untrained", help="Run engines with untrained weights, for tests."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

errors = Console(stderr=True, highlight=False, soft_wrap=True)
"""For everything that is not the result."""


@contextmanager
def about(photo: Path) -> Iterator[None]:
    """Put the photo's name before an error about who is on it, which cannot know the name."""
    try:
        yield
    except (SubjectError, PlacementError) as error:
        raise type(error)(f"{photo}: {error}") from error


def print_json(value: Any) -> None:
    """Print ``value`` on standard output."""
    typer.echo(json.dumps(value, indent=2))


def print_error(message: object) -> None:
    """Print one line on standard error."""
    line = " ".join(str(message).split())
    errors.print("[bold red]error:[/] ", end="")
    errors.print(line, markup=False)
