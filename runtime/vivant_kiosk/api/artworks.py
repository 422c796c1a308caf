"""The artworks on show, and their pictures."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Response

from vivant.artwork import Artwork
from vivant.errors import ImageError
from vivant_kiosk.api import schemas
from vivant_kiosk.api.schemas import ARTWORK_PATTERN
from vivant_kiosk.gallery import Rendition
from vivant_kiosk.refusals import Refused, documented, refused
from vivant_kiosk.service import Service, service_of, size_of

_log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1/artworks", tags=["artworks"], responses=documented("not-ready"))

CurrentService = Annotated[Service, Depends(service_of)]
ArtworkId = Annotated[
    str,
    Path(alias="id", pattern=ARTWORK_PATTERN, max_length=200, examples=["night-harbour"]),
]
KnownTag = Annotated[str | None, Header(alias="If-None-Match", max_length=1000)]

_ONE = documented("unknown-artwork", "invalid-request")
_JPEG = {
    200: schemas.binary("image/jpeg", "The picture."),
    304: {"description": "It is the one that If-None-Match names."},
    **_ONE,
}


def find(service: Service, artwork_id: str) -> Artwork:
    """Return the artwork of an id.

    Raises:
        Refused: there is none.
    """
    artwork = service.exhibition.find(artwork_id)
    if artwork is None:
        raise refused("unknown-artwork", "artwork: no such id; /v1/artworks lists those there are")
    return artwork


@router.get("", response_model=schemas.Artworks)
async def artworks(service: CurrentService) -> dict[str, Any]:
    """List the artworks on show."""
    exhibition = service.exhibition
    found = await service.in_thread(lambda: list(map(_facts_or_none, exhibition.artworks)))
    lost = found.count(None)
    shown = [facts for facts in found if facts is not None]
    return {"artworks": shown, "errors": len(exhibition.errors) + lost}


@router.get("/{id}", response_model=schemas.Artwork, responses=_ONE)
async def artwork(service: CurrentService, artwork_id: ArtworkId) -> dict[str, Any]:
    """Describe an artwork."""
    shown = find(service, artwork_id)
    try:
        return await service.in_thread(_facts, shown)
    except ImageError as error:
        raise _lost(error) from error


@router.get("/{id}/picture", response_class=Response, responses=_JPEG)
async def picture(
    service: CurrentService, artwork_id: ArtworkId, known: KnownTag = None
) -> Response:
    """Return the artwork as large as compositions are."""
    return await _jpeg(service, service.exhibition.picture, find(service, artwork_id), known)


@router.get("/{id}/thumbnail", response_class=Response, responses=_JPEG)
async def thumbnail(
    service: CurrentService, artwork_id: ArtworkId, known: KnownTag = None
) -> Response:
    """Return the artwork with a longest side of 640 pixels."""
    return await _jpeg(service, service.exhibition.thumbnail, find(service, artwork_id), known)


async def _jpeg(
    service: Service,
    render: Callable[[Artwork], Rendition],
    shown: Artwork,
    known: str | None,
) -> Response:
    try:
        rendition = await service.in_thread(render, shown)
    except ImageError as error:
        raise _lost(error) from error
    headers = {"ETag": rendition.etag, "Cache-Control": "no-cache"}
    tags = [tag.strip().removeprefix("W/") for tag in (known or "").split(",")]
    if rendition.etag in tags or "*" in tags:
        return Response(status_code=304, headers=headers)
    return Response(rendition.jpeg, headers=headers, media_type="image/jpeg")


def _lost(error: ImageError) -> Refused:
    _log.warning("an artwork cannot be shown any more: %s", error)
    return refused("unknown-artwork", "artwork: its picture cannot be read now; choose another")


def _facts_or_none(shown: Artwork) -> dict[str, Any] | None:
    try:
        return _facts(shown)
    except ImageError as error:
        _lost(error)
        return None


def _facts(shown: Artwork) -> dict[str, Any]:
    width, height = size_of(shown)
    address = f"/v1/artworks/{shown.id}"
    return {
        "id": shown.id,
        "title": shown.title,
        "artist": shown.artist,
        "year": shown.year,
        "credit": shown.credit,
        "licence": shown.licence,
        "width": width,
        "height": height,
        "slots": [
            {
                "name": slot.name,
                "shot": [str(shot) for shot in slot.shot],
                "people": list(slot.people),
            }
            for slot in shown.slots
        ],
        "picture": f"{address}/picture",
        "thumbnail": f"{address}/thumbnail",
    }
