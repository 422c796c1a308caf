"""The engine store: folders ``<model>/<variant>/`` of graphs, each vouched for by a manifest.

Nothing is handed to an inference library that its manifest does not vouch for: a graph's bytes
are read once, hashed, compared, and those same bytes are returned.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import platformdirs

from vivant.errors import EngineError, OutputError
from vivant.manifest import Manifest
from vivant.tuning import Choice, key, read_tuning

DEFAULT_BACKEND = "onnxruntime"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class EngineFolder:
    """One engine of the store: its folder, its manifest, and the backend chosen for it."""

    path: Path
    manifest: Manifest
    choice: Choice

    def read(self, graph: str) -> bytes:
        """Return the bytes of the graph called ``graph``, checked against the manifest.

        Raises ``EngineError`` when the manifest knows no such graph, or when the file is
        missing, cannot be read, or is not the one that the manifest describes.
        """
        entry = self.manifest.graphs.get(graph)
        if entry is None:
            known = ", ".join(self.manifest.graphs)
            raise EngineError(f"{self.path}: no graph '{graph}' in the manifest (it has {known})")
        file = self.path / entry.file
        try:
            data = file.read_bytes()
        except OSError as error:
            raise EngineError(
                f"{file}: {error.strerror or error}; {self._export_again()}"
            ) from error
        if hashlib.sha256(data).hexdigest() != entry.sha256:
            raise EngineError(
                f"{file}: its SHA-256 is not the manifest's, the file was altered or cut off; "
                f"{self._export_again()}"
            )
        return data

    def _export_again(self) -> str:
        return f"run 'vivant export {self.manifest.model}' again"


@dataclass(frozen=True)
class EngineStore:
    """A folder of engines.

    Attributes:
        root: the folder.
        allow_untrained: engines with untrained weights exist for tests and benchmarks; they are
            refused without it.
        choices: which variant of a model this machine uses, and in which backend; see ``tuning``.
    """

    root: Path
    allow_untrained: bool = False
    choices: Mapping[str, Choice] = field(default_factory=dict)

    def engine(
        self, model: str, variant: str | None = None, *, size: int | None = None
    ) -> EngineFolder:
        """Return an engine of ``model``.

        Args:
            model: its name.
            variant: which one; without it, the one that this machine was tuned to use, else
                INT8 if it was held against FP32 on pictures, else FP32, else any other.
            size: side of the input in pixels, where it is not the model's own.

        Raises:
            EngineError: there is none, its manifest cannot be used, or its weights are untrained
                and that was not allowed.
        """
        chosen = self.choices.get(key(model, size)) if variant is None else None
        if variant is None:
            variant = chosen.variant if chosen else self._default(model, size)
        folder = self._open(model, variant)
        return replace(folder, choice=chosen) if chosen else folder

    def _default(self, model: str, size: int | None) -> str:
        suffix = f"-{size}" if size else ""
        variants = self.variants(model)
        for precision in ("int8", "fp32"):
            name = f"{precision}{suffix}"
            if name in variants and (precision == "fp32" or self._was_judged(model, name)):
                return name
        if size or not variants:
            option = f" --size {size}" if size else ""
            raise EngineError(
                f"{self.root}: no engine '{model}'{f' of {size} pixels' if size else ''}; "
                f"run 'vivant export {model}{option}'"
            )
        return variants[0]

    def _was_judged(self, model: str, variant: str) -> bool:
        """Return whether the export judged an INT8 engine: untrained weights give no matte."""
        return self._manifest(model, variant).weights.kind != "untrained"

    def _open(self, model: str, variant: str) -> EngineFolder:
        variants = self.variants(model)
        if variant not in variants:
            raise EngineError(
                f"{self.root}: no variant '{variant}' of '{model}' (there is "
                f"{', '.join(variants) or 'none'}); export it, or run 'vivant tune' again"
            )
        path, manifest = self.root / model / variant, self._manifest(model, variant)
        if manifest.weights.kind == "untrained" and not self.allow_untrained:
            raise EngineError(
                f"{path}: its weights are untrained, for tests and benchmarks only; export the "
                "official ones, or allow it with --allow-untrained"
            )
        return EngineFolder(path, manifest, Choice(variant, DEFAULT_BACKEND))

    def _manifest(self, model: str, variant: str) -> Manifest:
        path = self.root / model / variant / MANIFEST
        manifest = Manifest.load(path)
        if (manifest.model, manifest.variant) != (model, variant):
            raise EngineError(
                f"{path}: describes {manifest.model}/{manifest.variant}, not this "
                f"folder; run 'vivant export {model}' again"
            )
        return manifest

    def models(self) -> tuple[str, ...]:
        """Return the names of the models with at least one engine, sorted."""
        return tuple(sorted({path.parent.parent.name for path in self._manifests("*")}))

    def variants(self, model: str) -> tuple[str, ...]:
        """Return the variants of ``model`` in the store, sorted."""
        return tuple(sorted(path.parent.name for path in self._manifests(model)))

    def _manifests(self, model: str) -> list[Path]:
        return [
            path
            for path in self.root.glob(f"{model}/*/{MANIFEST}")
            if not path.parent.name.startswith(".")
        ]

    def write(self, manifest: Manifest, files: Mapping[str, bytes]) -> EngineFolder:
        """Put an engine into the store, whole or not at all, replacing an older one.

        Args:
            manifest: what it is; its graphs name the files and their hashes.
            files: the bytes of every file that the manifest names.

        Raises:
            OutputError: the store cannot be written to.
        """
        target = self.root / manifest.model / manifest.variant
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        except OSError as error:
            raise OutputError(
                f"{target}: {error.strerror or error}; name a folder you can write to with --store"
            ) from error
        try:
            for name, data in files.items():
                (aside / name).write_bytes(data)
            (aside / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
            aside.chmod(0o755)
            _swap(aside, target)
        except OSError as error:
            raise OutputError(f"{target}: {error.strerror or error}; free some space") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return EngineFolder(target, manifest, Choice(manifest.variant, DEFAULT_BACKEND))


def _swap(new: Path, target: Path) -> None:
    """Rename ``new`` to ``target``; an older ``target`` leaves only once it is out of the way."""
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=".old-", dir=target.parent))
        target.rename(old / "engine")
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        new.rename(target)


def default_root() -> Path:
    """Return where the engines are when nobody says; see ``engines/README.md``.

    ``$VIVANT_ENGINES``, else ``engines/`` of the checkout that this package runs from, else the
    user's data folder.
    """
    if named := os.environ.get("VIVANT_ENGINES"):
        return Path(named)
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "engines" / "README.md").is_file() and (checkout / "pyproject.toml").is_file():
        return checkout / "engines"
    return platformdirs.user_data_path("vivant") / "engines"


def open_store(
    root: str | os.PathLike[str] | None = None, *, allow_untrained: bool = False
) -> EngineStore:
    """Return the store at ``root``, or the default one (``default_root``), as it was tuned.

    Raises:
        EngineError: what it was tuned to cannot be read.
    """
    folder = Path(root) if root is not None else default_root()
    return EngineStore(folder, allow_untrained, read_tuning(folder).choices)
