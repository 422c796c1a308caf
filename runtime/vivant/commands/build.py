"""``vivant build``: TensorRT plans of the store's engines, on the machine that will run them.

What is there and fits is kept, so that it can run at every start: after an update of TensorRT, or
with an engine that was exported again, only what no longer fits is built.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from vivant.commands.options import Json, Store, errors, print_error, print_json
from vivant.errors import BackendError, EngineError, ModelError
from vivant.plans import LIBRARIES
from vivant.store import EngineFolder, EngineStore, open_store
from vivant.tuning import key

if TYPE_CHECKING:
    from vivant_export.tensorrt_build import Settings, Target

_PRECISIONS = ("fp32", "fp16", "int8")  # the one to use where nobody says
_SIZE = re.compile(rf"(?:{'|'.join(_PRECISIONS)})(?:-(\d+))?(?:-tensorrt|-rtx)?")


@dataclass(frozen=True)
class Outcome:
    """What became of a plan: "built", "kept" or "failed", and why; seconds are of the build."""

    model: str
    variant: str
    graph: str
    state: str
    reason: str | None = None
    seconds: float | None = None
    bytes: int | None = None


def build(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Such as rmbg-1.4 [default: all in the store that this machine uses].",
            show_default=False,
        ),
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help="The engine's, such as fp16-512 [default: the one used].")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="fp32, fp16 or int8 [default: the one used, or fp32].")
    ] = None,
    library: Annotated[
        str | None,
        typer.Option(help="tensorrt or tensorrt-rtx [default: the one used, or installed]."),
    ] = None,
    workspace: Annotated[
        int | None,
        typer.Option(min=1, help="The most memory in MB for a layer's work [default: all]."),
    ] = None,
    optimization_level: Annotated[
        int | None,
        typer.Option(min=0, max=5, help="0 is built fast, 5 tries everything [default: 3]."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Build what fits, too.")] = False,
    store: Store = None,
    json: Json = False,
) -> None:
    """Build TensorRT plans for this machine, but for those that are there and fit.

    An interruption leaves finished plans in place, and the next run goes on with the rest.
    Exit status: 1 when a plan could not be built; the others are.
    """
    from vivant_export.tensorrt_build import Settings, find_target

    if variant is not None and (model is None or precision is not None):
        raise typer.BadParameter("--variant needs a model, and goes without --precision")
    # Untrained engines are built, too: what has to be allowed is to run them.
    engines = open_store(store, allow_untrained=True)
    library = library or _library(engines)
    if library not in LIBRARIES:
        raise BackendError(f"library '{library}': there is {' and '.join(LIBRARIES)}")
    if precision not in (None, *_PRECISIONS):
        raise ModelError(f"precision '{precision}': there is {', '.join(_PRECISIONS)}")
    wanted = _wanted(engines, library, model, variant, precision)
    target, settings = find_target(library), Settings(workspace, optimization_level)
    outcomes = []
    for folder, graph in [(each, graph) for each in wanted for graph in each.manifest.graphs]:
        outcomes.append(_plan(target, folder, graph, settings, again=again))
        if not json:
            _show(outcomes[-1])
    if json:
        facts = {"library": library, "version": target.version}
        facts["compute_capability"] = target.compute_capability
        print_json({**facts, "plans": [asdict(outcome) for outcome in outcomes]})
    elif not outcomes:
        typer.echo(f"no model is tuned to use {library}; name the one to build")
    if any(outcome.state == "failed" for outcome in outcomes):
        raise typer.Exit(1)


def _library(store: EngineStore) -> str:
    """Return the library that this machine was tuned to use, or that is installed."""
    chosen = [choice.backend for choice in store.choices.values() if choice.backend in LIBRARIES]
    missing = {library: _missing(library) for library in chosen or LIBRARIES}
    for library, reason in missing.items():
        if reason is None:
            return library
    raise BackendError("; or ".join(filter(None, missing.values())))


def _missing(library: str) -> str | None:
    from vivant.backends.tensorrt import load

    try:
        load(library)
    except BackendError as error:
        return str(error)
    return None


def _wanted(
    store: EngineStore, library: str, model: str | None, variant: str | None, precision: str | None
) -> list[EngineFolder]:
    """Return the engines to build plans of: what was asked for, or what this machine uses."""
    if model is not None and variant is not None:
        return [store.engine(model, variant)]
    groups = [(name, size) for name, size in _groups(store) if model in (None, name)]
    if not groups:
        named = f" '{model}'" if model else ""
        raise ModelError(f"{store.root}: no engine{named} to build; run 'vivant export' first")
    chosen = [(name, store.choices.get(key(name, size)), size) for name, size in groups]
    variants = []
    for name, choice, size in chosen:
        if choice is not None and precision is None and choice.backend == library:
            variants.append((name, choice.variant))
        elif choice is None or model is not None or precision is not None:
            variants += [(name, found) for found in _suited(store, library, name, size, precision)]
    if not variants and any(choice is None for _, choice, _ in chosen):
        asked = precision or " or ".join(_PRECISIONS)
        raise ModelError(
            f"{store.root}: no {asked} engine for {library}; run 'vivant export "
            f"{model or 'MODEL'} --target {library.removeprefix('tensorrt-')}'"
        )
    return [store.engine(name, found) for name, found in variants]


def _groups(store: EngineStore) -> Iterator[tuple[str, int | None]]:
    """Yield the model and input size of each group of engines of which one is used at a time."""
    for model in store.models():
        matches = filter(None, map(_SIZE.fullmatch, store.variants(model)))
        for size in sorted({int(match[1] or 0) for match in matches}):
            yield model, size or None


def _suited(
    store: EngineStore, library: str, model: str, size: int | None, precision: str | None
) -> list[str]:
    """Return the one variant to build, or none: the library's own dialect before the common one."""
    suffix = f"-{size}" if size else ""
    for name in (precision,) if precision else _PRECISIONS:
        dialects = ["-rtx"] if library == "tensorrt-rtx" else []
        # The common INT8, for CPUs, is not TensorRT's.
        dialects.append("-tensorrt" if name == "int8" else "")
        for dialect in dialects:
            if f"{name}{suffix}{dialect}" in store.variants(model):
                return [f"{name}{suffix}{dialect}"]
    return []


def _plan(
    target: Target, folder: EngineFolder, graph: str, settings: Settings, *, again: bool
) -> Outcome:
    """See that a graph has a plan that fits; an engine that cannot be built costs no other."""
    from vivant_export.tensorrt_build import build_plan, obstacle

    names = (folder.manifest.model, folder.manifest.variant, graph)
    start = time.perf_counter()
    try:
        reason = obstacle(target, folder, graph, settings)
        if reason is None and not again:
            return Outcome(*names, "kept")
        with _bar("/".join(names)) as report:
            path = build_plan(target, folder, graph, settings, report)
    except EngineError as error:
        print_error(error)
        return Outcome(*names, "failed", str(error))
    seconds = round(time.perf_counter() - start, 2)
    return Outcome(*names, "built", reason, seconds, path.stat().st_size)


@contextmanager
def _bar(title: str) -> Iterator[Callable[[float], None]]:
    """Show a bar; yield what moves it, 0..1."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    hidden = not errors.is_terminal
    with Progress(*columns, console=errors, transient=True, disable=hidden) as bars:
        bar = bars.add_task(title, total=1.0)
        yield lambda share: bars.update(bar, completed=share)


def _show(outcome: Outcome) -> None:
    name = f"{outcome.model}/{outcome.variant} {outcome.graph}"
    said = outcome.state
    if outcome.bytes is not None:
        said += f" in {outcome.seconds:.1f} s, {outcome.bytes / 1e6:.1f} MB"
        said += f" ({outcome.reason})" if outcome.reason else ""
    typer.echo(f"{name:36} {said}")
