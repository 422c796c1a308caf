"""Artworks: what a folder may hold, how a broken one is reported, what its pictures become."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from vivant import artwork as module
from vivant.artwork import Slot, find_artworks, load_artwork
from vivant.artwork_file import FILE_NAME
from vivant.errors import ArtworkError, ImageError
from vivant.portrait import ShotType

MINIMAL = """
schema = 1
[artwork]
id = "night-cafe"
title = "The Night Cafe"
image = "painting.png"
[[slot]]
name = "by-the-table"
shot = ["half-body"]
box = [0.10, 0.35, 0.30, 0.65]
"""

FULL = """
schema = 1
[artwork]
id = "night-cafe"
image = "painting.png"
title = "The Night Cafe"
artist = "Vincent van Gogh"
year = 1888
credit = "Yale University Art Gallery"
licence = "public domain"
output_height = 600
people = "apart"
[[slot]]
name = "by-the-table"
shot = ["half-body", "close-up"]
people = [1, 2]
box = [0.10, 0.35, 0.30, 0.65]
anchor = "bottom-left"
head_height = 0.12
flip = "never"
occluder = "table.png"
priority = 10
shadow = 0
z = -2
[fallback]
order = ["close-up", "full-body"]
"""


def make_folder(root: Path, toml: str = MINIMAL, size: tuple[int, int] = (400, 300)) -> Path:
    """Write an artwork: a picture of two halves, and a table with a hard upper edge."""
    root.mkdir(parents=True, exist_ok=True)
    picture = np.full((size[1], size[0], 3), (200, 150, 100), np.uint8)
    picture[:, : size[0] // 2] = (20, 60, 140)
    PIL.Image.fromarray(picture).save(root / "painting.png")
    table = np.zeros((size[1], size[0], 4), np.uint8)
    table[..., 1] = 255  # the invisible part is bright green
    table[size[1] // 2 :] = (120, 60, 30, 255)
    PIL.Image.fromarray(table).save(root / "table.png")
    (root / FILE_NAME).write_text(toml, encoding="utf-8")
    return root


def message(folder: Path) -> str:
    with pytest.raises(ArtworkError) as raised:
        load_artwork(folder)
    text = str(raised.value)
    assert text.startswith(f"{folder / FILE_NAME}: ")
    assert "\n" not in text
    return text


def test_a_full_file_is_read_as_it_stands(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a", FULL)
    artwork = load_artwork(folder)
    assert artwork.id == "night-cafe"
    assert (artwork.title, artwork.artist) == ("The Night Cafe", "Vincent van Gogh")
    assert (artwork.year, artwork.licence) == (1888, "public domain")
    assert artwork.credit == "Yale University Art Gallery"
    assert (artwork.folder, artwork.image) == (folder, folder / "painting.png")
    assert artwork.output_height == 600
    assert artwork.people == "apart"
    assert artwork.fallback == (ShotType.CLOSE_UP, ShotType.FULL_BODY)
    assert artwork.slots == (
        Slot(
            name="by-the-table",
            shot=(ShotType.HALF_BODY, ShotType.CLOSE_UP),
            box=(0.10, 0.35, 0.30, 0.65),
            people=(1, 2),
            anchor="bottom-left",
            head_height=0.12,
            flip="never",
            occluder=folder / "table.png",
            priority=10,
            shadow=0,
            z=-2,
        ),
    )


def test_the_defaults_are_those_of_the_dataclasses(tmp_path: Path) -> None:
    artwork = load_artwork(make_folder(tmp_path / "a") / FILE_NAME)
    assert artwork.output_height == 300
    assert artwork.year is None
    assert artwork.people == "together"
    assert artwork.fallback == (ShotType.HALF_BODY, ShotType.CLOSE_UP, ShotType.FULL_BODY)
    (slot,) = artwork.slots
    assert slot == Slot(slot.name, slot.shot, slot.box)
    assert (slot.people, slot.anchor, slot.flip) == ((1, 1), "bottom-center", "auto")
    assert (slot.head_height, slot.occluder, slot.shadow, slot.z) == (None, None, 0.4, 0)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("schema = 1", "", "schema: missing, allowed: 1"),
        ("schema = 1", "schema = 2", "schema: found 2, allowed: 1; another one needs another"),
        ("schema = 1", "schema = true", "schema: found True"),
        ("night-cafe", "Night Cafe", "artwork.id: found 'Night Cafe', allowed: lowercase"),
        ("night-cafe", "night--cafe", "artwork.id: found 'night--cafe'"),
        ('title = "The Night Cafe"', "title = 7", "artwork.title: found 7, allowed: one line"),
        ('title = "The Night Cafe"', 'title = " "', "artwork.title: found ' '"),
        ('title = "The Night Cafe"', "", "artwork.title: missing"),
        ('title = "The', 'artst = ""\ntitle = "The', "unknown key, did you mean 'artist'?"),
        ('title = "The', 'colour = ""\ntitle = "The', "artwork.colour: unknown key, allowed: id,"),
        ('title = "The', 'year = 1.5\ntitle = "The', "artwork.year: found 1.5, allowed: an int"),
        ('title = "The', f'year.{"a." * 1999}b = 1\ntitle = "The', "artwork.year: found "),
        ('title = "The', f'year = 0x{"f" * 9999}\ntitle = "The', "year: found a value too long or"),
        ('["half-body"]', f"[{{{'a.' * 9999}b = 1}}]", "slot[1].shot: found "),
        ('title = "The', 'output_height = 100\ntitle = "The', "output_height: found 100, allowed"),
        ('title = "The', 'people = "apart "\ntitle = "The', "allowed: one of 'together', 'apart'"),
        ("painting.png", "../a/painting.jpg", "artwork.image: found '../a/painting.jpg', but"),
        ("painting.png", "../painting.png", "'../painting.png', outside the folder"),
        ("painting.png", "/etc/hostname", "'/etc/hostname', outside the folder"),
        ("painting.png", "other.png", "'other.png', but there is no such file"),
        ("painting.png", FILE_NAME, f"artwork.image: a/{FILE_NAME} is not a JPEG, PNG"),
        ("painting.png", "x" * 999, "which is no path"),
        ("[[slot]]", "[[slots]]", "slots: unknown key, did you mean 'slot'?"),
        ("[[slot]]", "[slot]", "slot: found {'name'"),
        ("by-the-table", "", "slot[1].name: found ''"),
        ('["half-body"]', '"half-body"', "slot[1].shot: found 'half-body', allowed: a list of"),
        ('["half-body"]', "[]", "slot[1].shot: found []"),
        ('["half-body"]', '["unknown"]', "slot[1].shot: found ['unknown']"),
        ('["half-body"]', "[[1]]", "slot[1].shot: found [[1]]"),
        ('["half-body"]', '["close-up", "close-up"]', "each once"),
        ("0.30, 0.65]", "0.30]", "slot[1].box: found [0.1, 0.35, 0.3], allowed: [x, y, width"),
        ("[0.10,", "[0.71,", "slot[1].box: found [0.71,"),
        ("[0.10,", "[-0.1,", "slot[1].box: found [-0.1,"),
        ("[0.10,", "[nan,", "slot[1].box: found [nan,"),
        ("0.30, 0.65]", "0, 0.65]", "slot[1].box: found"),
        ("box =", "people = [2, 1]\nbox =", "slot[1].people: found [2, 1], allowed: [least, most]"),
        ("box =", "people = [0, 1]\nbox =", "slot[1].people: found [0, 1]"),
        ("box =", 'anchor = "top"\nbox =', "slot[1].anchor: found 'top', allowed: one of 'bottom"),
        ("box =", 'flip = "auto\\n"\nbox =', "slot[1].flip: found 'auto\\n'"),
        ("box =", "head_height = 1.2\nbox =", "slot[1].head_height: found 1.2, allowed: a number"),
        ("box =", "priority = 1.0\nbox =", "slot[1].priority: found 1.0, allowed: an integer"),
        ("box =", "priority = true\nbox =", "slot[1].priority: found True"),
        ("box =", "z = 0.5\nbox =", "slot[1].z: found 0.5, allowed: an integer"),
        ("box =", "shadow = 2\nbox =", "slot[1].shadow: found 2, allowed: a number from 0 to 1"),
        ("box =", 'occluder = "no.png"\nbox =', "slot[1].occluder: found 'no.png', but there is"),
        ("box =", 'occluder = "painting.png"\nbox =', "slot[1].occluder: nowhere transparent"),
    ],
)
def test_each_mistake_is_named_with_what_is_allowed(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in MINIMAL
    assert expected in message(make_folder(tmp_path / "a", MINIMAL.replace(old, new, 1)))


def test_a_mistake_in_the_fallback_is_named(tmp_path: Path) -> None:
    toml = MINIMAL + '[fallback]\norder = ["half"]'
    assert "fallback.order: found ['half']" in message(make_folder(tmp_path / "a", toml))


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    toml = MINIMAL.replace("night-cafe", "X").replace("painting.png", "no.png")
    toml += MINIMAL[MINIMAL.index("[[slot]]") :] + "flop = 1\nhead_height = 3"
    text = message(make_folder(tmp_path / "a", toml))
    assert text.count(";") >= 4
    for part in (
        "artwork.id: found 'X'",
        "artwork.image: found 'no.png'",
        "slot[2].flop: unknown key, did you mean 'flip'?",
        "slot[2].head_height: found 3",
        "slot[2].name: 'by-the-table' is that of slot[1]; choose another",
    ):
        assert part in text


def test_an_unknown_schema_is_the_only_problem_named(tmp_path: Path) -> None:
    toml = MINIMAL.replace("schema = 1", "schema = 9").replace("night-cafe", "X")
    assert "artwork" not in message(make_folder(tmp_path / "a", toml)).partition(": ")[2]


def test_a_syntax_error_comes_with_its_line(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a", MINIMAL.replace("schema = 1", "schema = = 1"))
    assert "line 2" in message(folder)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("[" * 9999 + "]" * 9999, "lists or tables nested too deeply; remove the inner ones"),
        ("{a = " * 9999 + "1" + "}" * 9999, "lists or tables nested too deeply; remove the"),
        ("9" * 9999, "an integer with too many digits; shorten it"),
    ],
)
def test_what_is_too_deep_or_too_long_to_read_is_named(
    tmp_path: Path, value: str, expected: str
) -> None:
    assert expected in message(make_folder(tmp_path / "a", f"{MINIMAL}x = {value}"))


def test_a_file_that_is_no_text_or_missing_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a")
    (folder / FILE_NAME).write_bytes(b"\xff\xfe")
    assert "not UTF-8" in message(folder)
    (folder / FILE_NAME).unlink()
    assert "No such file" in message(folder)


def test_links_may_not_leave_the_folder(tmp_path: Path) -> None:
    outside = make_folder(tmp_path / "outside")
    folder = make_folder(tmp_path / "a")
    (folder / "painting.png").unlink()
    (folder / "painting.png").symlink_to(outside / "painting.png")
    assert "outside the folder" in message(folder)
    (folder / "painting.png").unlink()
    (folder / "painting.png").symlink_to("painting.png")
    assert "which is no path" in message(folder) or "no such file" in message(folder)
    (folder / "painting.png").unlink()
    (folder / "scan.png").write_bytes((outside / "painting.png").read_bytes())
    (folder / "painting.png").symlink_to("scan.png")
    assert load_artwork(folder).image == folder / "scan.png"


def test_an_occluder_must_have_the_pictures_size_and_alpha(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a", FULL)
    PIL.Image.new("RGBA", (400, 299)).save(folder / "table.png")
    assert "slot[1].occluder: 400x299 for a picture of 400x300" in message(folder)
    PIL.Image.new("RGB", (400, 300)).save(folder / "table.png", "JPEG")
    assert "save it as PNG or WebP" in message(folder)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"eXIf", b"no TIFF"),
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b'tiff:Orientation="6"'),
        (b"zTXt", b"Comment\0\0" + zlib.compress(bytes(3_000_000))),
        (b"fcTL", bytes(26)),
    ],
)
def test_what_is_written_beside_the_pixels_of_an_occluder_does_no_harm(
    tmp_path: Path, kind: bytes, body: bytes
) -> None:
    """It is nothing that is needed, and yet much of it can make Pillow fail."""
    folder = make_folder(tmp_path / "a", FULL)
    data = (folder / "table.png").read_bytes()
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    (folder / "table.png").write_bytes(data[:33] + chunk + data[33:])
    artwork = find_artworks(tmp_path).artworks[0]
    occluder = artwork.occluder(artwork.slots[0])
    assert occluder is not None
    assert occluder[[0, -1], 0, 3].tolist() == [0, 255]


@pytest.mark.parametrize("failure", [SyntaxError, MemoryError, RecursionError, KeyError])
def test_whatever_a_library_raises_over_an_occluder_is_a_problem_of_that_artwork(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    make_folder(tmp_path / "a", FULL)
    make_folder(tmp_path / "b", MINIMAL.replace("night-cafe", "other"))

    def fail(picture: PIL.Image.Image, channel: int | str) -> PIL.Image.Image:
        raise failure("two\nlines")

    monkeypatch.setattr(PIL.Image.Image, "getchannel", fail)
    gallery = find_artworks(tmp_path)
    assert [artwork.id for artwork in gallery.artworks] == ["other"]
    file = tmp_path / "a" / FILE_NAME
    reason = "slot[1].occluder: a/table.png is damaged: save it again as JPEG, PNG or WebP"
    assert [str(error) for error in gallery.errors] == [f"{file}: {reason}"]


def test_an_occluder_that_slots_share_is_reported_once(tmp_path: Path) -> None:
    second = FULL[FULL.index("[[slot]]") : FULL.index("[fallback]")].replace("by-the", "behind-the")
    folder = make_folder(tmp_path / "a", FULL + second)
    table = folder / "table.png"
    assert [slot.occluder for slot in load_artwork(folder).slots] == [table, table]
    table.unlink()
    assert message(folder).count("table.png") == 1


def test_a_truncated_picture_is_found_when_the_artwork_is_loaded(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a")
    data = (folder / "painting.png").read_bytes()
    (folder / "painting.png").write_bytes(data[: len(data) // 2])
    assert "artwork.image: a/painting.png is truncated" in message(folder)


@pytest.mark.parametrize("size", [(200, 100), (8000, 100)])
def test_an_output_that_is_too_small_or_too_large_is_refused(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    toml = MINIMAL if size[0] == 200 else FULL.replace("= 600", "= 4000")
    text = message(make_folder(tmp_path / "a", toml, size))
    assert f"artwork.image: {size[0]}x{size[1]} at" in text
    assert "set output_height from 256 to 4320" in text


def test_an_output_height_serves_where_the_pictures_own_does_not(tmp_path: Path) -> None:
    toml = MINIMAL.replace("title =", "output_height = 300\ntitle =")
    artwork = load_artwork(make_folder(tmp_path / "a", toml, (200, 100)))
    assert artwork.picture().shape == (300, 600, 3)


def test_the_picture_comes_at_the_output_height(tmp_path: Path) -> None:
    artwork = load_artwork(make_folder(tmp_path / "a", FULL))
    picture = artwork.picture()
    assert picture.shape == (600, 800, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[300, [100, 700]], [(20, 60, 140), (200, 150, 100)])


def test_pictures_are_decoded_once_shared_and_read_only(tmp_path: Path) -> None:
    artwork = load_artwork(make_folder(tmp_path / "a", FULL))
    assert artwork.picture() is artwork.picture()
    assert artwork.occluder(artwork.slots[0]) is artwork.occluder(artwork.slots[0])
    with pytest.raises(ValueError, match="read-only"):
        artwork.picture()[0, 0] = 0


def test_a_picture_that_changed_on_disk_is_read_again(tmp_path: Path) -> None:
    artwork = load_artwork(make_folder(tmp_path / "a"))
    before = artwork.picture()
    PIL.Image.new("RGB", (400, 300), "white").save(artwork.image)
    assert (artwork.picture() == 255).all()
    assert not (before == 255).all()
    artwork.image.unlink()
    with pytest.raises(ImageError, match=r"a/painting\.png does not exist"):
        artwork.picture()


def test_the_kept_pictures_are_bounded(tmp_path: Path) -> None:
    for number in range(module.KEPT_PICTURES + 3):
        load_artwork(make_folder(tmp_path / str(number))).picture()
    assert module._picture.cache_info().currsize == module.KEPT_PICTURES


@pytest.mark.parametrize("height", [256, 300, 600])
def test_an_occluder_scales_without_a_fringe_of_its_invisible_colour(
    tmp_path: Path, height: int
) -> None:
    toml = FULL.replace("output_height = 600", f"output_height = {height}")
    artwork = load_artwork(make_folder(tmp_path / "a", toml))
    occluder = artwork.occluder(artwork.slots[0])
    assert occluder is not None
    assert occluder.shape == (*artwork.picture().shape[:2], 4)
    assert occluder[0, 0, 3] == 0
    np.testing.assert_array_equal(occluder[-1, 0], (120, 60, 30, 255))
    seen = occluder[occluder[..., 3] > 16]
    assert np.abs(seen[:, :3].astype(int) - (120, 60, 30)).max() <= 2


def test_a_slot_without_an_occluder_has_none(tmp_path: Path) -> None:
    artwork = load_artwork(make_folder(tmp_path / "a"))
    assert artwork.occluder(artwork.slots[0]) is None


def test_a_broken_artwork_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "c", MINIMAL)
    make_folder(tmp_path / "b", "schema = ")
    make_folder(tmp_path / "a", MINIMAL.replace("night-cafe", "other"))
    make_folder(tmp_path / "d", MINIMAL)
    (tmp_path / "notes").mkdir()
    gallery = find_artworks(tmp_path)
    assert [artwork.id for artwork in gallery.artworks] == ["other", "night-cafe"]
    broken, doubled = map(str, gallery.errors)
    assert broken.startswith(str(tmp_path / "b" / FILE_NAME))
    assert doubled.startswith(str(tmp_path / "d" / FILE_NAME))
    assert f"is that of {tmp_path / 'c'} already" in doubled


@pytest.mark.parametrize("name", [".", "nowhere"])
def test_a_folder_without_artworks_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtworkError, match="no artworks here"):
        find_artworks(tmp_path / name)
