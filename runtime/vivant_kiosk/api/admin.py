"""The artwork studio's side of the service: artworks are read, tried and saved.

Every route wants the admin token. Nothing of a portrait that is tried is kept or written.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import FileResponse
from pydantic import Field, ValidationError

import vivant_samples
from vivant.artwork_file import FILE_NAME
from vivant.containers import MAX_BYTES
from vivant.errors import ArtworkError, ImageError, OutputError
from vivant.files import one_line
from vivant.images import load_image
from vivant.roles import Image
from vivant.studio import WORKING_SIDE, reduce_to
from vivant_kiosk import drafts
from vivant_kiosk.api.schemas import Body, binary
from vivant_kiosk.compositions import Composition, Options, Stage
from vivant_kiosk.drafts import Draft
from vivant_kiosk.refusals import Refused, documented, refused
from vivant_kiosk.security import bearer, is_holder
from vivant_kiosk.service import Service, queueing, service_of
from vivant_kiosk.uploads import Form, parse_form

MOST_OCCLUDERS = 4
"""How many new occluders come in one request."""

FACTS_HEADER = "Vivant-Facts"
"""Carries, as JSON in ASCII, where the visitor of a trial stands."""

_MOST_BYTES = 4 * MAX_BYTES

_TYPES = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".heic": "image/heic",
}

Value = str | bool | int | float | list[str | bool | int | float]
"""What a key of an ``artwork.toml`` may hold; which key takes what is checked on loading."""


class Tables(Body):
    """An ``artwork.toml``, without its ``schema``."""

    artwork: dict[str, Value]
    slot: list[dict[str, Value]] = Field(default_factory=list)
    fallback: dict[str, Value] = Field(default_factory=dict)


class Entry(Body):
    """An artwork that can be edited."""

    id: str
    title: str
    artist: str
    slots: int


class Broken(Body):
    """An artwork that is not shown, and why; ``id`` is None where it cannot be deleted here."""

    id: str | None
    folder: str
    message: str


class Entries(Body):
    """What is in the folder; ``read_only`` says why nothing can be saved, where it cannot."""

    artworks: list[Entry]
    errors: list[Broken]
    read_only: str | None


def _admit(request: Request, service: Annotated[Service, Depends(service_of)]) -> Service:
    """Return the service to whoever holds the admin token."""
    token = service.settings.admin_token
    if token is None or not is_holder(token, bearer(request.headers)):
        raise refused("unauthorized", "header Authorization: send 'Bearer <admin token>'")
    return service


router = APIRouter(
    prefix="/v1/admin",
    tags=["admin"],
    responses=documented("unauthorized", "not-ready"),
)

Admitted = Annotated[Service, Depends(_admit)]
ArtworkId = Annotated[str, Path(alias="id", min_length=1, max_length=255)]
FileName = Annotated[str, Path(alias="name", min_length=1, max_length=255)]

_READ = documented("unknown-artwork", "not-found", "invalid-request")
_SENT = documented("invalid-request", "not-a-picture", "too-large", "too-slow", "busy")


def _form(*names: str) -> dict[str, Any]:
    """Return the description of a form with these parts, and the occluders."""
    parts = {
        "artwork": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Tables"},
            "description": "The tables of artwork.toml. A slot's occluder is the name of a file of "
            "the saved artwork, or the number n of the part occluder-n.",
        },
        "picture": _file("JPEG, PNG or WebP; without it, the picture of the saved artwork."),
        "portrait": _file("The visitor's; without it, the sample portrait."),
        "slot": {"type": "string", "description": "Where to stand; without it, what suits best."},
    }
    chosen = {name: parts[name] for name in ("artwork", *names)}
    for number in range(1, MOST_OCCLUDERS + 1):
        chosen[f"occluder-{number}"] = _file("PNG or WebP with transparency.")
    schema = {"type": "object", "required": ["artwork"], "properties": chosen}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


def _file(description: str) -> dict[str, str]:
    return {
        "type": "string",
        "format": "binary",
        "description": f"{description} At most {MAX_BYTES >> 20} MB.",
    }


@router.get("/artworks", response_model=Entries)
async def artworks(service: Admitted) -> dict[str, Any]:
    """List the artworks of the folder, and those that are broken."""
    return await asyncio.to_thread(_entries, service)


@router.get("/artworks/{id}", response_model=Tables, responses=_READ | documented("conflict"))
async def artwork(service: Admitted, artwork_id: ArtworkId) -> dict[str, Any]:
    """Return the tables of an artwork."""
    return await asyncio.to_thread(_tables, service, artwork_id)


@router.get(
    "/artworks/{id}/files/{name:path}",
    response_class=FileResponse,
    responses=_READ | {200: binary("image/*", "The file as it was saved.")},
)
async def file(service: Admitted, artwork_id: ArtworkId, name: FileName) -> FileResponse:
    """Return a picture or an occluder that an artwork names."""
    path = await asyncio.to_thread(_find_file, service, artwork_id, name)
    kind = _TYPES.get(path.suffix.lower(), "application/octet-stream")
    return FileResponse(path, media_type=kind, headers={"Cache-Control": "no-store"})


@router.get(
    "/artworks/{id}/thumbnail",
    response_class=Response,
    responses=_READ | {200: binary("image/jpeg", "At most 640 pixels a side.")},
)
async def thumbnail(service: Admitted, artwork_id: ArtworkId) -> Response:
    """Return a small picture of an artwork on show."""
    found = service.exhibition.find(artwork_id)
    if found is None:
        raise _unknown()
    try:
        rendition = await service.in_thread(service.exhibition.thumbnail, found)
    except ImageError as error:
        raise refused("not-found", str(error)) from None
    return Response(rendition.jpeg, headers={"Cache-Control": "no-store"}, media_type="image/jpeg")


@router.put(
    "/artworks/{id}",
    response_model=Tables,
    responses=_SENT | documented("conflict") | {201: {"model": Tables, "description": "Added."}},
    openapi_extra=_form("picture"),
)
async def save(
    request: Request, response: Response, service: Admitted, artwork_id: ArtworkId
) -> dict[str, Any]:
    """Save an artwork: add it, or replace the one of its id. It is on show at once."""
    _check_own_folder(service)
    async with service.uploads.body(request, max_bytes=_MOST_BYTES) as body:
        draft, _ = await asyncio.to_thread(_read_draft, request, body)
        if draft.id != artwork_id:
            raise refused("invalid-request", "artwork.id: not the id of the address; make them one")
        is_new, tables = await asyncio.to_thread(_save, service, draft)
    response.status_code = 201 if is_new else 200
    return tables


@router.delete(
    "/artworks/{id}",
    status_code=204,
    response_class=Response,
    responses=documented("unknown-artwork", "invalid-request", "conflict"),
)
async def delete(service: Admitted, artwork_id: ArtworkId) -> Response:
    """Delete an artwork with its pictures, broken or not; other files of its folder stay."""
    _check_own_folder(service)
    await asyncio.to_thread(_delete, service, artwork_id)
    return Response(status_code=204)


@router.post(
    "/trials",
    response_class=Response,
    responses=_SENT
    | documented("nobody", "no-place", "conflict", "failed", "gave-up")
    | {200: binary("image/jpeg", "The composition.")},
    openapi_extra=_form("picture", "portrait", "slot"),
)
async def attempt(request: Request, service: Admitted) -> Response:
    """Compose a portrait into an artwork that is not saved yet; nothing is kept."""
    async with service.uploads.body(request, max_bytes=_MOST_BYTES) as body:
        draft, form = await asyncio.to_thread(_read_draft, request, body)
        return await asyncio.to_thread(
            _attempt, service, draft, form.files.get("portrait"), form.fields.get("slot") or None
        )


# Reading what is there --------------------------------------------------------------------------


def _entries(service: Service) -> dict[str, Any]:
    exhibition = service.exhibition
    shown = [
        {"id": each.id, "title": each.title, "artist": each.artist, "slots": len(each.slots)}
        for each in exhibition.artworks
    ]
    errors = [_broken(service, str(error)) for error in exhibition.errors]
    return {"artworks": shown, "errors": errors, "read_only": _read_only(service)}


def _broken(service: Service, message: str) -> dict[str, Any]:
    """Return what is said of an artwork that does not load; messages begin with its file."""
    folder = service.folder
    for home in sorted(file.parent for file in folder.glob(f"*/{FILE_NAME}")):
        start = f"{one_line(home / FILE_NAME)}: "
        if message.startswith(start):
            artwork_id = drafts.id_of(home)
            ours = drafts.find_home(folder, artwork_id) == home
            shown = message.removeprefix(start)
            return {"id": artwork_id if ours else None, "folder": home.name, "message": shown}
    return {"id": None, "folder": "", "message": message}


def _tables(service: Service, artwork_id: str) -> dict[str, Any]:
    home = drafts.find_home(service.folder, artwork_id)
    if home is None:
        raise _unknown()
    if service.exhibition.find(artwork_id) is None:
        raise refused("conflict", "artwork: it is broken; correct its artwork.toml, or delete it")
    tables = drafts.read_tables(home)
    tables.pop("schema", None)
    return tables


def _find_file(service: Service, artwork_id: str, name: str) -> FilePath:
    home = drafts.find_home(service.folder, artwork_id)
    if home is None:
        raise _unknown()
    for path in drafts.pictures(home):
        if str(path.relative_to(home)) == name:
            return path
    raise refused("not-found", "name: the artwork names no such file; its tables list them")


# Writing ----------------------------------------------------------------------------------------


def _read_only(service: Service) -> str | None:
    if service.folder == vivant_samples.ARTWORKS:
        return "the samples are not for editing; set artworks to a folder of your own"
    return None


def _check_own_folder(service: Service) -> None:
    if reason := _read_only(service):
        raise refused("conflict", f"artworks: {reason}")


def _read_draft(request: Request, body: bytes) -> tuple[Draft, Form]:
    form = parse_form(request.headers.get("content-type", ""), body)
    try:
        tables = Tables.model_validate_json(form.fields.get("artwork", ""))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise refused("invalid-request", f"form artwork {name}: {first['msg'].lower()}") from None
    occluders = {
        number: form.files[f"occluder-{number}"]
        for number in range(1, MOST_OCCLUDERS + 1)
        if f"occluder-{number}" in form.files
    }
    return Draft(tables.model_dump(), form.files.get("picture"), occluders), form


def _save(service: Service, draft: Draft) -> tuple[bool, dict[str, Any]]:
    """Save a draft; return whether there was none of its id, and the tables."""
    exhibition = service.exhibition
    is_new = drafts.find_home(service.folder, draft.id) is None
    try:
        try:
            drafts.save(service.folder, draft)
        finally:  # what the disk did not confirm is in place all the same
            exhibition.reload()
    except ArtworkError as error:
        raise refused("invalid-request", str(error)) from None
    except OutputError as error:
        raise refused("conflict", str(error)) from None
    return is_new, _tables(service, draft.id)


def _delete(service: Service, artwork_id: str) -> None:
    exhibition = service.exhibition
    try:
        if not drafts.delete(service.folder, artwork_id):
            raise _unknown()
        exhibition.reload()
    except (ArtworkError, OutputError) as error:
        raise refused("conflict", str(error)) from None


def _unknown() -> Refused:
    return refused("unknown-artwork", "id: no such artwork; /v1/admin/artworks lists those")


# Trying -----------------------------------------------------------------------------------------


def _attempt(service: Service, draft: Draft, portrait: bytes | None, slot: str | None) -> Response:
    image = _portrait(portrait)
    try:
        with drafts.attempt(service.folder, draft) as found:
            if slot is not None and slot not in {each.name for each in found.slots}:
                raise refused("no-place", "slot: the artwork has none of this name; leave it out")
            wait_s = service.settings.composition_s
            with queueing():
                composition = service.workshop.trial(image, found, Options(slot), wait_s)
    except ArtworkError as error:
        raise refused("invalid-request", str(error)) from None
    except OutputError as error:
        raise refused("conflict", str(error)) from None
    try:
        return _shown(composition)
    finally:
        composition.forget()


def _portrait(data: bytes | None) -> Image:
    try:
        image = load_image(vivant_samples.PORTRAIT if data is None else data, name="portrait")
    except ImageError as error:
        raise refused("not-a-picture", str(error)) from None
    return reduce_to(image, WORKING_SIDE)


def _shown(composition: Composition) -> Response:
    picture = composition.picture(Stage.DONE)
    if composition.error is not None:
        raise Refused(composition.error)
    if picture is None:
        raise refused("gave-up", "the trial took too long; try again")
    facts = composition.facts()
    told = {
        "slots": [figure["placement"]["slot"] for figure in facts["figures"]],
        "score": facts["score"],
        "profile": facts["profile"],
        "warnings": facts["warnings"],
    }
    headers = {"Cache-Control": "no-store", FACTS_HEADER: json.dumps(told)}
    return Response(picture.jpeg, headers=headers, media_type="image/jpeg")
