"""The live preview: camera frames in, the visitor inside the painting out, over a WebSocket.

The latest frame wins: a client sends the next one when a preview came. One client at a time: the
preview shows one artwork, and a kiosk has one camera.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, WebSocket
from starlette.websockets import WebSocketDisconnect

from vivant.errors import ImageError, VivantError
from vivant.images import encode_image, load_image
from vivant.live import LivePreview, Preview
from vivant_kiosk.refusals import Refused
from vivant_kiosk.security import POLICY_VIOLATION, SUBPROTOCOL
from vivant_kiosk.service import Service, service_of

MAX_FRAME_BYTES = 512 * 1024
"""Of a camera frame, a JPEG."""

_BROKEN, _TRY_LATER = 1011, 1013
_SEND_S = 10.0  # for a client to take a preview
_CLOSE_S = 2.0  # for it to be told why nothing more comes
_WAIT_S = 0.25  # between looks at whether the client is still there
_QUALITY = 85

_log = logging.getLogger(__name__)

router = APIRouter()


class _RuleError(Exception):
    """The client broke a rule; the message is for it."""


@router.websocket("/v1/preview")
async def preview(socket: WebSocket, service: Annotated[Service, Depends(service_of)]) -> None:
    """Show a client its visitors in an artwork, until it goes away."""
    offered = socket.scope["subprotocols"]
    await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
    live = service.workshop.preview
    if live is None or service.preview_taken:
        await _close(socket, _TRY_LATER, "no live preview now")
        return
    service.preview_taken = True
    try:
        await _run(socket, service, live)
    except _RuleError as error:
        await _close(socket, POLICY_VIOLATION, str(error))
    except Refused:
        await _close(socket, _TRY_LATER, "the artworks are being loaded")
    except (VivantError, TimeoutError) as error:
        told = str(error) or "the client does not take what it is sent"
        _log.warning("the live preview ended: %s", told)
        await _close(socket, _BROKEN, "the live preview failed")
    finally:
        try:
            # Whatever becomes of the client, the visitor must not stay.
            await service.in_thread(live.clear)
        finally:
            service.preview_taken = False


async def _close(socket: WebSocket, code: int, reason: str) -> None:
    """Say why, if the client hears it: one that reads nothing must not keep the seat."""
    closed_already = suppress(RuntimeError, WebSocketDisconnect)
    with closed_already, anyio.move_on_after(_CLOSE_S):
        await socket.close(code, reason[:100])


async def _run(socket: WebSocket, service: Service, live: LivePreview) -> None:
    """Take frames and send previews until one of both ends."""
    tasks = [
        asyncio.ensure_future(_take(socket, service, live)),
        asyncio.ensure_future(_give(socket, service, live)),
    ]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    except WebSocketDisconnect:
        pass
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _take(socket: WebSocket, service: Service, live: LivePreview) -> None:
    shown = False
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        if (text := message.get("text")) is not None:
            artwork = service.exhibition.find(_artwork_id(text))
            if artwork is None:
                raise _RuleError("artwork: no such id")
            await service.in_thread(live.show, artwork)
            shown = True
        elif not shown:
            raise _RuleError("name an artwork before the first frame")
        else:
            await service.in_thread(_submit, live, message["bytes"])


async def _give(socket: WebSocket, service: Service, live: LivePreview) -> None:
    number = 0
    while True:
        # Not one of the few threads for pictures: this one mostly waits.
        preview = await asyncio.to_thread(live.wait, number, _WAIT_S)
        if preview is None:
            continue
        number = preview.number
        jpeg = await service.in_thread(encode_image, preview.image, "jpeg", _QUALITY)
        with anyio.fail_after(_SEND_S):
            await _send(socket, preview, jpeg)


async def _send(socket: WebSocket, preview: Preview, jpeg: bytes) -> None:
    height, width = preview.image.shape[:2]
    facts = {
        "number": preview.number,
        "state": str(preview.state),
        "message": preview.message,
        "width": width,
        "height": height,
        "latency_s": round(preview.latency_s, 3),
    }
    await socket.send_text(json.dumps(facts))
    await socket.send_bytes(jpeg)


def _artwork_id(text: str) -> str:
    try:
        artwork_id = json.loads(text)["artwork"]
    except (ValueError, KeyError, TypeError, RecursionError):
        artwork_id = None
    if not isinstance(artwork_id, str):
        raise _RuleError('text: send {"artwork": id}')
    return artwork_id


def _submit(live: LivePreview, frame: bytes) -> None:
    try:
        live.submit(load_image(frame, name="frame"))
    except ImageError as error:
        raise _RuleError(str(error)) from None
