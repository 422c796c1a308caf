from __future__ import annotations

import json
import sys

import pytest


@pytest.fixture
def kiosk_load(load):
    return load("kiosk_load")


def test_a_small_crowd_loses_nothing(kiosk_load, store):
    seen, watched = kiosk_load.run(clients=4, seconds=2, store=store.root)
    assert seen.lost == []
    assert set(seen.statuses) <= kiosk_load.GOOD
    finished = seen.ends["picture"] + seen.ends["jpeg"]
    assert finished == len(seen.made_s) == len(seen.waited_s) >= 1
    assert seen.statuses[202] == seen.ends["picture"] + seen.ends["cancelled"]
    assert all(made <= waited for made, waited in zip(seen.made_s, seen.waited_s, strict=True))
    assert min(watched.resident_mb) > 50
    assert watched.lag_s[0] <= watched.lag_s[1]
    assert max(watched.probes_s) < float("inf")


def test_it_is_reported_as_rows_of_the_others(kiosk_load, monkeypatch, capsys, tmp_path):
    seen = kiosk_load.Seen(made_s=[1.0, 3.0], waited_s=[2.0, 4.0])
    seen.statuses.update({200: 4, 202: 2, 429: 7})
    seen.ends.update({"picture": 2})
    watched = kiosk_load.Watched([100.0, 200.0, 202.0], (0.1, 0.25), [0.001, 0.004])
    monkeypatch.setattr(kiosk_load, "run", lambda *_: (seen, watched))
    monkeypatch.setattr(kiosk_load.os, "sched_setaffinity", lambda *_: None)
    file = tmp_path / "kiosk.json"
    monkeypatch.setattr(sys, "argv", ["kiosk_load.py", "--seconds", "60", "--json", str(file)])
    kiosk_load.main()
    told = capsys.readouterr().out
    assert "7 x 429" in told
    assert "250.0" in told
    (row,) = json.loads(file.read_text())
    assert (row["stage"], row["per_minute"], row["statuses"]["429"]) == ("kiosk", 2.0, 7)
    assert row["lag_ms"] == [100.0, 250.0]
    assert row["made_s"] == {"p50": 1.0, "p95": 3.0, "p99": 3.0, "most": 3.0}
    seen.lost.append("a picture")
    with pytest.raises(SystemExit, match="1"):
        kiosk_load.main()


def test_memory_is_compared_once_it_is_warmed_up(kiosk_load):
    course = [100.0] * 20 + [200.0] * 60 + [210.0] * 20
    assert kiosk_load.memory(course) == (200.0, 210.0, pytest.approx(5.0))


def test_half_a_picture_is_a_lost_one(kiosk_load):
    answer = kiosk_load.httpx.Response(200, content=b"\xff\xd8\xff and no end")
    with pytest.raises(kiosk_load.Lost):
        kiosk_load._check_picture(answer)
