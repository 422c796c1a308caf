from __future__ import annotations

import ctypes
import dataclasses
import json
import stat
import time

import pytest

from vivant import gpu_state, machine

TWO_CARDS = """\
NVIDIA H200, 580.65.06, 9.0, 143771, 4, Enabled, 345, 1980, 3201, 3201, 77.42, 700.00, 28
NVIDIA GeForce RTX 4090, 580.65.06, 8.9, 24564, 12, Disabled, 210, 3105, 405, 10501, 21.5, 450, 33
"""
ORIN_CARD = "Orin (nvgpu), 540.4.0, 8.7" + ", [N/A]" * 10
NVPMODEL = "NVPM WARN: fan mode is not set!\nNV Power Mode: MAXN_SUPER\n2\n"
JETSON_CLOCKS = """\
SOC family:tegra234  Machine:NVIDIA Jetson Orin Nano Developer Kit
cpu0:  Online=1 Governor=schedutil MinFreq=729600 MaxFreq=1344000 CurrentFreq=729600 IdleStates: 1
GPU MinFreq=1020000000 MaxFreq=1020000000 CurrentFreq=1020000000
Active GPU TPCs: 4
EMC MinFreq=204000000 MaxFreq=3199000000 CurrentFreq=3199000000 FreqOverride=1
NV Power Mode: MAXN_SUPER
"""


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Put programs of these names alone on the PATH, each a line or more of shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(**scripts):
        for name, script in scripts.items():
            path = folder / name.replace("_smi", "-smi").replace("dpkg_", "dpkg-")
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(path.stat().st_mode | stat.S_IXUSR)

    return add


@pytest.fixture
def jetson(tmp_path):
    """The files of a Jetson Orin Nano, below a root of their own."""
    files = {
        "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, "
        "EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025\n",
        "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
        "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0",
        "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 62.50\n",
        "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
        "sys/class/devfreq/17000000.gpu/max_freq": "1020000000\n",
        "sys/class/devfreq/17000000.gpu/cur_freq": "612000000\n",
        "sys/class/devfreq/15340000.vic/cur_freq": "1\n",
    }
    root = tmp_path / "root"
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def saying(text):
    return f"cat <<'END'\n{text}\nEND".replace("cat", "/bin/cat")


def test_a_machine_without_any_of_it(tools, tmp_path):
    state = machine.state(tmp_path)
    assert (state.cards, state.board, state.notes) == ((), None, ())
    assert "cores" in state.processor


class TestCards:
    def test_what_nvidia_smi_says(self, tools, tmp_path):
        tools(nvidia_smi=f'/bin/echo "$@" > {tmp_path}/asked\n{saying(TWO_CARDS)}')
        first, second = machine.state(tmp_path).cards
        assert first.name == "NVIDIA H200"
        assert (first.driver, first.capability, first.persistence) == (
            "580.65.06",
            "9.0",
            "Enabled",
        )
        assert (first.sm_mhz, first.sm_max_mhz) == (345, 1980)
        assert (first.memory_mhz, first.memory_max_mhz) == (3201, 3201)
        assert (first.power_w, first.power_limit_w, first.temperature_c) == (77.42, 700, 28)
        assert (first.memory_mb, first.memory_used_mb) == (143771, 4)
        assert second.name == "NVIDIA GeForce RTX 4090"
        asked = (tmp_path / "asked").read_text()
        assert "--format=csv,noheader,nounits" in asked
        assert asked.count(",") == 12 + 2

    def test_figures_that_a_jetson_does_not_have_are_none(self, tools, tmp_path):
        tools(nvidia_smi=saying(ORIN_CARD))
        (card,) = machine.state(tmp_path).cards
        assert (card.name, card.capability) == ("Orin (nvgpu)", "8.7")
        assert (card.sm_mhz, card.power_w, card.persistence) == (None, None, None)

    @pytest.mark.parametrize(
        "garbage", ["�\x1b[2J", "Segmentation fault", "a, b, c", "N/A," * 30, ",,,,,,,,,,,,"]
    )
    def test_garbage_is_no_card_and_one_printable_note(self, tools, tmp_path, garbage):
        tools(nvidia_smi=saying(garbage))
        state = machine.state(tmp_path)
        assert state.cards == ()
        (note,) = state.notes
        assert note.startswith("nvidia-smi: not an answer: ")
        assert note.isprintable()
        assert len(note) < 200

    def test_binary_garbage(self, tools, tmp_path):
        tools(nvidia_smi=r"printf '\377\376\001\n'")
        assert len(machine.state(tmp_path).notes) == 1

    def test_a_number_that_is_none(self, tools, tmp_path):
        tools(nvidia_smi=saying(TWO_CARDS.replace("77.42", "nan").replace("700.00", "inf")))
        assert machine.state(tmp_path).cards[0].power_w is None
        assert machine.state(tmp_path).cards[0].power_limit_w is None

    def test_a_driver_that_does_not_answer_the_tool(self, tools, tmp_path):
        tools(nvidia_smi='echo "NVIDIA-SMI has failed because it could not reach it."\nexit 9')
        state = machine.state(tmp_path)
        assert state.cards == ()
        assert state.notes == ("nvidia-smi: NVIDIA-SMI has failed because it could not reach it.",)

    def test_a_silent_failure(self, tools, tmp_path):
        tools(nvidia_smi="exit 6")
        assert machine.state(tmp_path).notes == ("nvidia-smi: exit status 6",)

    def test_a_tool_that_hangs_with_a_child_of_its_own(self, tools, tmp_path, monkeypatch):
        monkeypatch.setattr(gpu_state, "TIMEOUT_S", 0.2)
        tools(nvidia_smi=f"/bin/sleep 60 &\n/bin/echo $! > {tmp_path}/child\nwait")
        state = machine.state(tmp_path)
        assert state.cards == ()
        (note,) = state.notes
        assert "no answer within 0.2 s" in note
        child = tmp_path / "child"
        for _ in range(100):  # it was killed; its new parent has yet to take note
            if not _alive(child.read_text().strip()):
                break
            time.sleep(0.05)
        assert not _alive(child.read_text().strip())

    def test_a_tool_that_cannot_be_run(self, tools, tmp_path):
        tools(nvidia_smi="")
        (tmp_path / "bin" / "nvidia-smi").write_bytes(b"\x7fELF, but not quite")
        (note,) = machine.state(tmp_path).notes
        assert note == "nvidia-smi: Exec format error"

    @pytest.mark.gpu
    def test_the_card_that_is_here(self, cuda_device):
        state = machine.state()
        if state.board is not None:
            pytest.skip("a Jetson's nvidia-smi tells little")
        assert state.notes == ()
        major, minor = cuda_device.capability
        assert f"{major}.{minor}" in [card.capability for card in state.cards]
        assert all(0 < card.sm_mhz <= card.sm_max_mhz for card in state.cards)
        assert int(state.cuda.partition(".")[0]) >= 12


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class TestBoard:
    def test_a_jetson(self, tools, jetson, monkeypatch):
        monkeypatch.setattr("os.geteuid", lambda: 1000)
        tools(nvpmodel=saying(NVPMODEL), dpkg_query="printf 6.2+b77", jetson_clocks="exit 1")
        state = machine.state(jetson)
        board = state.board
        assert board.name == "NVIDIA Jetson Orin Nano Developer Kit"
        assert (board.release, board.jetpack) == ("R36.4.3", "6.2+b77")
        assert board.power_mode == "MAXN_SUPER"
        assert board.clocks == {"GPU": gpu_state.Clock(306, 1020, 612, locked=False)}
        assert state.processor.startswith("NVIDIA Jetson Orin Nano Developer Kit, ")
        assert state.notes == ()

    def test_root_sees_the_memory_clock_too(self, tools, jetson, monkeypatch):
        monkeypatch.setattr("os.geteuid", lambda: 0)
        tools(jetson_clocks=saying(JETSON_CLOCKS))
        assert machine.state(jetson).board.clocks == {
            "GPU": gpu_state.Clock(1020, 1020, 1020, locked=True),
            "EMC": gpu_state.Clock(204, 3199, 3199, locked=True),
        }

    def test_a_jetson_without_its_tools(self, tools, jetson):
        board = machine.state(jetson).board
        assert (board.release, board.jetpack, board.power_mode) == ("R36.4.3", None, None)
        assert board.clocks["GPU"].now_mhz == 612

    def test_a_container_that_sees_no_device_tree(self, tools, jetson):
        for name in ("model", "compatible"):
            (jetson / "proc/device-tree" / name).unlink()
        assert machine.state(jetson).board.name is None

    @pytest.mark.parametrize("text", ["", "\0\0\0", "R", "# R36 (release)", "\xff\xfe garbage"])
    def test_a_release_that_cannot_be_read(self, tools, jetson, text):
        (jetson / "etc/nv_tegra_release").write_text(text)
        for name in ("min_freq", "cur_freq"):
            (jetson / "sys/class/devfreq/17000000.gpu" / name).write_text("fast\n")
        board = machine.state(jetson).board
        assert (board.release, board.clocks) == (None, {})

    def test_a_hanging_nvpmodel_is_a_note(self, tools, jetson, monkeypatch):
        monkeypatch.setattr(gpu_state, "TIMEOUT_S", 0.2)
        tools(nvpmodel="exec /bin/sleep 60")
        state = machine.state(jetson)
        assert state.board.power_mode is None
        assert [note.partition(":")[0] for note in state.notes] == ["nvpmodel"]

    def test_another_board_is_no_jetson(self, tools, jetson):
        (jetson / "etc/nv_tegra_release").unlink()
        (jetson / "proc/device-tree/compatible").write_text("raspberrypi,5-model-b\0brcm,bcm2712\0")
        assert machine.state(jetson).board is None


def test_it_is_ready_for_json(tools, jetson):
    tools(nvidia_smi=saying(TWO_CARDS), nvpmodel=saying(NVPMODEL))
    text = json.dumps(dataclasses.asdict(machine.state(jetson)), allow_nan=False)
    state = json.loads(text)
    assert state["cards"][0]["sm_max_mhz"] == 1980
    assert state["board"]["power_mode"] == "MAXN_SUPER"
    assert state["board"]["clocks"]["GPU"]["locked"] is False


class TestCuda:
    @pytest.mark.parametrize(
        ("status", "number", "expected"),
        [(0, 12060, "12.6"), (0, 13000, "13.0"), (0, 0, None), (100, 12060, None)],
    )
    def test_the_driver_tells_its_newest_version(self, monkeypatch, status, number, expected):
        class Driver:
            def cuDriverGetVersion(self, pointer):  # noqa: N802
                ctypes.cast(pointer, ctypes.POINTER(ctypes.c_int))[0] = number
                return status

        monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
        assert gpu_state.newest_cuda() == expected

    def test_no_driver(self, monkeypatch):
        def missing(name):
            raise OSError(name)

        monkeypatch.setattr(ctypes, "CDLL", missing)
        assert gpu_state.newest_cuda() is None
