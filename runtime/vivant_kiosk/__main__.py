"""The command ``vivant-kiosk``, which is ``vivant serve`` as one executable.

Its folder is all there is: engines in ``engines/``, and settings in ``kiosk.toml`` if there is one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from vivant.commands.options import print_error
from vivant.commands.serve import serve
from vivant.errors import VivantError
from vivant_kiosk.settings import FILE_NAME

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
app.command()(serve)


def main() -> None:
    """Run the command line.

    Exit status: 0 ended as asked, 1 could not begin (one line on standard error says why),
    2 wrong usage.
    """
    arguments = sys.argv[1:]
    if getattr(sys, "frozen", False):  # built by deploy/vivant-kiosk.spec
        arguments = from_folder(Path(sys.executable).resolve().parent, arguments)
    try:
        app(arguments, prog_name="vivant-kiosk")
    except VivantError as error:
        print_error(error)
        sys.exit(1)


def from_folder(folder: Path, arguments: Sequence[str]) -> list[str]:
    """Return the arguments, completed by what lies in the executable's folder.

    Engines are looked for there unless ``$VIVANT_ENGINES`` says otherwise.
    """
    os.environ.setdefault("VIVANT_ENGINES", str(folder / "engines"))
    settings = folder / FILE_NAME
    named = any(each.partition("=")[0] == "--settings" for each in arguments)
    return (
        list(arguments)
        if named or not settings.is_file()
        else [
            f"--settings={settings}",
            *arguments,
        ]
    )


if __name__ == "__main__":
    main()
