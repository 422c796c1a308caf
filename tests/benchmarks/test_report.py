from __future__ import annotations

import json
import sys

import pytest


@pytest.fixture
def report(load):
    return load("report")


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.95, 95), (0.99, 99), (1, 100)])
def test_a_percentile_is_one_of_the_values(report, share, expected):
    assert report.percentile([float(n) for n in range(100, 0, -1)], share) == expected
    assert report.percentile([7.0], share) == 7


def test_rows_say_what_they_were_measured_on(report, tmp_path):
    file = tmp_path / "new" / "rows.json"
    report.write_json(file, [report.row("faces", ours_ms=1.5, threads=2, size="1x1")])
    (row,) = json.loads(file.read_text())
    required = "stage peer ours_ms peer_ms ratio parity peak_mb backend precision threads"
    assert list(row)[:10] == required.split()
    assert (row["ours_ms"], row["peer"], row["size"]) == (1.5, None, "1x1")
    assert "cores" in row["machine"]
    assert row["libraries"]["python"] == sys.version.split()[0]
    assert {"numpy", "onnxruntime"} <= set(row["libraries"])


def test_a_table_is_aligned(report):
    lines = report.table(("stage", "p50"), [("faces", 1.234), ("matte", None)]).splitlines()
    assert lines == ["  stage   p50", "  faces  1.23", "  matte     -"]


def test_options_that_benchmarks_share(report):
    options = report.parser("First line.\n\nMore.", rounds=7)
    chosen = options.parse_args(["--only", "faces", "--threads", "1"])
    assert (chosen.only, chosen.threads, chosen.rounds, chosen.json) == ("faces", 1, 7, None)
    assert options.description == "First line."
