"""``vivant compose``: portraits into artworks, one or many."""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from vivant.artwork import Artwork, load_artwork
from vivant.commands.options import Json, Store, Untrained, about, errors, print_error, print_json
from vivant.errors import ArtworkError, ImageError, OutputError, VivantError
from vivant.facts import facts
from vivant.gpu.composition import DevicePortrait
from vivant.gpu.studio import DeviceStudio
from vivant.images import save_image
from vivant.portrait import Portrait
from vivant.sheet import contact_sheet, stages
from vivant.store import EngineStore, open_store
from vivant.studio import Result, Studio

PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif"}


def compose(
    portrait: Annotated[str, typer.Argument(help="A photo, a folder of photos, or a quoted glob.")],
    artwork: Annotated[
        str, typer.Argument(help="An artwork's folder, a folder of artworks, or a quoted glob.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The picture to write, or a folder for many.")
    ],
    profile: Annotated[
        str | None, typer.Option(help="classic, deep or best [default: the best that runs].")
    ] = None,
    slot: Annotated[
        str | None, typer.Option(help="Stand in this slot [default: the one that suits].")
    ] = None,
    candidates: Annotated[
        int, typer.Option(min=0, max=5, help="Strengths of harmonizing to choose from.")
    ] = 3,
    alternatives: Annotated[int, typer.Option(min=1, help="Slots to choose from.")] = 1,
    device: Annotated[
        str | None, typer.Option(help="cuda or pycuda: a GPU [default: the processor].")
    ] = None,
    stages_to: Annotated[
        Path | None,
        typer.Option("--stages", help="Folder for the picture after every stage, and a sheet."),
    ] = None,
    store: Store = None,
    allow_untrained: Untrained = False,
    json: Json = False,
) -> None:
    """Compose portraits into artworks.

    Exit status: 0 all done, 1 something failed (the rest is done), 2 wrong usage, 130 interrupted.
    """
    photos, folders = _photos(portrait), _artworks(artwork)
    single = len(photos) == len(folders) == 1
    target = _Target(output, single=single, stages=stages_to)
    options = {"slot": slot, "candidates": candidates, "alternatives": alternatives}
    reports: list[dict[str, Any]] = []
    complaints: set[str] = set()
    opened = _open(profile, open_store(store, allow_untrained=allow_untrained), device)
    bar = Progress(console=errors, transient=True, disable=single or not errors.is_terminal)
    with opened as studio, bar as progress:
        task = progress.add_task("composing", total=len(photos) * len(folders))
        for report in _run(studio, photos, folders, target, options):
            reports.append(report)
            progress.advance(task)
            if "error" in report:
                # A photo that cannot be used fails in every artwork; once is enough said.
                if report["error"] not in complaints:
                    print_error(report["error"])
                complaints.add(report["error"])
            elif not json:
                _show(report)
    if json:
        print_json(reports[0] if single else reports)
    if any("error" in report for report in reports):
        raise typer.Exit(1)


def _open(profile: str | None, store: EngineStore, device: str | None) -> Studio | DeviceStudio:
    if device is None:
        return Studio.open(profile, store=store)
    return DeviceStudio.open(profile, store=store, device=device)


def _run(
    studio: Studio | DeviceStudio,
    photos: Iterable[Path],
    folders: Iterable[Path],
    target: _Target,
    options: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """Yield one report a picture; what fails is in its report and stops nothing else."""
    artworks: list[Artwork | VivantError] = [_or_error(load_artwork, path) for path in folders]
    for photo in photos:
        prepared = _or_error(studio.prepare, photo)
        for path, artwork in zip(folders, artworks, strict=True):
            inputs = {"portrait": str(photo), "artwork": str(path)}
            try:
                if isinstance(prepared, VivantError):
                    raise prepared
                if isinstance(artwork, VivantError):
                    raise artwork
                with about(photo):
                    result = studio.compose(prepared, artwork, **options)
                host = prepared.host if isinstance(prepared, DevicePortrait) else prepared
                written = target.write(photo, artwork, host, result)
                yield {**inputs, "output": str(written), **facts(result)}
            except VivantError as error:
                yield {**inputs, "error": str(error)}


def _or_error(load: Any, path: Path) -> Any:
    try:
        with about(path):
            return load(path)
    except VivantError as error:
        return error


def _show(report: Mapping[str, Any]) -> None:
    figures = (
        f"{figure['shot']['type']} in '{figure['placement']['slot']}', "
        f"score {figure['score']:.2f} at strength {figure['strength']:.2f}"
        for figure in report["figures"]
    )
    typer.echo(f"{report['output']}  {'; '.join(figures)}")
    for warning in report["warnings"]:
        errors.print(f"[yellow]note:[/] {report['output']}: {warning}")


def _photos(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES)
        if not found:
            raise ImageError(f"{path}: no photo in this folder; put JPEG, PNG, WebP or HEIC there")
        return found
    return _globbed(argument) or [path]


def _artworks(argument: str) -> list[Path]:
    path = Path(argument)
    if path.is_dir() and not (path / "artwork.toml").exists():
        found = sorted(p.parent for p in path.glob("*/artwork.toml"))
        if not found:
            raise ArtworkError(f"{path}: no artwork.toml in this folder or one below; add one")
        return found
    return _globbed(argument) or [path]


def _globbed(pattern: str) -> list[Path]:
    if Path(pattern).exists():
        return []
    # glob.glob, and not Path.glob: the pattern may be absolute.
    return [Path(name) for name in sorted(glob.glob(pattern))]  # noqa: PTH207


class _Target:
    """Where the pictures go: one file, or a folder in which every picture has its own name."""

    def __init__(self, output: Path, *, single: bool, stages: Path | None) -> None:
        self._file = output if single and output.suffix else None
        self._folder = output.parent if self._file else output
        self._stages = stages
        self._taken: set[str] = set()
        if self._file is None:
            _make_folder(output)
        if stages is not None:
            _make_folder(stages)

    def write(self, photo: Path, artwork: Artwork, portrait: Portrait, result: Result) -> Path:
        """Write the picture, and its stages where they were asked for; return its path."""
        name = self._unique(f"{photo.stem}--{artwork.id}")
        path = self._file or self._folder / f"{name}.jpg"
        save_image(result.image, path)
        if self._stages is not None:
            pictures = stages(portrait, result)
            _make_folder(self._stages / name)
            for number, (stage, picture) in enumerate(pictures.items(), start=1):
                save_image(picture, self._stages / name / f"{number}-{stage}.jpg")
            save_image(contact_sheet(pictures), self._stages / f"{name}.jpg")
        return path

    def _unique(self, name: str) -> str:
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        free = next(n for n in itertools.chain([name], numbered) if n not in self._taken)
        self._taken.add(free)
        return free


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise OutputError(f"{path}: the folder above it does not exist; create it first") from error
    except FileExistsError as error:
        raise OutputError(f"{path}: a file, not a folder; choose another name") from error
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}; choose another folder") from error
    if not os.access(path, os.W_OK):
        raise OutputError(f"{path}: no permission to write there; choose another folder")
