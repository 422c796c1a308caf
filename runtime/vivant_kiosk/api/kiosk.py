"""What the kiosk's page needs to know of the service."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from vivant.containers import MAX_BYTES
from vivant_kiosk.api.schemas import Kiosk
from vivant_kiosk.service import Service, service_of

LANGUAGES = ("en", "it", "de", "fr")

router = APIRouter(prefix="/v1", tags=["kiosk"])


@router.get("/kiosk", response_model=Kiosk)
async def kiosk(service: Annotated[Service, Depends(service_of)]) -> dict[str, Any]:
    """Return what the page needs to know before the first visitor touches it."""
    service.metrics.hear_page()
    settings, status = service.settings, service.workshop.status()
    return {
        "version": importlib.metadata.version("vivant"),
        "ready": service.ready,
        "degraded": status.degraded,
        "preview": service.workshop.preview is not None,
        "downloads": service.downloads_url is not None,
        "printing": settings.printing,
        "retention_s": settings.retention_s,
        "idle_s": settings.idle_s,
        "idle_warning_s": settings.idle_warning_s,
        "countdown_s": settings.countdown_s,
        "consent": settings.consent,
        "languages": LANGUAGES,
        "language": settings.language,
        "max_upload_bytes": MAX_BYTES,
    }
