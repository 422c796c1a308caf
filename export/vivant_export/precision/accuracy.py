"""How far a matte moves when its network is computed in another precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vivant.backends.onnxruntime import OnnxRuntimeEngine
from vivant.errors import EngineError, ModelError

THRESHOLD = 0.5
"""The alpha from which a pixel counts as foreground."""


def compare_mattes(
    reference: bytes, candidate: bytes, batches: Iterable[Mapping[str, NDArray[Any]]]
) -> dict[str, float]:
    """Run two graphs, each with one alpha as its output, in ONNX Runtime on the same pictures.

    Args:
        reference: the FP32 file.
        candidate: the file to judge.
        batches: inputs of a run each, by name; pictures that calibrated neither.

    Returns:
        Over all pixels of all pictures: "alpha.mean_abs", the mean deviation of the alpha, 0..1,
        and "alpha.iou_loss", 1 - intersection over union of the two foregrounds.

    Raises:
        EngineError: a file cannot be opened, the two outputs differ in shape, or the candidate's
            has values that are no numbers.
        ModelError: there are no pictures.
    """
    deviation = pixels = both = either = 0.0
    with (
        OnnxRuntimeEngine(reference, "the FP32 graph") as full,
        OnnxRuntimeEngine(candidate, "the converted graph") as converted,
    ):
        for batch in batches:
            (expected,) = full.run(batch).values()
            (got,) = converted.run(batch).values()
            if got.shape != expected.shape or not np.isfinite(got).all():
                raise EngineError(
                    f"the converted graph: its alpha is no alpha ({got.dtype} {list(got.shape)}, "
                    f"{np.isfinite(got).mean():.0%} of it numbers); choose another precision"
                )
            deviation += float(np.abs(got - expected, dtype=np.float64).sum())
            pixels += expected.size
            a, b = expected >= THRESHOLD, got >= THRESHOLD
            both += float((a & b).sum())
            either += float((a | b).sum())
    if not pixels:
        raise ModelError("no pictures to judge by; name a folder of photos")
    return {
        "alpha.mean_abs": deviation / pixels,
        "alpha.iou_loss": 1 - both / either if either else 0.0,
    }
