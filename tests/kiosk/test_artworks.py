"""The artworks as pages see them."""

from __future__ import annotations

import shutil

import pytest

from vivant.images import load_image
from vivant_kiosk.app import create_app
from vivant_kiosk.gallery import Exhibition
from vivant_kiosk.service import size_of

from .conftest import ask


@pytest.fixture
def shown(settings, meadow, tmp_path):
    """A service that has loaded its artworks, one of them in the test's own folder."""
    shutil.copytree(meadow / "meadow", tmp_path / "meadow")
    app = create_app(settings.model_copy(update={"artworks": tmp_path}))
    app.state.service._exhibition = Exhibition(tmp_path)
    return app


def test_the_artworks_are_listed(shown):
    answer = ask(shown, "GET", "/v1/artworks").json()
    assert answer == {
        "artworks": [
            {
                "id": "meadow",
                "title": "A Meadow",
                "artist": "Nobody",
                "year": None,
                "credit": "",
                "licence": "",
                "width": 400,
                "height": 256,
                "slots": [{"name": "left", "shot": ["half-body"], "people": [1, 1]}],
                "picture": "/v1/artworks/meadow/picture",
                "thumbnail": "/v1/artworks/meadow/thumbnail",
            }
        ],
        "errors": 0,
    }
    assert ask(shown, "GET", "/v1/artworks/meadow").json() == answer["artworks"][0]


def test_pictures_come_once_and_then_not_again(shown):
    for which, size in (("picture", (256, 400, 3)), ("thumbnail", (256, 400, 3))):
        first = ask(shown, "GET", f"/v1/artworks/meadow/{which}")
        assert first.headers["content-type"] == "image/jpeg"
        assert load_image(first.content).shape == size
        tag = first.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = ask(
                shown, "GET", f"/v1/artworks/meadow/{which}", headers={"If-None-Match": known}
            )
            assert (again.status_code, again.content) == (304, b"")
        other = ask(shown, "GET", f"/v1/artworks/meadow/{which}", headers={"If-None-Match": '"x"'})
        assert other.status_code == 200


def test_an_artwork_that_is_not_there_is_told_so(shown):
    for path in ("", "/picture", "/thumbnail"):
        answer = ask(shown, "GET", f"/v1/artworks/lake{path}")
        assert answer.status_code == 404
        assert answer.json()["type"] == "urn:vivant:problem:unknown-artwork"


def test_an_artwork_whose_picture_was_lost_costs_no_other(shown, tmp_path):
    (tmp_path / "meadow" / "painting.png").write_bytes(b"lost")
    size_of.cache_clear()
    assert ask(shown, "GET", "/v1/artworks").json() == {"artworks": [], "errors": 1}
    for path in ("", "/picture", "/thumbnail"):
        assert ask(shown, "GET", f"/v1/artworks/meadow{path}").status_code == 404
