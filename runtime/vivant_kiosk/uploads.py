"""Uploads: bodies of unknown origin to a form in memory. Nothing is ever written to a disk.

A body is read as it comes, counted, and given up where it is too large or too slow. What is
refused is answered at once; ``vivant_kiosk.protocol`` throws the rest away for a while, or a
client that still writes would see a broken connection in place of the answer.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from vivant.containers import MAX_BYTES
from vivant_kiosk.refusals import Refused, refused

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FORM_BYTES = 64 * 1024
"""Of everything in a form but its files: fields, headers, boundaries."""

MAX_PARTS = 8
"""Fields and files in a form."""

_MULTIPART = b"multipart/form-data"
_RETRY_S = "2"

_silent = logging.getLogger(f"{__name__}.parser")  # it quotes what was sent
_silent.disabled = True


@dataclass
class Form:
    """A form: its fields as text, and the content of its files, each by name."""

    fields: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


class Uploads:
    """Reads bodies, a few at a time."""

    def __init__(self, most: int, seconds: float, count_refused: Callable[[str], None]) -> None:
        """Begin with none.

        Args:
            most: bodies that are held in memory at a time.
            seconds: for a body to arrive.
            count_refused: is told the code of the problem of every upload that was refused.
        """
        self._most, self._seconds = most, seconds
        self._count_refused = count_refused
        self._held = 0

    @asynccontextmanager
    async def body(
        self,
        request: Request,
        *,
        max_bytes: int,
        admit: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[bytes]:
        """Read a request's body; it counts as held for as long as ``with`` lasts.

        Args:
            request: whose body it is.
            max_bytes: of it.
            admit: raises ``Refused`` where it is not worth reading.

        Raises:
            Refused: it is larger than ``max_bytes`` (413), too slow (408), or as many as may be
                are held (429). What is raised inside ``with`` is counted too.
            ClientDisconnect: the client went away.
        """
        try:
            admit()
            if self._held >= self._most:
                raise refused("busy", "too many uploads at a time; try again", Retry_After=_RETRY_S)
            self._held += 1
            try:
                yield await self._read(request, max_bytes)
            finally:
                self._held -= 1
        except Refused as error:
            self._count_refused(error.reason.code)
            raise

    async def _read(self, request: Request, max_bytes: int) -> bytes:
        too_large = refused("too-large", f"more than {max_bytes >> 20} MB; send a smaller file")
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > max_bytes:
            raise too_large
        try:
            with anyio.fail_after(self._seconds):
                body = await _collect(request, max_bytes)
        except TimeoutError:
            seconds = f"{self._seconds:g} s"
            raise refused(
                "too-slow", f"the upload took more than {seconds}; send a smaller file"
            ) from None
        if body is None:
            raise too_large
        return body


async def _collect(request: Request, max_bytes: int) -> bytes | None:
    """Return the body, or None as soon as it is larger than ``max_bytes``."""
    chunks: list[bytes] = []
    count = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        count += len(chunks[-1])
        if count > max_bytes:
            return None
        more = message.get("more_body", False)
    return b"".join(chunks)


def parse_form(content_type: str, body: bytes, *, max_file_bytes: int = MAX_BYTES) -> Form:
    """Take a form apart; blocks for some milliseconds, so call it from a thread.

    Args:
        content_type: the header.
        body: all of it.
        max_file_bytes: of each file.

    Raises:
        Refused: it is no form, or one with too many, too large, nameless or repeated parts.
    """
    kind, parameters = parse_options_header(content_type)
    boundary = parameters.get(b"boundary")
    if kind != _MULTIPART or not boundary:
        raise refused("invalid-request", "header Content-Type: send multipart/form-data")
    reader = _FormReader(max_file_bytes)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.logger = _silent
        parser.write(body)
        parser.finalize()
    except FormParserError:
        reader.complete = False
    if not reader.complete:
        raise refused("invalid-request", "body: no complete multipart/form-data; send it again")
    return reader.form


class _FormReader:
    """Collects the parts that the parser finds."""

    def __init__(self, max_file_bytes: int) -> None:
        self.form = Form()
        self.complete = False
        self._max_file_bytes = max_file_bytes
        self._parts = 0
        self._header, self._value = bytearray(), bytearray()
        self._name, self._is_file = "", False
        self._data = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._on_header,
            "on_header_value": self._on_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._on_data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise refused("invalid-request", f"body: more than {MAX_PARTS} parts; send fewer")
        self._name, self._is_file, self._data = "", False, bytearray()

    def _on_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._value))
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            self._is_file = b"filename" in options
        self._header.clear()
        self._value.clear()

    def _end_headers(self) -> None:
        if not self._name:
            raise refused("invalid-request", "body: a part without a name; name every field")
        if self._name in self.form.fields or self._name in self.form.files:
            raise refused("invalid-request", "body: a field came twice; send each once")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        limit = self._max_file_bytes if self._is_file else MAX_FORM_BYTES
        if len(self._data) + end - start > limit:
            raise refused("too-large", f"a part has more than {limit >> 10} kB; send less")
        self._data += data[start:end]

    def _end(self) -> None:
        data, self._data = bytes(self._data), bytearray()
        if self._is_file:
            self.form.files[self._name] = data
        else:
            self.form.fields[self._name] = data.decode("utf-8", "replace")

    def _finish(self) -> None:
        self.complete = True
