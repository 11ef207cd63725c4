"""Time help, opening recordings and the loader's cache here and in an earlier checkout.

Writes docs/benchmarks/before-after.md:

    git worktree add ../before c4095dc
    python benchmarks/before_after.py --before ../before

Both sides run the same lines in fresh processes, in turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from harness import Page, in_turns, ratio_of

ROOT = Path(__file__).parents[1]
HELP = """
import contextlib, io, sys, time
began = time.perf_counter()
from foundation.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    status = main([*sys.argv[1].split(), "--help"])
assert status == 0
print(time.perf_counter() - began)
"""
STORE = """
import sys
import numpy as np
from foundation.store import Catalog, Interval, Recording, Source, Spikes, Store, Subject, Units, write_recording
store = Store(sys.argv[1], create=True)
trains = [np.sort(np.random.default_rng(unit).uniform(0, 60, 60)) for unit in range(20)]
write_recording(store, Recording(
    source=Source("a.nwb", "0" * 64), subject=Subject("a"), session="a", units=Units(20),
    domain=Interval.single(0.0, 60.0), spikes=Spikes.from_trains(trains),
))
Catalog.build(store).save()
"""
# The same recording under many numbers: the cache opens each by itself.
CACHE = """
import sys, time
import numpy as np
try:
    from foundation.data.reading.decoded_blocks import BlockCache
except ImportError:  # the earlier checkout
    from foundation.data.cache import BlockCache
from foundation.store import Catalog, Store
store, count, what = Store(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
[record] = Catalog.open(store).records
cache = BlockCache(store, [record] * count, 1 << 30)
began = time.perf_counter()
for r in range(count):
    cache.open(np.array([r]))
opening = (time.perf_counter() - began) / count
if what == "open":
    print(opening)
else:
    one = set()
    cache.decode(0, one)
    cache.max_bytes = cache.held * count // 2  # half of the blocks stay
    for k in range(count):
        cache.decode(k, set())
    began = time.perf_counter()
    for k in range(200):
        cache.decode(k % count, set())
    print((time.perf_counter() - began) / 200)
"""


def seconds(tree: Path, code: str, *arguments: object) -> float:
    """Run lines in a fresh process with the packages of a checkout; return the seconds that they print."""
    env = os.environ | {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return float(subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="another checkout of the repository")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks" / "before-after.md")
    given = parser.parse_args()
    before = given.before.resolve()
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, cwd=before, check=True, capture_output=True, text=True).stdout.strip()
    packages = ("neural-foundation", "jsonargparse", "torch", "zarr", "numba")
    page = Page("Before and after", f"python benchmarks/before_after.py --before <{commit}>", packages)
    page.say(
        f"Commit {commit} (*before*) against this one: the same code in fresh processes, in turns "
        f"({given.rounds} pairs). The ratio is the median before divided by the median after, with its 95 % interval."
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        subprocess.run(
            [sys.executable, "-c", STORE, str(store)], env=os.environ | {"PYTHONPATH": str(before)}, check=True
        )
        cases = {f"`foundation {name} --help`, s": (HELP, name) for name in ("pretrain", "catalog")}
        cases["open a recording in the loader's cache, s"] = (CACHE, store, 100, "open")
        for count in (500, 2000):
            cases[f"decode a block beside {count // 2:,} others, s"] = (CACHE, store, count, "decode")
        for title, (code, *arguments) in cases.items():
            sides = {
                "before": partial(seconds, before, code, *arguments),
                "after": partial(seconds, ROOT, code, *arguments),
            }
            times = in_turns(sides, rounds=given.rounds)
            medians = [float(np.median(times[side])) for side in ("before", "after")]
            rows.append([title, *medians, str(ratio_of(times["before"], times["after"]))])
            print(*rows[-1], flush=True)
    page.table(["", "before", "after", "ratio"], rows)
    page.not_measured(
        [
            "Stores on other machines, where the network takes most of the time to open a recording.",
            "More than 2,000 open recordings.",
            "The memory that the probe of `foundation finetune` takes.",
        ]
    )
    page.write(given.output)


if __name__ == "__main__":
    main()
