"""Every stage beside its original: time, parity and peak memory of one interleaved run.

The originals are the published packages where there are any, else the authors' procedures in
torch with the same weights; each module ``peers_*`` tells what its originals are and how they are
run.
"""

from __future__ import annotations

import sys

import peers_faces
import peers_harmonize
import peers_matte
import peers_score
import peers_whole
from comparison import Settings, plot_ratios, print_row
from engines import measured_store
from report import parser, write_json
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
    arguments = options.parse_args()
    if arguments.only not in {None, *STAGES}:
        options.error(f"--only {arguments.only}: there is {', '.join(STAGES)}")
    stages = [arguments.only] if arguments.only else list(STAGES)
    needed = [engine for stage in stages for engine in STAGES[stage].ENGINES]
    try:
        store = measured_store(arguments.store, needed)
    except VivantError as error:
        sys.exit(str(error))
    settings = Settings(store, arguments.threads, arguments.rounds)
    found = []
    for stage in stages:
        for row in STAGES[stage].rows(settings):
            print_row(row)
            found.append(row)
    if arguments.json:
        write_json(arguments.json, found)
    if arguments.plot:
        plot_ratios(arguments.plot, found)


if __name__ == "__main__":
    main()
