"""What is worth knowing of a result, without its pictures, ready for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from vivant.scene import Figure
from vivant.studio import Result


def facts(result: Result) -> dict[str, Any]:
    """Return what is worth knowing of a result, without its pictures, ready for JSON."""
    return {
        "size": [result.image.shape[1], result.image.shape[0]],
        "profile": result.profile,
        "score": result.score,
        "figures": [_figure_facts(figure) for figure in result.figures],
        "timings": {stage: round(value, 3) for stage, value in result.timings.items()},
        "warnings": list(result.warnings),
    }


def _figure_facts(figure: Figure) -> dict[str, Any]:
    shot, placement = figure.shot, figure.placement
    return {
        "score": figure.best.score,
        "strength": figure.best.strength,
        "shot": {
            "type": str(shot.type),
            "people": shot.people,
            "heads": round(shot.heads, 2),
            "cut": shot.cut,
            "confidence": round(shot.confidence, 2),
        },
        "placement": {
            "slot": placement.slot.name,
            "source": placement.source,
            "target": placement.target,
            "scale": round(placement.scale, 3),
            "flip": placement.flip,
        },
        "candidates": [asdict(candidate) for candidate in figure.candidates],
    }
