# ruff: noqa: RUF001  (typographic apostrophes)
"""The other socket: pictures for visitors' phones in the local network, and nothing else.

A link works a few times and for a short while. Whoever guesses finds a friendly page, and learns
nothing.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import socket

import segno
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from vivant_kiosk.compositions import Compositions
from vivant_kiosk.security import HEADERS
from vivant_kiosk.settings import Downloads

FILE_NAME = "vivant.jpg"

_TEXTS = {
    "en": {
        "title": "Your picture",
        "hint": "Save it now: it is kept for a few minutes only, and on no other computer.",
        "save": "Save the picture",
        "gone": "This link has ended",
        "why": "Pictures are deleted after a few minutes. Take another one!",
    },
    "it": {
        "title": "La tua immagine",
        "hint": "Salvala adesso: resta qui solo per pochi minuti, e su nessun altro computer.",
        "save": "Salva l’immagine",
        "gone": "Questo link è scaduto",
        "why": "Le immagini vengono cancellate dopo pochi minuti. Fanne un’altra!",
    },
    "de": {
        "title": "Ihr Bild",
        "hint": "Speichern Sie es jetzt: Es bleibt nur wenige Minuten und auf keinem "
        "anderen Computer.",
        "save": "Bild speichern",
        "gone": "Dieser Link ist abgelaufen",
        "why": "Bilder werden nach wenigen Minuten gelöscht. Machen Sie gern ein neues!",
    },
    "fr": {
        "title": "Votre image",
        "hint": "Enregistrez-la maintenant : elle n’est gardée que quelques minutes, et sur aucun "
        "autre ordinateur.",
        "save": "Enregistrer l’image",
        "gone": "Ce lien n’est plus valable",
        "why": "Les images sont effacées après quelques minutes. Refaites-en une !",
    },
}

_STYLE = """
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; gap: 1.5rem;
  align-items: center; justify-content: center; padding: 2rem; box-sizing: border-box;
  text-align: center; background: #1c1a17; color: #f4efe6;
  font: 1.125rem/1.5 system-ui, sans-serif; }
h1 { font: 2rem/1.2 Georgia, serif; margin: 0; }
p { margin: 0; max-width: 22rem; }
a { background: #f4efe6; color: #1c1a17; padding: 1rem 2rem; border-radius: 2rem;
  font-size: 1.25rem; text-decoration: none; }
a:focus-visible { outline: 3px solid #e0a458; outline-offset: 3px; }
"""

_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": _POLICY,
    "Permissions-Policy": HEADERS["Permissions-Policy"].replace("camera=(self)", "camera=()"),
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
}


def create_downloads(compositions: Compositions) -> Starlette:
    """Return the application behind the other socket."""

    async def page(request: Request) -> Response:
        token = request.path_params["token"]
        if compositions.look_up(token) is None:
            return _gone(request)
        address = f"/d/{token}/{FILE_NAME}"
        button = f'<a href="{html.escape(address)}" download="{FILE_NAME}">{{save}}</a>'
        return _page(request, "title", f"<p>{{hint}}</p>{button}")

    async def picture(request: Request) -> Response:
        # Messengers ask with HEAD before they show a link: that is no use of it.
        take = compositions.look_up if request.method == "HEAD" else compositions.redeem
        found = take(request.path_params["token"])
        return _gone(request) if found is None else _jpeg(found.jpeg)

    async def nothing(request: Request, _: Exception) -> Response:
        return _gone(request)

    async def no_method(_: Request, __: Exception) -> Response:
        return Response(status_code=405, headers={**_HEADERS, "Allow": "GET, HEAD"})

    routes = [Route("/d/{token}", page), Route(f"/d/{{token}}/{FILE_NAME}", picture)]
    return Starlette(routes=routes, exception_handlers={404: nothing, 405: no_method})


def qr_code(url: str) -> str:
    """Return a QR code as an SVG without a size of its own."""
    stream = io.BytesIO()
    code = segno.make(url, error="m", micro=False)
    code.save(stream, kind="svg", xmldecl=False, omitsize=True, border=4, dark="#000", light="#fff")
    return stream.getvalue().decode().strip()


def base_url(downloads: Downloads, port: int) -> str | None:
    """Return what phones call the other socket; None where this machine is in no network."""
    name = downloads.address or downloads.host
    if name in {"0.0.0.0", "::"}:  # noqa: S104  (nothing is bound here)
        name = _own_address() or ""
    if ":" in name:
        name = f"[{name}]"
    return f"http://{name}:{port}" if name else None


def _own_address() -> str | None:
    """Return this machine's address in its network, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing; the address is one that documentation is full of (RFC 5737).
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return address


def _jpeg(data: bytes) -> Response:
    headers = {**_HEADERS, "Content-Disposition": f'inline; filename="{FILE_NAME}"'}
    return Response(data, headers=headers, media_type="image/jpeg")


def _gone(request: Request) -> Response:
    return _page(request, "gone", "<p>{why}</p>", status=404)


def _page(request: Request, title: str, body: str, status: int = 200) -> Response:
    language = _language(request.headers.get("accept-language", ""))
    texts = _TEXTS[language]
    content = (
        f'<!doctype html><html lang="{language}"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{texts[title]}</title><style>{_STYLE}</style>"
        f"<h1>{texts[title]}</h1>{body.format(**texts)}</html>"
    )
    headers = {**_HEADERS, "Content-Language": language, "Vary": "Accept-Language"}
    return HTMLResponse(content, status, headers)


def _language(accepted: str) -> str:
    """Return the first of the phone's languages that we speak."""
    for part in accepted.split(","):
        language = part.partition(";")[0].strip().lower().partition("-")[0]
        if language in _TEXTS:
            return language
    return "en"
