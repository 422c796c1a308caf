"""One file a scene; each has ``paint(height) -> Painting``."""

from __future__ import annotations

from collections.abc import Callable

from vivant_samples.paint.painting import Painting
from vivant_samples.paint.scenes import evening_path, night_harbour, spring_garden

SCENES: dict[str, tuple[Callable[[int], Painting], int]] = {
    "evening-path": (evening_path.paint, 1280),
    "night-harbour": (night_harbour.paint, 1280),
    "spring-garden": (spring_garden.paint, 1440),
}
"""Each artwork's painter and the height in pixels it is published at."""
