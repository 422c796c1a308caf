"""How near harmonizers bring a composite to the real picture: iHarmony4, or synthetic samples.

``--iharmony4 FOLDER`` measures on its test pictures by the protocol of a paper; the untouched
composite's own figures are held against the published ones to see that nothing else differs.
``--synthetic`` changes the figures of the sample pictures, or of your own, by known families of
colour changes. It tells a harmonizer that works from one that does not. It is no measure of how
well one does on photographs, and its figures are not comparable with published ones.

Engines with untrained weights are refused: what they return has no quality.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path

import cv2

from metrics import PROTOCOLS, Figures, Protocol, deviation, fitted, fitted_mask, mean, measure
from report import Row, common_parser, median, plot_bars, row, table, write_json
from samples import FILTER, SUBSETS, Sample, iharmony4, own_pictures, sample_pictures, synthetic
from vivant import models
from vivant.errors import EngineError, VivantError
from vivant.harmonizers.inr import InrHarmonizer
from vivant.harmonizers.inr_lut import LutHarmonizer
from vivant.profiles import PROFILES
from vivant.roles import Image, Matte
from vivant.store import EngineStore, open_store

UNTOUCHED = "untouched"
INR = "inr-harmonization"
INR_MODES = (f"{INR}:exact", f"{INR}:lut")
"""The published procedure, and the network's colour table."""

TOLERANCE = 0.02
"""How far the composites' own figures may be from the published ones: decoders differ a little."""

Harmonize = Callable[[Image, Matte], Image]


@dataclass(frozen=True)
class Contender:
    """A harmonizer at one strength; ``facts`` are what its rows say about it."""

    harmonize: Harmonize
    facts: Row = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """Figures of every picture by group and contender, milliseconds by contender."""

    figures: Mapping[str, Mapping[str, list[Figures]]]
    milliseconds: Mapping[str, list[float]]


def main() -> None:
    """Print the table; write it as JSON and as a plot where asked."""
    arguments = _parser().parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    cv2.setNumThreads(arguments.threads)
    try:
        store = open_store(arguments.store)
        contenders = {
            name: open_contender(name, store, arguments.strength) for name in arguments.harmonizers
        }
        scores = evaluate(_samples(arguments, store), contenders, PROTOCOLS[arguments.protocol])
    except VivantError as error:
        sys.exit(f"error: {error}")
    rows = _rows(scores, contenders, arguments)
    _print(scores, arguments)
    if arguments.json:
        write_json(arguments.json, rows)
    if arguments.plot:
        plot_bars(arguments.plot, _gains(scores), _title(arguments), "gain of PSNR, dB")


def open_contender(name: str, store: EngineStore, strength: float | None) -> Contender:
    """Open a harmonizer, at its profile's first strength unless told otherwise.

    Args:
        name: of the harmonizer, or one of ``INR_MODES``.
        store: where its engine is.
        strength: 0..1; the published procedure knows none.

    Raises:
        ModelError: there is no such harmonizer.
        EngineError: its engine is missing or altered, or its weights are untrained.
    """
    model = INR if name in INR_MODES else name
    facts = _engine_facts(model, store)
    if name == f"{INR}:exact":
        return Contender(InrHarmonizer.open(store).exact, facts)
    opened = (
        LutHarmonizer.open(store)
        if name == f"{INR}:lut"
        else models.open_model(models.HARMONIZERS, model, store)
    )
    preferred = [each.strengths[0] for each in PROFILES.values() if each.harmonizer == model]
    level = preferred[0] if strength is None else strength
    return Contender(
        lambda composite, mask: opened.harmonize(composite, mask, [level])[0],
        {**facts, "strength": level},
    )


def _engine_facts(model: str, store: EngineStore) -> Row:
    if not models.find(models.HARMONIZERS, model).needs_engine:
        return {}
    engine = replace(store, allow_untrained=True).engine(model)
    if engine.manifest.weights.kind == "untrained":
        raise EngineError(
            f"{model}: the weights in {engine.path} are untrained, and quality is never judged on "
            f"such; make an engine of trained ones with 'vivant export {model}'"
        )
    return {
        "backend": engine.choice.backend,
        "precision": engine.choice.variant,
        "weights": engine.manifest.weights.kind,
    }


def evaluate(
    samples: Iterable[Sample], contenders: Mapping[str, Contender], protocol: Protocol
) -> Scores:
    """Harmonize every sample with every contender, and measure; the untouched composite too."""
    figures: dict[str, dict[str, list[Figures]]] = defaultdict(lambda: defaultdict(list))
    milliseconds: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        composite, target = (fitted(each, protocol) for each in (sample.composite, sample.target))
        mask = fitted_mask(sample.mask, protocol)
        group = figures[sample.group]
        group[UNTOUCHED].append(measure(composite, target, mask, protocol))
        for name, contender in contenders.items():
            start = time.perf_counter()
            result = contender.harmonize(composite, mask)
            milliseconds[name].append((time.perf_counter() - start) * 1000)
            group[name].append(measure(result, target, mask, protocol))
    names = [UNTOUCHED, *contenders]
    every = {name: [each for group in figures.values() for each in group[name]] for name in names}
    return Scores({**figures, "all": every}, milliseconds)


def self_check(scores: Scores, protocol: Protocol) -> str:
    """Say whether the untouched composites' figures are the published ones."""
    counts = {
        group: len(by_name[UNTOUCHED])
        for group, by_name in scores.figures.items()
        if group != "all"
    }
    if counts != SUBSETS:
        here, whole = sum(counts.values()), sum(SUBSETS.values())
        return f"self-check not possible: {here} of the {whole} pictures are here"
    ours = mean(scores.figures["all"][UNTOUCHED])
    off = deviation(ours, protocol.published).max()
    published = " / ".join(f"{value:.2f}" for value in astuple(protocol.published))
    verdict = "ok" if off <= TOLERANCE else "deviates"
    return f"self-check {verdict}: off by {off:.1%} at most from {published}, as published"


def _samples(arguments: argparse.Namespace, store: EngineStore) -> Iterable[Sample]:
    if arguments.iharmony4:
        return iharmony4(arguments.iharmony4)
    folder = arguments.synthetic
    pictures = own_pictures(Path(folder)) if folder else sample_pictures(store)
    return synthetic(pictures, seed=arguments.seed, draws=arguments.draws)


def _rows(
    scores: Scores, contenders: Mapping[str, Contender], arguments: argparse.Namespace
) -> list[Row]:
    """Return a row for each group and contender, the untouched composite among them."""
    return [
        row(
            "harmonize",
            ours_ms=median(scores.milliseconds[name]) if name in contenders else None,
            threads=arguments.threads,
            **_benchmark(arguments),
            group=group,
            pictures=len(figures),
            harmonizer=name,
            **{key: round(value, 2) for key, value in asdict(mean(figures)).items()},
            **(contenders[name].facts if name in contenders else {}),
        )
        for group, by_name in scores.figures.items()
        for name, figures in by_name.items()
    ]


def _gains(scores: Scores) -> dict[str, dict[str, float]]:
    """Return by group how many dB each contender is better than the untouched composite."""
    return {
        group: {
            name: mean(figures).psnr - mean(by_name[UNTOUCHED]).psnr
            for name, figures in by_name.items()
            if name != UNTOUCHED
        }
        for group, by_name in scores.figures.items()
    }


def _benchmark(arguments: argparse.Namespace) -> Row:
    if arguments.iharmony4:
        return {"benchmark": "iharmony4", "protocol": arguments.protocol}
    return {
        "benchmark": "synthetic",
        "protocol": arguments.protocol,
        "seed": arguments.seed,
        "filter": FILTER,
        "of": "own pictures" if arguments.synthetic else "sample pictures",
    }


def _title(arguments: argparse.Namespace) -> str:
    benchmark = _benchmark(arguments)
    if benchmark["benchmark"] == "iharmony4":
        return f"iHarmony4, protocol {arguments.protocol}"
    return f"SYNTHETIC, {benchmark['of']}, seed {arguments.seed}, protocol {arguments.protocol}"


def _print(scores: Scores, arguments: argparse.Namespace) -> None:
    names = list(scores.figures["all"])
    lines = []
    for group, by_name in scores.figures.items():
        means = {name: mean(figures) for name, figures in by_name.items()}
        cells = [f"{means[name].psnr:.2f} / {means[name].fmse:.0f}" for name in names]
        lines.append([group, len(by_name[UNTOUCHED]), *cells])
    print(f"{_title(arguments)}: PSNR in dB / fMSE")
    print(table(["group", "pictures", *names], lines))
    if arguments.iharmony4:
        print(f"  {self_check(scores, PROTOCOLS[arguments.protocol])}")
    else:
        print(f"  synthetic, not comparable with published figures; kept: {FILTER}")


def _parser() -> argparse.ArgumentParser:
    options = common_parser(__doc__)
    which = options.add_mutually_exclusive_group(required=True)
    which.add_argument("--iharmony4", type=Path, metavar="FOLDER", help="where the set is")
    which.add_argument(
        "--synthetic",
        nargs="?",
        const="",
        metavar="FOLDER",
        help="the sample pictures, or photos of yours with mattes (me.jpg, me_matte.png)",
    )
    options.add_argument(
        "--harmonizers",
        nargs="+",
        default=["reinhard"],
        metavar="NAME",
        help=f"as in the profiles; also {' and '.join(INR_MODES)}",
    )
    options.add_argument("--strength", type=float, help="0..1 [default: what the profile prefers]")
    options.add_argument("--protocol", choices=PROTOCOLS, default="idih")
    options.add_argument("--seed", type=int, default=1, help="of the synthetic changes")
    options.add_argument("--draws", type=int, default=10, help="by picture and family of changes")
    return options


if __name__ == "__main__":
    main()
