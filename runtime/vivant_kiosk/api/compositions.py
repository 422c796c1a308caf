"""Compositions: a visitor's photo in, the picture out, and what happens in between."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, StreamingResponse

from vivant.artwork import Artwork
from vivant.containers import MAX_BYTES
from vivant.errors import ImageError
from vivant.images import load_image
from vivant.roles import Image
from vivant.studio import WORKING_SIDE, reduce_to
from vivant_kiosk.api import schemas
from vivant_kiosk.api.artworks import find as find_artwork
from vivant_kiosk.api.schemas import ARTWORK_PATTERN, ID_PATTERN
from vivant_kiosk.compositions import Composition, Event, Options, Stage
from vivant_kiosk.problems import problem_of
from vivant_kiosk.refusals import Refused, documented, refused
from vivant_kiosk.service import Service, queueing, service_of
from vivant_kiosk.uploads import MAX_FORM_BYTES, Form, parse_form

KEEP_ALIVE_S = 5.0
"""Seconds of silence after which a stream of events gets a comment."""

PATH = "/v1/compositions"

router = APIRouter(prefix=PATH, tags=["compositions"])

CurrentService = Annotated[Service, Depends(service_of)]
CompositionId = Annotated[str, Path(alias="id", pattern=ID_PATTERN)]
LastEvent = Annotated[
    str | None,
    Header(alias="Last-Event-ID", description="Only events after this one.", max_length=20),
]

_NO_STORE = {"Cache-Control": "no-store"}
_ONE = documented("not-found", "invalid-request")
_EVENT = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "pattern": "^[0-9]+$"},
        "event": {"enum": ["queued", "running", *map(str, Stage), "failed", "cancelled"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_UNTIL_JPEG = ("failed", "conflict", "gave-up")  # only a client that waits is told these


class CompositionForm(BaseModel):
    """The fields of the form, beside the portrait."""

    model_config = ConfigDict(extra="forbid")

    artwork: Annotated[
        str, Field(pattern=ARTWORK_PATTERN, max_length=200, examples=["night-harbour"])
    ]
    slot: Annotated[
        str | None,
        Field(min_length=1, max_length=200, description="Where to stand; or what suits."),
    ] = None
    candidates: Annotated[int, Field(ge=0, le=5)] = 3
    alternatives: Annotated[int, Field(ge=1, le=4)] = 1


def _request_body() -> dict[str, Any]:
    schema = CompositionForm.model_json_schema()
    # A form has no null: a field that is left out is left out.
    schema["properties"]["slot"] = {**schema["properties"]["slot"]["anyOf"][0]}
    schema["properties"]["portrait"] = {
        "type": "string",
        "format": "binary",
        "description": "A JPEG, PNG, WebP or HEIC file, at most 20 MB and 50 megapixels.",
    }
    schema["required"] = ["portrait", "artwork"]
    pictures = {"portrait": {"contentType": "image/jpeg, image/png, image/webp, image/heic"}}
    content = {"multipart/form-data": {"schema": schema, "encoding": pictures}}
    return {"required": True, "content": content}


@router.post(
    "",
    status_code=202,
    response_model=schemas.Composition,
    responses={
        200: schemas.binary("image/jpeg", "The picture, for a client that accepts image/jpeg."),
        202: {
            "description": "The photo is in the queue.",
            "headers": {"Location": {"schema": {"type": "string"}, "required": True}},
            "links": {
                name: {
                    "operationId": f"compositions-{name}",
                    "parameters": {"id": "$response.body#/id"},
                }
                for name in ("composition", "events", "image", "link", "delete")
            },
        },
        **documented(
            "invalid-request", "not-a-picture", "nobody", "no-place", "unknown-artwork",
            "too-large", "too-slow", "busy", "not-ready", "not-acceptable", *_UNTIL_JPEG,
        ),
    },
    openapi_extra={"requestBody": _request_body()},
)  # fmt: skip
async def compose(service: CurrentService, request: Request) -> Response:
    """Take a photo, and compose it into an artwork.

    A client that prefers image/jpeg waits for the picture; others are told where to look.
    """
    media_type = preferred(request.headers.get("accept", ""))
    if media_type is None:
        raise refused("not-acceptable", "header Accept: application/json or image/jpeg")
    limit = MAX_BYTES + MAX_FORM_BYTES
    async with service.uploads.body(request, max_bytes=limit, admit=service.check) as body:
        content_type = request.headers.get("content-type", "")
        fields, portrait = read_form(await service.in_thread(parse_form, content_type, body))
        artwork, options = chosen(service, fields)
        image = await service.in_thread(read_portrait, portrait)
        with queueing():
            composition = service.workshop.submit(image, artwork, options)
    if media_type == "image/jpeg":
        return await _finished(service, request, composition)
    headers = {**_NO_STORE, "Location": f"{PATH}/{composition.id}"}
    return JSONResponse(_facts(composition), 202, headers)


@router.get("/{id}", response_model=schemas.Composition, responses=_ONE)
async def composition(service: CurrentService, composition_id: CompositionId) -> Response:
    """Return what is known of a composition."""
    return JSONResponse(_facts(find(service, composition_id)), headers=_NO_STORE)


@router.get(
    "/{id}/image",
    response_class=Response,
    responses={200: schemas.binary("image/jpeg", "The picture of that stage."), **_ONE},
)
async def image(
    service: CurrentService,
    composition_id: CompositionId,
    stage: Annotated[Stage, Query(description="What the picture shows.")] = Stage.DONE,
) -> Response:
    """Return a picture of a composition."""
    picture = find(service, composition_id).picture(stage)
    if picture is None:
        raise refused("not-found", f"stage: there is no picture of '{stage}' yet; see its events")
    return Response(picture.jpeg, headers=_NO_STORE, media_type="image/jpeg")


@router.delete("/{id}", status_code=204, response_class=Response, responses=_ONE)
async def delete(service: CurrentService, composition_id: CompositionId) -> Response:
    """Cancel a composition, and forget all about it at once."""
    if not service.compositions.delete(composition_id):
        raise _unknown()
    return Response(status_code=204)


@router.get(
    "/{id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-Sent Events, from the first on.",
            "content": {"text/event-stream": {"schema": _EVENT}},
        },
        204: {"description": "It is finished, and the client has had every event."},
        **_ONE,
    },
)
async def events(
    service: CurrentService, composition_id: CompositionId, last: LastEvent = None
) -> Response:
    """Tell what happens to a composition, as it happens, until it is finished."""
    after = int(last) if last is not None and last.isdecimal() else 0
    composition = find(service, composition_id)
    new, ended = composition.events(after)
    if ended and not new:  # an EventSource would connect again and again
        return Response(status_code=204, headers=_NO_STORE)
    headers = {**_NO_STORE, "X-Accel-Buffering": "no"}
    stream = _stream(composition, after)
    return StreamingResponse(stream, headers=headers, media_type="text/event-stream")


def find(service: Service, composition_id: str) -> Composition:
    """Return the composition of an id.

    Raises:
        Refused: there is none, or it was forgotten.
    """
    found = service.compositions.find(composition_id)
    if found is None:
        raise _unknown()
    return found


def _unknown() -> Refused:
    return refused("not-found", "id: no such composition; it was deleted, or has expired")


# Taking a photo ---------------------------------------------------------------------------------


def preferred(accept: str) -> str | None:
    """Return which of our media types a client likes best, JSON where it does not matter."""
    ranges = _ranges(accept)
    liking = {each: _liking(each, ranges) for each in ("application/json", "image/jpeg")}
    best = max(liking, key=lambda media_type: liking[media_type])
    return best if liking[best] > 0 else None


def _ranges(accept: str) -> list[tuple[str, float]]:
    """Return the media ranges of an Accept header with their qualities."""
    ranges = []
    for part in (accept.strip() or "*/*").split(","):
        pattern, *parameters = (each.strip().lower() for each in part.split(";"))
        given = next((each[2:] for each in parameters if each.startswith("q=")), "1")
        try:
            ranges.append((pattern, min(max(float(given), 0.0), 1.0)))
        except ValueError:
            continue
    return ranges


def _liking(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """Return the quality of a media type: that of the most specific range it is in (RFC 9110)."""
    for pattern in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        found = [quality for other, quality in ranges if other == pattern]
        if found:
            return max(found)
    return 0.0


def read_form(form: Form) -> tuple[CompositionForm, bytes]:
    """Return the fields, and the portrait's file.

    Raises:
        Refused: a field is wrong, or there is no portrait.
    """
    try:
        fields = CompositionForm.model_validate(form.fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(map(str, first["loc"]))
        raise refused("invalid-request", f"form {name}: {first['msg'].lower()}") from None
    if set(form.files) != {"portrait"}:
        raise refused("invalid-request", "form portrait: send one file, under this name")
    return fields, form.files["portrait"]


def chosen(service: Service, fields: CompositionForm) -> tuple[Artwork, Options]:
    """Return what a client has chosen.

    Raises:
        Refused: there is no such artwork, or no such slot in it.
    """
    artwork = find_artwork(service, fields.artwork)
    if fields.slot is not None and fields.slot not in {slot.name for slot in artwork.slots}:
        raise refused("no-place", "slot: the artwork has none of this name; leave it out")
    return artwork, Options(fields.slot, fields.candidates, fields.alternatives)


def read_portrait(portrait: bytes) -> Image:
    """Decode a portrait, uint8 [H,W,3] RGB, reduced to ``WORKING_SIDE``; blocks, so use a thread.

    Raises:
        Refused: it is no picture.
    """
    try:
        return reduce_to(load_image(portrait, name="portrait"), WORKING_SIDE)
    except ImageError as error:
        raise Refused(problem_of(error)) from None


# Telling what becomes of it ---------------------------------------------------------------------


async def _finished(service: Service, request: Request, composition: Composition) -> Response:
    """Wait for the picture; a client that goes away meanwhile wants it no more."""
    waiting = asyncio.ensure_future(_until_finished(composition))
    gone = asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        wanted = waiting.done()
        waiting.cancel()
        gone.cancel()
        if not wanted:
            service.compositions.delete(composition.id)
    if not wanted:
        raise ClientDisconnect
    if composition.error is not None:
        raise Refused(composition.error)
    picture = composition.picture(Stage.DONE)
    if picture is None:
        raise refused("conflict", "the composition was cancelled; send the photo again")
    headers = {**_NO_STORE, "Vivant-Composition": composition.id}
    return Response(picture.jpeg, headers=headers, media_type="image/jpeg")


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _until_finished(composition: Composition) -> None:
    async with _changes(composition) as changed:
        while not composition.finished:
            await changed.wait()
            changed.clear()


@asynccontextmanager
async def _changes(composition: Composition) -> AsyncIterator[asyncio.Event]:
    """Yield what is set, in the event loop, whenever there are new events."""
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop is closed, the service ends
            loop.call_soon_threadsafe(changed.set)

    unsubscribe = composition.subscribe(tell)
    try:
        yield changed
    finally:
        unsubscribe()


async def _stream(composition: Composition, after: int) -> AsyncIterator[str]:
    async with _changes(composition) as changed:
        while True:
            changed.clear()
            new, ended = composition.events(after)
            for event in new:
                yield _sse(event, composition)
                after = event.number
            if ended:
                return
            with anyio.move_on_after(KEEP_ALIVE_S) as silence:
                await changed.wait()
            if silence.cancelled_caught:
                yield ": still there\n\n"


def _sse(event: Event, composition: Composition) -> str:
    data: Mapping[str, Any] = event.data
    if event.name == "done":
        facts = _facts(composition)
        data = {**facts, "image": facts["links"]["image"]}
    elif event.name in set(map(str, Stage)):
        data = {**data, "image": f"{PATH}/{composition.id}/image?stage={event.name}"}
    return f"id: {event.number}\nevent: {event.name}\ndata: {json.dumps(data)}\n\n"


def _facts(composition: Composition) -> dict[str, Any]:
    address = f"{PATH}/{composition.id}"
    links = {"self": address, "events": f"{address}/events", "image": f"{address}/image"}
    return {**composition.facts(), "links": links}
