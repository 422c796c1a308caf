"""What a device's own clock says of a picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vivant.backends.device import Device, Event, Stream


class Marks:
    """Events before and after each stage's work on its stream."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._spare: list[tuple[Event, Event]] = []
        self._set: list[tuple[str, tuple[Event, Event]]] = []

    def clear(self) -> None:
        """Forget all stages."""
        self._spare += [pair for _, pair in self._set]
        self._set.clear()

    @contextmanager
    def __call__(self, stage: str, stream: Stream) -> Iterator[None]:
        """Count what is put on ``stream`` inside ``with`` as the ``stage``'s."""
        pair = self._spare.pop() if self._spare else (self._device.event(), self._device.event())
        self._device.record(pair[0], stream)
        yield
        self._device.record(pair[1], stream)
        self._set.append((stage, pair))

    def milliseconds(self) -> dict[str, float]:
        """Return each stage's, once its work is done.

        Where a stage waited for the host in between, that counts too.
        """
        found: dict[str, float] = {}
        for stage, pair in self._set:
            found[stage] = found.get(stage, 0.0) + self._device.elapsed(*pair)
        return found
