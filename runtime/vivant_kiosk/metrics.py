"""What an operator can watch, in the format of Prometheus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from vivant_kiosk.workshop import Status

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_TICK_S = 0.05
_STAGES_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)


class Metrics:
    """The figures of one service, in a registry of its own."""

    def __init__(self, status: Callable[[], Status], held: Callable[[], int]) -> None:
        """Begin at zero.

        Args:
            status: of the workshop.
            held: how many compositions are in memory.
        """
        self._registry = registry = CollectorRegistry()
        self._compositions = Counter(
            "vivant_compositions", "Compositions finished.", ["outcome"], registry=registry
        )
        self._stages = Histogram(
            "vivant_stage_seconds",
            "Seconds that a composition spent in a stage.",
            ["stage"],
            buckets=_STAGES_S,
            registry=registry,
        )
        self._refused = Counter(
            "vivant_uploads_refused", "Uploads refused.", ["reason"], registry=registry
        )
        self._lag = Histogram(
            "vivant_event_loop_lag_seconds",
            "How late the event loop woke who slept.",
            buckets=_LAG_S,
            registry=registry,
        )
        self._worst_lag_s = 0.0
        self._page_asked_at = time.monotonic()
        ProcessCollector(registry=registry)
        registry.register(_Now(lambda: self._gauges(status(), held())))

    def render(self) -> bytes:
        """Return all figures as text."""
        return generate_latest(self._registry)

    def count_composition(self, facts: Mapping[str, Any]) -> None:
        """Count a finished composition: its outcome, and the seconds of its stages."""
        error = facts["error"]
        outcome = error["type"].rpartition(":")[2] if error else facts["state"]
        self._compositions.labels(outcome).inc()
        for stage, seconds in facts["timings"].items():
            self._stages.labels(stage).observe(seconds)

    def refuse_upload(self, reason: str) -> None:
        """Count an upload that was refused, by the code of its problem."""
        self._refused.labels(reason).inc()

    def hear_page(self) -> None:
        """Note that a page asked how things are, which each does twice a minute."""
        self._page_asked_at = time.monotonic()

    async def watch_loop(self) -> None:
        """Measure, for ever, how late the event loop is: that is what a blocked loop looks like."""
        while True:
            due = time.perf_counter() + _TICK_S
            await asyncio.sleep(_TICK_S)
            lag = max(time.perf_counter() - due, 0.0)
            self._lag.observe(lag)
            self._worst_lag_s = max(self._worst_lag_s, lag)

    def _gauges(self, status: Status, held: int) -> Iterator[tuple[str, str, float]]:
        yield "vivant_queue_depth", "Compositions that wait.", status.waiting
        yield "vivant_compositions_held", "Compositions in memory.", held
        yield "vivant_ready", "1 where photos are taken.", status.ready
        yield "vivant_degraded", "1 where another profile stands in.", status.degraded is not None
        yield "vivant_event_loop_lag_max_seconds", "The longest since the start.", self._worst_lag_s
        silent_s = time.monotonic() - self._page_asked_at
        yield "vivant_page_silent_seconds", "Since a page asked how things are.", silent_s


class _Now(Collector):
    """Gauges that are read when somebody asks."""

    def __init__(self, gauges: Callable[[], Iterator[tuple[str, str, float]]]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        for name, text, value in self._gauges():
            yield GaugeMetricFamily(name, text, value=float(value))
