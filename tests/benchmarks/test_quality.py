"""The whole way over a set of iHarmony4's layout, and over synthetic samples."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from vivant.images import save_image
from vivant.store import EngineStore


@pytest.fixture
def quality(load):
    return load("quality")


@pytest.fixture
def run(quality, monkeypatch, tmp_path):
    """Run the benchmark; return its rows."""

    def run(*arguments):
        file = tmp_path / "rows.json"
        monkeypatch.setattr(sys, "argv", ["quality.py", "--json", str(file), *map(str, arguments)])
        quality.main()
        return json.loads(file.read_text())

    return run


@pytest.fixture
def iharmony4(tmp_path, astronaut):
    """Two parts of one and two pictures, in which the figure is 20 levels too bright."""
    names = {"HCOCO": ["c1_5_1", "c2_5_1"], "Hday2night": ["d9-01_1_2"]}
    mask = np.zeros(astronaut.shape[:2], np.uint8)
    mask[60:400, 150:350] = 255
    real = astronaut // 2 + 30
    composite = np.where(mask[..., np.newaxis] > 0, real + 20, real).astype(np.uint8)
    for part, stems in names.items():
        files = {}
        for stem in stems:
            first, second, _ = stem.split("_")
            files[f"composite_images/{stem}.jpg"] = composite
            files[f"real_images/{first}.jpg"] = real
            files[f"masks/{first}_{second}.png"] = mask
        for file, picture in files.items():
            path = tmp_path / "set" / part / file
            path.parent.mkdir(parents=True, exist_ok=True)
            bgr = picture[..., ::-1] if picture.ndim == 3 else picture
            assert cv2.imwrite(str(path), bgr, [cv2.IMWRITE_JPEG_QUALITY, 100])
        listed = "".join(f"{stem}.jpg\n" for stem in stems)
        (tmp_path / "set" / part / f"{part}_test.txt").write_text(listed)
    return tmp_path / "set"


@pytest.mark.parametrize("protocol", ["idih", "dovenet", "pct-net", "inr"])
def test_the_whole_way_over_a_set(run, iharmony4, capsys, protocol):
    rows = run("--iharmony4", iharmony4, "--protocol", protocol)
    found = {(row["group"], row["harmonizer"]): row for row in rows}
    assert {group for group, _ in found} == {"HCOCO", "Hday2night", "all"}
    assert [found[group, "reinhard"]["pictures"] for group in ("HCOCO", "all")] == [2, 3]
    untouched, ours = found["all", "untouched"], found["all", "reinhard"]
    assert untouched["fmse"] == pytest.approx(400, rel=0.1)
    assert ours["fmse"] != untouched["fmse"]
    assert ours["protocol"] == protocol
    assert ours["ours_ms"] > 0
    assert {"stage", "peer", "ratio", "parity", "peak_mb", "backend", "precision"} <= set(ours)
    assert "self-check not possible: 3 of the 7404 pictures are here" in capsys.readouterr().out


def test_a_picture_that_is_missing_is_named(run, iharmony4):
    (iharmony4 / "HCOCO" / "real_images" / "c2.jpg").unlink()
    with pytest.raises(SystemExit, match=r"c2\.jpg: missing or no picture"):
        run("--iharmony4", iharmony4)


def test_synthetic_rows_say_what_they_are(run, tmp_path, astronaut, capsys):
    matte = np.zeros(astronaut.shape[:2], np.uint8)
    matte[60:400, 150:350] = 255
    save_image(astronaut, tmp_path / "me.png")
    save_image(matte, tmp_path / "me_matte.png")
    rows = run("--synthetic", tmp_path, "--draws", 1, "--seed", 3)
    assert {row["benchmark"] for row in rows} == {"synthetic"}
    assert {row["seed"] for row in rows} == {3}
    assert all(row["filter"] for row in rows)
    assert "exposure" in {row["group"] for row in rows}
    output = capsys.readouterr().out
    assert output.startswith("SYNTHETIC")
    assert "not comparable with published figures" in output


def test_untrained_engines_are_not_judged(run, store, tmp_path):
    untrained = EngineStore(tmp_path / "untrained", allow_untrained=True)
    manifest = store.engine("mtcnn").manifest
    untrained.write(
        replace(
            manifest,
            model="inr-harmonization",
            role="harmonizer",
            graphs={},
            weights=replace(manifest.weights, kind="untrained", seed=1),
        ),
        {},
    )
    for name in ("inr-harmonization", "inr-harmonization:lut", "inr-harmonization:exact"):
        with pytest.raises(SystemExit, match="untrained, and quality is never judged"):
            run("--synthetic", "--store", untrained.root, "--harmonizers", name)


def test_the_self_check_tells_a_set_that_is_read_wrongly(quality, load):
    metrics, samples = load("metrics"), load("samples")
    protocol = metrics.PROTOCOLS["pct-net"]

    def scores(figures):
        groups = {name: {"untouched": [figures] * count} for name, count in samples.SUBSETS.items()}
        every = [figures] * sum(samples.SUBSETS.values())
        return quality.Scores({**groups, "all": {"untouched": every}}, {})

    assert "self-check ok" in quality.self_check(scores(protocol.published), protocol)
    off = replace(protocol.published, fmse=protocol.published.fmse * 1.1)
    assert "self-check deviates: off by 10.0%" in quality.self_check(scores(off), protocol)
