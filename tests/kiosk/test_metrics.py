"""What an operator can watch."""

from __future__ import annotations

import asyncio
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from vivant_kiosk.metrics import Metrics
from vivant_kiosk.workshop import Status

from .conftest import ask


@pytest.fixture
def metrics():
    status = Status(
        ready=True, alive=True, profile="classic", degraded="deep", engines=(), waiting=3
    )
    return Metrics(lambda: status, lambda: 5)


def figures(metrics):
    """Return the samples by name and labels."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_finished_compositions_are_counted_by_what_became_of_them(metrics):
    failed = {"type": "urn:vivant:problem:nobody"}
    metrics.count_composition({"state": "done", "error": None, "timings": {"matte": 0.3}})
    metrics.count_composition({"state": "failed", "error": failed, "timings": {}})
    metrics.count_composition({"state": "cancelled", "error": None, "timings": {}})
    known = figures(metrics)
    for outcome in ("done", "nobody", "cancelled"):
        assert known["vivant_compositions_total", outcome] == 1
    assert known["vivant_stage_seconds_sum", "matte"] == 0.3
    assert known["vivant_stage_seconds_bucket", "0.25", "matte"] == 0
    assert known["vivant_stage_seconds_bucket", "0.5", "matte"] == 1


def test_gauges_are_those_of_now(metrics):
    known = figures(metrics)
    assert known["vivant_queue_depth",] == 3
    assert known["vivant_compositions_held",] == 5
    assert known["vivant_ready",] == 1
    assert known["vivant_degraded",] == 1
    assert known["process_resident_memory_bytes",] > 0


def test_a_page_that_falls_silent_is_seen(metrics):
    metrics._page_asked_at -= 200
    assert 200 <= figures(metrics)["vivant_page_silent_seconds",] < 260
    metrics.hear_page()
    assert figures(metrics)["vivant_page_silent_seconds",] < 60


def test_refused_uploads_are_counted_by_reason(metrics):
    metrics.refuse_upload("too-large")
    metrics.refuse_upload("too-large")
    assert figures(metrics)["vivant_uploads_refused_total", "too-large"] == 2


def test_a_loop_that_was_blocked_is_seen(metrics):
    async def block():
        watching = asyncio.ensure_future(metrics.watch_loop())
        await asyncio.sleep(0.01)
        time.sleep(0.2)
        while not figures(metrics)["vivant_event_loop_lag_seconds_count",]:
            await asyncio.sleep(0.01)
        watching.cancel()

    asyncio.run(block())
    assert figures(metrics)["vivant_event_loop_lag_max_seconds",] >= 0.1


def test_two_services_do_not_share_their_figures(metrics):
    other = Metrics(lambda: None, lambda: 0)
    metrics.refuse_upload("busy")
    assert other._refused.collect()[0].samples == []


def test_they_are_served_as_text(app):
    answer = ask(app, "GET", "/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "vivant_ready 0.0" in answer.text
