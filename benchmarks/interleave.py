"""Time contenders in turn, each in a process of its own.

On a shared machine only a comparison holds: the contenders run A B A B ..., so that a slow
minute slows them all, on the same processors, so that a busy one slows them all, and ratios are
taken round by round. Each process has its own libraries, thread counts and peak memory.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from vivant.errors import BackendError


@dataclass(frozen=True)
class Contender:
    """What is timed.

    Attributes:
        make: a function at module level; called once in the contender's process, it returns the
            function to be timed.
        arguments: of ``make``.
        repeats: runs in each round, of which the median counts; so that a fast contender is
            timed well beside one that takes a minute.
        warmup: runs before the first round, not counted.
    """

    make: Callable[..., Callable[[], Any]]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    repeats: int = 1
    warmup: int = 2


@dataclass(frozen=True)
class Timing:
    """What one contender did.

    Attributes:
        milliseconds: by round.
        cpu_milliseconds: of processor time by round, all threads together.
        peak_mb: the most memory that its process held.
        result: of its last run.
    """

    milliseconds: tuple[float, ...]
    cpu_milliseconds: tuple[float, ...]
    peak_mb: float
    result: Any

    @property
    def median(self) -> float:
        """In milliseconds."""
        return statistics.median(self.milliseconds)


@dataclass(frozen=True)
class Interleaved:
    """What the contenders did, by name, and why the others of them could not run here."""

    timings: Mapping[str, Timing]
    left_out: Mapping[str, str]


def interleave(
    contenders: Mapping[str, Contender], *, processors: int, rounds: int
) -> dict[str, Timing]:
    """Run every contender in every round, in turn.

    A contender whose backend this machine does not have is left out, with a word.

    Args:
        contenders: by name.
        processors: how many each may use; all are pinned to the same ones.
        rounds: how often each has its turn.
    """
    done = interleave_all(contenders, processors=processors, rounds=rounds)
    for name, reason in done.left_out.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    return dict(done.timings)


def interleave_all(
    contenders: Mapping[str, Contender], *, processors: int, rounds: int
) -> Interleaved:
    """Run every contender in every round, in turn, and say which ones could not.

    They are made one after the other, and warmed up so: what each takes of a device that they
    share can be told from what is taken before and after.
    """
    shared = sorted(os.sched_getaffinity(0))[:processors]
    running: dict[str, _Running] = {}
    left_out: dict[str, str] = {}
    try:
        for name, contender in contenders.items():
            process = running[name] = _Running(name, contender, shared)
            if reason := process.obstacle():
                left_out[name] = reason
                running.pop(name).end()
        for name, process in running.items():
            for _ in range(contenders[name].warmup):
                process.run()
        times: dict[str, list[tuple[float, ...]]] = {name: [] for name in running}
        for turn in range(rounds):
            for name, process in running.items():
                runs = [process.run() for _ in range(contenders[name].repeats)]
                times[name].append(tuple(map(statistics.median, zip(*runs, strict=True))))
            show_progress(turn + 1, rounds)
        timings = {name: process.stop(times[name]) for name, process in running.items()}
        return Interleaved(timings, left_out)
    finally:
        for process in running.values():
            process.end()


def median_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Return the median over the rounds of slow / fast."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def show_progress(done: int, total: int) -> None:
    """Rewrite one line on a terminal's standard error."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r  round {done}/{total}", end=end, file=sys.stderr, flush=True)


class _Running:
    """A contender's process."""

    def __init__(self, name: str, contender: Contender, processors: list[int]) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._pipe, far_end = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=_serve,
            args=(far_end, processors, contender.make, contender.arguments),
            daemon=True,
        )
        self._process.start()
        far_end.close()

    def obstacle(self) -> str | None:
        """Wait until there is something to run; return why there is nothing, if so."""
        reason: str | None = self._answer()
        return reason

    def run(self) -> tuple[float, float]:
        """Return the milliseconds of one run, on the clock and of processor time."""
        elapsed: tuple[float, float] = self._answer("run")
        return elapsed

    def stop(self, times: list[tuple[float, ...]]) -> Timing:
        """Return what it did in rounds of these ``times``."""
        return Timing(*zip(*times, strict=True), *self._answer("stop"))

    def end(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()

    def _answer(self, request: str | None = None) -> Any:
        try:
            if request:
                self._pipe.send(request)
            return self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            sys.exit(f"{self._name} stopped, its message is above; 'make bench' installs the peers")


def _serve(
    pipe: Connection,
    processors: list[int],
    make: Callable[..., Callable[[], Any]],
    arguments: Mapping[str, Any],
) -> None:
    os.sched_setaffinity(0, processors)  # before any library counts them
    try:
        run = make(**arguments)
    except BackendError as error:
        pipe.send(str(error))
        return
    pipe.send(None)
    result = None
    while pipe.recv() == "run":
        start = time.perf_counter(), time.process_time()
        result = run()
        end = time.perf_counter(), time.process_time()
        pipe.send(tuple((b - a) * 1000 for a, b in zip(start, end, strict=True)))
    pipe.send((peak_mb(), result))


def peak_mb() -> float:
    """Return the most memory that this process has held.

    Unlike ``ru_maxrss``, which a process inherits from the one that starts it.
    """
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024
