"""Time contenders in turn, each in a process of its own.

On a shared machine only a comparison holds: the contenders run A B A B ..., so that a slow
minute slows them all, on the same processors, so that a busy one slows them all, and ratios are
taken pair by pair. Each process has its own libraries, thread counts and peak memory.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

Factory = Callable[..., Callable[[], Any]]


@dataclass(frozen=True)
class Timing:
    """What one contender did: milliseconds by run, peak memory in MB, and its result."""

    milliseconds: tuple[float, ...]
    peak_mb: float
    result: Any

    @property
    def median(self) -> float:
        """In milliseconds."""
        return statistics.median(self.milliseconds)


def interleave(
    contenders: Mapping[str, tuple[Factory, Mapping[str, Any]]],
    *,
    processors: int,
    rounds: int,
    warmup: int = 3,
) -> dict[str, Timing]:
    """Run every contender ``rounds`` times, in turn.

    Args:
        contenders: by name, a function at module level and its arguments; called once in the
            contender's process, it returns the function to be timed.
        processors: how many each may use; all are pinned to the same ones.
        rounds: counted runs of each.
        warmup: runs of each that are not counted.
    """
    context = multiprocessing.get_context("spawn")
    shared = sorted(os.sched_getaffinity(0))[:processors]
    pipes: dict[str, Connection] = {}
    processes = []
    for name, (factory, arguments) in contenders.items():
        pipes[name], far_end = context.Pipe()
        process = context.Process(
            target=_serve, args=(far_end, shared, factory, arguments), daemon=True
        )
        process.start()
        far_end.close()
        processes.append(process)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warmup + rounds):
        for name, pipe in pipes.items():
            try:
                pipe.send("run")
                elapsed = pipe.recv()
            except (EOFError, BrokenPipeError):
                sys.exit(f"{name} stopped, its message is above; 'make bench' installs the peers")
            if turn >= warmup:
                times[name].append(elapsed)
        show_progress(turn + 1, warmup + rounds)
    timings = {}
    for name, pipe in pipes.items():
        pipe.send("stop")
        peak_mb, result = pipe.recv()
        timings[name] = Timing(tuple(times[name]), peak_mb, result)
    for process in processes:
        process.join()
    return timings


def median_ratio(slow: Timing, fast: Timing) -> float:
    """Return the median over the rounds of slow / fast."""
    pairs = zip(slow.milliseconds, fast.milliseconds, strict=True)
    return statistics.median(a / b for a, b in pairs)


def show_progress(done: int, total: int) -> None:
    """Rewrite one line on a terminal's standard error."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r  round {done}/{total}", end=end, file=sys.stderr, flush=True)


def _serve(
    pipe: Connection, processors: list[int], factory: Factory, arguments: Mapping[str, Any]
) -> None:
    os.sched_setaffinity(0, processors)  # before any library counts them
    run = factory(**arguments)
    result = None
    while pipe.recv() == "run":
        start = time.perf_counter()
        result = run()
        pipe.send((time.perf_counter() - start) * 1000)
    pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, result))
