"""The command line as its users meet it: output, one-line errors, exit status, whole files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vivant.images import load_image, load_matte, save_image
from vivant_samples import ARTWORKS, PORTRAIT

NIGHT = ARTWORKS / "night-harbour"


@pytest.fixture
def vivant(store, monkeypatch, command_line):
    """The command line, on the tests' store."""
    monkeypatch.setenv("VIVANT_ENGINES", str(store.root))
    return command_line


def one_line(err):
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


class TestCompose:
    def test_one(self, vivant, tmp_path):
        status, out, err = vivant("compose", PORTRAIT, NIGHT, "-o", tmp_path / "out.jpg")
        assert (status, err) == (0, "")
        assert "half-body in 'by-the-table'" in out
        assert load_image(tmp_path / "out.jpg").shape == (1280, 1920, 3)

    def test_json(self, vivant, tmp_path):
        path = tmp_path / "out.png"
        status, out, _ = vivant("compose", PORTRAIT, NIGHT, "-o", path, "--json", "--candidates", 1)
        report = json.loads(out)
        assert status == 0
        assert report["output"] == str(path)
        (figure,) = report["figures"]
        assert figure["shot"]["type"] == "half-body"
        assert figure["placement"]["slot"] == "by-the-table"
        assert len(figure["candidates"]) == 2
        assert report["score"] == figure["score"]
        assert report["timings"]["matte"] > 0

    def test_stages(self, vivant, tmp_path):
        vivant(
            "compose", PORTRAIT, NIGHT, "-o", tmp_path / "out.jpg", "--stages", tmp_path / "stages"
        )
        names = ["1-photo", "2-faces", "3-matte", "4-composite", "5-harmonized"]
        folder = tmp_path / "stages" / "astronaut--night-harbour"
        assert sorted(path.stem for path in folder.iterdir()) == names
        assert load_image(tmp_path / "stages" / "astronaut--night-harbour.jpg").shape[1] > 1500

    def test_a_batch_loses_nothing_to_a_bad_item(self, vivant, tmp_path, astronaut):
        photos, artworks = tmp_path / "photos", tmp_path / "artworks"
        photos.mkdir()
        shutil.copy(PORTRAIT, photos / "a.png")
        (photos / "b.jpg").write_bytes(b"\xff\xd8\xff not a jpeg")
        save_image(np.full((300, 300, 3), 120, np.uint8), photos / "c.png")
        save_image(astronaut, photos / "d.png")
        shutil.copytree(NIGHT, artworks / "night")
        shutil.copytree(ARTWORKS / "spring-garden", artworks / "broken")
        (artworks / "broken" / "artwork.toml").write_text("schema = 1\n[artwork\n")
        out = tmp_path / "out"

        status, stdout, err = vivant("compose", photos, artworks, "-o", out, "--json")

        assert status == 1
        assert sorted(path.name for path in out.iterdir()) == [
            "a--night-harbour.jpg",
            "d--night-harbour.jpg",
        ]
        reports = json.loads(stdout)
        assert len(reports) == 8
        assert sum("error" in report for report in reports) == 6
        lines = err.splitlines()
        assert len(lines) == 3
        assert all(line.startswith("error: ") for line in lines)
        assert {Path(word).name for line in lines for word in [line.split()[1].rstrip(":")]} == {
            "b.jpg",
            "c.png",
            "artwork.toml",
        }

    def test_photos_of_one_name_do_not_overwrite_each_other(self, vivant, tmp_path):
        photos = tmp_path / "photos"
        photos.mkdir()
        shutil.copy(PORTRAIT, photos / "me.png")
        save_image(load_image(PORTRAIT), photos / "me.jpg")
        status, _, _ = vivant("compose", photos, NIGHT, "-o", tmp_path / "out")
        assert status == 0
        assert len(list((tmp_path / "out").iterdir())) == 2

    def test_globs(self, vivant, tmp_path):
        photos = PORTRAIT.parent / "*.png"
        status, out, _ = vivant("compose", photos, ARTWORKS / "*-harbour", "-o", tmp_path)
        assert status == 0
        assert len(out.splitlines()) == 1

    @pytest.mark.parametrize(
        ("portrait", "artwork", "output", "message"),
        [
            ("missing.jpg", NIGHT, "o.jpg", "missing.jpg"),
            (__file__, NIGHT, "o.jpg", "test_cli.py"),
            (PORTRAIT, "missing", "o.jpg", "missing"),
            (PORTRAIT, NIGHT, "nowhere/o.jpg", "nowhere"),
            (PORTRAIT, NIGHT, "o.gif", "o.gif"),
            (PORTRAIT, NIGHT, "nowhere/folder", "nowhere/folder"),
            ("empty", NIGHT, "o", "empty: no photo"),
            (PORTRAIT, "empty", "o", "empty: no artwork.toml"),
        ],
    )
    def test_bad_input(self, vivant, tmp_path, monkeypatch, portrait, artwork, output, message):
        monkeypatch.chdir(tmp_path)
        Path("empty").mkdir()
        status, out, err = vivant("compose", portrait, artwork, "-o", output)
        assert (status, out) == (1, "")
        assert message in one_line(err)
        assert not [p for p in tmp_path.rglob("*") if p.is_file()]

    @pytest.mark.parametrize("size", [(1, 1), (8000, 100)])
    def test_odd_sizes_show_no_face(self, vivant, tmp_path, size):
        photo = tmp_path / "photo.png"
        save_image(np.full((size[1], size[0], 3), 90, np.uint8), photo)
        status, _, err = vivant("compose", photo, NIGHT, "-o", tmp_path / "o.jpg")
        assert status == 1
        assert "photo.png: " in one_line(err)

    def test_a_slot_box_outside_the_picture(self, vivant, tmp_path):
        artwork = tmp_path / "art"
        shutil.copytree(NIGHT, artwork)
        toml = artwork / "artwork.toml"
        toml.write_text(toml.read_text().replace("box = [", "box = [0.9, 0.9, 0.5, 0.5] #"))
        status, _, err = vivant("compose", PORTRAIT, artwork, "-o", tmp_path / "o.jpg")
        assert status == 1
        assert "slot[1].box" in one_line(err)

    def test_an_artwork_without_a_place(self, vivant, tmp_path):
        artwork = tmp_path / "art"
        shutil.copytree(NIGHT, artwork)
        toml = artwork / "artwork.toml"
        text = toml.read_text().replace("people = [1, 1]", "people = [2, 2]")
        toml.write_text(text.replace("people = [1, 2]", "people = [2, 2]"))
        status, _, err = vivant("compose", PORTRAIT, artwork, "-o", tmp_path / "o.jpg")
        assert status == 1
        assert "no slot takes a half-body of 1 person" in one_line(err)

    def test_engines_that_are_missing_or_altered(self, vivant, store, tmp_path):
        empty = tmp_path / "engines"
        status, _, err = vivant(
            "compose", PORTRAIT, NIGHT, "-o", tmp_path / "o.jpg", "--store", empty
        )
        assert status == 1
        assert "vivant export mtcnn" in one_line(err)
        shutil.copytree(store.root, empty)
        graph = empty / "mtcnn" / "fp32" / "pnet.onnx"
        graph.write_bytes(graph.read_bytes() + b"\0")
        status, _, err = vivant(
            "compose", PORTRAIT, NIGHT, "-o", tmp_path / "o.jpg", "--store", empty
        )
        assert status == 1
        assert "SHA-256" in one_line(err)

    def test_wrong_usage(self, vivant):
        status, _, err = vivant("compose", PORTRAIT)
        assert status == 2
        assert "Missing" in err


class TestStages:
    def test_faces(self, vivant, astronaut_face):
        status, out, _ = vivant("faces", PORTRAIT, "--min-face", 60, "--json")
        report = json.loads(out)
        assert status == 0
        (face,) = report["faces"]
        np.testing.assert_allclose(face["box"], astronaut_face.box, atol=0.01)
        np.testing.assert_allclose(face["landmarks"], astronaut_face.landmarks, atol=0.01)
        assert face["probability"] == pytest.approx(astronaut_face.probability, abs=1e-5)
        assert report["shot"]["type"] == "half-body"
        assert report["shot"]["people"] == 1

    def test_faces_of_nobody(self, vivant, tmp_path):
        save_image(np.full((200, 300, 3), 99, np.uint8), tmp_path / "wall.png")
        status, out, _ = vivant("faces", tmp_path / "wall.png", "--json")
        report = json.loads(out)
        assert status == 0
        assert report["faces"] == []
        assert report["shot"]["type"] == "unknown"

    def test_matte(self, vivant, tmp_path, astronaut_face):
        status, _, _ = vivant("matte", PORTRAIT, "-o", tmp_path / "matte.png")
        matte = load_matte(tmp_path / "matte.png")
        assert status == 0
        assert matte.shape == (512, 512)
        x, y = map(int, astronaut_face.center)
        assert matte[y, x] == 255
        assert matte[10, 10] == 0

    def test_matte_of_nobody(self, vivant, tmp_path):
        save_image(np.full((200, 300, 3), 99, np.uint8), tmp_path / "wall.png")
        status, _, err = vivant("matte", tmp_path / "wall.png", "-o", tmp_path / "m.png")
        assert status == 1
        assert "wall.png: no face" in one_line(err)
        assert not (tmp_path / "m.png").exists()

    def test_harmonize_and_score(self, vivant, tmp_path):
        rng = np.random.default_rng(5)
        picture = rng.normal((180, 140, 90), 12, (240, 320, 3)).clip(0, 255).astype(np.uint8)
        mask = np.zeros((120, 160), np.uint8)  # half the size: scaled to the picture's
        mask[40:100, 50:110] = 255
        picture[80:200, 100:220] = (40, 60, 140)
        save_image(picture, tmp_path / "pasted.png")
        save_image(mask, tmp_path / "mask.png")
        result = tmp_path / "harmonized.png"

        status, _, _ = vivant(
            "harmonize", tmp_path / "pasted.png", tmp_path / "mask.png", "-o", result
        )
        assert status == 0
        _, before, _ = vivant("score", tmp_path / "pasted.png", tmp_path / "mask.png", "--json")
        _, after, _ = vivant("score", result, tmp_path / "mask.png", "--json")
        assert 0 <= json.loads(before)["score"] < json.loads(after)["score"] <= 1
        assert json.loads(before)["model"] == "colour-distance"

    def test_a_mask_of_another_picture_is_refused(self, vivant, tmp_path):
        save_image(np.zeros((100, 300), np.uint8), tmp_path / "mask.png")
        status, _, err = vivant("score", PORTRAIT, tmp_path / "mask.png")
        assert status == 1
        assert "another shape" in one_line(err)

    @pytest.mark.parametrize("command", ["harmonize", "score"])
    def test_an_empty_mask_is_refused(self, vivant, tmp_path, command):
        save_image(np.zeros((512, 512), np.uint8), tmp_path / "mask.png")
        output = ["-o", tmp_path / "o.png"] if command == "harmonize" else []
        status, _, err = vivant(command, PORTRAIT, tmp_path / "mask.png", *output)
        assert status == 1
        assert "no foreground" in one_line(err)

    def test_an_unknown_model_lists_the_known(self, vivant, tmp_path):
        status, _, err = vivant("matte", PORTRAIT, "-o", tmp_path / "m.png", "--model", "rmgb")
        assert status == 1
        assert "it can run grabcut" in one_line(err)


class TestOthers:
    def test_artworks(self, vivant, tmp_path):
        status, out, _ = vivant("artworks", "list", ARTWORKS)
        assert status == 0
        assert "by-the-table: half-body" in out
        assert vivant("artworks", "check", ARTWORKS)[0] == 0
        assert vivant("artworks", "preview", NIGHT, "-o", tmp_path / "p.jpg")[0] == 0
        assert load_image(tmp_path / "p.jpg").shape == (1280, 1920, 3)

    def test_a_broken_artwork_does_not_hide_the_others(self, vivant, tmp_path):
        shutil.copytree(NIGHT, tmp_path / "night")
        (tmp_path / "broken").mkdir()
        (tmp_path / "broken" / "artwork.toml").write_text("schema = 3\n")
        status, out, err = vivant("artworks", "check", tmp_path)
        assert status == 1
        assert "night-harbour  ok" in out
        assert "schema" in one_line(err)

    def test_doctor(self, vivant, store):
        status, out, _ = vivant("doctor", "--json")
        report = json.loads(out)
        assert status == 0
        assert report["profile"] == "classic"
        assert report["engines"] == {"mtcnn/fp32": "ok, official weights"}
        assert report["obstacles"]["deep"]
        assert "CPUExecutionProvider" in report["providers"]

    def test_doctor_without_engines(self, vivant, tmp_path):
        status, out, _ = vivant("doctor", "--store", tmp_path / "none")
        assert status == 1
        assert "vivant export mtcnn" in out

    def test_export(self, vivant, tmp_path):
        status, out, _ = vivant("export", "mtcnn", "--store", tmp_path / "engines")
        assert status == 0
        assert "official weights" in out
        assert "pnet.max_abs" in out
        assert (tmp_path / "engines" / "mtcnn" / "fp32" / "manifest.json").exists()
        status, _, err = vivant("export", "nothing", "--store", tmp_path / "engines")
        assert status == 1
        assert "model 'nothing': unknown; there are mtcnn" in one_line(err)


class TestProcess:
    def test_importing_is_light(self):
        code = (
            "import sys, vivant, vivant.studio\n"
            "heavy = {'torch', 'onnx', 'onnxruntime', 'typer', 'rich', 'matplotlib'}\n"
            "print(sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"

    def test_an_interrupted_run_leaves_whole_files(self, store, tmp_path):
        photos = tmp_path / "photos"
        photos.mkdir()
        for number in range(40):
            shutil.copy(PORTRAIT, photos / f"{number:02}.png")
        out = tmp_path / "out"
        process = subprocess.Popen(
            [sys.executable, "-m", "vivant.cli", "compose", photos, NIGHT, "-o", out],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "VIVANT_ENGINES": str(store.root)},
            text=True,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and not (out.exists() and any(out.glob("*.jpg"))):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "interrupted" in one_line(err)
        written = list(out.iterdir())
        assert 0 < len(written) < 40
        assert all(load_image(path).shape == (1280, 1920, 3) for path in written)
