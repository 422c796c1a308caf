"""Fetching one file: resumed where it broke off, verified, and renamed into place when whole.

All bytes come this way, whoever has them; ``sources`` knows whom to ask for what.
"""

from __future__ import annotations

import functools
import http.client
import importlib.metadata
import ipaddress
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPMessage, HTTPResponse
from http.cookiejar import CookieJar
from pathlib import Path
from typing import IO, TypeVar

from vivant.errors import ModelError, OutputError
from vivant.files import one_line
from vivant_export.part import Part

ATTEMPTS = 4  # in a row, without a new byte
PAUSE = 1.0  # seconds before the second attempt; each further one waits twice as long
PATIENCE = 60.0  # seconds that a server may ask us to wait
STALL = 30.0  # seconds without a byte
CHUNK = 1 << 20
LONGEST_PAGE = 1 << 20
TEMPORARY = (408, 416, 425, 429, 500, 502, 503, 504)

Progress = Callable[[int, "int | None"], None]
"""Called with the bytes that have arrived and, where it is known, how many there are."""

Result = TypeVar("Result")


class DownloadError(ModelError):
    """A file that could not be fetched, or that is not the one that was asked for."""


class TemporaryError(Exception):
    """A fault that may be gone at the next attempt, in ``wait`` seconds if the server said so."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


@dataclass(frozen=True)
class Remote:
    """A file elsewhere, and what it must be.

    ``origin`` is its lasting address, where ``url`` is one that was signed for this time.
    ``headers`` go to ``url`` alone, never along a redirect. ``on_page`` says where to go on when a
    web page comes instead of the file: it is given the page, its address and the cookies so far,
    and raises ``DownloadError`` when it finds no way.
    """

    url: str
    bytes: int | None = None
    sha256: str | None = None
    origin: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    on_page: Callable[[str, str, CookieJar], str] | None = None


def download(remote: Remote, target: Path, progress: Progress | None = None) -> str:
    """Fetch ``remote`` to ``target``, whole and verified or not at all.

    What has arrived is kept beside ``target`` as ``<name>.part``, so that the next call goes on
    from there. A server that breaks off, stalls or asks for time is asked again.

    Returns:
        The file's SHA-256, hexadecimal.

    Raises:
        DownloadError: it cannot be had, or its size or hash is not the expected one.
        OutputError: the disk is full or may not be written to.
    """
    with Part(target, remote.origin or remote.url) as part:
        if part.size != remote.bytes:
            patiently(remote.url, functools.partial(_continue, remote, part, progress), part)
        _verify(remote, part)
        part.finish(target)
        return part.sha256


def patiently(url: str, attempt: Callable[[], Result], part: Part | None = None) -> Result:
    """Call ``attempt`` until it returns; a ``TemporaryError`` is waited out.

    Raises ``DownloadError`` after ``ATTEMPTS`` of them in a row that brought ``part`` no new byte.
    """
    failures = 0
    while True:
        before = part.size if part else 0
        try:
            return attempt()
        except TemporaryError as fault:
            failures = 1 if part and part.size > before else failures + 1
            if failures >= ATTEMPTS:
                raise DownloadError(
                    f"{_short(url)}: {fault}, {ATTEMPTS} times; check the connection and run the "
                    "command again, it goes on where it stopped"
                ) from fault
            time.sleep(max(PAUSE * 2 ** (failures - 1), min(fault.wait, PATIENCE)))


def _continue(remote: Remote, part: Part, progress: Progress | None) -> None:
    """Ask for what is missing and write it down as it comes."""
    # Without a hash to hold the whole against, only a validator says that it is still one file.
    if part.size and not (remote.sha256 or part.validator):
        part.restart(None)
    headers = dict(remote.headers)
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.validator:
            headers["If-Range"] = part.validator
    with _faults(remote.url):
        try:
            with _file(remote, headers) as response:
                _receive(remote, response, part, progress)
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.restart(None)
            raise _refused(remote.url, error) from error


@contextmanager
def _faults(url: str) -> Iterator[None]:
    """Sort what goes wrong on the line into what may pass and what will not."""
    try:
        yield
    except TimeoutError as error:
        raise TemporaryError(f"no byte for {STALL:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(
                f"{_short(url)}: its certificate is not trusted ({reason.verify_message}); check "
                "this machine's clock and certificates"
            ) from error
        what = "cannot be reached" if isinstance(error, urllib.error.URLError) else "broke off"
        why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise TemporaryError(f"{what} ({one_line(why)})") from error


def _receive(remote: Remote, response: HTTPResponse, part: Part, progress: Progress | None) -> None:
    start, total = _extent(response)
    if start is None:  # nothing to go on from, or the file has changed, or ranges are unknown there
        part.restart(response.headers.get("ETag") or response.headers.get("Last-Modified"))
    elif start != part.size:
        part.restart(None)
        raise TemporaryError("another range came than was asked for")
    if None not in (total, remote.bytes) and total != remote.bytes:
        raise DownloadError(
            f"{_short(remote.url)}: has {total} bytes there, {remote.bytes} are expected: "
            "it is another file now"
        )
    total = total or remote.bytes
    _need_space(part, total)
    while chunk := response.read1(CHUNK):
        part.write(chunk)
        if total is not None and part.size > total:
            break  # _verify says so
        if progress:
            progress(part.size, total)
    if total is not None and part.size < total:
        raise TemporaryError(f"the connection broke after {part.size} of {total} bytes")


def _extent(response: HTTPResponse) -> tuple[int | None, int | None]:
    """Return where in the file a partial answer begins, and how long the file is."""
    if response.status == http.client.PARTIAL_CONTENT:
        # Content-Range: bytes 100-199/200, or .../* where the server does not know
        found = re.match(r"bytes (\d+)-\d+/(\d+)?", response.headers.get("Content-Range", ""))
        start, total = found.groups() if found else ("-1", None)
        return int(start), int(total) if total else None
    length = response.headers.get("Content-Length", "")
    return None, int(length) if length.isdecimal() else None


def _need_space(part: Part, total: int | None) -> None:
    missing = (total or 0) - part.size
    free = shutil.disk_usage(part.path.parent).free
    if missing > free:
        raise OutputError(
            f"{part.path.parent}: {missing / 1e6:.0f} MB are needed and {free / 1e6:.0f} MB are "
            "free; free some space, or name another folder in VIVANT_WEIGHTS"
        )


def _verify(remote: Remote, part: Part) -> None:
    wrong = None
    if remote.bytes is not None and part.size != remote.bytes:
        wrong = f"has {part.size} bytes, {remote.bytes} are expected"
    elif remote.sha256 is not None and part.sha256 != remote.sha256:
        wrong = f"its SHA-256 is {part.sha256}, {remote.sha256} is expected"
    elif part.size == 0:
        wrong = "is empty"
    if wrong:
        part.restart(None)
        raise DownloadError(
            f"{_short(remote.url)}: {wrong}: it was changed, or damaged on its way; nothing was "
            "kept, run the command again"
        )


def _file(remote: Remote, headers: Mapping[str, str]) -> HTTPResponse:
    """Open the answer that is the file, past a page that asks back."""
    cookies = CookieJar()
    opener = urllib.request.build_opener(
        _SafeRedirects, urllib.request.HTTPCookieProcessor(cookies)
    )
    response = _open(opener, remote.url, headers)
    if remote.on_page and _is_page(response):
        with response:
            page = response.read(LONGEST_PAGE).decode("utf-8", "replace")
            url = remote.on_page(page, response.url, cookies)
        response = _open(opener, url, headers, came_from=remote.url)
    if _is_page(response):
        response.close()
        raise DownloadError(f"{_short(remote.url)}: a web page came instead of the file")
    return response


def _open(
    opener: urllib.request.OpenerDirector,
    url: str,
    headers: Mapping[str, str],
    came_from: str | None = None,
) -> HTTPResponse:
    _check_address(url, came_from)
    request = urllib.request.Request(url)  # noqa: S310 - the address was checked
    request.add_header("User-Agent", f"vivant/{importlib.metadata.version('vivant')}")
    for name, value in headers.items():
        # A redirect gets what names the bytes, never what names the user.
        (request.add_header if "range" in name.lower() else request.add_unredirected_header)(
            name, value
        )
    response: HTTPResponse = opener.open(request, timeout=STALL)
    return response


def _is_page(response: HTTPResponse) -> bool:
    return response.headers.get_content_type() == "text/html"


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_address(newurl, req.full_url)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str, came_from: str | None) -> None:
    """Refuse what is not HTTPS; this very machine may speak HTTP, to itself."""
    if urllib.parse.urlsplit(url).scheme == "https":
        return
    if not (_is_local(url) and (came_from is None or _is_local(came_from))):
        raise DownloadError(
            f"{_short(came_from or url)}: leads to {_short(url)}, which is not HTTPS; "
            "nothing is fetched over an open line"
        )


def _is_local(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "http" or parts.hostname is None:
        return False
    try:
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


def _short(url: str) -> str:
    """Return an address for a message, without the query, where signatures and tokens are."""
    return one_line(urllib.parse.urlsplit(url)._replace(query="", fragment="").geturl())


def _refused(url: str, error: urllib.error.HTTPError) -> Exception:
    error.close()
    if error.code in TEMPORARY:
        wait = error.headers.get("Retry-After") or ""
        return TemporaryError(
            f"the server answers {error.code}", float(wait) if wait.isdecimal() else 0.0
        )
    reason = {
        401: "asks who you are",
        403: "does not give it to you",
        404: "does not have it any more",
        410: "does not have it any more",
    }.get(error.code, error.reason)
    return DownloadError(
        f"{_short(url)}: the server answers {error.code}, {one_line(str(reason))}; fetch the file "
        "with a browser and put it into place, or wait for a newer version of Vivant"
    )
