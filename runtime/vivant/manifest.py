"""What an engine is: the ``manifest.json`` beside its graphs, read strictly.

A manifest is written once, at export, and read on every machine that the folder is copied to.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vivant.errors import EngineError

SCHEMA = 1
WEIGHT_KINDS = ("official", "custom", "untrained")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Tensor:
    """An input or output: its name, NumPy dtype, shape (a word for a free size) and meaning."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    meaning: str


@dataclass(frozen=True)
class Graph:
    """One graph file of an engine; ``opset`` is that of its ONNX operators."""

    file: str
    sha256: str
    opset: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Weights:
    """Where the numbers come from: their kind, source, licence and the SHA-256 of each file.

    ``seed`` is that of untrained weights.
    """

    kind: str
    source: str
    licence: str
    sha256: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None


@dataclass(frozen=True)
class Manifest:
    """An engine in words.

    ``graphs`` is keyed by the name the runtime asks for ("model" where there is but one).
    ``parity`` holds what the export measured against the original computation, by quantity.
    """

    model: str
    variant: str
    role: str
    precision: str
    graphs: Mapping[str, Graph]
    weights: Weights
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, float] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_json(self) -> str:
        """Return the text of ``manifest.json``."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @staticmethod
    def load(path: Path) -> Manifest:
        """Read a manifest.

        Raises ``EngineError``, naming the file and the key, for anything that is not exactly a
        manifest of this schema.
        """
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise EngineError(f"{path}: {error.strerror or error}; export the engine") from error
        except ValueError as error:
            raise EngineError(
                f"{path}: not valid JSON ({error}); export the engine again"
            ) from error
        try:
            return _manifest(data)
        except (KeyError, TypeError, ValueError) as error:
            what = f"no key {error}" if isinstance(error, KeyError) else str(error)
            raise EngineError(f"{path}: {what}; export the engine again") from error


def _manifest(data: Any) -> Manifest:
    data = _mapping(data, "the manifest")
    if data["schema"] != SCHEMA:
        raise ValueError(f"schema {data['schema']!r}, this version of Vivant reads {SCHEMA}")
    weights = _mapping(data["weights"], "weights")
    if weights["kind"] not in WEIGHT_KINDS:
        raise ValueError(f"weights.kind is {weights['kind']!r}, not one of {WEIGHT_KINDS}")
    return Manifest(
        model=_text(data["model"], "model"),
        variant=_text(data["variant"], "variant"),
        role=_text(data["role"], "role"),
        precision=_text(data["precision"], "precision"),
        graphs={
            name: _graph(graph, f"graphs.{name}")
            for name, graph in _mapping(data["graphs"], "graphs").items()
        },
        weights=Weights(
            kind=weights["kind"],
            source=_text(weights["source"], "weights.source"),
            licence=_text(weights["licence"], "weights.licence"),
            sha256=_mapping(weights["sha256"], "weights.sha256"),
            seed=None if weights["seed"] is None else _number(weights["seed"], "weights.seed"),
        ),
        preprocessing=_mapping(data["preprocessing"], "preprocessing"),
        parity=_mapping(data["parity"], "parity"),
        tools=_mapping(data["tools"], "tools"),
    )


def _graph(data: Any, key: str) -> Graph:
    data = _mapping(data, key)
    file = _text(data["file"], f"{key}.file")
    # The file stays inside its folder: a manifest that came with a copied engine names no other.
    if not _PLAIN_NAME.fullmatch(file):
        raise ValueError(f"{key}.file {file!r} is not a plain file name")
    return Graph(
        file=file,
        sha256=_text(data["sha256"], f"{key}.sha256"),
        opset=_number(data["opset"], f"{key}.opset"),
        inputs=tuple(_tensor(item, f"{key}.inputs") for item in data["inputs"]),
        outputs=tuple(_tensor(item, f"{key}.outputs") for item in data["outputs"]),
    )


def _tensor(data: Any, key: str) -> Tensor:
    data = _mapping(data, key)
    return Tensor(
        name=_text(data["name"], f"{key}.name"),
        dtype=_text(data["dtype"], f"{key}.dtype"),
        shape=tuple(data["shape"]),
        meaning=_text(data["meaning"], f"{key}.meaning"),
    )


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{key} is {type(value).__name__}, not an object")
    return value


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{key} is {value!r}, not a text")
    return value


def _number(value: Any, key: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{key} is {value!r}, not a whole number")
    return value
