"""The borders of the house: who may import whom, and for which Python."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(
    path for folder in ("runtime", "export", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
RUNTIME = [path for path in SOURCES if path.is_relative_to(ROOT / "runtime" / "vivant")]


def imported(path, *, lazily):
    """The top-level packages that a file imports; with ``lazily``, inside functions too."""
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if lazily else tree.body
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_compiles_for_python_3_10(path):
    assert ast.parse(path.read_text(), feature_version=(3, 10)).body


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_runtime_stays_lean(path):
    is_command_line = path.parent.name == "commands" or path.name == "cli.py"
    heavy = {"torch", "torchvision", "onnx", "joblib", "matplotlib"}
    ever, at_import = (set(imported(path, lazily=lazily)) for lazily in (True, False))
    assert not heavy & ever
    assert is_command_line or "vivant_samples" not in ever
    lazy = {"onnxruntime", "openvino", "vivant_export", "vivant_kiosk", "vivant_samples"}
    assert not {*lazy, "pillow_heif"} & at_import
    assert is_command_line or not {"typer", "rich"} & at_import


def test_every_extra_that_a_message_names_exists():
    declared = set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    named = {
        extra
        for path in SOURCES
        for extras in re.findall(r"'vivant\[([\w,]+)\]'", path.read_text())
        for extra in extras.split(",")
    }
    assert named
    assert named <= declared


@pytest.mark.parametrize(
    "module", ["cli", "catalogue", "weights", "download", "sources", "mtcnn", "origin", "seeded"]
)
def test_what_needs_no_torch_imports_none(module):
    code = f"import sys, vivant_export.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_import_vivant_stays_light():
    heavy = {"torch", "onnx", "onnxruntime", "typer", "rich", "huggingface_hub", "vivant_export"}
    code = f"import sys, vivant; sys.exit(bool({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
