"""``vivant serve``: the door to the kiosk's service."""

from __future__ import annotations

import webbrowser
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any
from urllib.parse import quote

import typer

from vivant.commands.options import Store, Untrained, errors
from vivant.errors import ModelError


def serve(
    settings: Annotated[
        Path | None, typer.Option("--settings", help="A kiosk.toml; options take precedence.")
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on [default: 127.0.0.1].")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0: a free one [default: 8080].")
    ] = None,
    artworks: Annotated[
        Path | None, typer.Option(help="Folder of artworks [default: the samples].")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="classic, deep or best [default: the best that runs].")
    ] = None,
    store: Store = None,
    allow_untrained: Untrained = False,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Log lines as JSON.")] = False,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in a browser, once it is ready.")
    ] = False,
) -> None:
    """Serve the kiosk: its page, and the REST service behind it, until it is interrupted.

    Exit status: 0 ended as asked, 1 could not begin, 2 wrong usage.
    """
    server, reader = _service()
    chosen = reader.load_settings(
        settings,
        host=host,
        port=port,
        artworks=artworks,
        profile=profile,
        store=store,
        allow_untrained=allow_untrained or None,
        json_logs=json_logs or None,
    )
    server.serve(
        chosen,
        on_listening=lambda url: errors.print(f"vivant serves {url}  (Ctrl-C ends it)"),
        on_ready=lambda url: _open(url, chosen.token) if open_page else None,
    )


def _open(url: str, token: Any) -> None:
    """Open the page; it takes the service's token from the fragment, which is never sent."""
    for everywhere, here in (("//0.0.0.0:", "//127.0.0.1:"), ("//[::]:", "//[::1]:")):
        url = url.replace(everywhere, here)
    webbrowser.open(url if token is None else f"{url}#token={quote(token.get_secret_value())}")


def _service() -> tuple[ModuleType, ModuleType]:
    try:
        from vivant_kiosk import server, settings
    except ImportError as error:
        raise ModelError(
            f"serving needs '{error.name}'; run pip install 'vivant[kiosk]'"
        ) from error
    return server, settings
