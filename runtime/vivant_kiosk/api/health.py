"""For those who watch: does it live, is it ready, how is it doing."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response

from vivant_kiosk.api.schemas import Health, Readiness, binary
from vivant_kiosk.metrics import MEDIA_TYPE
from vivant_kiosk.refusals import documented, refused
from vivant_kiosk.service import Service, service_of

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=Health, responses=documented("not-ready"))
async def healthz(service: Annotated[Service, Depends(service_of)]) -> dict[str, str]:
    """Say whether the service lives: where not, start it anew."""
    if not service.workshop.status().alive:
        raise refused("not-ready", "the workshop has stopped; start the service again")
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Photos are not taken yet."}},
)
async def readyz(
    service: Annotated[Service, Depends(service_of)], response: Response
) -> dict[str, Any]:
    """Say whether photos are taken, and by which models."""
    status = service.workshop.status()
    response.status_code = 200 if service.ready else 503
    return {
        "ready": service.ready,
        "profile": status.profile,
        "degraded": status.degraded,
        "engines": [asdict(engine) for engine in status.engines],
        "artworks": len(service.exhibition.artworks) if service.loaded else 0,
        "preview": service.workshop.preview is not None,
    }


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: binary(MEDIA_TYPE, "Figures in the format of Prometheus.")},
)
async def metrics(service: Annotated[Service, Depends(service_of)]) -> Response:
    """Return all figures, for Prometheus."""
    return Response(service.metrics.render(), headers={"Content-Type": MEDIA_TYPE})
