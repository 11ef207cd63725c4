"""Time what puts a block of spikes in order of time: sorting it at every decode, or a permutation kept beside it.

Prints the lines of docs/benchmarks/reading.md:

    foundation ingest --input $FOUNDATION_DATA/nwb --store store
    python benchmarks/time_order.py --store store

Blocks are stored by unit and time; windows read them in order of time. The permutation is 16 bits a spike: a block has
65,536 spikes at most. Each figure is the median of `--rounds` rounds, in which the candidates take turns.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from harness import in_turns
from numcodecs import Blosc

from foundation.common.output.pages import markdown_table
from foundation.data.reading.binning import spike_keys
from foundation.data.reading.decoded_blocks import FEW_UNITS, SpikeSource
from foundation.store import Catalog, Store

CODEC = Blosc("zstd", clevel=2, shuffle=Blosc.SHUFFLE)  # that of the store for integers
LEAST = 30_000  # spikes of a block that is measured
GROUPS = {2: "1 or 2 units", FEW_UNITS: f"3 to {FEW_UNITS} units", 1 << 30: f"more than {FEW_UNITS} units"}


def measure(source: SpikeSource, k: int, rounds: int) -> tuple[list[float], float]:
    """Return microseconds of a block by each way, and the permutation's bytes over those of the spikes."""
    spikes = source.spikes
    ticks, ends_N = spikes.ticks(k), spikes.offsets[k] - spikes.offsets[k, 0]

    def keys() -> np.ndarray:
        made = np.empty(len(ticks), dtype=np.int64)
        spike_keys(ticks, spikes.rate, source.base_K[k], ends_N, source.shift, made)
        return made

    def by_sorting() -> np.ndarray:
        made = keys()
        made.sort(kind="stable" if len(ends_N) - 1 <= FEW_UNITS else None)
        return made

    order_S = np.argsort(keys(), kind="stable").astype(np.uint16)
    stored, plain = CODEC.encode(order_S), CODEC.encode(np.ascontiguousarray(ticks))
    if not (keys()[order_S] == by_sorting()).all():
        raise SystemExit("the permutation gives another order than sorting")
    turns = {
        "keys": keys,
        "sorted": by_sorting,
        "permuted": lambda: keys()[order_S],
        "decoded": lambda: keys()[np.frombuffer(CODEC.decode(stored), dtype=np.uint16)],
    }
    times = in_turns(turns, rounds=rounds)
    return [1e6 * float(np.median(times[name])) for name in turns], len(stored) / len(plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="a store of the recordings in $FOUNDATION_DATA")
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    found: dict[str, list[list[float]]] = defaultdict(list)
    for recording in Catalog.open(Store(given.store)):
        if recording.kind != "spikes":
            continue
        source = SpikeSource(recording)
        for k in range(min(2, source.spikes.n_blocks)):
            if len(source.spikes.ticks(k)) >= LEAST:
                times, share = measure(source, k, given.rounds)
                found[next(GROUPS[most] for most in GROUPS if recording.n_units <= most)].append([*times, 100 * share])
    head = [
        "blocks of",
        "blocks",
        "keys alone, µs",
        "and sorted",
        "and permuted",
        "and permutation decoded",
        "bytes, %",
    ]
    rows = [[name, len(all_), *(round(x) for x in np.median(all_, axis=0))] for name, all_ in sorted(found.items())]
    print(markdown_table(head, rows))


if __name__ == "__main__":
    main()
