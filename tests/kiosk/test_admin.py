"""The artwork studio's routes: who may use them, and what becomes of artworks."""

from __future__ import annotations

import io
import json
import shutil

import httpx
import numpy as np
import PIL.Image
import pytest
from pydantic import SecretStr

import vivant_samples
from vivant.errors import OutputError, PlacementError
from vivant.images import load_image
from vivant_kiosk import drafts
from vivant_kiosk.api import admin
from vivant_kiosk.app import create_app

from .conftest import WAIT_S, ask, jpeg_of

TOKEN = "an-admin-token-of-tests"
OWN = {"Authorization": f"Bearer {TOKEN}"}
MEADOW = "/v1/admin/artworks/meadow"


def code_of(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    assert "\n" not in answer.json()["detail"]
    return answer.json()["type"].rpartition(":")[2]


def occluder_of(width, height):
    pixels = np.zeros((height, width, 4), np.uint8)
    pixels[height // 2 :] = 255
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def tables_of(artwork_id="wood", **slot):
    own = {"name": "glade", "shot": ["half-body"], "box": [0.2, 0.2, 0.4, 0.8], **slot}
    return {"artwork": {"id": artwork_id, "title": "A Wood"}, "slot": [own]}


def parts_of(tables, **files):
    """Return a form for httpx: a part without a file name is a field."""
    text = tables if isinstance(tables, str) else json.dumps(tables)
    named = {name.replace("_", "-"): (name, data) for name, data in files.items()}
    return {"artwork": (None, text), **named}


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(meadow, tmp_path):
    """A folder of its own, with the meadow."""
    return shutil.copytree(meadow, tmp_path / "artworks")


@pytest.fixture
def service(running, room, folder):
    """A running service, and a client that holds the admin token."""
    service = running(artworks=folder, admin_token=SecretStr(TOKEN)).until_ready()
    with httpx.Client(base_url=service.url, headers=OWN, timeout=WAIT_S) as service.curator:
        yield service


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/admin/artworks"),
        ("GET", MEADOW),
        ("GET", f"{MEADOW}/files/painting.png"),
        ("GET", f"{MEADOW}/thumbnail"),
        ("PUT", MEADOW),
        ("DELETE", MEADOW),
        ("POST", "/v1/admin/trials"),
    ],
)
def test_every_route_wants_the_admin_token(settings, folder, method, path):
    settings = settings.model_copy(update={"artworks": folder})
    closed = ask(create_app(settings), method, path, headers=OWN)
    assert closed.status_code in {404, 405}
    changes = {"admin_token": SecretStr(TOKEN), "token": SecretStr("a-visitors-token-of-tests")}
    app = create_app(settings.model_copy(update=changes))
    for token in ("", "Bearer ", "Bearer a-visitors-token-of-tests", f"Basic {TOKEN}"):
        answer = ask(app, method, path, headers={"Authorization": token})
        assert code_of(answer) == "unauthorized"
        assert answer.headers["www-authenticate"] == "Bearer"
    assert ask(app, method, path, headers=OWN).status_code != 401


def test_the_list_names_artworks_and_what_is_wrong_with_others(service, folder):
    shutil.copytree(folder / "meadow", folder / "Hall 3")  # of the same id
    shutil.copytree(folder / "meadow", folder / "broken")
    (folder / "broken" / "artwork.toml").write_text("[artwork")
    service.service.exhibition.reload()
    listed = service.curator.get("/v1/admin/artworks").json()
    # The folder that comes first has the id.
    assert [entry["id"] for entry in listed["artworks"]] == ["meadow"]
    assert listed["read_only"] is None
    broken, twice = sorted(listed["errors"], key=lambda error: error["id"] is None)
    assert (broken["id"], broken["folder"]) == ("broken", "broken")
    assert broken["message"].startswith("not TOML")
    assert twice["id"] is None  # deleting that id would delete the one on show
    assert "choose another" in twice["message"]
    assert str(folder) not in broken["message"]


def test_an_artwork_comes_as_tables_and_files(service, folder):
    tables = service.curator.get(MEADOW).json()
    assert tables["artwork"]["title"] == "A Meadow"
    assert tables["slot"][0]["box"] == [0.1, 0.3, 0.3, 0.7]
    picture = service.curator.get(f"{MEADOW}/files/{tables['artwork']['image']}")
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["cache-control"] == "no-store"
    assert picture.content == (folder / "meadow" / "painting.png").read_bytes()
    assert load_image(service.curator.get(f"{MEADOW}/thumbnail").content).shape == (256, 400, 3)


@pytest.mark.parametrize("name", ["artwork.toml", "..%2F..%2Fsecret", "../x", "nothing.png"])
def test_only_files_that_the_artwork_names_are_given_out(service, folder, name):
    (folder.parent / "secret").write_text("secret")
    answer = service.curator.get(f"{MEADOW}/files/{name}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_an_artwork_is_added_and_on_show_at_once(service, folder):
    parts = parts_of(
        tables_of(occluder=1), picture=jpeg_of(400, 300), occluder_1=occluder_of(400, 300)
    )
    answer = service.curator.put("/v1/admin/artworks/wood", files=parts)
    assert answer.status_code == 201
    saved = answer.json()
    assert saved["slot"][0]["occluder"].startswith("occluder-")
    shown = {each["id"] for each in service.client.get("/v1/artworks").json()["artworks"]}
    assert shown == {"meadow", "wood"}
    assert service.curator.get("/v1/admin/artworks/wood").json() == saved
    saved["artwork"]["title"] = "The Wood"  # its pictures need not be sent again
    again = service.curator.put("/v1/admin/artworks/wood", files=parts_of(saved))
    assert again.json() == saved
    assert service.client.get("/v1/artworks/wood").json()["title"] == "The Wood"


@pytest.mark.parametrize(
    ("parts", "detail"),
    [
        (parts_of("{"), "form artwork : invalid json"),
        (parts_of({"artwork": {}}), "artwork.id: not the id of the address"),
        (parts_of({"artwork": {"id": None}}), "form artwork artwork.id"),
        (parts_of({"artwork": {"id": {"a": 1}}}), "form artwork artwork.id"),
        (parts_of({"artwork": {}, "schema": 2}), "form artwork schema"),
        (parts_of("[" * 10_000), "form artwork"),
        (parts_of(tables_of("other")), "artwork.id: not the id of the address"),
        (parts_of(tables_of()), "artwork.image: no picture; choose one"),
        (
            parts_of(tables_of(z=0.5), picture=jpeg_of()),
            "slot[1].z: found 0.5, allowed: an integer",
        ),
        (parts_of(tables_of(), picture=b"no picture"), "artwork.image: neither JPEG"),
        (parts_of(tables_of(occluder=1), picture=jpeg_of()), "slot[1].occluder: occluder 1 was"),
        (parts_of(tables_of(occluder=True), picture=jpeg_of()), "slot[1].occluder: found True"),
    ],
)
def test_what_is_wrong_with_a_form_is_told_and_changes_nothing(service, folder, parts, detail):
    before = content(folder)
    answer = service.curator.put("/v1/admin/artworks/wood", files=parts)
    assert code_of(answer) == "invalid-request"
    assert detail in answer.json()["detail"]
    assert content(folder) == before


def test_a_folder_that_is_read_only_is_a_conflict(service, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(drafts.Path, "mkdir", refuse)
    answer = service.curator.put(
        "/v1/admin/artworks/wood", files=parts_of(tables_of(), picture=jpeg_of())
    )
    assert code_of(answer) == "conflict"
    assert "cannot be written to (Read-only file system)" in answer.json()["detail"]
    assert service.client.get("/healthz").status_code == 200


def test_the_samples_are_not_for_editing(running, room):
    service = running(artworks=None, admin_token=SecretStr(TOKEN)).until_ready()
    before = content(vivant_samples.ARTWORKS)
    listed = service.client.get("/v1/admin/artworks", headers=OWN).json()
    assert "set artworks to a folder of your own" in listed["read_only"]
    for answer in (
        service.client.put(MEADOW, headers=OWN, files=parts_of(tables_of("meadow"))),
        service.client.delete("/v1/admin/artworks/night-harbour", headers=OWN),
    ):
        assert code_of(answer) == "conflict"
    assert content(vivant_samples.ARTWORKS) == before


def test_an_artwork_is_deleted(service, folder):
    assert service.curator.delete(MEADOW).status_code == 204
    assert list(folder.iterdir()) == []
    assert service.client.get("/v1/artworks").json() == {"artworks": [], "errors": 0}
    assert code_of(service.curator.delete(MEADOW)) == "unknown-artwork"
    assert code_of(service.curator.get(MEADOW)) == "unknown-artwork"


def test_a_broken_artwork_can_only_be_deleted(service, folder):
    (folder / "meadow" / "artwork.toml").write_text("[artwork")
    service.service.exhibition.reload()
    assert code_of(service.curator.get(MEADOW)) == "conflict"
    assert service.curator.delete(MEADOW).status_code == 204


def test_what_was_saved_is_on_show_even_if_the_disk_did_not_confirm_it(service, monkeypatch):
    def fail(home):
        raise OutputError("saved, but the disk did not confirm it")

    monkeypatch.setattr(drafts, "_confirm", fail)
    parts = parts_of(tables_of(), picture=jpeg_of(400, 300))
    assert code_of(service.curator.put("/v1/admin/artworks/wood", files=parts)) == "conflict"
    shown = {each["id"] for each in service.client.get("/v1/artworks").json()["artworks"]}
    assert "wood" in shown


def test_a_trial_composes_a_draft_and_keeps_nothing(service, room, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(drafts.tempfile, "tempdir", str(tmp_path))
    made = []
    trial = service.service.workshop.trial
    monkeypatch.setattr(
        service.service.workshop, "trial", lambda *given: made.append(trial(*given)) or made[0]
    )
    before = content(tmp_path)
    parts = parts_of(tables_of(), picture=jpeg_of(400, 300), portrait=jpeg_of(90, 120))
    answer = service.curator.post("/v1/admin/trials", files=parts | {"slot": (None, "glade")})
    assert answer.headers["content-type"] == "image/jpeg"
    assert load_image(answer.content).shape == (256, 400, 3)
    told = json.loads(answer.headers[admin.FACTS_HEADER])
    assert told == {"slots": ["left"], "score": 0.9, "profile": "classic", "warnings": ["a note"]}
    assert room.photos == [(120, 90, 3)]
    assert content(tmp_path) == before
    assert service.service.compositions.held() == 0
    assert made[0].facts()["stages"] == []


def test_a_trial_without_a_portrait_takes_the_sample(service, room):
    tables = service.curator.get(MEADOW).json()
    answer = service.curator.post("/v1/admin/trials", files=parts_of(tables))
    assert answer.status_code == 200
    assert room.photos == [(512, 512, 3)]


@pytest.mark.parametrize(
    ("changes", "code", "detail"),
    [
        ({"slot": (None, "nowhere")}, "no-place", "none of this name"),
        ({"portrait": ("portrait", b"no picture")}, "not-a-picture", "portrait is not"),
        (
            {"artwork": (None, json.dumps(tables_of("meadow", z="x")))},
            "invalid-request",
            "z: found",
        ),
    ],
)
def test_what_is_wrong_with_a_trial_is_told(service, changes, code, detail):
    tables = service.curator.get(MEADOW).json()
    tables["artwork"]["title"] = "Not saved"
    changes = dict(changes)
    if "artwork" in changes:
        changes["picture"] = ("picture", jpeg_of())
    answer = service.curator.post("/v1/admin/trials", files=parts_of(tables) | changes)
    assert code_of(answer) == code
    assert detail in answer.json()["detail"]


def test_a_trial_that_fails_says_why(service, room):
    room.error = PlacementError("no slot takes a close-up of 1 person; add a slot")
    tables = service.curator.get(MEADOW).json()
    answer = service.curator.post("/v1/admin/trials", files=parts_of(tables))
    assert code_of(answer) == "no-place"
    assert "add a slot" in answer.json()["detail"]


def test_a_trial_waits_its_turn_and_is_refused_where_too_many_wait(service, room):
    room.go.clear()
    service.post()
    service.post()
    tables = service.curator.get(MEADOW).json()
    answer = service.curator.post("/v1/admin/trials", files=parts_of(tables))
    room.go.set()
    assert code_of(answer) == "busy"
    assert int(answer.headers["retry-after"]) >= 1


def test_the_description_documents_the_form(settings):
    app = create_app(settings.model_copy(update={"admin_token": SecretStr(TOKEN)}))
    put = ask(app, "GET", "/openapi.json").json()["paths"]["/v1/admin/artworks/{id}"]["put"]
    schema = put["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["required"] == ["artwork"]
    assert {"picture", "occluder-1", f"occluder-{admin.MOST_OCCLUDERS}"} <= set(
        schema["properties"]
    )
    assert {"401", "409", "422"} <= set(put["responses"])
