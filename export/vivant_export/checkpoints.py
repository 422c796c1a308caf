"""Reading checkpoints without running anything in them, and loading them without exception.

A ``.pth`` file is a pickle, which can carry code: PyTorch's restricted unpickler reads tensors and
plain containers from it and refuses the rest. safetensors files hold tensors alone. torch is
imported when a file is read, so that arrays can be checked without it.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivant.errors import ModelError
from vivant.files import one_line
from vivant_export.catalogue import MODELS, Architecture

if TYPE_CHECKING:
    from torch import Tensor, nn

SHOWN = 3  # keys of a kind that a message names

# Buffers that no weight is in: the counter only serves training, the index is built by the network
# from its window's size. Checkpoints of some PyTorch versions lack them, or have them and we not.
_DERIVED = ("num_batches_tracked", "relative_position_index")

# What wrapping a network for training puts before every key.
_WRAPPERS = ("module.", "_orig_mod.")

# A key that only checkpoints of an architecture have, and its shape.
_SIGNATURES: Mapping[Architecture, tuple[str, tuple[int, ...]]] = {
    "mtcnn": ("pnet.conv1.weight", (10, 3, 3, 3)),
    "isnet": ("stage1.rebnconvin.conv_s1.weight", (64, 64, 3, 3)),
    "birefnet-swin-l": ("bb.patch_embed.proj.weight", (192, 3, 4, 4)),
    "birefnet-swin-t": ("bb.patch_embed.proj.weight", (96, 3, 4, 4)),
    "hinet": ("backbone.backbone.hrnet.conv1.weight", (64, 3, 3, 3)),
    "bargainnet": ("conv1f.weight", (64, 3, 3, 3)),
}


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a checkpoint by key, mapped from the file and not yet read.

    A training checkpoint's weights are its entry "model" or "state_dict"; what it also holds
    (optimizer, scheduler) is left alone. Prefixes that wrappers put before every key are taken
    off. Types are the file's, such as float16.

    Raises ``ModelError``, naming the file, where it cannot be read, is cut off, is no checkpoint,
    or contains anything but tensors and plain containers.
    """
    try:
        from torch import Tensor
    except ImportError as error:
        raise ModelError(
            f"{path}: reading it needs '{error.name}'; run pip install 'vivant[export]'"
        ) from error
    try:
        with path.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise ModelError(f"{path}: {error.strerror or error}; name a checkpoint") from error
    content = _read_safetensors(path) if start[8:] == b"{" else _read_torch(path)
    for entry in ("model", "state_dict"):
        if isinstance(content.get(entry), Mapping):
            content = content[entry]
    state = {str(key): value for key, value in content.items()}
    strange = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if strange or not state:
        what = f"{_some(strange)} are not tensors" if strange else "it is empty"
        raise ModelError(f"{path}: no checkpoint of a network, {what}; name another file")
    return _unwrapped(state)


def load_strictly(network: nn.Module, state: Mapping[str, Any], *, source: str) -> None:
    """Copy ``state``, tensors or arrays, into ``network``; float16 becomes its float32.

    Raises ``ModelError`` as ``check_state`` does; ``network`` is then as it was.
    """
    import torch

    own = network.state_dict()
    check_state({key: tuple(value.shape) for key, value in own.items()}, state, source=source)
    given = {key: torch.as_tensor(value) for key, value in state.items() if key in own}
    network.load_state_dict(given, strict=False)


def check_state(
    shapes: Mapping[str, tuple[int, ...]], state: Mapping[str, Any], *, source: str
) -> None:
    """Hold ``state``, tensors or arrays by key, against the shapes that a network wants.

    Raises ``ModelError`` where keys are missing, unexpected, of another shape or not numbers with
    a point; it names ``source``, the keys, and the models that the state would fit.
    """
    missing = [key for key in shapes if key not in state and not key.endswith(_DERIVED)]
    unexpected = [key for key in state if key not in shapes and not key.endswith(_DERIVED)]
    misshapen = [
        f"{key} is {form}, not {list(shapes[key])}"
        for key in shapes
        if key in state and (form := _form(key, state[key])) != str(list(shapes[key]))
    ]
    faults = [
        f"{len(keys)} {what} ({_some(keys)})"
        for what, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("misshapen", misshapen),
        )
        if keys
    ]
    if faults:
        raise ModelError(
            f"{source}: these weights do not fit; keys {', '.join(faults)}; {_hint(state)}"
        )


def _read_safetensors(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: not a whole safetensors file ({one_line(str(error))}); fetch it again"
        ) from error


def _read_torch(path: Path) -> Mapping[Any, Any]:
    import torch

    try:
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    # A damaged archive or pickle fails in as many ways as there are places to damage it. PyTorch's
    # own words are not passed on: they advise to switch the protection off.
    except Exception as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and code:
            raise ModelError(
                f"{path}: asks for {code[1]}, which is no tensor, and is not run; take the "
                "publisher's file, or a safetensors file"
            ) from error
        raise ModelError(
            f"{path}: neither a whole PyTorch checkpoint nor a safetensors file; fetch it again"
        ) from error
    if not isinstance(content, Mapping):
        raise ModelError(
            f"{path}: holds a {type(content).__name__}, not weights by key; name another file"
        )
    return content


def _unwrapped(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _WRAPPERS * 2:  # one may be inside the other, either way round
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _form(key: str, value: Any) -> str:
    kind = str(value.dtype).removeprefix("torch.")
    return f"{'' if 'float' in kind or key.endswith(_DERIVED) else kind}{list(value.shape)}"


def _hint(state: Mapping[str, Any]) -> str:
    for architecture, (key, shape) in _SIGNATURES.items():
        if key in state and tuple(state[key].shape) == shape:
            fitting = [m.name for m in MODELS.values() if m.architecture == architecture]
            return f"they look like those of {' or '.join(fitting)}"
    return "they look like those of no model in 'vivant models'"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(one_line, names[:SHOWN])) + more
