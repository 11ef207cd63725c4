"""What it costs that a recording's bytes are on the disk before it is committed: writing with and without, in turns.

python benchmarks/store_sync.py [FOLDER]          # on the disk to be measured; by default one in the temporary folder
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import numpy as np

from foundation.store import Interval, Recording, Source, Spikes, Store, Subject, Units, write_recording

KINDS = {"small (12 units, 60 s)": (12, 60.0, 40), "large (100 units, 1 h)": (100, 3600.0, 4)}
ROUNDS = 5


def recording(seed: int, n_units: int, seconds: float) -> Recording:
    """Return a recording of Poisson units of 10 Hz."""
    rng = np.random.default_rng(seed)
    trains = [np.sort(np.round(rng.uniform(0, seconds, rng.poisson(10 * seconds)), 4)) for _ in range(n_units)]
    domain, spikes = Interval.single(0.0, seconds), Spikes.from_trains(trains)
    return Recording(Source(f"{seed}.nwb", f"{seed:064x}"), Subject("m"), str(seed), Units(n_units), domain, spikes)


def main(folder: str | None = None) -> None:
    for name, (n_units, seconds, count) in KINDS.items():
        recordings = [recording(seed, n_units, seconds) for seed in range(count)]
        times: dict[str, list[float]] = {"without": [], "with": []}
        for _ in range(ROUNDS):
            for how, taken in times.items():
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    store = Store(Path(place) / "store", create=True)
                    without = patch("foundation.store.storage.onto_disk")
                    with without if how == "without" else nullcontext():
                        began = time.perf_counter()
                        for one in recordings:
                            write_recording(store, one)
                        taken.append((time.perf_counter() - began) / count)
        figures = ", ".join(f"{how} {np.median(taken) * 1e3:.0f} ms" for how, taken in times.items())
        print(f"{name}: a recording written {figures}")


if __name__ == "__main__":
    main(*sys.argv[1:])
