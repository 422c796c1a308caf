"""Links that carry a picture to a visitor's phone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from vivant_kiosk.api import schemas
from vivant_kiosk.api.compositions import CompositionId, find
from vivant_kiosk.compositions import State
from vivant_kiosk.downloads import qr_code
from vivant_kiosk.refusals import documented, refused
from vivant_kiosk.service import Service, service_of

router = APIRouter(prefix="/v1/compositions", tags=["compositions"])


@router.post(
    "/{id}/links",
    status_code=201,
    response_model=schemas.Link,
    responses=documented("not-found", "conflict", "invalid-request"),
)
async def link(
    service: Annotated[Service, Depends(service_of)], composition_id: CompositionId
) -> dict[str, Any]:
    """Make a link to a finished picture; it works a few times, until the picture expires."""
    composition = find(service, composition_id)
    downloads = service.settings.downloads
    if downloads is None:
        raise refused("conflict", "downloads are off; set [downloads] in the settings")
    left = composition.expires_in_s
    if composition.state is not State.DONE or left is None:
        raise refused("conflict", f"the composition is {composition.state}; wait until it is done")
    base = service.downloads_url
    if base is None:
        raise refused("conflict", "this machine is in no network; set downloads.address")
    made = service.compositions.link(composition, downloads.uses)
    url = f"{base}/d/{made.token}"
    return {
        "url": url,
        "expires": datetime.now(timezone.utc) + timedelta(seconds=left),
        "expires_in_s": round(left, 1),
        "uses_left": made.uses_left,
        "qr_svg": qr_code(url),
    }
