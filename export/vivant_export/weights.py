"""The published weights on this machine: fetched, verified, and used as their licence allows.

They lie in ``<root>/<model>/``, each with a receipt beside it that says where it came from, what
its hash is and who vouches for that, and when its licence was accepted.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from vivant.errors import ModelError
from vivant.files import write_atomic
from vivant_export.catalogue import MODELS, Model, Source
from vivant_export.download import DownloadError, Progress, download
from vivant_export.sources import locate

RECEIPT = "receipt.json"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Receipt:
    """What is known of the weights of a model.

    ``vouched_by`` says who knows the hash: the "catalogue", the "publisher" who was asked at the
    download, or only the "first use", from which on the file may not change. ``accepted`` is the
    time (ISO 8601, UTC) at which a non-commercial licence was accepted.
    """

    file: str
    bytes: int
    sha256: str
    source: str
    vouched_by: str
    licence: str
    accepted: str | None = None


def weights_root() -> Path:
    """Return the folder of all weights: ``$VIVANT_WEIGHTS``, else in the user's cache."""
    if named := os.environ.get("VIVANT_WEIGHTS"):
        return Path(named)
    return platformdirs.user_cache_path("vivant") / "weights"


def fetch(
    model: Model,
    *,
    accept_license: bool = False,
    offline: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Return the weights of ``model``, fetched from the first source that has them if need be.

    Args:
        model: from the catalogue.
        accept_license: the user accepts a licence that forbids commercial use; asked for once.
        offline: open no connection; ``$VIVANT_OFFLINE`` asks for the same.
        progress: is told how much has arrived.

    Returns:
        The verified file, or MTCNN's folder in its wheel.

    Raises:
        ModelError: the licence is not accepted, no source has the file, it is not the known one,
            or it is not here and this is offline.
        OutputError: it cannot be written.
    """
    if model.sources[0].kind == "wheel":
        return _wheel(model)
    receipt = read_receipt(model)
    accepted = receipt.accepted if receipt and receipt.licence == model.licence.name else None
    if not (model.licence.commercial or accepted):
        if not accept_license:
            raise ModelError(_terms(model))
        accepted = dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")
    path = find_weights(model)
    if path is None:
        if offline or os.environ.get("VIVANT_OFFLINE", "0") not in {"", "0"}:
            raise ModelError(_by_hand(model))
        return _download(model, accepted, progress)
    if receipt is None or receipt.accepted != accepted:
        _record(model, path, _source_of(model, path), sha256_of(path), accepted)
    return path


def find_weights(model: Model) -> Path | None:
    """Return the weights of ``model`` that are on this machine, verified, or None.

    A file that was put there by hand is as good as a fetched one.

    Raises ``ModelError`` for a file that is not the known one, or no longer.
    """
    path = weights_path(model)
    if path is None or model.sources[0].kind == "wheel":  # mtcnn.weights holds those to their hash
        return path
    receipt = read_receipt(model)
    known = _source_of(model, path).sha256
    if known is None and receipt and receipt.file == path.name:
        known = receipt.sha256
    if known not in {None, sha256_of(path)}:
        raise ModelError(
            f"{path}: not the known weights of '{model.name}' (SHA-256 differs): altered or cut "
            f"off; delete it and run 'vivant fetch {model.name}'"
        )
    return path


def weights_path(model: Model) -> Path | None:
    """Return where the weights of ``model`` lie, unread and unverified, or None."""
    if model.sources[0].kind == "wheel":
        return _in_wheel(model.sources[0])
    folder = weights_root() / model.name
    return next(
        (folder / source.name for source in model.sources if (folder / source.name).is_file()), None
    )


def read_receipt(model: Model) -> Receipt | None:
    """Return what is known of the weights of ``model``; None where nothing is, or legible."""
    try:
        return Receipt(**json.loads((weights_root() / model.name / RECEIPT).read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises ``ModelError`` where it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}; name a readable file") from error
    return digest.hexdigest()


def _download(model: Model, accepted: str | None, progress: Progress | None) -> Path:
    failures = []
    for source in model.sources:
        target = weights_root() / model.name / source.name
        try:
            remote = locate(source)
            digest = download(remote, target, progress)
        except DownloadError as error:
            failures.append(str(error))
            continue
        _record(model, target, source, digest, accepted, remote.sha256)
        return target
    raise ModelError(f"{model.name}: {'; '.join(failures)}")


def _record(
    model: Model,
    path: Path,
    source: Source,
    sha256: str,
    accepted: str | None,
    published: str | None = None,
) -> None:
    first = "publisher" if published else "first use"
    receipt = Receipt(
        file=path.name,
        bytes=path.stat().st_size,
        sha256=sha256,
        source=source.page,
        vouched_by="catalogue" if source.sha256 else first,
        licence=model.licence.name,
        accepted=accepted,
    )
    text = json.dumps(dataclasses.asdict(receipt), indent=2) + "\n"
    write_atomic(path.with_name(RECEIPT), text.encode())


def _source_of(model: Model, path: Path) -> Source:
    return next(source for source in model.sources if source.name == path.name)


def _wheel(model: Model) -> Path:
    path = weights_path(model)
    if path is None:
        raise ModelError(
            f"{model.name}: its weights come in the wheel {model.sources[0].location}, which is "
            f"not installed; run pip install 'vivant[{model.name}]'"
        )
    return path


def _in_wheel(source: Source) -> Path | None:
    # Found without importing it, which would want TensorFlow.
    spec = importlib.util.find_spec(source.file.split("/")[0])
    folders = spec.submodule_search_locations if spec else None
    return Path(folders[0]).parent / source.file if folders else None


def _terms(model: Model) -> str:
    free = [
        other.name
        for other in MODELS.values()
        if other.architecture == model.architecture and other.licence.commercial
    ]
    instead = f", or take {' or '.join(free)}, which may be used for anything" if free else ""
    return (
        f"{model.name}: its licence {model.licence.name} says: {model.licence.summary} "
        f"({model.licence.url}); if that fits, accept it with --accept-license{instead}"
    )


def _by_hand(model: Model) -> str:
    source = model.sources[0]
    size = f", {source.bytes} bytes" if source.bytes else ""
    known = f", SHA-256 {source.sha256}" if source.sha256 else ""
    return (
        f"{model.name}: offline, and its weights are not here; fetch {source.page} elsewhere"
        f"{size}{known}, and put it at {weights_root() / model.name / source.name}"
    )
