"""TensorRT plans: what was built for this machine, and the record that vouches for it.

A plan is machine code in all but name. It is handed to TensorRT only if the record beside it says
that it was built from the engine's own graph, by this version of the library, for this kind of
GPU, and only if its bytes are those that were built. A plan lies in the engine's folder:
``<store>/<model>/<variant>/<library>/<graph>.plan``, its record beside it as ``<graph>.json``. The
record is written last; where there is one, the plan was finished.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from vivant.errors import EngineError, OutputError
from vivant.files import write_atomic
from vivant.store import EngineFolder

SCHEMA = 1
LIBRARIES = ("tensorrt", "tensorrt-rtx")
PORTABLE = "portable"
"""The compute capability of a plan of TensorRT-RTX that was built for all that it is portable to:
8.0 and later, see "CPU-Only AOT and TensorRT-RTX Engines" in NVIDIA's documentation."""
_PORTABLE_FROM = (8, 0)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

Profile: TypeAlias = Mapping[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
"""By input, the smallest, the usual and the largest shape that a plan takes."""


@dataclass(frozen=True)
class PlanRecord:
    """What a plan is.

    Attributes:
        library: "tensorrt" or "tensorrt-rtx".
        version: of the library, in full: plans of another one do not load.
        compute_capability: of the GPU that it was built for, such as "8.9", or ``PORTABLE``.
        plan: the name of its file.
        plan_sha256: of that file.
        onnx_sha256: of the graph that it was built from.
        settings: what the builder was told, for people.
        profiles: the shapes that it takes; empty where all are fixed.
    """

    library: str
    version: str
    compute_capability: str
    plan: str
    plan_sha256: str
    onnx_sha256: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    profiles: tuple[Profile, ...] = ()
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Return the text of the record's file."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @staticmethod
    def load(path: Path) -> PlanRecord:
        """Read a record.

        Raises ``EngineError``, naming the file and the key, for anything that is not exactly a
        record of this schema.
        """
        try:
            return _record(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise EngineError(f"{path}: {error.strerror or error}") from error
        except KeyError as error:
            raise EngineError(f"{path}: no key {error}") from error
        except (TypeError, ValueError) as error:
            raise EngineError(f"{path}: not a plan's record ({error})") from error


def plan_folder(folder: EngineFolder, library: str) -> Path:
    """Return where the plans of an engine lie that were built by ``library``."""
    if library not in LIBRARIES:
        raise ValueError(f"{library!r} is not one of {LIBRARIES}")
    return folder.path / library


def write_plan(folder: EngineFolder, graph: str, record: PlanRecord, plan: bytes) -> Path:
    """Put a plan of ``graph`` into the engine's folder, its record last; return its file.

    Raises:
        EngineError: ``graph`` is not one of the engine's.
        OutputError: the store cannot be written to.
    """
    path = _path(folder, graph, record.library)
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path.parent}: {error.strerror or error}; name a folder you can write to with --store"
        ) from error
    write_atomic(path, plan)
    write_atomic(path.with_suffix(".json"), record.to_json().encode())
    return path


def read_plan(
    folder: EngineFolder, graph: str, library: str, version: str, capability: tuple[int, int]
) -> bytes:
    """Return the bytes of the plan of ``graph``, if its record vouches for them.

    Args:
        folder: the engine.
        graph: its name in the manifest.
        library: "tensorrt" or "tensorrt-rtx".
        version: of the library that is to load it.
        capability: compute capability of the GPU that is to run it.

    Raises:
        EngineError: there is none, or it is for something else; the message says what.
    """
    found = _inspect(folder, graph, library, version, capability)
    if isinstance(found, str):
        path = _path(folder, graph, library)
        made = f"{folder.manifest.model} --variant {folder.manifest.variant}"
        raise EngineError(f"{path}: {found}; run 'vivant build {made}'")
    return found


def obstacle(
    folder: EngineFolder, graph: str, library: str, version: str, capability: tuple[int, int]
) -> str | None:
    """Return why ``read_plan`` would refuse the plan of ``graph``, or None where it would not."""
    found = _inspect(folder, graph, library, version, capability)
    return found if isinstance(found, str) else None


def _inspect(
    folder: EngineFolder, graph: str, library: str, version: str, capability: tuple[int, int]
) -> bytes | str:
    """Return the plan, or the reason against it."""
    path = _path(folder, graph, library)
    if not path.with_suffix(".json").exists():
        return "no record vouches for it" if path.exists() else "there is no such plan"
    try:
        record = PlanRecord.load(path.with_suffix(".json"))
        plan = path.read_bytes()
    except EngineError as error:
        return f"its record cannot be used ({error})"
    except OSError as error:
        return str(error.strerror or error)
    onnx_sha256 = folder.manifest.graphs[graph].sha256
    capable, needed = _capable(record, library, capability)
    here = ".".join(map(str, capability))
    checks = (
        (record.plan == path.name, f"its record is that of {record.plan}"),
        (record.library == library, f"built by {record.library}, not by {library}"),
        (record.version == version, f"built by {library} {record.version}, here is {version}"),
        (record.onnx_sha256 == onnx_sha256, "built from another ONNX file than the engine's"),
        (capable, f"built for compute capability {needed}, this device has {here}"),
        (
            hashlib.sha256(plan).hexdigest() == record.plan_sha256,
            "its SHA-256 is not the record's, the file was altered or cut off",
        ),
    )
    return next((reason for holds, reason in checks if not holds), plan)


def _capable(record: PlanRecord, library: str, capability: tuple[int, int]) -> tuple[bool, str]:
    """Return whether a plan was built for a GPU of ``capability``, and for which it was."""
    if record.compute_capability == PORTABLE and library == "tensorrt-rtx":
        return capability >= _PORTABLE_FROM, "8.0 and later"
    return record.compute_capability == ".".join(map(str, capability)), record.compute_capability


def _path(folder: EngineFolder, graph: str, library: str) -> Path:
    if graph not in folder.manifest.graphs:
        known = ", ".join(folder.manifest.graphs)
        raise EngineError(f"{folder.path}: no graph '{graph}' in the manifest (it has {known})")
    # The file stays inside its folder, whatever a manifest that came with a copied engine says.
    if not _PLAIN_NAME.fullmatch(graph):
        raise EngineError(f"{folder.path}: graph {graph!r} is not a plain name; export it again")
    return plan_folder(folder, library) / f"{graph}.plan"


def _record(data: Any) -> PlanRecord:
    if not isinstance(data, dict):
        raise TypeError(f"{type(data).__name__}, not an object")
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema {data['schema']!r}, this version of Vivant reads {SCHEMA}")
    texts = ("library", "version", "compute_capability", "plan", "plan_sha256", "onnx_sha256")
    for key in texts:
        if not isinstance(data[key], str) or not data[key]:
            raise TypeError(f"{key} is {data[key]!r}, not a text")
    if not isinstance(data["settings"], dict):
        raise TypeError("settings is not an object")
    return PlanRecord(
        **{key: data[key] for key in texts},
        settings=data["settings"],
        profiles=tuple(_profile(profile) for profile in data["profiles"]),
    )


def _profile(data: Any) -> Profile:
    if not isinstance(data, dict):
        raise TypeError("profiles: one is not an object")
    shapes = {}
    for name, triple in data.items():
        least, usual, most = (tuple(int(side) for side in shape) for shape in triple)
        shapes[name] = (least, usual, most)
    return shapes
