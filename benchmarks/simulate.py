"""The simulation of Izhikevich networks: seconds of one core for a network, its making and its input.

    python benchmarks/simulate.py                 # writes docs/benchmarks/simulate.md
    python benchmarks/simulate.py --rounds 1 --page /tmp/page.md

Needs `pip install -e '.[ingest]'`.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import one_thread  # noqa: F401  (before NumPy)
from harness import Page

from ingest.simulate import SimulateSettings
from ingest.simulate.simulated_network import MODES, make_network
from ingest.simulate.simulated_session import integrate, make_session

TARGET = 60.0  # seconds of one core for 2,000 neurons and 10 minutes
CASES = ((500, 60.0, 10), (2000, 60.0, 10), (2000, 600.0, 10), (2000, 600.0, 20))
WHAT = """A step is 1 ms; the voltage is integrated in two half steps. *Core seconds* are processor time of the whole
process while a network is drawn, its session is made, and it is integrated; compilation is excluded (it is measured
separately below). Figures are medians over rounds ({rounds})."""


def once(neurons: int, seconds: float, synapses: int) -> dict[str, Any]:
    """Return processor and wall seconds of each part, and the spikes."""
    settings = SimulateSettings("x", neurons=neurons, seconds=seconds, synapses=synapses)
    rng = np.random.default_rng(0)
    marks = [(time.process_time(), time.perf_counter())]

    def mark() -> None:
        marks.append((time.process_time(), time.perf_counter()))

    network = make_network(settings, rng)
    mark()
    session = make_session(settings, rng)
    mark()
    trains = integrate(network, session, rng)
    mark()
    core, wall = np.diff(np.array(marks), axis=0).T
    rate = {mode: np.mean([len(trains[n]) for n in np.flatnonzero(network.mode_N == k)]) / seconds
            for k, mode in enumerate(MODES)}  # fmt: skip
    return {"core": core, "wall": wall, "spikes": sum(map(len, trains)), "rate": rate}


def fill(page: Page, rounds: int) -> None:
    began = time.process_time()
    once(10, 1.0, 5)
    compiling = time.process_time() - began
    rows, verdicts = [], []
    for neurons, seconds, synapses in CASES:
        runs = [once(neurons, seconds, synapses) for _ in range(rounds)]
        core = np.median([r["core"] for r in runs], axis=0)
        wall = float(np.median([r["wall"].sum() for r in runs]))
        updates = neurons * seconds * 1000 / core[2] / 1e6
        rows.append(
            [neurons, f"{seconds:g}", synapses, *(round(float(c), 2) for c in core), float(core.sum()), wall, updates]
        )
        if (neurons, seconds) == (2000, 600.0):
            verdict = "holds" if max(r["core"].sum() for r in runs) < TARGET else "does not hold"
            verdicts.append(f"{synapses} synapses: {core.sum():.1f} s, {verdict} in every round")
        rate = runs[0]["rate"]
    head = ["neurons", "s", "synapses", "network", "session", "integration", "core s", "wall s", "million updates/s"]
    page.table(head, rows)
    page.say(f"2,000 neurons and 10 minutes in less than {TARGET:g} s of one core: {'; '.join(verdicts)}.")
    page.say(f"Compilation takes {compiling:.1f} s of one core, once per process.")
    page.say("Spikes a second in the last case: " + ", ".join(f"{mode} {value:.1f}" for mode, value in rate.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", default="docs/benchmarks/simulate.md", help="where the page goes")
    arguments = parser.parse_args()
    page = Page("Simulated networks", f"python benchmarks/simulate.py --rounds {arguments.rounds}", ("numpy", "numba"))
    page.say(WHAT.format(rounds=arguments.rounds))
    fill(page, arguments.rounds)
    page.not_measured(["writing NWB files", "several networks at once", "memory", "other processors"])
    page.write(arguments.page)


if __name__ == "__main__":
    main()
