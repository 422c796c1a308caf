"""What a harmonizer is on a device: its role of ``vivant.roles``, for buffers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from vivant.backends.device import Buffer, Stream


class Region(NamedTuple):
    """A part of a picture, pixels; all of it lies within. Empty where a side is 0."""

    x: int
    y: int
    width: int
    height: int

    @property
    def empty(self) -> bool:
        """Whether it has no pixels."""
        return not (self.width and self.height)


class DeviceHarmonizer(Protocol):
    """Gives the foreground of a composite the colour and light of its background."""

    def enqueue(
        self,
        composite: Buffer,
        mask: Buffer,
        region: Region,
        strengths: Sequence[float],
        stream: Stream,
    ) -> Sequence[Buffer]:
        """Put the work on ``stream``; return where its pictures will be.

        Not again before ``stream`` was synchronised and ``check`` called.

        Args:
            composite: uint8 [H,W,3] RGB; only read.
            mask: uint8 [H,W]; only read.
            region: outside it the mask is 0; it may be empty.
            strengths: for each picture, above 0 (untouched) .. 1 (the method's full effect).
            stream: where the work goes.

        Returns:
            uint8 [H,W,3] each, in the harmonizer's own memory, which its next call writes over.
            Pixels where the mask is 0 are the composite's.

        Raises:
            ImageError: the composite is of a size that the method cannot take.
        """
        ...

    def check(self) -> None:
        """See that what was enqueued went well, once ``stream`` was synchronised.

        Raises:
            EngineError: an engine did not return numbers.
        """
        ...

    def close(self) -> None:
        """Give back what it holds."""
        ...
