"""Drafts: an artwork is saved whole or not at all, and nobody else's files are touched."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat

import numpy as np
import PIL.Image
import pytest

from vivant.artwork import find_artworks, load_artwork
from vivant.errors import ArtworkError, OutputError
from vivant_kiosk import drafts
from vivant_kiosk.drafts import Draft
from vivant_samples import ARTWORKS


def picture(size=(400, 300), shade=90):
    stream = io.BytesIO()
    PIL.Image.new("RGB", size, (shade, shade, shade)).save(stream, "JPEG")
    return stream.getvalue()


def occluder(size=(400, 300), covered=0.3):
    alpha = np.zeros((size[1], size[0], 4), np.uint8)
    alpha[round(size[1] * (1 - covered)) :] = 255
    stream = io.BytesIO()
    PIL.Image.fromarray(alpha).save(stream, "PNG")
    return stream.getvalue()


def tables(artwork=None, slot=None):
    return {
        "artwork": {"id": "night-cafe", "title": "The Night Café", **(artwork or {})},
        "slot": [
            {
                "name": "by-the-table",
                "shot": ["half-body"],
                "box": [0.1, 0.3, 0.3, 0.7],
                **(slot or {}),
            }
        ],
        "fallback": {"order": ["half-body", "close-up"]},
    }


def content(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def saved(tmp_path):
    """A folder with one artwork that was saved with an occluder."""
    drafts.save(tmp_path, Draft(tables(slot={"occluder": 1}), picture(), {1: occluder()}))
    return tmp_path


def test_a_new_artwork_can_be_loaded_with_all_that_was_said(saved):
    artwork = load_artwork(saved / "night-cafe")
    assert (artwork.title, artwork.output_height) == ("The Night Café", 300)
    slot = artwork.slots[0]
    assert slot.box == (0.1, 0.3, 0.3, 0.7)
    written = (saved / "night-cafe" / "artwork.toml").read_text("utf-8")
    assert "\nbox = [0.1, 0.3, 0.3, 0.7]\n" in written
    assert artwork.occluder(slot)[-1, 0, 3] == 255
    assert artwork.fallback == ("half-body", "close-up")
    names = sorted(path.name for path in (saved / "night-cafe").iterdir())
    assert [name.split("-")[0] for name in names] == ["artwork.toml", "occluder", "painting"]


def test_saving_again_keeps_the_pictures_that_are_not_sent(saved):
    before = drafts.read_tables(saved / "night-cafe")
    before["artwork"]["title"] = "Another title"
    drafts.save(saved, Draft({key: before[key] for key in ("artwork", "slot")}))
    after = load_artwork(saved / "night-cafe")
    assert after.title == "Another title"
    assert after.image.name == before["artwork"]["image"]
    assert after.occluder(after.slots[0]) is not None


def test_an_old_picture_goes_at_the_next_save_and_not_before(saved):
    old = load_artwork(saved / "night-cafe")
    drafts.save(saved, Draft(tables(), picture(shade=200)))
    new = load_artwork(saved / "night-cafe")
    assert new.image != old.image
    assert old.picture()[0, 0, 0] == 90  # a composition that began before finds it
    drafts.save(saved, Draft(tables(artwork={"image": new.image.name})))
    assert not old.image.exists()
    assert new.picture()[0, 0, 0] == 200


@pytest.mark.parametrize(
    ("draft", "message"),
    [
        (Draft(tables(artwork={"id": "../elsewhere"}), picture()), "artwork.id: found '../else"),
        (Draft(tables(artwork={"id": "a" * 65}), picture()), "at most 64"),
        (Draft(tables(artwork={"id": "new"})), "artwork.image: no picture; choose one"),
        (Draft(tables(), b"GIF89a..."), "artwork.image: neither JPEG, PNG nor WebP"),
        (Draft(tables(), picture()[:500]), "artwork.image: painting-"),
        (Draft(tables(slot={"box": [0.5, 0.5, 0.9, 0.5]}), picture()), r"slot\[1\].box: found"),
        (
            Draft(tables(slot={"occluder": 2}), picture(), {1: occluder()}),
            "occluder 2 was not sent",
        ),
        (Draft(tables(slot={"occluder": 1}), picture(), {1: occluder((4, 3))}), "picture's size"),
        (Draft(tables(slot={"occluder": 1}), picture(), {1: picture()}), "nowhere transparent"),
        (Draft(tables(slot={"occluder": "../x.png"}), picture()), "outside the folder"),
        (Draft(tables(artwork={"credit": None}), picture()), "what TOML cannot"),
        (Draft(tables(artwork={"credit": "\ud800"}), picture()), "what TOML cannot"),
        (Draft({"artwork": tables()["artwork"]}, picture()), "slot: missing"),
    ],
)
def test_a_bad_draft_changes_nothing(saved, draft, message):
    before = content(saved)
    with pytest.raises(ArtworkError, match=message) as raised:
        drafts.save(saved, draft)
    assert content(saved) == before
    assert "\n" not in str(raised.value)
    assert str(saved) not in str(raised.value)


def test_all_problems_are_told_at_once(tmp_path):
    bad = tables(artwork={"title": ""}, slot={"shot": ["portrait"], "z": 0.5})
    with pytest.raises(ArtworkError) as raised:
        drafts.save(tmp_path, Draft(bad, picture()))
    for key in ("artwork.title: ", "slot[1].shot: ", "slot[1].z: "):
        assert key in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_texts_are_written_as_they_are(tmp_path):
    odd = "[\\n    \"a\", ] \\ ''' é 家 #"
    drafts.save(tmp_path, Draft(tables(artwork={"credit": odd, "title": "["}), picture()))
    artwork = load_artwork(tmp_path / "night-cafe")
    assert (artwork.credit, artwork.title) == (odd, "[")


def test_files_of_the_museum_survive_saving_and_deleting(saved):
    notes = saved / "night-cafe" / "notes.txt"
    notes.write_text("the frame is at the restorer's")
    drafts.save(saved, Draft(tables(), picture(shade=10)))
    assert notes.exists()
    assert drafts.delete(saved, "night-cafe")
    assert [path.name for path in (saved / "night-cafe").iterdir()] == ["notes.txt"]
    drafts.save(saved, Draft(tables(), picture()))  # and the id is free again
    assert find_artworks(saved).artworks[0].id == "night-cafe"


def test_deleting_removes_the_folder_and_says_whether_there_was_one(saved):
    assert drafts.delete(saved, "night-cafe")
    assert list(saved.iterdir()) == []
    assert not drafts.delete(saved, "night-cafe")


def test_an_artwork_is_found_by_its_id_wherever_it_lies(tmp_path):
    shutil.copytree(ARTWORKS / "spring-garden", tmp_path / "Hall 3")
    home = drafts.find_home(tmp_path, "spring-garden")
    assert home == tmp_path / "Hall 3"
    read = drafts.read_tables(home)
    read["artwork"]["title"] = "Spring"
    drafts.save(tmp_path, Draft(read))
    assert [path.name for path in tmp_path.iterdir()] == ["Hall 3"]
    assert load_artwork(home).title == "Spring"
    assert (home / "irises.webp").exists()


def test_a_folder_that_is_another_artworks_is_not_taken_over(tmp_path):
    shutil.copytree(ARTWORKS / "spring-garden", tmp_path / "night-cafe")
    with pytest.raises(ArtworkError, match="the folder 'night-cafe' is that of artwork 'spring-"):
        drafts.save(tmp_path, Draft(tables(), picture()))
    assert load_artwork(tmp_path / "night-cafe").id == "spring-garden"


def test_a_broken_artwork_can_be_replaced_and_deleted(saved):
    (saved / "night-cafe" / "artwork.toml").write_text("[artwork")
    assert drafts.find_home(saved, "night-cafe") == saved / "night-cafe"
    drafts.save(saved, Draft(tables(), picture()))
    assert load_artwork(saved / "night-cafe").id == "night-cafe"
    (saved / "night-cafe" / "artwork.toml").write_text("[artwork")
    assert drafts.delete(saved, "night-cafe")
    assert not (saved / "night-cafe" / "artwork.toml").exists()


@pytest.mark.parametrize("moment", ["_put", "_load", "_sync"])
def test_an_interrupted_save_leaves_the_old_artwork_and_the_next_start_tidies(
    saved, monkeypatch, moment
):
    before = content(saved)
    keep = {name: getattr(drafts, name) for name in (moment, "_discard")}

    def stop(*arguments):
        if moment == "_put":
            keep[moment](*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(drafts, moment, stop)
    monkeypatch.setattr(drafts, "_discard", lambda _: None)  # nobody cleans up after a power cut
    for draft in (Draft(tables(), picture(shade=1)), Draft(tables({"id": "new"}), picture())):
        with pytest.raises(KeyboardInterrupt):
            drafts.save(saved, draft)
    for name, function in keep.items():
        monkeypatch.setattr(drafts, name, function)
    assert content(saved) != before
    assert [artwork.id for artwork in find_artworks(saved).artworks] == ["night-cafe"]
    drafts.recover(saved)
    assert content(saved) == before


@pytest.mark.parametrize("artwork_id", ["night-cafe", "new"])
@pytest.mark.parametrize("failing", range(5))
def test_a_disk_that_fails_leaves_the_old_artwork_or_the_new_one(
    saved, monkeypatch, artwork_id, failing
):
    """The picture, the draft, both folders, and after the renaming the artwork's own again."""
    synced, sync, before = [], os.fsync, content(saved)

    def fail_once(handle):
        synced.append(handle)
        if len(synced) == failing + 1:
            raise OSError(errno.EIO, "Input/output error")
        sync(handle)

    monkeypatch.setattr(drafts.os, "fsync", fail_once)
    with pytest.raises(OutputError, match=r"\(Input/output error\)") as raised:
        drafts.save(saved, Draft(tables({"id": artwork_id}), picture(shade=7)))
    assert "\n" not in str(raised.value)
    if failing < 4:
        assert "cannot be written to" in str(raised.value)
        assert content(saved) == before
    else:
        assert f"{artwork_id}: saved, but the disk did not confirm it" in str(raised.value)
    for _ in range(2):
        gallery = find_artworks(saved)
        assert gallery.errors == ()
        shades = {artwork.id: artwork.picture()[0, 0, 0] for artwork in gallery.artworks}
        assert shades == {"night-cafe": 90} | ({artwork_id: 7} if failing == 4 else {})
        drafts.recover(saved)


def test_a_file_system_that_cannot_sync_folders_serves(saved, monkeypatch):
    sync = os.fsync

    def refuse_folders(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(handle)

    monkeypatch.setattr(drafts.os, "fsync", refuse_folders)
    drafts.save(saved, Draft(tables(), picture(shade=7)))
    assert load_artwork(saved / "night-cafe").picture()[0, 0, 0] == 7


def test_a_renaming_that_is_done_and_yet_fails_leaves_the_new_artwork(saved, monkeypatch):
    replace = drafts.Path.replace

    def lose_the_answer(path, target):
        replace(path, target)
        if target.name == "artwork.toml":
            raise OSError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(drafts.Path, "replace", lose_the_answer)
    for artwork_id in ("night-cafe", "new"):
        with pytest.raises(OutputError, match="cannot be written to"):
            drafts.save(saved, Draft(tables({"id": artwork_id}), picture(shade=7)))
        assert load_artwork(saved / artwork_id).picture()[0, 0, 0] == 7


@pytest.mark.parametrize("name", ["{0}", "./{0}", "../night-cafe/{0}", "deep/../{0}", "link.jpg"])
def test_tidying_keeps_what_the_artwork_names_however_it_is_written(saved, name):
    home = saved / "night-cafe"
    image = load_artwork(home).image
    (home / "deep").mkdir()
    (home / "link.jpg").symlink_to(image.name)
    (home / "painting-00000000.jpg").symlink_to(image.name)  # looks like ours; we make no links
    stale = home / "painting-ffffffff.jpg"
    stale.write_bytes(picture())
    file = home / "artwork.toml"
    file.write_text(file.read_text("utf-8").replace(image.name, name.format(image.name)), "utf-8")
    drafts.recover(saved)
    assert load_artwork(home).image == image
    assert (home / "painting-00000000.jpg").is_symlink()
    assert not stale.exists()


def test_tidying_keeps_the_pictures_of_a_file_that_is_broken_or_put_away(saved):
    file = saved / "night-cafe" / "artwork.toml"
    pictures = {path for path in file.parent.iterdir() if path != file}
    file.write_text("[artwork")
    drafts.recover(saved)
    file.rename(file.with_name("artwork.toml.bak"))
    drafts.recover(saved)
    assert pictures <= set(file.parent.iterdir())


def test_a_trial_changes_nothing_and_shows_the_draft(saved):
    before = content(saved)
    read = drafts.read_tables(saved / "night-cafe")
    read["slot"][0]["box"] = [0.5, 0.3, 0.4, 0.7]
    with drafts.attempt(saved, Draft(read)) as artwork:
        assert artwork.slots[0].box[0] == 0.5
        assert not artwork.image.is_relative_to(saved)
        assert artwork.occluder(artwork.slots[0]) is not None
    assert not artwork.folder.exists()
    assert content(saved) == before


def test_a_trial_leaves_nothing_beside_its_own_folder(saved, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(drafts.tempfile, "tempdir", str(temporary))
    home = saved / "night-cafe"
    file = home / "artwork.toml"
    image = load_artwork(home).image.name
    file.write_text(file.read_text("utf-8").replace(image, f"../night-cafe/{image}"), "utf-8")
    with pytest.raises(ArtworkError), drafts.attempt(saved, Draft(drafts.read_tables(home))):
        pass
    assert not list(temporary.iterdir())


def test_a_folder_that_cannot_be_written_to_is_said_to_be_so(saved, monkeypatch):
    def refuse(path, data):
        raise OutputError("no") from PermissionError(13, "Permission denied")

    before = content(saved)
    monkeypatch.setattr(drafts, "write_atomic", refuse)
    with pytest.raises(OutputError, match=r"cannot be written to \(Permission denied\); let the"):
        drafts.save(saved, Draft(tables(), picture(shade=2)))
    assert content(saved) == before
