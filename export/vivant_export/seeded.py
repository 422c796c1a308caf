"""Seeded weights for networks whose trained weights are not at hand: the same bits everywhere.

Untrained engines serve parity and latency, neither of which depends on training; they never
serve quality. Each array depends on the seed, its key and its shape alone. The numbers come from
PCG64 seeded with [seed, crc32(key)]; only its raw words are used, which NumPy keeps stable, and
single correctly rounded operations follow, so that no maths library can change a bit.

The scales keep untrained outputs in a useful range, neither constant nor saturated, with no
calibrating pass. They are rules about kinds of layers; the first that fits decides.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NORMAL, _UNIFORM, _FAN = "normal", "uniform", "fan"  # fan: normal * scale / sqrt(inputs)

_RULES: tuple[tuple[str, str, Any], ...] = (
    (r"running_var$", _UNIFORM, (0.5, 1.5)),
    (r"running_mean$", _NORMAL, 0.1),
    # Large enough that leaving the bias out shows.
    (r"relative_position_bias_table$", _NORMAL, 0.5),
    (r"bias$", _NORMAL, 0.1),
    # INR-Harmonization: the constant table; the hypernetworks' heads, so that the tanh of their
    # product is about 0.3; what it scales; 36 residual blocks in a row whose sum must not grow.
    (r"fourier_embed\.input$", _NORMAL, 0.4),
    (r"cont_extraction_net\.4\.weight$", _FAN, 0.5),
    (r"app_extraction_net\.4\.weight$", _FAN, 1.5),
    (r"content_mlp_blocks.*\.basic_params\.\d$", _FAN, 4.6),
    (r"appearance_mlps\.basic_params\.\d$", _FAN, 3.5),
    (r"\.hrnet\..*weight$", _FAN, 0.5),
    # IS-Net: a block's input is added to its output; its logits.
    (r"rebnconvin\.conv_s1\.weight$", _FAN, 1.0),
    (r"^side\d\.weight$", _FAN, 0.4),
    # BiRefNet: deformable offsets of about half a pixel; its logits.
    (r"(offset|modulator)_conv\.weight$", _FAN, 1.0),
    (r"conv_out1\.0\.weight$", _FAN, 0.5),
)
_BY_DIMENSIONS = {1: (_UNIFORM, (0.7, 1.3)), 2: (_FAN, 1.0)}  # norms and scales; linear layers
_CONVOLUTION = (_FAN, math.sqrt(2.0))
_DEVIATION = math.sqrt((2.0**32 - 1) / 3)  # of the sum of four independent 16-bit numbers


def seeded_state(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, NDArray[Any]]:
    """Return an array for each key: float32, or int64 zero for ``num_batches_tracked``.

    ``relative_position_index`` is an index and no weight: it is left out, the network has its own.
    """
    return {
        key: _values(key, tuple(shape), seed)
        for key, shape in shapes.items()
        if not key.endswith("relative_position_index")
    }


def _values(key: str, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    kind, scale = _rule(key, shape)
    words = np.random.PCG64([seed, zlib.crc32(key.encode())]).random_raw(math.prod(shape))
    if kind == _UNIFORM:
        low, high = scale
        unit = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
        return np.asarray((np.float32(low) + unit * np.float32(high - low)).reshape(shape))
    # Four uniform quarters of a word, summed: bell-shaped (Irwin-Hall), |z| < 3.47.
    total = sum((words >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
    size = scale / math.sqrt(_inputs(key, shape)) if kind == _FAN else scale
    values = (np.asarray(total).astype(np.float32) - np.float32(131070)) * np.float32(
        size / _DEVIATION
    )
    return np.asarray(values.reshape(shape))


def _rule(key: str, shape: tuple[int, ...]) -> tuple[str, Any]:
    for pattern, kind, scale in _RULES:
        if re.search(pattern, key) and not (len(shape) <= 1 and kind == _FAN):
            return kind, scale
    return _BY_DIMENSIONS.get(max(len(shape), 1), _CONVOLUTION)


def _inputs(key: str, shape: tuple[int, ...]) -> int:
    return shape[-2] if "basic_params" in key else math.prod(shape[1:])
