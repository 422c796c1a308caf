"""Every stage beside its original: time, parity and peak memory of one interleaved run.

The originals are the published packages where there are any, else the authors' procedures in
torch with the same weights; each module ``peers_*`` tells what its originals are and how they are
run. With ``--device`` it is the networks alone, on a GPU: see ``peers_gpu``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

import peers_faces
import peers_gpu
import peers_harmonize
import peers_matte
import peers_score
import peers_whole
from comparison import Settings, plot_ratios, print_row
from engines import measured_store
from report import Row, parser, write_json
from visits import DEVICES
from vivant.errors import VivantError

STAGES = {
    "faces": peers_faces,
    "matte": peers_matte,
    "harmonize": peers_harmonize,
    "score": peers_score,
    "end-to-end": peers_whole,
}


def main() -> None:
    """Print the comparisons; write them as JSON and as a plot where asked."""
    options = parser(__doc__, rounds=10)
    options.add_argument(
        "--device",
        choices=DEVICES,
        default="cpu",
        help="compare the networks on a GPU; host checks the comparison's code only",
    )
    arguments = options.parse_args()
    known = STAGES if arguments.device == "cpu" else peers_gpu.MODELS
    if arguments.only not in {None, *known}:
        options.error(f"--only {arguments.only}: there is {', '.join(known)}")
    stages = [arguments.only] if arguments.only else list(known)
    if arguments.device == "cpu":
        needed = [engine for stage in stages for engine in STAGES[stage].ENGINES]
    else:
        made = arguments.store is None and arguments.device != "host"
        needed = peers_gpu.engines(stages, made=made)
    try:
        store = measured_store(arguments.store, needed)
    except VivantError as error:
        sys.exit(str(error))
    settings = Settings(store, arguments.threads, arguments.rounds)
    found = []
    for row, show in _rows(settings, stages, arguments.device):
        show(row)
        found.append(row)
    if arguments.json:
        write_json(arguments.json, found)
    if arguments.plot:
        plot_ratios(arguments.plot, [row for row in found if row["ratio"] is not None])


def _rows(
    settings: Settings, stages: Sequence[str], device: str
) -> Iterator[tuple[Row, Callable[[Row], None]]]:
    """Compare; return each row, and what prints it."""
    if device != "cpu":
        for row in peers_gpu.rows(settings, stages, device):
            yield row, peers_gpu.print_row
        return
    for stage in stages:
        for row in STAGES[stage].rows(settings):
            yield row, print_row


if __name__ == "__main__":
    main()
