"""How near a harmonized picture is to the real one, as the papers compute it.

Every paper has its own protocol: the size, the region that counts, and the peak of the PSNR. They
are not comparable with each other, so a figure without its protocol says nothing. All work on
0..255, measure each picture on its own, and average over pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Literal

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from vivant.roles import Image, Matte

_TINY = 1e-6  # so that the same picture twice has a PSNR


@dataclass(frozen=True)
class Figures:
    """Mean squared error, the same over the foreground, and peak signal-to-noise ratio in dB."""

    mse: float
    fmse: float
    psnr: float


@dataclass(frozen=True)
class Protocol:
    """How a paper measures.

    Attributes:
        paper: which one.
        side: what pictures are resized to, whatever their shape; ``None`` leaves them.
        library: what resizes them, as it decides about pixels.
        region: what the MSE counts. "picture": every pixel. "mask": every pixel by its mask, so
            that a background is taken for perfect. "core": the same where the mask is above
            100, elsewhere the real picture is pasted in before anything is measured.
        peak: of the PSNR. "target": the real picture's largest value. "white": 255. "result":
            the result's largest less its smallest.
        published: the untouched composites' own figures over all 7404 pictures, where they are.
    """

    paper: str
    side: int | None
    library: Literal["opencv", "pillow"]
    region: Literal["picture", "mask", "core"]
    peak: Literal["target", "white", "result"]
    published: Figures


_AT_256 = Figures(mse=172.47, fmse=1387.0, psnr=31.63)
_AT_FULL_SIZE = Figures(mse=177.99, fmse=1462.0, psnr=31.39)

PROTOCOLS = {
    "idih": Protocol(
        "K. Sofiiuk et al., WACV 2021 (SamsungLabs/image_harmonization); CDTNet",
        *(256, "opencv", "picture", "target", _AT_256),
    ),
    "dovenet": Protocol(
        "W. Cong et al., CVPR 2020 (bcmi/Image-Harmonization-Dataset-iHarmony4); Harmonizer",
        *(256, "pillow", "picture", "result", _AT_256),
    ),
    "pct-net": Protocol(
        "J. Guerreiro et al., CVPR 2023 (rakutentech/PCT-Net-Image-Harmonization)",
        *(None, "opencv", "mask", "white", _AT_FULL_SIZE),
    ),
    "inr": Protocol(
        "J. Chen et al., TCSVT 2023 (WindVChen/INR-Harmonization)",
        *(None, "opencv", "core", "target", _AT_FULL_SIZE),
    ),
}


def measure(result: Image, target: Image, mask: Matte, protocol: Protocol) -> Figures:
    """Return how near ``result`` is to ``target``.

    Args:
        result: uint8 [H,W,3] RGB.
        target: uint8 [H,W,3] RGB, the real picture.
        mask: uint8 [H,W], the foreground.
        protocol: of which the region and the peak count here; see ``fitted`` for the size.
    """
    error = (result.astype(np.float64) - target) ** 2
    share = mask[..., np.newaxis] / np.float64(255)
    foreground = share * (mask > 100)[..., np.newaxis] if protocol.region == "core" else share
    masked = foreground * error
    mse = float(np.mean(error if protocol.region == "picture" else masked))
    fmse = float(masked.sum() / (3 * share.sum() + _TINY))
    return Figures(mse, fmse, 10 * math.log10(_peak(result, target, protocol) ** 2 / (mse + _TINY)))


def _peak(result: Image, target: Image, protocol: Protocol) -> float:
    if protocol.peak == "white":
        return 255.0
    if protocol.peak == "target":
        return float(target.max())
    return float(result.max()) - float(result.min())


def mean(figures: Sequence[Figures]) -> Figures:
    """Return the mean over pictures of each figure."""
    return Figures(*np.mean([astuple(each) for each in figures], axis=0).tolist())


def fitted(image: Image, protocol: Protocol) -> Image:
    """Return a picture, uint8 [H,W,3], at the protocol's size."""
    if protocol.side is None:
        return image
    size = (protocol.side, protocol.side)
    if protocol.library == "pillow":
        return np.array(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.BILINEAR))
    return np.asarray(cv2.resize(image, size), np.uint8)


def fitted_mask(mask: Matte, protocol: Protocol) -> Matte:
    """Return a mask, uint8 [H,W], at the protocol's size; black and white alone in Pillow's."""
    if protocol.side is None:
        return mask
    size = (protocol.side, protocol.side)
    if protocol.library == "pillow":
        two_valued = PIL.Image.fromarray(mask).convert("1")
        nearest = two_valued.resize(size, PIL.Image.Resampling.NEAREST)
        return np.array(nearest.convert("L"))
    return np.asarray(cv2.resize(mask, size), np.uint8)


def deviation(figures: Figures, published: Figures) -> NDArray[np.float64]:
    """Return the relative deviation of each figure from the published one."""
    ours, theirs = np.array(astuple(figures)), np.array(astuple(published))
    return np.asarray(np.abs(ours / theirs - 1))
