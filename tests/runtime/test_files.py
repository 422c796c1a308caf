"""Atomic writing: the whole file or none, and nothing left behind."""

import errno
import os
import stat
from pathlib import Path

import pytest

from vivant.errors import OutputError
from vivant.files import one_line, write_atomic


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_writes_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "result.bin"
    write_atomic(target, b"first")
    write_atomic(str(target), b"second")
    assert target.read_bytes() == b"second"
    assert names(tmp_path) == ["result.bin"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_the_umask(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "result.bin", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "result.bin").stat().st_mode) == mode


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), OutputError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    raised: type[BaseException],
) -> None:
    target = tmp_path / "result.bin"
    target.write_bytes(b"old")

    def fail(temporary: Path, _: Path) -> None:
        assert temporary.parent == tmp_path
        assert temporary.read_bytes() == b"new"
        raise failure

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(raised) as caught:
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["result.bin"]
    if raised is OutputError:
        assert str(caught.value) == f"{target} cannot be written: the disk is full: free some space"


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_atomic(tmp_path / "result.bin", "text")  # type: ignore[arg-type]
    assert names(tmp_path) == []


def test_each_obstacle_names_the_path_and_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for path, remedy in [
        ("missing/a.png", "create it first"),
        ("file/a.png", "choose another folder"),
        ("folder", "name a file in it"),
        ("x" * 300, "choose a shorter one"),
        ("a\0b", "choose another name"),
    ]:
        with pytest.raises(OutputError, match=remedy) as caught:
            write_atomic(tmp_path / path, b"x")
        assert "\n" not in str(caught.value)
        assert "\0" not in str(caught.value)
    assert names(tmp_path) == ["file", "folder"]
    assert names(tmp_path / "folder") == []


def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to("target")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "target").read_bytes() == b"old"
    assert (tmp_path / "link").read_bytes() == b"new"


def test_one_line() -> None:
    assert one_line("photo é.jpg") == "photo é.jpg"
    assert one_line("a\nb\x1b[31m\udcff") == "a?b?[31m?"
    assert one_line("x" * 999 + ".jpg").endswith("x.jpg")
    assert len(one_line("x" * 999)) < 210
