"""What the description allows, and much that it does not, is sent: every answer has to fit it."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
import zlib

import PIL.Image
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis.checks import negative_data_rejection

from vivant_kiosk.app import create_app
from vivant_kiosk.settings import Settings
from vivant_samples import PORTRAIT

from .conftest import ARTWORK as MEADOW_TOML
from .conftest import jpeg_of
from .service_process import WAIT_S, ServiceProcess

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

EXAMPLES = int(os.environ.get("VIVANT_API_EXAMPLES", "12"))
FEW = max(EXAMPLES // 3, 1)
"""Of each operation, beside those at the edges of what is described."""

MEADOW = "meadow"
TOKEN, ADMIN = "a-token-of-visitors-0123", "an-admin's-token-0123456"
AUTHORIZED = {"Authorization": f"Bearer {ADMIN}"}  # it opens everything


def small(picture):
    """Return a picture as a JPEG that is fast to compose."""
    stream = io.BytesIO()
    PIL.Image.open(picture).convert("RGB").resize((192, 192)).save(stream, "JPEG")
    return stream.getvalue()


def described(modes, *, examples, edges=False, **secrets):
    """Return the description of a service, and how it is to be held against the answers."""
    app = create_app(Settings(**{name: SecretStr(secret) for name, secret in secrets.items()}))
    # A form that is as described may hold no picture, and nobody.
    accepting = {"expected-statuses": ["2xx", "404", "409", "422", "429"]}
    forms = {"include-method": ["POST", "PUT"], "checks": {"positive_data_acceptance": accepting}}
    generation = {"mode": modes, "deterministic": True, "database": "none"}
    config = schemathesis.Config.from_dict(
        {
            "generation": {**generation, "max-examples": examples},
            "phases": {"coverage": {"enabled": edges}},
            "operations": [forms],
        }
    )
    return schemathesis.openapi.from_dict(app.openapi(), config=config)


PORTRAIT_JPEG = small(PORTRAIT)
for kind in ("image/jpeg", "image/png", "image/webp", "image/heic"):
    schemathesis.openapi.media_type(kind, st.sampled_from([PORTRAIT_JPEG, jpeg_of(), b"", b"\xff"]))

fuzzed = described("all", examples=EXAMPLES, edges=True, admin_token=ADMIN)
guarded = described("all", examples=FEW, token=TOKEN, admin_token=ADMIN)
known = described("positive", examples=FEW, admin_token=ADMIN)
bounded = settings(deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def serve(tmp_path_factory, store, meadow):
    """Start services, each once, with an artwork of their own to edit."""
    running = {}

    def start(**secrets):
        key = tuple(secrets)
        if key not in running:
            folder = tmp_path_factory.mktemp("service")
            shutil.copytree(meadow, folder / "artworks")
            given = {
                "artworks": str(folder / "artworks"),
                "downloads": {"host": "127.0.0.1", "port": 0},
            }
            service = ServiceProcess(folder, store.root, upload_s=1.0, queue=1, **given, **secrets)
            running[key] = service.until_ready()
        return running[key]

    yield start
    for service in running.values():
        assert service.end() == 0
        assert "Traceback" not in service.log


@fuzzed.parametrize()
@bounded
def test_every_answer_is_as_described(case, serve):
    url = serve(admin_token=ADMIN).url
    case.call_and_validate(base_url=url, headers=AUTHORIZED, timeout=WAIT_S)


@guarded.parametrize()
@bounded
def test_every_answer_is_as_described_behind_a_token(case, serve):
    url = serve(token=TOKEN, admin_token=ADMIN).url
    case.call_and_validate(base_url=url, headers=AUTHORIZED, timeout=WAIT_S)


@known.parametrize()
@bounded
def test_every_answer_about_what_there_is_is_as_described(case, serve):
    service = serve(admin_token=ADMIN)
    if "/compositions/{id}" in case.path:
        case.path_parameters["id"] = finished(service)
    elif "{id}" in case.path:
        case.path_parameters["id"] = MEADOW
    if "{name}" in case.path:
        case.path_parameters["name"] = tables(service)["artwork"]["image"]
    if case.media_type == "multipart/form-data":
        case.body = sensible(case, service)
    answer = case.call_and_validate(
        base_url=service.url,
        headers=AUTHORIZED,
        timeout=WAIT_S,
        excluded_checks=[negative_data_rejection],  # what was wrong has been replaced
    )
    if case.method == "DELETE" and answer.status_code == 204 and "artworks" in case.path:
        put_back(service)


def finished(service):
    """Return the id of a finished composition, of a new one where the last was deleted."""
    last = getattr(service, "last", None)
    if last is None or service.client.get(f"/v1/compositions/{last}").status_code == 404:
        answers = []
        service.until(
            lambda: (
                answers.append(service.post(PORTRAIT_JPEG, artwork=MEADOW))
                or answers[-1].status_code == 202
            )
        )
        last = service.last = answers[-1].json()["id"]
        assert service.finished(last)["state"] == "done"
    return last


def tables(service):
    return service.client.get(f"/v1/admin/artworks/{MEADOW}", headers=AUTHORIZED).json()


def sensible(case, service):
    """Return a form that may well be taken: half of them name no slot."""
    form = dict(case.body) if isinstance(case.body, dict) else {}
    if zlib.crc32(repr(sorted(form)).encode()) % 2:
        form.pop("slot", None)
    if "/admin/" not in case.path:
        return {**form, "artwork": MEADOW, "portrait": PORTRAIT_JPEG}
    kept = {name: value for name, value in form.items() if name == "slot"}
    return {**kept, "artwork": json.dumps(tables(service)), "portrait": PORTRAIT_JPEG}


def put_back(service):
    """Make the artwork that was deleted anew."""
    described = tomllib.loads(MEADOW_TOML)
    del described["schema"], described["artwork"]["image"]
    files = {
        "artwork": (None, json.dumps(described)),
        "picture": ("p.jpg", jpeg_of(400, 256)),
    }
    address = f"/v1/admin/artworks/{MEADOW}"
    assert service.client.put(address, files=files, headers=AUTHORIZED).status_code == 200
