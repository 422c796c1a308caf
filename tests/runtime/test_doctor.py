from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest

from vivant import machine, plans
from vivant.backends import BACKENDS
from vivant.commands import doctor
from vivant.errors import BackendError, DeviceError
from vivant.gpu_state import Board, Card, Clock
from vivant.machine import MachineState
from vivant.plans import PlanRecord

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
CARD = Card(
    name="NVIDIA RTX 4000",
    driver="580.65.06",
    capability="8.9",
    memory_mb=20475.0,
    memory_used_mb=310.0,
    persistence="Enabled",
    sm_mhz=210.0,
    sm_max_mhz=2175.0,
    memory_mhz=405.0,
    memory_max_mhz=7001.0,
    power_w=11.27,
    power_limit_w=70.0,
    temperature_c=41.0,
)
BOARD = Board(
    name="NVIDIA Jetson Orin Nano Developer Kit",
    release="R36.4.3",
    jetpack="6.2+b77",
    power_mode="25W",
    clocks={"GPU": Clock(306.0, 918.0, 306.0, locked=False)},
)
BARE = MachineState("a processor, 2 cores", None, (), None, ())


@pytest.fixture
def here(monkeypatch):
    """Let the doctor see this machine."""

    def see(state, **libraries):
        monkeypatch.setattr(machine, "state", lambda: state)
        reasons = {**dict.fromkeys(BACKENDS), **libraries}
        monkeypatch.setattr(doctor, "lacking", lambda name: reasons[name])
        monkeypatch.setattr(doctor, "lacking_device", libraries.get)

    return see


def told(command_line, store, *options):
    status, out, err = command_line("doctor", "--store", store.root, *options)
    assert (status, err) == (0, "")
    return out


class TestMachine:
    def test_without_a_gpu(self, here, command_line, store):
        here(BARE)
        assert "no NVIDIA GPU; where there is one, install" in told(command_line, store)

    def test_with_a_card(self, here, command_line, store):
        here(dataclasses.replace(BARE, cuda="13.0", cards=(CARD,)))
        out = told(command_line, store)
        for fact in (
            "NVIDIA RTX 4000\n",
            "580.65.06, for CUDA 13.0",
            "210 of 2175 MHz",
            "405 of 7001 MHz",
            "310 of 20475 MiB",
            "11 of 70 W",
            "41 degrees",
        ):
            assert fact in out
        assert re.search(r"compute capability\s+8\.9\n", out)
        assert re.search(r"persistence mode\s+Enabled\n", out)
        assert "no NVIDIA GPU" not in out

    def test_figures_that_a_card_does_not_tell(self, here, command_line, store):
        unknown = {field.name: None for field in dataclasses.fields(Card)}
        here(dataclasses.replace(BARE, cards=(Card(**{**unknown, "name": "Orin (nvgpu)"}),)))
        out = told(command_line, store)
        assert "? of ? MHz" in out
        assert "None" not in out

    def test_a_jetson(self, here, command_line, store):
        here(dataclasses.replace(BARE, board=BOARD))
        out = told(command_line, store)
        assert "NVIDIA Jetson Orin Nano Developer Kit\n" in out
        assert re.search(r"Jetson Linux\s+R36\.4\.3\n", out)
        assert re.search(r"JetPack\s+6\.2\+b77\n", out)
        assert re.search(r"power mode\s+25W\n", out)
        assert "306 of 306..918 MHz, not held; 'sudo jetson_clocks' does" in out
        assert "root alone may see it" in out

    def test_a_jetson_that_tells_little(self, here, command_line, store):
        here(dataclasses.replace(BARE, board=Board(None, None, None, None, {})))
        out = told(command_line, store)
        assert "mount /etc/nv_tegra_release" in out
        assert "nvpmodel -q" in out
        assert "None" not in out

    def test_clocks_that_are_held(self, here, command_line, store):
        clocks = {name: Clock(918.0, 918.0, 918.0, locked=True) for name in ("GPU", "EMC")}
        here(dataclasses.replace(BARE, board=dataclasses.replace(BOARD, clocks=clocks)))
        out = told(command_line, store)
        assert out.count("918 of 918..918 MHz, held there") == 2
        assert "root alone" not in out

    def test_what_could_not_be_read(self, here, command_line, store):
        here(dataclasses.replace(BARE, notes=("nvidia-smi: no answer within 5 s",)))
        assert "could not be read: nvidia-smi: no answer" in told(command_line, store)

    def test_all_of_it_is_json(self, here, command_line, store):
        here(dataclasses.replace(BARE, cuda="13.0", cards=(CARD,), board=BOARD))
        report = json.loads(told(command_line, store, "--json"))
        assert report["machine"]["cards"][0]["sm_max_mhz"] == 2175
        assert report["machine"]["board"]["clocks"]["GPU"]["locked"] is False
        assert report["machine"]["cuda"] == "13.0"


class TestLibraries:
    def test_every_device_and_backend_is_told(self, here, command_line, store):
        here(BARE)
        report = json.loads(told(command_line, store, "--json"))
        assert report["devices"] == {"cuda": None, "pycuda": None, "host": None}
        assert report["backends"] == dict.fromkeys(BACKENDS)

    def test_what_is_missing_has_its_reason_on_one_line(self, here, command_line, store):
        here(BARE, tensorrt="run pip install 'vivant[tensorrt]'", cuda="no driver here")
        out = told(command_line, store)
        assert re.search(r"tensorrt\s+not here: run pip install 'vivant\[tensorrt\]'\n", out)
        assert re.search(r"cuda\s+not here: no driver here\n", out)
        assert re.search(r"onnxruntime\s+ready\n", out)

    def test_this_machine_has_an_answer_for_each(self, command_line, store):
        """Not faked: whatever there is here, each has "ready" or one line."""
        report = json.loads(told(command_line, store, "--json"))
        reasons = {**report["devices"], **report["backends"]}
        assert reasons["host"] is None
        assert set(reasons) == {*doctor.DEVICES, *BACKENDS}
        assert all("\n" not in reason for reason in reasons.values() if reason)

    def test_a_jetson_has_remedies_of_its_own(self, here, command_line, store):
        lacks = "tensorrt is not installed; run pip install 'vivant[tensorrt]'"
        here(dataclasses.replace(BARE, board=BOARD), tensorrt=lacks, cuda="no driver")
        report = json.loads(told(command_line, store, "--json"))
        assert "python3-libnvinfer" in report["backends"]["tensorrt"]
        assert "pip install 'vivant" not in report["backends"]["tensorrt"]
        assert report["devices"]["cuda"] == "no driver"  # nothing to install
        assert report["backends"]["onnxruntime"] is None

    def test_extras_exist(self):
        extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
        named = {*doctor.EXTRAS.values(), *(backend.extra for backend in BACKENDS.values())}
        assert named <= set(extras)
        in_words = " ".join(doctor._JETSON.values())
        assert set(re.findall(r"vivant\[(\w+)\]", in_words)) <= set(extras)
        assert set(doctor._JETSON) <= {*doctor.DEVICES, *BACKENDS}


class TestPlans:
    @pytest.fixture
    def planned(self, store, tmp_path):
        """A store whose MTCNN has a plan of TensorRT for its first network."""
        root = tmp_path / "engines"
        folder = store.engine("mtcnn")
        own = root / "mtcnn" / "fp32"
        own.mkdir(parents=True)
        for file in folder.path.iterdir():
            (own / file.name).write_bytes(file.read_bytes())
        mine = dataclasses.replace(store, root=root)
        folder = mine.engine("mtcnn")
        record = PlanRecord(
            library="tensorrt",
            version="10.3.0",
            compute_capability="8.7",
            plan="pnet.plan",
            plan_sha256="0" * 64,
            onnx_sha256=folder.manifest.graphs["pnet"].sha256,
        )
        plans.write_plan(folder, "pnet", record, b"not a plan")
        return mine

    @pytest.fixture
    def library(self, monkeypatch):
        from vivant.backends import tensorrt

        class Library:
            __version__ = "10.3.0"

        monkeypatch.setattr(tensorrt, "load", lambda name: Library)

    @pytest.fixture
    def opened(self, monkeypatch):
        """Devices that were opened, and whether they were closed again."""
        seen = []

        class Device:
            capability = (8, 7)

            def __init__(self, name):
                self.closed = False
                seen.append(self)

            def close(self):
                self.closed = True

        monkeypatch.setattr(doctor, "open_device", Device)
        return seen

    def test_one_that_fits(self, here, command_line, planned, library, opened, monkeypatch):
        here(BARE)
        monkeypatch.setattr(plans, "obstacle", lambda *_: None)
        out = told(command_line, planned)
        assert re.search(r"mtcnn/fp32/tensorrt/pnet\s+a plan that fits\n", out)

    def test_one_that_does_not(self, here, command_line, planned, library, opened):
        here(BARE)
        report = json.loads(told(command_line, planned, "--json"))
        (reason,) = report["plans"].values()
        assert "SHA-256 is not the record's" in reason
        assert [device.closed for device in opened] == [True]

    def test_one_without_a_record(self, here, command_line, planned, library, opened):
        here(BARE)
        (planned.root / "mtcnn/fp32/tensorrt/pnet.json").unlink()
        report = json.loads(told(command_line, planned, "--json"))
        assert report["plans"] == {"mtcnn/fp32/tensorrt/pnet": "no record vouches for it"}

    def test_the_library_is_not_here(self, here, command_line, planned, monkeypatch):
        from vivant.backends import tensorrt

        def missing(name):
            raise BackendError("tensorrt is not here")

        here(BARE)
        monkeypatch.setattr(tensorrt, "load", missing)
        out = told(command_line, planned)
        assert "a plan; whether it fits cannot be told: tensorrt is not here" in out

    def test_there_is_no_device(self, here, command_line, planned, library, monkeypatch):
        def missing(name):
            raise DeviceError("no driver")

        here(BARE)
        monkeypatch.setattr(doctor, "open_device", missing)
        report = json.loads(told(command_line, planned, "--json"))
        assert report["plans"] == {
            "mtcnn/fp32/tensorrt/pnet": "whether it fits cannot be told: no driver"
        }

    def test_without_plans_no_device_is_opened(self, here, command_line, store, opened):
        here(BARE)
        assert json.loads(told(command_line, store, "--json"))["plans"] == {}
        assert opened == []
