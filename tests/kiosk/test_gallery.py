"""The exhibition: what is on show, what is not and why, and the JPEGs of it."""

from __future__ import annotations

import io
import shutil
import threading

import PIL.Image
import pytest

from vivant.errors import ArtworkError
from vivant_kiosk.gallery import THUMBNAIL_SIDE, Exhibition
from vivant_samples import ARTWORKS


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(ARTWORKS / "night-harbour", tmp_path / "night-harbour")
    return tmp_path


def test_an_exhibition_shows_the_artworks_of_its_folder(folder):
    exhibition = Exhibition(folder)
    assert [artwork.id for artwork in exhibition.artworks] == ["night-harbour"]
    assert exhibition.errors == ()
    assert exhibition.find("night-harbour") is exhibition.artworks[0]
    assert exhibition.find("..") is None


def test_a_folder_without_artworks_is_an_empty_exhibition(tmp_path):
    exhibition = Exhibition(tmp_path)
    assert exhibition.artworks == ()
    assert exhibition.errors == ()


def test_a_folder_that_is_not_there_is_an_error_with_its_name(tmp_path):
    with pytest.raises(ArtworkError, match="nowhere: no such folder; create it"):
        Exhibition(tmp_path / "nowhere")


def test_a_reload_shows_what_was_added_and_what_broke(folder):
    exhibition = Exhibition(folder)
    shutil.copytree(ARTWORKS / "spring-garden", folder / "spring-garden")
    (folder / "night-harbour" / "painting.webp").unlink()
    assert exhibition.find("spring-garden") is None
    exhibition.reload()
    assert [artwork.id for artwork in exhibition.artworks] == ["spring-garden"]
    assert "artwork.image" in str(exhibition.errors[0])


def test_what_is_damaged_in_any_way_is_left_out_and_named(folder):
    for name in ("nested", "cut"):
        shutil.copytree(ARTWORKS / "spring-garden", folder / name)
    (folder / "nested" / "artwork.toml").write_text("slot = " + "[" * 5000)
    occluder = folder / "cut" / "irises.webp"
    occluder.write_bytes(occluder.read_bytes()[:5000])
    exhibition = Exhibition(folder)
    assert [artwork.id for artwork in exhibition.artworks] == ["night-harbour"]
    cut, nested = map(str, exhibition.errors)
    assert "slot[1].occluder: cut/irises.webp is truncated: send the whole file again" in cut
    assert nested.startswith(f"{folder}/nested/artwork.toml: lists or tables nested too deeply; ")


def test_what_was_on_show_stays_when_the_folder_vanishes(folder):
    exhibition = Exhibition(folder)
    shutil.rmtree(folder)
    with pytest.raises(ArtworkError):
        exhibition.reload()
    assert exhibition.find("night-harbour") is not None


def test_a_thumbnail_and_a_picture_are_jpegs_of_the_right_size(folder):
    exhibition = Exhibition(folder)
    artwork = exhibition.artworks[0]
    with PIL.Image.open(io.BytesIO(exhibition.thumbnail(artwork).jpeg)) as thumbnail:
        assert thumbnail.format == "JPEG"
        assert max(thumbnail.size) == THUMBNAIL_SIDE
    with PIL.Image.open(io.BytesIO(exhibition.picture(artwork).jpeg)) as picture:
        assert picture.height == artwork.output_height


def test_a_rendition_is_made_once_and_again_when_its_file_changes(folder):
    exhibition = Exhibition(folder)
    artwork = exhibition.artworks[0]
    first = exhibition.thumbnail(artwork)
    assert exhibition.thumbnail(artwork) is first
    assert first.etag != exhibition.picture(artwork).etag
    shutil.copyfile(ARTWORKS / "spring-garden" / "painting.webp", artwork.image)
    assert exhibition.thumbnail(artwork).etag != first.etag
    assert first.etag.startswith('"')
    assert first.etag.endswith('"')


def test_readers_see_one_whole_exhibition_while_others_reload(folder):
    shutil.copytree(ARTWORKS / "spring-garden", folder / "spring-garden")
    exhibition = Exhibition(folder)
    seen, stop = set(), threading.Event()

    def read():
        while not stop.is_set():
            seen.add(tuple(artwork.id for artwork in exhibition.artworks))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(2):
        exhibition.reload()
    stop.set()
    reader.join()
    assert seen == {("night-harbour", "spring-garden")}


def test_an_exhibition_tidies_up_what_an_interrupted_save_left_behind(folder):
    left = folder / "night-harbour" / ".artwork-0123456789abcdef.toml"
    left.write_text("schema = 1")
    assert Exhibition(folder).find("night-harbour") is not None
    assert not left.exists()
