"""Reinhard's colour transfer from the nearby background: the harmonizer without weights.

The foreground's mean and spread in CIE Lab are moved towards those of a ring of background
around it: E. Reinhard, M. Ashikhmin, B. Gooch, P. Shirley, "Color Transfer between Images",
IEEE CG&A 21(5), 2001. CIE Lab stands in for the paper's l-alpha-beta. Only what surrounds
the figure lights it, hence the ring. It is one affine map for the whole figure, so it knows
neither the light's direction nor what is skin: a stand-in for a trained network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from vivant.colour import LabStatistics, region_statistics, to_lab
from vivant.roles import Image, Matte

DEFAULT_STRENGTH = 0.5
"""Half the way: the full transfer flattens skin and cloth, half of it gains the most."""

SPREAD_RATIO = (0.6, 1.3)
"""The least and most the spread may be scaled by. A smooth wall would flatten a face, a
busy one would posterise it."""

MOST_LIFT = 20.0
"""The most lightness that is added. Dark cloth is not a lack of light: lifted, it turns to fog."""

MOST_CAST = 16.0
"""The furthest that colours are shifted in the plane of a and b. An orange suit on a lawn is not
orange light: without a limit its wearer's face turns green. On benchmark pairs the limit costs
nothing, for real light rarely differs by more."""

_Floats: TypeAlias = NDArray[np.float32]


class ReinhardHarmonizer:
    """Moves the figure's colours towards the mean and spread of the background near it."""

    def harmonize(
        self, composite: Image, mask: Matte, strengths: Sequence[float]
    ) -> tuple[Image, ...]:
        """Return one picture per strength, 0 (untouched) .. 1 (the full transfer).

        The transfer is interpolated in Lab and blended by the mask, at the composite's own
        size. Pixels where ``mask`` is 0 come back unchanged.

        Raises:
            ImageError: The mask is not of the composite's size, marks no foreground, or
                leaves no background.
        """
        scale, offset = _transfer(*region_statistics(composite, mask))
        x, y, width, height = cv2.boundingRect(mask)
        region = np.s_[y : y + height, x : x + width]
        foreground, weight = composite[region], mask[region][..., np.newaxis] / np.float32(255)
        lab = to_lab(foreground)

        def at(strength: float) -> Image:
            mixed = np.diag(1 + strength * (scale - 1))
            affine = np.column_stack([mixed, strength * offset])
            rgb = cv2.cvtColor(cv2.transform(lab, affine), cv2.COLOR_Lab2RGB) * 255
            blended = foreground + weight * (rgb - foreground)
            harmonized: Image = composite.copy()
            harmonized[region] = np.clip(np.rint(blended), 0, 255)
            return harmonized

        return tuple(at(strength) if strength else composite.copy() for strength in strengths)


def _transfer(source: LabStatistics, target: LabStatistics) -> tuple[_Floats, _Floats]:
    """Return scale and offset, float32 [3] each, of the map from ``source`` towards ``target``."""
    ratio = target.spread / np.maximum(source.spread, 1e-3)
    scale = np.clip(ratio, *SPREAD_RATIO).astype(np.float32)
    shift = target.mean - source.mean
    shift[0] = min(shift[0], MOST_LIFT)
    shift[1:] *= min(1.0, MOST_CAST / max(float(np.linalg.norm(shift[1:])), 1e-3))
    return scale, source.mean + shift - scale * source.mean
