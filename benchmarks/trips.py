"""Follow three trips through the code of this checkout and an earlier one: files, calls, moves between files, depth.

Writes docs/design/trips.md:

    git worktree add ../before 419d0f3
    python benchmarks/trips.py --before ../before
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGES = ("foundation", "ingest", "finetune")
TITLES = {
    "store": "a file to the store",
    "loss": "the store to a loss",
    "score": "a checkpoint to a cell-type score",
}


TRIPS = """A file to the store is `foundation ingest` of one NWB file in one process. The
store to a loss is one step of a plan, read and put through NeurPIR. A checkpoint to a score is `foundation finetune`
of cell types with a probe. Calls of functions of the three packages are counted, in all threads; a move is a call from
a function of one file to a function of another; depth counts the nested calls. The trip to a score does more than
before: the earlier checkout had no readout of all lags, no row for random weights and kept no head."""


class Trip:
    """Counts of one trip; a profiler of all threads."""

    def __init__(self, tree: Path) -> None:
        self.roots = tuple(f"{tree / package}{os.sep}" for package in PACKAGES)
        self.files: set[str] = set()
        self.calls = self.moves = self.depth = 0
        self._stacks: dict[int, list[str]] = {}

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        file = frame.f_code.co_filename
        if not file.startswith(self.roots) or event not in ("call", "return") or frame.f_code.co_name == "<module>":
            return
        stack = self._stacks.setdefault(threading.get_ident(), [])
        if event == "return":
            if stack:
                stack.pop()
            return
        self.files.add(file)
        self.calls += 1
        self.moves += bool(stack) and stack[-1] != file
        stack.append(file)
        self.depth = max(self.depth, len(stack))

    def follow(self, trip: Callable[[], Any]) -> dict[str, int]:
        """Return files, calls, moves and depth of a trip."""
        threading.setprofile(self)
        sys.setprofile(self)
        try:
            trip()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
        return {"files": len(self.files), "calls": self.calls, "moves": self.moves, "depth": self.depth}


def run(*words: str) -> None:
    """Run the `foundation` command in this process.

    Raises:
        RuntimeError: if the command fails.
    """
    from foundation.cli import main

    with contextlib.redirect_stdout(io.StringIO()):
        status = main(list(words))
    if status:
        raise RuntimeError(f"foundation {' '.join(words)} ended with {status}")


def one_step(store: str) -> None:
    """Read the first step of a plan and put it through NeurPIR."""
    from foundation.data import DataSettings, Loader, StepPlan
    from foundation.models import EIT, EITConfig
    from foundation.objectives import NeurPIRSettings, ObjectiveSettings, build_objective
    from foundation.store import Catalog, Store

    catalog = Catalog.open(Store(store))
    settings = ObjectiveSettings(neurpir=NeurPIRSettings())
    model = EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=1, patch_length=20))
    objective = build_objective(settings, 16, model)
    data = DataSettings(bin_widths=[0.005], tokens_per_step=16384, min_windows=4, max_units=20, workers=0, prefetch=1)
    plan = StepPlan(catalog, data, objective.view_spec, bins_per_token=20, seed=0)
    batch = Loader(catalog, plan).load(0)
    objective(model, batch.views)["loss"].backward()


def side(tree: Path, folder: Path) -> dict[str, dict[str, int]]:
    """Make the three trips with the packages of a checkout."""
    nwb, store, checkpoint = (str(folder / name) for name in ("nwb", "store", "pretrain"))
    small = ["--networks", "2", "--neurons", "20", "--seconds", "60", "--states", "false", "--reaches", "false"]
    run("simulate", "izhikevich", *small, "--output", nwb)
    run("ingest", "--input", nwb, "--store", f"{store}-first", "--workers", "0")  # compiles
    found = {}
    files = sorted(str(path) for path in Path(nwb).rglob("*.nwb"))
    found["store"] = Trip(tree).follow(
        lambda: run("ingest", "--input", files[0], "--store", f"{store}-one", "--workers", "0")
    )
    store = f"{store}-first"
    one_step(store)
    found["loss"] = Trip(tree).follow(lambda: one_step(store))
    tracking = f"sqlite:///{folder}/mlflow.db"
    run(
        *("pretrain", "--config", "pretrain/demo", "--store", store, "--output", checkpoint, "--steps", "2"),
        *("--tracking_uri", tracking),
    )
    score = [
        "finetune",
        "--config",
        "finetune/demo",
        "--store",
        store,
        "--checkpoint",
        checkpoint,
        "--mode",
        "[probe]",
    ]
    score += ["--tasks", "[cell_type]", "--tracking_uri", tracking, "--control_repeats", "2", "--bootstrap", "100"]
    run(*score, "--output", str(folder / "first"))
    found["score"] = Trip(tree).follow(lambda: run(*score, "--output", str(folder / "second")))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout of the repository")
    parser.add_argument("--side", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "design" / "trips.md")
    given = parser.parse_args()
    if given.side:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(side(given.side, Path(folder))))
        return
    if given.before is None:
        parser.error("--before is missing: name another checkout of the repository")
    found = {}
    for name, tree in (("before", given.before.resolve()), ("after", ROOT)):
        env = os.environ | {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, __file__, "--side", str(tree)]
        done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
    asked = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(asked, cwd=given.before, check=True, capture_output=True, text=True).stdout.strip()
    from foundation.common.output.pages import MarkdownPage  # the earlier checkout does not have it

    page = MarkdownPage("Three trips through the code")
    page.say(f"`python benchmarks/trips.py --before <{commit}>`. {TRIPS}")
    rows = []
    for trip, title in TITLES.items():
        for name in ("before", "after"):
            counts = found[name][trip]
            rows.append([title, name, *(f"{counts[key]:,}" for key in ("files", "calls", "moves", "depth"))])
    page.table(["trip", "", "files", "calls", "moves between files", "depth"], rows)
    page.write(given.output)
    print(given.output.read_text())


if __name__ == "__main__":
    main()
