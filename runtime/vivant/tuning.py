"""Which engine and which inference library a machine uses for each model: ``tuning.json``.

The file lies in the engine store. ``vivant tune`` writes it from measurements; a person may, too.
What it names is used or refused, never replaced by something else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vivant.errors import EngineError
from vivant.files import write_atomic

FILE = "tuning.json"
SCHEMA = 1


@dataclass(frozen=True)
class Choice:
    """An engine's variant, such as "int8", and the backend that runs it, such as "openvino"."""

    variant: str
    backend: str


@dataclass(frozen=True)
class Tuning:
    """The choices of a store by ``key``, and the processor that they were measured on."""

    choices: Mapping[str, Choice] = field(default_factory=dict)
    processor: str = ""


def key(model: str, size: int | None = None) -> str:
    """Return what a model's choice is called: its name, and the size where it is not its own."""
    return f"{model}-{size}" if size else model


def read_tuning(root: Path) -> Tuning:
    """Return how the store at ``root`` was tuned; without choices where it was not.

    Raises:
        EngineError: the file cannot be read or is not such a file.
    """
    path = root / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Tuning()
    except (OSError, ValueError) as error:
        raise _unusable(path, str(error)) from error
    try:
        if data["schema"] != SCHEMA:
            raise _unusable(path, f"schema {data['schema']!r}, this version reads {SCHEMA}")
        choices = {
            name: Choice(str(entry["variant"]), str(entry["backend"]))
            for name, entry in data["choices"].items()
        }
        return Tuning(choices, str(data.get("measured", {}).get("processor", "")))
    except (KeyError, TypeError, AttributeError) as error:
        raise _unusable(path, f"{type(error).__name__} {error}") from error


def write_tuning(root: Path, choices: Mapping[str, Choice], measured: Mapping[str, Any]) -> Path:
    """Write the choices of the store at ``root``, and how they were measured; return the file.

    ``measured`` is anything that JSON can hold; its "processor" is read back.

    Raises:
        OutputError: the store cannot be written to.
    """
    path = root / FILE
    entries = {name: asdict(choice) for name, choice in sorted(choices.items())}
    data = {"schema": SCHEMA, "choices": entries, "measured": measured}
    write_atomic(path, (json.dumps(data, indent=2) + "\n").encode())
    return path


def _unusable(path: Path, reason: str) -> EngineError:
    return EngineError(f"{path}: {reason}; run 'vivant tune' again, or remove the file")
