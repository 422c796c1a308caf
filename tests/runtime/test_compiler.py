from __future__ import annotations

import sys

import pytest

from vivant.backends import compiler
from vivant.errors import DeviceError

SOURCE = 'extern "C" __global__ void twice(float *value) { value[threadIdx.x] *= 2; }'


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Where machine code is kept, which does not exist yet."""
    monkeypatch.setenv("VIVANT_CUBINS", str(tmp_path / "kept" / "cubins"))
    return tmp_path / "kept" / "cubins"


@pytest.fixture
def capability():
    try:
        return compiler.architectures()[0]
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture
def compiled(monkeypatch):
    """What was really compiled, and how."""
    seen = []
    compile_ = compiler._compile

    def count(nvrtc, source, options):
        seen.append(options)
        return compile_(nvrtc, source, options)

    monkeypatch.setattr(compiler, "_compile", count)
    return seen


def test_what_was_compiled_is_kept(capability, compiled, folder):
    code = compiler.cubin(SOURCE, capability)
    assert code.startswith(b"\x7fELF")
    assert b".text.twice" in code
    assert compiler.cubin(SOURCE, capability) == code
    assert len(compiled) == 1
    assert f"--gpu-architecture=sm_{capability[0]}{capability[1]}" in compiled[0]
    assert [path.suffix for path in folder.iterdir()] == [".cubin"]


def test_another_source_or_gpu_is_compiled_anew(capability, compiled):
    first = compiler.cubin(SOURCE, capability)
    assert compiler.cubin(SOURCE.replace("2", "3"), capability) != first
    assert compiler.cubin(SOURCE, compiler.architectures()[-1]) != first
    assert len(compiled) == 3


@pytest.mark.parametrize(
    "damage", [lambda held: held[:-1], lambda held: b"", lambda held: b"x" * 99]
)
def test_what_is_kept_but_damaged_is_compiled_again(capability, compiled, folder, damage):
    code = compiler.cubin(SOURCE, capability)
    (path,) = folder.iterdir()
    held = path.read_bytes()
    path.write_bytes(damage(held))
    assert compiler.cubin(SOURCE, capability) == code
    assert len(compiled) == 2
    assert path.read_bytes() == held


def test_a_folder_that_cannot_be_written_is_no_error(capability, compiled, folder):
    folder.parent.parent.joinpath("kept").write_text("a file where a folder should be")
    assert compiler.cubin(SOURCE, capability) == compiler.cubin(SOURCE, capability)
    assert len(compiled) == 2


def test_a_wrong_source_is_told_by_its_first_error(capability, folder):
    with pytest.raises(
        DeviceError, match=r"^CUDA source: vivant.cu\(2\): error: .*frobnicate"
    ) as told:
        compiler.cubin('extern "C" __global__ void f() {\n  frobnicate();\n}', capability)
    assert "\n" not in str(told.value)
    assert not folder.exists()


def test_a_gpu_that_the_compiler_does_not_know(capability):
    with pytest.raises(DeviceError, match=r"compute capability 2\.0: NVRTC .* compiles for"):
        compiler.cubin(SOURCE, (2, 0))


def test_without_nvrtc_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(DeviceError, match=r"NVRTC is not here .*pip install 'vivant\[cuda\]'"):
        compiler.architectures()
