from __future__ import annotations

import argparse
import json
from types import SimpleNamespace

import numpy as np
import pytest

from vivant.backends.device_host import HostDevice
from vivant.backends.workspace import Workspace
from vivant.errors import SubjectError
from vivant.machine import MachineState
from vivant.roles import Matting

STATE = MachineState("a processor", "13.0", (), None, ("nvidia-smi: no answer",))


@pytest.fixture
def latency(load):
    return load("latency")


@pytest.fixture
def visits(load):
    return load("visits")


@pytest.fixture
def composed(latency, visits, monkeypatch):
    """Let a fake studio compose; it says how often, and what of a device it has."""

    def fake(on_device):
        class Visit:
            count = 0

            def compose(self):
                self.count += 1
                slow = self.count / 1000
                gpu = {"matte": self.count / 10, "faces": 0.5} if on_device else {}
                return visits.Run({"matte": slow, "end-to-end": 2 * slow}, "8x4", gpu)

            def device_mb(self):
                return (100.0, 100.0 + self.count) if on_device else None

        visit = Visit()
        monkeypatch.setattr(latency, "open_visit", lambda setting: visit)
        monkeypatch.setattr(latency.machine, "state", lambda: STATE)
        return visit

    return fake


def given(**changed):
    defaults = {"threads": 2, "profile": "deep", "device": "cuda", "mapped": False, "store": None}
    return argparse.Namespace(**{**defaults, **changed})


class TestMeasure:
    def test_what_warms_up_does_not_count(self, latency, composed):
        composed(on_device=True)
        measured = latency.measure(None, 4)
        assert measured.runs["matte"] == [4, 5, 6, 7]
        assert measured.gpu_runs == {"matte": [0.4, 0.5, 0.6, 0.7], "faces": [0.5] * 4}
        assert measured.device_mb == (100, 107)
        assert (measured.size, measured.state) == ("8x4", STATE)

    def test_the_processor_has_no_device(self, latency, composed):
        composed(on_device=False)
        measured = latency.measure(None, 2)
        assert (measured.gpu_runs, measured.device_mb) == ({}, None)

    def test_the_first_picture_is_timed_apart(self, latency, composed):
        visit = composed(on_device=True)
        cold = latency.first_picture(None, 0.0)
        assert visit.count == 1
        assert cold["cold_start_ms"] >= cold["cold_open_ms"] + cold["cold_picture_ms"]


class TestRows:
    @pytest.fixture
    def measured(self, latency, composed):
        composed(on_device=True)
        return latency.measure(None, 20)

    def test_both_times_of_a_stage(self, latency, measured):
        row = latency._row("matte", measured.runs["matte"], measured, given(), {"model": "m"})
        assert (row["ours_ms"], row["p95_ms"], row["p99_ms"]) == (13.5, 22, 23)
        assert (row["gpu_ms"], row["gpu_p95_ms"], row["gpu_p99_ms"]) == (1.35, 2.2, 2.3)
        assert (row["device"], row["device_mb"]) == ("cuda", (100, 123))
        assert row["profile"] == "deep cuda"
        assert row["state"]["notes"] == ("nvidia-smi: no answer",)

    def test_the_whole_way_has_no_sum_of_the_device(self, latency, measured):
        row = latency._row("end-to-end", measured.runs["end-to-end"], measured, given(), {})
        assert "gpu_ms" not in row

    def test_rows_of_the_processor_stay_as_they_were(self, latency, composed):
        composed(on_device=False)
        measured = latency.measure(None, 2)
        row = latency._row("matte", [1.0], measured, given(device="cpu"), {})
        assert row["profile"] == "deep"
        assert not {"device", "device_mb", "gpu_ms"} & set(row)

    @pytest.mark.parametrize(
        ("changed", "name"),
        [
            ({"device": "cpu"}, "deep"),
            ({"device": "host"}, "deep host"),
            ({"mapped": True}, "deep cuda mapped"),
            ({"mapped": True, "device": "cpu"}, "deep"),
        ],
    )
    def test_the_profile_says_where_it_ran(self, latency, changed, name):
        assert latency._profile(given(**changed)) == name

    def test_the_table_has_both_times(self, latency, measured, load, tmp_path):
        stages = ("matte", "end-to-end")
        rows = [latency._row(s, measured.runs[s], measured, given(), {}) for s in stages]
        rows[-1]["cold_start_ms"] = 900
        load("report").write_json(tmp_path / "rows.json", rows)
        rows = json.loads((tmp_path / "rows.json").read_text())
        assert rows[0]["state"]["cuda"] == "13.0"  # not that of the moment of writing
        text = load("tables").latency(rows, "deep cuda")
        assert "| stage | p50 | p95 | p99 | device, p50 | p99 | model | runs on |" in text
        assert "| matte | 14 ms | 22 ms | 23 ms | 1.4 ms | 2.3 ms |  |  |" in text
        assert "| end-to-end | 27 ms | 44 ms | 46 ms |  |  |  |  |" in text
        assert "Device's memory in use 100 MB before, 123 MB after" in text

    def test_it_is_printed(self, latency, measured, capsys):
        rows = [
            latency._row(stage, times, measured, given(device="host"), {})
            for stage, times in measured.runs.items()
        ]
        latency._print(rows, measured)
        printed = capsys.readouterr().out
        assert "device p50" in printed
        assert "100 MB before, 123 after" in printed
        assert "this shows that it runs, not how fast" in printed


class TestSoak:
    def test_both_memories_are_watched(self, latency, composed):
        composed(on_device=True)
        soaked = latency.soak(None, 5)
        assert soaked.device_mb == [101, 102, 103, 104, 105]
        assert len(soaked.resident_mb) == 5
        assert min(soaked.resident_mb) > 1

    def test_growth_is_told_once_it_is_warm(self, latency):
        course = [10.0, 50.0, *[100.0] * 17, 110.0]
        assert latency._grown("device", course) == {
            "device_mb": [50, 110],
            "device_growth_percent": 120,
        }
        assert latency._grown("resident", [100.0, 101.0])["growth_percent"] == 1
        assert latency._grown("device", []) == {}
        assert latency._grown("device", [0.0, 0.0])["device_growth_percent"] == 0

    def test_the_report(self, latency, composed, load, monkeypatch, capsys, tmp_path):
        composed(on_device=True)
        monkeypatch.setattr(latency, "_in_new_process", lambda function, *args: function(*args))
        monkeypatch.setattr(latency, "_engines", lambda setting: {})
        arguments = given(soak=10, json=tmp_path / "soak.json", plot=None)
        latency._report_soak(None, arguments)
        printed = capsys.readouterr().out
        assert "device memory, at the end    110.0 MB, +8.91 %" in printed
        (row,) = json.loads((tmp_path / "soak.json").read_text())
        assert (row["profile"], row["pictures"], row["device_mb"]) == ("deep cuda", 10, [101, 110])
        assert row["state"]["notes"] == ["nvidia-smi: no answer"]
        text = load("tables").memory([row], "")
        assert "| deep cuda: the device's memory | 10 | 101 MB | 110 MB | +8.9 % |" in text


class TestVisits:
    def test_a_settled_matter_runs_and_its_result_is_known(self, visits):
        calls = []
        known = Matting(np.full((4, 6), 7, np.uint8), 0.5)

        class Matter:
            def enqueue(self, photo, stream):
                calls.append("enqueue")

            def finish(self, faces, shape):
                calls.append("finish")
                raise SubjectError("nobody stands out")

        device = HostDevice()
        with Workspace(device) as workspace:
            matter = visits.SettledMatter(Matter(), known, workspace)
            stream = device.stream()
            matte = matter.enqueue(None, stream)
            copied = device.pinned(matte.shape)
            device.download(matte, copied, stream)
            device.synchronise(stream)
            assert copied.array.tolist() == known.matte.tolist()
            assert matter.finish([], (4, 6)) is known
            device.free(copied)
        device.close()
        assert calls == ["enqueue", "finish"]

    def test_the_device_is_chosen_by_the_setting(self, visits, monkeypatch):
        monkeypatch.setattr(visits, "ProcessorVisit", lambda setting: "processor")
        monkeypatch.setattr(visits, "DeviceVisit", lambda setting: "device")
        assert visits.open_visit(SimpleNamespace(device="cpu")) == "processor"
        assert visits.open_visit(SimpleNamespace(device="host")) == "device"


class TestOptions:
    @pytest.fixture
    def run(self, latency, monkeypatch):
        """Run ``main`` up to where it measures; return the arguments."""
        seen = []

        def setting(arguments, folder):
            seen.append(arguments)

        monkeypatch.setattr(latency, "_setting", setting)
        monkeypatch.setattr(latency, "_report_stages", lambda *_: None)
        monkeypatch.setattr(latency.os, "sched_setaffinity", lambda *_: None)

        def main(*options):
            monkeypatch.setattr("sys.argv", ["latency.py", *options])
            latency.main()
            return seen[-1]

        return main

    @pytest.mark.parametrize(
        ("options", "profile"),
        [((), "classic"), (("--device", "host"), "deep"), (("--profile", "best"), "best")],
    )
    def test_a_device_runs_networks_unless_told_otherwise(self, run, options, profile):
        assert run(*options).profile == profile

    def test_a_profile_without_networks_has_no_device(self, run, capsys):
        with pytest.raises(SystemExit):
            run("--device", "cuda", "--profile", "classic")
        assert "runs on the processor alone" in capsys.readouterr().err


def test_speeds_of_a_state(load):
    report = load("report")
    card = {
        "name": "A card",
        "driver": "580.1",
        "sm_mhz": 210.0,
        "sm_max_mhz": 2175.0,
        "memory_mhz": 405.0,
        "memory_max_mhz": 7001.0,
        "power_w": 11.27,
        "power_limit_w": 70.0,
        "temperature_c": None,
    }
    clock = {"least_mhz": 306.0, "most_mhz": 1020.0, "now_mhz": 1020.0, "locked": True}
    board = {"name": "A board", "release": "R36.4.3", "power_mode": None, "clocks": {"GPU": clock}}
    assert report.speeds({"cards": [card], "board": board}) == [
        "A card, driver 580.1, 210 of 2175 MHz, memory 405 of 7001 MHz, 11 of 70 W, ? degrees",
        "A board, R36.4.3, GPU 1020 of 306..1020 MHz, locked",
    ]
    assert report.speeds({"cards": [], "board": None}) == []
