"""The code uses of TensorRT only what every version in the field has.

``tensorrt_names.json`` lists, by version, those names of TensorRT's classes and members that the
code uses and that the version has: 10.3 is JetPack 6's, 10.13 JetPack 7's, 11.4 the newest.
A name that the code uses for the first time fails until it is listed. To list it, give this file a
JSON file of all names, ``{"versions": {version: {class: [members]}}}``, as ``dir`` tells them where
that version is installed:

    python tests/test_tensorrt_names.py all-names.json

The names of TensorRT-RTX are those of the bindings that are installed beside it.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LISTED = Path(__file__).with_name("tensorrt_names.json")
RTX = "tensorrt-rtx 1.7.1.116"

OBJECTS = {
    "runtime/vivant/backends/tensorrt.py": {
        "_runtime": "Runtime",
        "_engine": "ICudaEngine",
        "context": "IExecutionContext",
        "execution": "IExecutionContext",
        "settings": "IRuntimeConfig",
    },
    "runtime/vivant/backends/tensorrt_ports.py": {"engine": "ICudaEngine"},
    "export/vivant_export/tensorrt_build.py": {
        "builder": "Builder",
        "cache": "ITimingCache",
        "config": "IBuilderConfig",
        "parser": "OnnxParser",
        "shapes": "IOptimizationProfile",
    },
}
"""By file, which of its variables are TensorRT's objects, and of which class."""

RETURNED = {"get_error": "ParserError"}
"""The class of what a method returns, where a member of it is used at once."""

ONLY_RTX = {
    "ComputeCapability": {"SM75"},
    "CudaGraphStrategy": {"WHOLE_GRAPH_CAPTURE"},
    "IBuilderConfig": {"num_compute_capabilities", "set_compute_capability"},
    "ICudaEngine": {"create_runtime_config"},
    "IRuntimeConfig": {
        "create_runtime_cache",
        "cuda_graph_strategy",
        "set_execution_context_allocation_strategy",
        "set_runtime_cache",
    },
}
"""What the code uses with TensorRT-RTX alone; not all versions of TensorRT have it."""


def last(node: ast.AST) -> str:
    """Return the last name of ``a``, ``a.b`` or ``a.b()``."""
    if isinstance(node, ast.Call):
        return last(node.func)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def is_module(node: ast.AST) -> bool:
    return not isinstance(node, ast.Call) and last(node) in ("trt", "_trt")


def used_in(tree: ast.AST, objects: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield every class and member that is used; the member is empty for the class itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and not node.attr.startswith("__"):
            yield from used_by(node, objects)
        elif isinstance(node, ast.ClassDef):
            names = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
            for base in node.bases:
                if isinstance(base, ast.Attribute) and is_module(base.value):
                    yield from ((base.attr, name) for name in names - {"__init__"})


def used_by(node: ast.Attribute, objects: dict[str, str]) -> Iterator[tuple[str, str]]:
    base = node.value
    if is_module(base):
        yield node.attr, ""
    elif isinstance(base, ast.Attribute) and is_module(base.value):
        yield base.attr, node.attr
    elif isinstance(base, ast.Call) and last(base) in RETURNED:
        yield RETURNED[last(base)], node.attr
    elif not isinstance(base, ast.Call) and last(base) in objects:
        yield objects[last(base)], node.attr


def used() -> dict[str, set[str]]:
    """Return every class and its members that the code uses."""
    found: dict[str, set[str]] = {}
    for file, objects in OBJECTS.items():
        for name, member in used_in(ast.parse((ROOT / file).read_text()), objects):
            found.setdefault(name, set()).update({member} - {""})
    return found


def missing(listed: dict[str, list[str]], wanted: dict[str, set[str]]) -> list[str]:
    """Return what is wanted and not listed, as "class" or "class.member"."""
    classes = [name for name in wanted if name not in listed]
    members = [
        f"{name}.{member}"
        for name in wanted
        if name in listed
        for member in wanted[name] - set(listed[name])
    ]
    return sorted(classes + members)


@pytest.mark.parametrize("version", ["10.3.0", "10.13.3.9", "11.4.0.106"])
def test_every_version_of_tensorrt_has_what_is_used(version):
    wanted = {
        name: members - ONLY_RTX.get(name, set())
        for name, members in used().items()
        if members - ONLY_RTX.get(name, set()) or name not in ONLY_RTX
    }
    assert missing(json.loads(LISTED.read_text())[version], wanted) == []


def test_tensorrt_rtx_has_what_is_used():
    assert missing(json.loads(LISTED.read_text())[RTX], used()) == []


def test_nothing_is_excused_that_is_not_used():
    assert missing({name: sorted(members) for name, members in used().items()}, ONLY_RTX) == []


@pytest.mark.parametrize("file", OBJECTS)
def test_every_object_of_tensorrt_is_known(file):
    """A variable that holds what TensorRT returned, and whose members are used, is in the table."""
    tree, objects = ast.parse((ROOT / file).read_text()), OBJECTS[file]
    returned = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        for target in node.targets
        if isinstance(target, ast.Name) and isinstance(node.value.func, ast.Attribute)
        if is_module(node.value.func.value) or last(node.value.func.value) in objects
    }
    bases = {last(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert returned & bases - objects.keys() == set()
    assert objects.keys() - bases == set()


def test_a_new_name_is_noticed():
    code = "context.set_input_shape(trt.Dims.MAX, trt.volume(trt.Runtime(log).invent()))"
    found = set(used_in(ast.parse(code), {"context": "IExecutionContext"}))
    assert found >= {("IExecutionContext", "set_input_shape"), ("Dims", "MAX"), ("volume", "")}
    assert missing({"Dims": []}, {"Dims": {"MAX"}, "volume": set()}) == ["Dims.MAX", "volume"]


def test_the_stand_in_offers_only_what_is_listed():
    tree = ast.parse((ROOT / "tests/runtime/fake_tensorrt.py").read_text())
    listed = json.loads(LISTED.read_text())
    known = {name: set(members) for name, members in listed[RTX].items()}
    values = {"ErrorCodeTRT", "DataType", "TensorIOMode", "ExecutionContextAllocationStrategy"}
    values |= {"CudaGraphStrategy"}  # enums, whose values come to the code by name
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            assert node.name in known or node.name in values, node.name
        if isinstance(node, ast.ClassDef) and node.name in known and node.name not in values:
            methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
            assert {each for each in methods if each[0] != "_"} <= known[node.name], node.name


def write(reference: Path) -> None:
    """Write ``tensorrt_names.json`` from a file of all names."""
    all_names = json.loads(reference.read_text())["versions"]
    importlib.import_module("tensorrt_rtx_libs")
    rtx = importlib.import_module("tensorrt_rtx_bindings")
    if f"tensorrt-rtx {rtx.__version__}" != RTX:
        sys.exit(f"the names are of {RTX}, here is {rtx.__version__}")
    all_names[RTX] = {name: dir(getattr(rtx, name)) for name in dir(rtx)}
    listed = {
        version: {
            name: sorted(members & set(names[name]))
            for name, members in sorted(used().items())
            if name in names
        }
        for version, names in all_names.items()
    }
    LISTED.write_text(json.dumps(listed, indent=1) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
