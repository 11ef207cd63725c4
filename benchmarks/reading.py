"""Time the reading of windows for embedding and finetuning, here and in an earlier checkout.

Writes docs/benchmarks/reading.md:

    foundation ingest --input $FOUNDATION_DATA/nwb --store store
    git worktree add ../before 419d0f3
    python benchmarks/reading.py --store store --before ../before

A process of each side reads what it is asked for, in turns. An encoder that adds up the bins of a token stands for the
model, so that reading is what is timed; both sides must give the same numbers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
from harness import Page, in_turns, ratio_of

ROOT = Path(__file__).parents[1]
SIDE = """
import hashlib, json, sys, time
sys.path.insert(0, sys.argv[2])
from types import SimpleNamespace
import numpy as np
import torch
torch.set_num_threads(1)
try:
    from foundation.data.reading.reader import ReaderCache
    from foundation.embedding.frozen_embeddings import NoWindowError, embed_units
    from finetune.finetune_settings import WindowSettings
except ImportError:  # the earlier checkout
    from foundation.data.reader import ReaderCache
    from foundation.embedding import NoWindowError, embed_units
    from finetune.settings import WindowSettings
from finetune.tasks import TASKS, Sources
from foundation.store import Catalog, Store

PATCH, UPDATES = 4, 20
TWO = "unit_bins" in Sources.__dataclass_fields__  # the earlier checkout has one number of bins, and draws by it

class Sums:
    config, device = SimpleNamespace(patch_length=PATCH, population_patch=PATCH, dim=1), torch.device("cpu")
    def eval(self):
        return self
    def __call__(self, x_BNT, **others):
        return SimpleNamespace(h_BNTD=x_BNT.unflatten(2, (-1, PATCH)).sum(-1, keepdim=True))

catalog, model, digest = Catalog.open(Store(sys.argv[1])), Sums(), None

def add(*arrays):
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())

def embed(readers):
    for recording in catalog:
        width = max(0.005, recording.resolution / PATCH)
        try:
            add(embed_units(model, readers(recording.id), bin_width=width, n_bins=32 * PATCH, max_windows=64))
        except NoWindowError:
            pass

def problems_of(readers):
    # The earlier checkout cut trials into windows of at most this many tokens, and had these four tasks.
    settings = WindowSettings(max_trial_tokens=10) if TWO else WindowSettings()
    sources = Sources(catalog, readers, settings, *([PATCH] * (1 + TWO)), 5, 0)
    tasks = ("behavior", "cell_type", "location", "sleep_state")
    return [problem for task in tasks for problem in TASKS[task](sources).problems]

def draw(problems):
    for problem in problems:
        rng = np.random.default_rng(0)
        for _ in range(UPDATES):
            batch, picked = problem.draw(np.arange(len(problem.cluster_S)), 8192, rng, *([] if TWO else [PATCH]))
            inputs = batch.model_inputs()
            add(*(inputs[name].numpy() for name in sorted(inputs)), picked.samples, picked.row, picked.weight)

readers = ReaderCache(catalog)
problems = problems_of(readers)
print("ready", flush=True)
for line in sys.stdin:
    digest = hashlib.sha256()
    case = line.strip()
    began = time.process_time()
    if case == "embed, blocks not decoded":
        embed(ReaderCache(catalog))
    elif case == "embed, blocks decoded":
        embed(readers)
    else:
        draw(problems)
    print(json.dumps([time.process_time() - began, digest.hexdigest()]), flush=True)
"""
CASES = {
    "embed, blocks not decoded": "`embed_units`, recordings opened and blocks decoded anew",
    "embed, blocks decoded": "`embed_units`, blocks decoded before",
    "draw": "finetuning: batches of 20 updates of every target",
}


class Side:
    """A process with the packages of one checkout, that reads what it is asked for."""

    def __init__(self, tree: Path, store: Path) -> None:
        command = [sys.executable, "-P", "-c", SIDE, str(store), str(tree)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "ready"
        self.digests: dict[str, str] = {}

    def seconds(self, case: str) -> float:
        """Run a case and return its CPU seconds; keep the digest of its numbers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(case, file=self.process.stdin, flush=True)
        taken, self.digests[case] = json.loads(self.process.stdout.readline())
        return float(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="a store of the recordings in $FOUNDATION_DATA")
    parser.add_argument("--before", type=Path, required=True, help="another checkout of the repository")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "benchmarks" / "reading.md")
    given = parser.parse_args()
    store, before = given.store.resolve(), given.before.resolve()
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, cwd=before, check=True, capture_output=True, text=True).stdout.strip()
    command = f"python benchmarks/reading.py --store STORE --before <{commit}>"
    page = Page("Reading windows for embedding and finetuning", command, ("torch", "numpy", "numba", "zarr"))
    sides = {"before": Side(before, store), "after": Side(ROOT, store)}
    rows = []
    for case, title in CASES.items():
        turns = {name: partial(side.seconds, case) for name, side in sides.items()}
        times = in_turns(turns, rounds=given.rounds)
        if sides["before"].digests[case] != sides["after"].digests[case]:
            raise SystemExit(f"{case}: the two sides give different numbers")
        ratio = ratio_of(times["before"], times["after"])
        medians = [float(np.median(times[name])) for name in ("before", "after")]
        rows.append([title, *medians, str(ratio), "yes" if ratio.holds(3) else "no"])
        print(*rows[-1], flush=True)
    page.say(
        f"Commit {commit} (*before*) against this one: CPU seconds of one process each, in turns "
        f"({given.rounds} pairs). The ratio is the median before divided by the median after, with its 95 % interval; "
        "the target is 3. "
        "The store holds the recordings of $FOUNDATION_DATA, read with the default settings of `foundation embed` and "
        "`foundation finetune`. An encoder that adds up the bins of each token stands for the model. Both sides give "
        "the same numbers, bit for bit."
    )
    page.table(["", "before, s", "after, s", "ratio", "at least 3"], rows)
    page.say(
        "Before, `embed_units` read each window a second time, alone and as float32, to see which units were active, "
        "and finetuning read the windows of a batch one by one and padded them again. Now one table of windows is read "
        "into one batch, of small integers."
    )
    page.say(
        "The first row misses the target. It opens the recordings and decodes their blocks, which both sides must do "
        "and which takes most of its time; the second row is the reading of windows alone."
    )
    page.not_measured(
        [
            "Features of frozen models and firing rates: the earlier checkout computed different ones, so the two "
            "cannot be compared. Both read their windows as finetuning reads its batches.",
            "The model, which takes most of the time of embedding and finetuning.",
            "Stores on other machines, and recordings that do not fit the cache of decoded blocks (1 GiB).",
            "Waiting for the disk: CPU seconds leave it out.",
        ]
    )
    page.write(given.output)


if __name__ == "__main__":
    main()
