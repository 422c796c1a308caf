"""``vivant fetch``: the published weights of a model, onto this machine."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from vivant.commands.options import Json, errors, print_json

VOUCHERS = {
    "catalogue": "the published file",
    "publisher": "the file that its publisher has, by its SHA-256",
    "first use": "nobody publishes its SHA-256, from now on it may not change",
    "wheel": "installed with the wheel 'mtcnn'",
}


def fetch(
    model: Annotated[
        str, typer.Argument(help="The model; 'vivant models' lists them.", show_default=False)
    ],
    accept_license: Annotated[
        bool,
        typer.Option(
            "--accept-license",
            help="Accept a licence that forbids commercial use; it is shown without this.",
        ),
    ] = False,
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Open no connection; say which file to put where."),
    ] = False,
    json: Json = False,
) -> None:
    """Fetch the published weights of a model, verified; goes on where it was interrupted.

    They are kept in $VIVANT_WEIGHTS, else in the user's cache. A model behind a login, such as
    rmbg-2.0, needs the token of the Hugging Face account that accepted its terms: $HF_TOKEN, or
    'hf auth login'.
    """
    from vivant_export import weights
    from vivant_export.catalogue import find_model

    wanted = find_model(model)
    with _bar() as bar:
        task = bar.add_task(model, total=None, visible=False)

        def show(done: int, total: int | None) -> None:
            bar.update(task, completed=done, total=total, visible=True)

        path = weights.fetch(wanted, accept_license=accept_license, offline=offline, progress=show)
    receipt = weights.read_receipt(wanted)
    if json:
        known = dataclasses.asdict(receipt) if receipt else {"licence": wanted.licence.name}
        print_json({"model": model, "path": str(path), **known})
    else:
        vouched_by = receipt.vouched_by if receipt else "wheel"
        typer.echo(f"{path}  {VOUCHERS[vouched_by]}; licence {wanted.licence.name}")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
