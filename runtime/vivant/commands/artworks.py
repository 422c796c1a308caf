"""``vivant artworks``: list, check and preview artwork folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vivant.artwork import Artwork, Gallery, Slot, find_artworks, load_artwork
from vivant.commands.options import Json, print_error, print_json
from vivant.errors import ArtworkError
from vivant.images import save_image
from vivant.preview import draw_slots

app = typer.Typer(help="List, check and preview artworks.", no_args_is_help=True)

Folder = Annotated[
    Path,
    typer.Argument(help="An artwork's folder, or a folder of artworks.", show_default=False),
]


@app.command("list")
def list_artworks(folder: Folder, json: Json = False) -> None:
    """List the artworks of a folder and their slots; broken ones go to standard error."""
    gallery = _gallery(folder)
    if json:
        print_json([_facts(artwork) for artwork in gallery.artworks])
    else:
        for artwork in gallery.artworks:
            by = ", ".join(str(part) for part in (artwork.artist, artwork.year) if part)
            typer.echo(f"{artwork.id}  {artwork.title}" + (f" ({by})" if by else ""))
            for slot in artwork.slots:
                typer.echo(f"    {_describe(slot)}")
    _complain(gallery)


@app.command()
def check(folder: Folder) -> None:
    """Check artworks: every problem of every file, by key, on standard error.

    Exit status: 0 when all are sound, 1 otherwise.
    """
    gallery = _gallery(folder)
    for artwork in gallery.artworks:
        picture = artwork.picture()
        typer.echo(
            f"{artwork.id}  ok, {len(artwork.slots)} slots, {picture.shape[1]}x{picture.shape[0]}"
        )
    _complain(gallery)


@app.command()
def preview(
    artwork: Annotated[Path, typer.Argument(help="The artwork's folder.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The picture to write.")],
) -> None:
    """Draw the slots of an artwork on its picture."""
    save_image(draw_slots(load_artwork(artwork)), output)
    typer.echo(str(output))


def _gallery(folder: Path) -> Gallery:
    if not (folder / "artwork.toml").exists() and folder.is_dir():
        return find_artworks(folder)
    try:
        return Gallery((load_artwork(folder),), ())
    except ArtworkError as error:
        return Gallery((), (error,))


def _complain(gallery: Gallery) -> None:
    for error in gallery.errors:
        print_error(error)
    if gallery.errors:
        raise typer.Exit(1)


def _describe(slot: Slot) -> str:
    least, most = slot.people
    crowd = f"{least}-{most} people" if most > least else f"{least} person" + "s" * (least > 1)
    return f"{slot.name}: {', '.join(map(str, slot.shot))}, {crowd}, priority {slot.priority}"


def _facts(artwork: Artwork) -> dict[str, object]:
    return {
        "id": artwork.id,
        "title": artwork.title,
        "artist": artwork.artist,
        "year": artwork.year,
        "credit": artwork.credit,
        "licence": artwork.licence,
        "folder": str(artwork.folder),
        "slots": [
            {
                "name": slot.name,
                "shot": [str(kind) for kind in slot.shot],
                "people": slot.people,
                "box": slot.box,
                "priority": slot.priority,
            }
            for slot in artwork.slots
        ],
    }
