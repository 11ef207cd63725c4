"""What it takes a process to know and draw its windows of a training step: writes docs/benchmarks/drawing.md.

python benchmarks/drawing.py
python benchmarks/drawing.py --rounds 3 --page /tmp/page.md
"""

from __future__ import annotations

import one_thread  # noqa: F401

# isort: split
import argparse
import tempfile
from dataclasses import replace

import numpy as np
from harness import Page, in_turns, ratio_of

from foundation.data import DataSettings, StepPlan, ViewSpec
from foundation.store import Catalog, Interval, Recording, Source, Spikes, Store, Subject, Units, write_recording

WORLDS = (8, 64, 1024)
RECORDINGS = 10**6
WINDOWS = 27  # of each process, about as many as 65,536 tokens of it give
UNITS = 64


def plan_for(world: int) -> StepPlan:
    """Return a plan over a store of one recording, with a step's windows for this many processes."""
    store = Store(tempfile.mkdtemp() + "/store", create=True)
    trains = [np.arange(0.5, 600, 50.0)] * 163
    recording = Recording(
        Source("a.nwb", "00"),
        Subject("m"),
        "s",
        Units(163),
        Interval.single(0.0, 600.0),
        spikes=Spikes.from_trains(trains),
    )
    write_recording(store, recording)
    spec = ViewSpec(views=2, min_tokens=8, max_tokens=32)
    budget = world * WINDOWS * UNITS * 40
    settings = DataSettings(bin_widths=[0.005, 0.025], tokens_per_step=budget, min_windows=world, max_units=UNITS)
    return StepPlan(Catalog.build(store), settings, spec, bins_per_token=20, seed=0)


def widened(plan: StepPlan) -> None:
    """Let the plan's outlines cover 10^6 recordings of unequal weights (which are in no catalog)."""
    rng = np.random.default_rng(0)
    cumulative_R = np.cumsum(rng.uniform(0.5, 2.0, RECORDINGS))
    one = plan.outline
    plan.outline = replace(
        one,
        cumulative_R=cumulative_R / cumulative_R[-1],
        units_R=np.repeat(one.units_R, RECORDINGS),
        fits_RW=np.repeat(one.fits_RW, RECORDINGS, axis=0),
        longest_RW=np.repeat(one.longest_RW, RECORDINGS, axis=0),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--page", default="docs/benchmarks/drawing.md")
    args = parser.parse_args()
    page = Page("Drawing the windows of a step", "python benchmarks/drawing.py", ["numpy"])
    page.say(
        "Every process must know which windows of a step are its own, and draw those. *Outline*: recording, bin width "
        f"and lengths of all windows of the step, over {RECORDINGS:,} recordings, and the process of each window. "
        "*Own*: starts and units of a process's own windows. *All*: drawing the windows of all processes completely. "
        f"One thread, medians of {args.rounds} rounds in turns; the catalog has been read before."
    )
    rows = []
    for world in WORLDS:
        plan = plan_for(world)
        narrow, numbers = plan.share(0, 0, world)
        everything = np.arange(len(narrow))
        plan.draw(0, narrow, numbers)
        drawn = {
            "own": lambda p=plan, o=narrow, n=numbers: p.draw(0, o, n),
            "all": lambda p=plan, o=narrow, n=everything: p.draw(0, o, n),
        }
        times = in_turns(drawn, rounds=args.rounds)
        widened(plan)
        times |= in_turns({"outline": lambda p=plan, w=world: p.share(0, 0, w)}, rounds=args.rounds)
        ratio = ratio_of(times["all"], times["outline"] + times["own"])
        ms = {name: float(np.median(values)) * 1e3 for name, values in times.items()}
        each = ms["outline"] / len(narrow) * 1e3
        rows.append([world, len(narrow), ms["outline"], each, ms["own"], ms["all"], str(ratio)])
    head = ["processes", "windows", "outline, ms", "outline, µs a window", "own, ms", "all, ms", "times faster (95 %)"]
    page.table(head, rows)
    page.not_measured(["the time to build the plan, and the memory of a catalog of 10^6 records"])
    page.write(args.page)


if __name__ == "__main__":
    main()
