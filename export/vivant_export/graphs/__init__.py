"""What a network becomes: graphs whose inputs and outputs the runtime uses as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from numpy.typing import NDArray

from vivant.manifest import Tensor
from vivant.roles import Image

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class GraphSpec:
    """One graph of an engine: a torch module to export, and to hold the file against.

    Attributes:
        name: its key in the manifest's ``graphs``; "model" where there is but one.
        module: in eval mode; takes the inputs and returns the outputs by position, with the
            dtypes and shapes of the manifest.
        inputs: by position; a word in a shape is a free size.
        outputs: by position.
        samples: what the parity gate feeds, by input name: seeded noise, and photos.
        opset: of the ONNX file.
        from_photo: makes the inputs of one run from uint8 [H,W,3] RGB, as the runtime does; what
            INT8 is calibrated and judged with. None where photos are not what the graph takes.
        keep_fp32: submodules, by path, whose arithmetic stays FP32 in an FP16 engine.
    """

    name: str
    module: torch.nn.Module
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    samples: Callable[[], Iterable[Arrays]]
    opset: int
    from_photo: Callable[[Image], Arrays] | None = None
    keep_fp32: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineSpec:
    """All graphs of an engine.

    Attributes:
        role: what it does: faces, matte, harmonizer or scorer.
        graphs: in the order in which they run.
        preprocessing: what the runtime does before and after, for the manifest.
        end_to_end: measures the whole engine, from the bytes of its graphs by name, against the
            published procedure; quantities by name, to be held against the catalogue's.
    """

    role: str
    graphs: tuple[GraphSpec, ...]
    preprocessing: Mapping[str, Any]
    end_to_end: Callable[[Mapping[str, bytes]], Mapping[str, float]] | None = None
