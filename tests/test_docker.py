"""The container files, read: nothing here can build them."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from vivant.store import default_root

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
REQUIRED = {"desktop", "jetson"}
INSTRUCTIONS = {
    *("ARG", "FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "HEALTHCHECK"),
    *("ENTRYPOINT", "CMD"),
}


def instructions(path):
    """Return (instruction, its text) in order, lines joined and comments left out."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    pairs = [line.strip().partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, " ".join(text.split())) for name, _, text in pairs]


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def path(request):
    return request.param


@pytest.fixture
def steps(path):
    return instructions(path)


def texts(steps, wanted):
    return [text for name, text in steps if name == wanted]


def extras(steps):
    (named,) = [text for text in texts(steps, "ARG") if text.startswith("EXTRAS=")]
    return set(named.removeprefix("EXTRAS=").split(","))


def test_all_are_here():
    assert {path.name.partition(".")[0] for path in FILES} == REQUIRED


def test_only_known_instructions(steps):
    assert {name for name, _ in steps} <= INSTRUCTIONS
    assert steps[0][0] == "ARG"


def test_base_images_have_a_tag_or_none_is_given(steps, path):
    """And no registry is named: one without a name is Docker's own, another is an argument."""
    (base,) = [text for text in texts(steps, "ARG") if text.startswith("BASE")]
    if path.name.startswith("jetson"):
        assert base == "BASE"
    else:
        assert re.fullmatch(r"BASE=[a-z]+/[a-z]+:[\w.-]*\d+\.\d+[\w.-]*", base)
    assert all(text.split()[0] == "${BASE}" for text in texts(steps, "FROM"))
    hosts = re.findall(r"\b[a-z0-9-]+\.(?:io|com|org|dev|net)\b", path.read_text())
    assert hosts == []


def test_what_is_copied_exists_and_reaches_the_builder(steps, path):
    ignored = path.with_name(f"{path.name}.dockerignore").read_text().split("\n")
    assert "*" in ignored
    sources = []
    for text in texts(steps, "COPY"):
        if not text.startswith("--from=build "):
            *names, _ = text.split()
            sources += names
    assert {"pyproject.toml", "constraints.txt", "runtime", "export"} <= set(sources)
    for name in sources:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored, name


def test_what_the_package_is_built_from_is_copied(steps):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = " ".join(texts(steps, "COPY")).split()
    assert project["project"]["readme"] in copied
    assert set(project["project"]["license-files"]) <= set(copied)
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {package.split("/")[0] for package in packages} <= set(copied)


def test_extras_exist(steps):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert extras(steps) <= set(project["project"]["optional-dependencies"])


def test_one_onnx_runtime_not_two(steps):
    """The processor's and the GPU's cannot be installed together."""
    assert len(extras(steps) & {"cpu", "gpu"}) == 1


def test_installed_by_constraints(steps):
    installs = [text for text in texts(steps, "RUN") if "pip install" in text]
    assert len(installs) == 1
    assert re.search(r"-c \S*constraints\.txt", installs[0])
    assert "--no-cache-dir" in installs[0]
    assert "http" not in installs[0]


def test_a_constraint_that_is_replaced_is_taken_out():
    """JetPack's CUDA wants bindings of its own, which the constraints forbid."""
    steps = instructions(ROOT / "docker" / "jetson.Dockerfile")
    (named,) = [text for text in texts(steps, "ARG") if text.startswith("CUDA_BINDINGS=")]
    requirement = shlex.split(named.partition("=")[2])[0]
    name = re.match(r"[\w-]+", requirement)[0]
    constrained = re.findall(r"^([\w-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert name in constrained
    assert name.startswith("cuda-")
    assert any("grep -v '^cuda-'" in text for text in texts(steps, "RUN"))


def test_nobody_is_root(steps):
    (user,) = texts(steps, "USER")
    assert user == "vivant"
    names = [name for name, _ in steps]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert "RUN" not in names[names.index("USER") :]
    assert any("useradd" in text for text in texts(steps, "RUN"))


def test_package_lists_are_not_kept(steps):
    for text in texts(steps, "RUN"):
        if "apt-get install" in text:
            assert "apt-get update &&" in text
            assert "--no-install-recommends" in text
            assert "rm -rf /var/lib/apt/lists/*" in text


def test_engines_are_in_the_volume(steps, monkeypatch):
    (volume,) = texts(steps, "VOLUME")
    settings = dict(word.split("=", 1) for text in texts(steps, "ENV") for word in text.split())
    for name in ("VIVANT_ENGINES", "VIVANT_CUBINS"):
        assert settings[name].startswith(f"{volume}/")
    monkeypatch.setenv("VIVANT_ENGINES", settings["VIVANT_ENGINES"])
    assert str(default_root()) == settings["VIVANT_ENGINES"]


def test_it_is_asked_how_it_does(steps):
    (check,) = texts(steps, "HEALTHCHECK")
    assert 'CMD ["vivant", "doctor", "--json"]' in check
    assert "--timeout=" in check
    assert texts(steps, "ENTRYPOINT") == ['["vivant"]']


def test_shell_commands_can_be_read(steps):
    for text in texts(steps, "RUN"):
        assert shlex.split(text)
        assert not text.endswith("&&")
