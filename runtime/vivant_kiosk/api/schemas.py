"""What the service answers, as its description (OpenAPI) documents it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

ID_PATTERN = "^[A-Za-z0-9_-]{22}$"
ARTWORK_PATTERN = "^[a-z0-9]+(-[a-z0-9]+)*$"

Share = Annotated[float, Field(ge=0, le=1)]
Pixels = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Address = Annotated[str, Field(examples=["/v1/..."], description="Relative to the service.")]


class Body(BaseModel):
    """A JSON object."""

    model_config = ConfigDict(extra="forbid")


class Problem(Body):
    """A problem (RFC 9457); its ``type`` ends in a code for programs."""

    type: Annotated[str, Field(pattern="^urn:vivant:problem:[a-z-]+$")]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: Annotated[str, Field(description="One line: the input, what is wrong, the remedy.")]


class Slot(Body):
    """A place in an artwork."""

    name: str
    shot: list[Literal["close-up", "half-body", "full-body"]]
    people: Annotated[list[int], Field(min_length=2, max_length=2, description="Least, most.")]


class Artwork(Body):
    """An artwork on show."""

    id: Annotated[str, Field(pattern=ARTWORK_PATTERN)]
    title: str
    artist: str
    year: int | str | None
    credit: str
    licence: str
    width: Pixels
    height: Pixels
    slots: list[Slot]
    picture: Address
    thumbnail: Address


class Artworks(Body):
    """What is on show."""

    artworks: list[Artwork]
    errors: Annotated[int, Field(ge=0, description="Artworks that are broken, and not shown.")]


class Shot(Body):
    """What a photo shows of somebody."""

    type: str
    people: Count
    heads: Annotated[float, Field(description="Height of the subject, in heads.")]
    cut: bool
    confidence: Share


class Placement(Body):
    """Where somebody stands."""

    slot: str
    source: Annotated[list[int], Field(description="x1, y1, x2, y2 of the photo that is used.")]
    target: Annotated[list[int], Field(description="x, y, width, height in the picture.")]
    scale: float
    flip: bool


class Candidate(BaseModel):
    """A picture that was tried."""

    model_config = ConfigDict(extra="allow")

    name: str
    score: float | None


class Figure(Body):
    """Who was painted in one go."""

    score: float | None
    strength: float | None
    shot: Shot
    placement: Placement
    candidates: list[Candidate]


class Links(Body):
    """Where more of a composition is."""

    self: Address
    events: Address
    image: Address


class Composition(Body):
    """A visitor's picture, from the photo's arrival until it is forgotten."""

    id: Annotated[str, Field(pattern=ID_PATTERN)]
    artwork: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    position: Annotated[int, Field(ge=0, description="How many come first.")]
    stages: Annotated[
        list[Literal["matte", "composite", "harmonized", "done"]],
        Field(description="Of which there are pictures."),
    ]
    profile: str | None
    degraded: Annotated[str | None, Field(description="Which profile another stands in for.")]
    score: float | None
    figures: list[Figure]
    size: list[Pixels] | None
    timings: dict[str, Seconds]
    warnings: list[str]
    error: Problem | None
    created: datetime
    expires: datetime | None
    expires_in_s: Seconds | None
    links: Links


class Link(Body):
    """A link to a picture, for a phone in the local network."""

    url: str
    expires: datetime
    expires_in_s: Seconds
    uses_left: Count
    qr_svg: Annotated[str, Field(description="The link as a QR code, an SVG.")]


class Kiosk(Body):
    """What the kiosk's page needs to know."""

    version: str
    ready: bool
    degraded: str | None
    preview: bool
    downloads: bool
    printing: bool
    retention_s: Seconds
    idle_s: Seconds
    idle_warning_s: Seconds
    countdown_s: Count
    consent: Annotated[
        bool | dict[str, str],
        Field(description="Whether to ask before the camera opens, or with which words."),
    ]
    languages: list[str]
    language: str
    max_upload_bytes: Count


class Health(Body):
    """The service lives."""

    status: Literal["ok"]


class Engine(Body):
    """A model in use."""

    role: str
    model: str
    variant: str | None
    backend: str | None


class Readiness(Body):
    """Whether photos are taken, and by what."""

    ready: bool
    profile: str | None
    degraded: str | None
    engines: list[Engine]
    artworks: Count
    preview: bool


def binary(media_type: str, description: str) -> dict[str, Any]:
    """Return the documentation of an answer that is not JSON."""
    return {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}
