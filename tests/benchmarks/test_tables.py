from __future__ import annotations

import pytest


@pytest.fixture
def tables(load):
    return load("tables")


@pytest.fixture
def rows(load):
    row = load("report").row
    where = {"machine": "a machine, 2 cores", "libraries": {"numpy": "2.0"}}
    peer = row(
        "score",
        peer="the original",
        ours_ms=12.3,
        peer_ms=12_345.6,
        ratio=1003.7,
        parity=0.000123,
        peak_mb=99,
        backend="onnxruntime",
        precision="fp32",
        threads=2,
        size="256x256",
        peer_peak_mb=500,
        parity_meaning="largest difference",
        **where,
    )
    stage = row("decode", ours_ms=0.25, p95_ms=1.5, p99_ms=20.4, profile="deep", **where)
    whole = row(
        "end-to-end",
        ours_ms=900,
        peak_mb=800,
        threads=2,
        p95_ms=950,
        p99_ms=990,
        profile="deep",
        rounds=20,
        size="1920x1080",
        cold_start_ms=2500,
        **where,
    )
    soak = row(
        "end-to-end",
        profile="deep",
        pictures=500,
        resident_mb=[800.4, 801.6],
        growth_percent=0.15,
        **where,
    )
    quality = [
        row(
            "harmonize",
            benchmark="iharmony4",
            group="HCOCO",
            pictures=3,
            harmonizer=name,
            psnr=psnr,
            fmse=fmse,
            **where,
        )
        for name, psnr, fmse in [("untouched", 30.123, 999.6), ("reinhard", 31, 500)]
    ]
    return [peer, stage, whole, soak, *quality]


def table(tables, rows, name):
    return tables.filled(f"before\n<!-- begin {name} -->\nold\n<!-- end -->\nafter", rows)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "peers",
            "| the original | 12.3 s, 500 MB | **1004x** | 0.00012: largest difference |",
        ),
        ("peers", "| score | 256x256 | fp32, onnxruntime | 12 ms, 99 MB | the original |"),
        ("latency deep", "| decode | 0.2 ms | 1.5 ms | 20 ms |  |  |"),
        ("latency deep", "20 pictures of 1920x1080 with 2 threads; peak memory 800 MB"),
        ("memory", "| deep | 500 | 800 MB | 802 MB | +0.1 % |"),
        ("quality iharmony4", "| HCOCO | 3 | 30.12 / 1000 | 31.00 / 500 |"),
        ("peers", "a machine, 2 cores; numpy 2.0."),
    ],
)
def test_a_table_says_what_was_measured(tables, rows, name, line):
    text = table(tables, rows, name)
    assert text.startswith(f"before\n<!-- begin {name} -->\n| ")
    assert text.endswith("\n<!-- end -->\nafter")
    assert line in text
    assert "old" not in text


def test_tables_are_filled_again_and_again(tables, rows):
    once = table(tables, rows, "latency deep")
    assert tables.filled(once, rows) == once


def test_what_was_not_measured_is_said(tables, rows):
    assert "*Not measured yet.*" in table(tables, rows, "latency best")


def test_an_unknown_table_is_refused(tables, rows):
    with pytest.raises(SystemExit, match="no table 'speed'; there are peers"):
        table(tables, rows, "speed")


def test_every_table_of_the_document_is_known(tables):
    text = tables.DOCUMENT.read_text()
    assert text.count("<!-- begin") == text.count("<!-- end -->") == 8
    assert "begin peers" in tables.filled(text, [])
