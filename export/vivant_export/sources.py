"""Who has the weights: where a source of the catalogue is to be asked for its file."""

from __future__ import annotations

import os
import re
import urllib.parse
from html.parser import HTMLParser
from http.cookiejar import CookieJar

from vivant_export.catalogue import Source
from vivant_export.download import TEMPORARY, DownloadError, Remote, TemporaryError, patiently

DRIVE = "https://drive.usercontent.google.com/download"
SHA256 = re.compile(r"[0-9a-f]{64}")


def locate(source: Source) -> Remote:
    """Return the file of ``source`` as ``download`` wants it.

    Only the hub is asked something: where the file lies, and whether this user may have it.

    Raises:
        DownloadError: the hub does not give it, or its library is not installed.
    """
    if source.kind == "hub":
        return patiently(source.page, lambda: _hub(source))
    if source.kind == "drive":
        query = urllib.parse.urlencode({"id": source.location, "export": "download"})
        return Remote(f"{DRIVE}?{query}", source.bytes, source.sha256, on_page=drive_confirmed)
    return Remote(source.location, source.bytes, source.sha256)


def _hub(source: Source) -> Remote:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        from huggingface_hub import errors, get_hf_file_metadata, get_token, hf_hub_url
    except ImportError as error:
        raise DownloadError(
            f"{source.page}: needs '{error.name}'; run pip install 'vivant[export]'"
        ) from error
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    url = hf_hub_url(source.location, source.file, revision=source.revision, endpoint=endpoint)
    try:
        found = get_hf_file_metadata(url, endpoint=endpoint)
    except errors.OfflineModeIsEnabled as error:
        raise DownloadError(f"{source.page}: HF_HUB_OFFLINE is set; unset it") from error
    except errors.GatedRepoError as error:
        raise DownloadError(
            f"{source.page}: its owner wants to know who has it; log in there and accept the "
            "terms, make a token at https://huggingface.co/settings/tokens, and set it as "
            "HF_TOKEN (or run 'hf auth login')"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in TEMPORARY:
            raise TemporaryError(f"the hub answers {status}") from error
        raise DownloadError(
            f"{source.page}: the hub answers {status}; see whether the page opens in a browser, "
            "and whether HF_TOKEN is still valid"
        ) from error
    except (errors.HTTPError, OSError) as error:  # type: ignore[attr-defined]
        raise TemporaryError(f"the hub cannot be reached ({type(error).__name__})") from error
    # Large files lie elsewhere, at a signed address: that host is not to see the token.
    own = urllib.parse.urlsplit(found.location).netloc == urllib.parse.urlsplit(endpoint).netloc
    token = get_token() if own else None
    hub_sha256 = found.etag if SHA256.fullmatch(found.etag or "") else None
    return Remote(
        found.location,
        source.bytes or found.size,
        source.sha256 or hub_sha256,
        origin=url,
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )


def drive_confirmed(page: str, url: str, cookies: CookieJar) -> str:
    """Return where Google Drive has the file that it asked about instead of sending it.

    Its page says that the file is too large to be scanned for viruses: today a form with hidden
    fields, once a link or a cookie with the confirmation.

    Raises:
        DownloadError: the page is another one; the file is private, gone or in too great demand.
    """
    form = _Form()
    form.feed(page)
    if form.fields:
        target = urllib.parse.urljoin(url, form.action)
        return f"{target}?{urllib.parse.urlencode(form.fields)}"
    if form.link:
        return urllib.parse.urljoin(url, form.link)
    for cookie in cookies:
        if cookie.name.startswith("download_warning") and cookie.value:
            return f"{url}&{urllib.parse.urlencode({'confirm': cookie.value})}"
    if "quota" in page.lower():
        raise DownloadError(
            "Google Drive: too many people have fetched this file today; try again tomorrow, or "
            "save it with a browser that is logged in and put it into place"
        )
    raise DownloadError(
        "Google Drive: sends a page instead of the file, it may have moved or become private; "
        "save it with a browser and put it into place"
    )


class _Form(HTMLParser):
    """The form with id "download-form", and the link that stood there before it."""

    def __init__(self) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.link = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._inside = values.get("id") == "download-form"
            self.action = values.get("action", "") if self._inside else self.action
        elif tag == "input" and self._inside and values.get("type") == "hidden":
            self.fields[values.get("name", "")] = values.get("value", "")
        elif tag == "a" and values.get("id") == "uc-download-link":
            self.link = values.get("href", "")

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"
