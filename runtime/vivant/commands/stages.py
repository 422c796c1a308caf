"""Every stage as a command of its own, for those who integrate or look for a fault."""

from __future__ import annotations

import dataclasses
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from vivant import models
from vivant.commands.options import Json, Store, Untrained, about, print_json
from vivant.errors import ImageError, SubjectError
from vivant.harmonizers.inr import InrHarmonizer
from vivant.harmonizers.inr_lut import LutHarmonizer
from vivant.harmonizers.inr_picture import MODEL
from vivant.harmonizers.reinhard import DEFAULT_STRENGTH
from vivant.images import load_image, load_matte, save_image
from vivant.portrait import Shot, classify, prominent
from vivant.roles import MIN_FACE, Face, Harmonizer, Image, Matte, Matter
from vivant.store import open_store
from vivant.studio import WORKING_SIDE, reduce_to


class Mode(str, Enum):
    """How INR-Harmonization is applied."""

    SOFT = "soft"
    EXACT = "exact"
    LUT = "lut"


Photo = Annotated[
    Path, typer.Argument(help="The photo: JPEG, PNG, WebP or HEIC.", show_default=False)
]
Composite = Annotated[
    Path, typer.Argument(help="A picture with somebody pasted in.", show_default=False)
]
Mask = Annotated[
    Path, typer.Argument(help="Its mask: white where it was pasted.", show_default=False)
]
Output = Annotated[
    Path, typer.Option("-o", "--output", help="The picture to write.", show_default=False)
]


def faces(
    photo: Photo,
    min_face: Annotated[
        int, typer.Option(min=1, help="Side of the smallest face looked for, in pixels.")
    ] = MIN_FACE,
    model: Annotated[str, typer.Option(help="The face detector.")] = "mtcnn",
    matte_model: Annotated[
        str, typer.Option(help="The matte that the shot type is read from.")
    ] = "grabcut",
    store: Store = None,
    allow_untrained: Untrained = False,
    json: Json = False,
) -> None:
    """Find every face in a photo, and tell its shot type."""
    engines = open_store(store, allow_untrained=allow_untrained)
    picture = load_image(photo)
    found = models.open_model(models.FACES, model, engines).detect(picture, min_face=min_face)
    shot = _shot(picture, found, models.open_model(models.MATTES, matte_model, engines))
    if json:
        print_json({"faces": [dataclasses.asdict(face) for face in found], "shot": _facts(shot)})
        return
    for face in found:
        x1, y1, x2, y2 = (round(value) for value in face.box)
        typer.echo(f"face  {face.probability:.4f}  x {x1}..{x2}  y {y1}..{y2}")
    typer.echo(
        f"shot  {shot.type}, people: {shot.people}, heads visible: {shot.heads:.1f}, "
        f"{'cut by the frame' if shot.cut else 'not cut'}, confidence {shot.confidence:.2f}"
    )


def matte(
    photo: Photo,
    output: Output,
    model: Annotated[str, typer.Option(help="The matte.")] = "grabcut",
    faces_model: Annotated[
        str | None,
        typer.Option(help="The face detector [default: mtcnn where the matte needs faces]."),
    ] = None,
    store: Store = None,
    allow_untrained: Untrained = False,
    json: Json = False,
) -> None:
    """Separate the people in a photo from what is behind them."""
    engines = open_store(store, allow_untrained=allow_untrained)
    picture = load_image(photo)
    if faces_model is None and models.find(models.MATTES, model).needs_faces:
        faces_model = "mtcnn"
    found: tuple[Face, ...] = ()
    if faces_model is not None:
        found = models.open_model(models.FACES, faces_model, engines).detect(picture)
    matter = models.open_model(models.MATTES, model, engines)
    with about(photo):
        matting = matter.matte(picture, prominent(found))
    save_image(matting.matte, output)
    if json:
        print_json({"output": str(output), "confidence": matting.confidence})
    else:
        typer.echo(f"{output}  confidence {matting.confidence:.2f}")


def harmonize(
    composite: Composite,
    mask: Mask,
    output: Output,
    strength: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="0: untouched [default: 0.5 for reinhard, 1 for a network].",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="The harmonizer.")] = "reinhard",
    mode: Annotated[
        Mode | None,
        typer.Option(
            help="Of inr-harmonization. soft: blended by the mask; exact: as published, with a "
            "hard edge; lut: its colour table, fast at any size [default: soft].",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Patches along the shorter side, for --mode exact [default: as published].",
            show_default=False,
        ),
    ] = None,
    store: Store = None,
    allow_untrained: Untrained = False,
) -> None:
    """Give what was pasted the colour and light of what is around it."""
    _check_modes(model, mode, split, strength)
    engines = open_store(store, allow_untrained=allow_untrained)
    picture, area = _load_pair(composite, mask)
    if mode is Mode.EXACT:
        with InrHarmonizer.open(engines) as network:
            result = network.exact(picture, area, split)
    else:
        harmonizer: Harmonizer = (
            LutHarmonizer.open(engines)
            if mode is Mode.LUT
            else models.open_model(models.HARMONIZERS, model, engines)
        )
        if strength is None:
            strength = DEFAULT_STRENGTH if model == "reinhard" else 1.0
        (result,) = harmonizer.harmonize(picture, area, [strength])
    save_image(result, output)
    typer.echo(str(output))


def score(
    composite: Composite,
    mask: Mask,
    model: Annotated[str, typer.Option(help="The scorer.")] = "colour-distance",
    store: Store = None,
    allow_untrained: Untrained = False,
    json: Json = False,
) -> None:
    """Say how well what was pasted belongs to its picture, 0 to 1."""
    engines = open_store(store, allow_untrained=allow_untrained)
    picture, area = _load_pair(composite, mask)
    value = models.open_model(models.SCORERS, model, engines).score([picture], [area])[0]
    if json:
        print_json({"score": value, "model": model})
    else:
        typer.echo(f"{value:.4f}")


def _shot(photo: Image, found: tuple[Face, ...], matter: Matter) -> Shot:
    """Read the shot type off a matte of the reduced photo; *unknown* where nobody is seen."""
    reduced = reduce_to(photo, WORKING_SIDE)
    subjects = tuple(face.scaled(reduced.shape[0] / photo.shape[0]) for face in prominent(found))
    try:
        alpha = matter.matte(reduced, subjects).matte
    except SubjectError:
        alpha = np.zeros(reduced.shape[:2], np.uint8)
    return classify(alpha, subjects)


def _facts(shot: Shot) -> dict[str, Any]:
    facts = dataclasses.asdict(shot)
    del facts["faces"]
    return facts


def _check_modes(model: str, mode: Mode | None, split: int | None, strength: float | None) -> None:
    """Refuse options that would do nothing."""
    if mode is not None and model != MODEL:
        raise typer.BadParameter(f"'{model}' has no modes; leave --mode out or add --model {MODEL}")
    if split is not None and mode is not Mode.EXACT:
        raise typer.BadParameter(
            f"only the exact mode of {MODEL} has a split; leave --split out or add --mode exact"
        )
    if strength is not None and mode is Mode.EXACT:
        raise typer.BadParameter(
            "the exact mode has no strength; leave --strength out or choose --mode soft"
        )


def _load_pair(composite: Path, mask: Path) -> tuple[Image, Matte]:
    """Load a composite and its mask; a mask of another size of the same shape is scaled."""
    picture, area = load_image(composite), load_matte(mask)
    height, width = picture.shape[:2]
    if abs(area.shape[1] / area.shape[0] - width / height) > 0.02 * width / height:
        raise ImageError(
            f"{mask}: {area.shape[1]}x{area.shape[0]} has another shape than its composite's "
            f"{width}x{height}; use the mask of this composite"
        )
    return picture, np.asarray(cv2.resize(area, (width, height)), np.uint8)
