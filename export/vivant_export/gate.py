"""The gate of the store: an engine passes that computes what was published."""

from __future__ import annotations

from collections.abc import Mapping

from vivant.errors import EngineError


def gate(engine: str, measured: Mapping[str, float], tolerances: Mapping[str, float]) -> None:
    """Let an engine pass, or not.

    Raises:
        EngineError: a quantity is above its tolerance, not a number, or was not measured.
    """
    for quantity, most in tolerances.items():
        value = measured.get(quantity, float("nan"))
        if not value <= most:  # written so that NaN fails
            raise EngineError(
                f"{engine}: {quantity} is {value:.2g}, allowed are {most:.2g}: the engine does not "
                "compute what the published network computes and is not kept; "
                "install the versions in constraints.txt, or choose another precision"
            )
