"""Spike sorting: how late a label comes online and what it costs in accuracy, and what offline sorting costs.

    python benchmarks/sorting_latency.py                  # writes docs/benchmarks/sorting.md
    chrt -f 1 python benchmarks/sorting_latency.py        # on a machine with other work

Needs `pip install -e '.[sorting]'`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import one_thread  # noqa: F401  (before NumPy)
from harness import Page

from foundation.common.files.jsonl_results import put_result, read_results
from foundation.common.output.pictures import COLOURS, drawing
from ingest.sorting.online import OnlineSorter
from ingest.sorting.sort_settings import SortSettings
from ingest.sorting.sorted_units import Sorting
from ingest.sorting.sorting_run import sort_voltage
from ingest.sorting.voltage.voltage import ArrayVoltage, Channels, Scale

RATE, GAIN, NOISE = 24_000.0, 0.5, 10.0  # Hz, µV of a step, µV of white noise
TARGET = 0.005  # seconds from a spike's peak to its label
WITHIN = 0.0005  # seconds between a true and a found spike
LEARNED, LIVE = 60.0, 60.0
BLOCKS = (12, 24, 48)  # samples that arrive at a time
DURATIONS, CHANNELS = (60, 240, 960, 3600), (8, 32, 128, 384)
PROBE, PROBE_DURATIONS = 384, (5, 10, 20, 40)
SECONDS = 20
PIECE = 10.0  # seconds that are simulated at a time
WHAT = """Simulated units of a parametric family (a trough and a hump, amplitudes of 6 to 15 times the noise, 3 to 10
Hz, no interval below 3 ms) over white noise, int16 at 24 kHz: a unit for each channel of an electrode or a tetrode, one
for every four channels of a probe (two columns, 20 µm apart, a row each 40 µm). Recipe {recipe}. One process, one
thread."""
LATE = """A block is complete when its last sample has been recorded. Work on it begins when the previous block is
finished, and its labels are out when that work ends; work is counted in processor time of one core. *Latency* is from
the moment of a spike's peak to its label; *wait* is the voltage after the peak that a label needs. Garbage collection
is off during the measurement.
The units were learned from {learned:g} s, and {live:g} s came live. Accuracy is hits / (hits + misses + false spikes),
the mean of the units; *offline* sorts the live stretch by itself, with access to later spikes."""
COST = """Each case is a process of its own. *Processor s* is its time from the open file to the units, without
compiling; *peak MB* is the most that the process held, {base:.0f} MB of it before sorting begins. Cases were measured
at different times while the machine had other work, and processor time rises with it, as processors share caches."""
ALT = "Processor time and memory against seconds of a tetrode and of a probe, and against channels."


@dataclass(frozen=True)
class Case:
    """A recording to simulate: seconds, channels, and a seed."""

    seconds: float
    channels: int
    seed: int = 0

    @property
    def layout(self) -> Channels:
        """A tetrode up to four channels, else a probe of two columns."""
        if self.channels <= 4:
            return Channels.unknown(self.channels)
        channel_C = np.arange(self.channels)
        positions_C2 = np.stack([20.0 * (channel_C % 2), 40.0 * (channel_C // 2)], axis=1)
        return Channels(channel_C.astype(str), positions_C2, np.full(self.channels, "0"))


def waveform(unit: int) -> np.ndarray:
    """Return a trough of 1 at 1 ms and a hump after it; 3 ms."""
    t = np.arange(int(0.003 * RATE)) / RATE - 0.001
    width, after = 0.00008 + 0.00002 * (unit % 5), 0.2 + 0.15 * (unit % 4)
    return -np.exp(-0.5 * (t / width) ** 2) + after * np.exp(-0.5 * ((t - 3 * width) / (1.5 * width)) ** 2)


def simulate(case: Case, path: Path) -> list[np.ndarray]:
    """Write a recording piece by piece; return the samples of each unit's peaks."""
    rng, drawn = np.random.default_rng(case.seed), np.random.default_rng(case.seed + 1000)  # of spikes, and of units
    n_samples = int(case.seconds * RATE)
    n_units = case.channels if case.channels <= 4 else case.channels // 4
    places = case.layout.positions_C2
    trains, sizes = [], []
    for unit in range(n_units):
        rate, size = drawn.uniform(3, 10), NOISE * drawn.uniform(6, 15)
        gaps = 0.003 + rng.exponential(1 / rate - 0.003, int(case.seconds * rate * 1.3) + 50)
        train = (np.cumsum(gaps) * RATE).astype(int)
        trains.append(train[(train > 300) & (train < n_samples - 300)])
        if case.layout.known:
            centre = places[drawn.integers(case.channels)] + drawn.normal(0, 5, 2)
            sizes.append(size * np.exp(-((np.hypot(*(places - centre).T) / 30.0) ** 2)))
        else:
            share_C = drawn.uniform(0.1, 0.7, case.channels)
            share_C[unit % case.channels] = 1.0
            sizes.append(size * share_C)
    step = int(PIECE * RATE)
    with open(path, "wb") as file:
        for start in range(0, n_samples, step):
            stop = min(start + step, n_samples)
            x_TC = rng.normal(0, NOISE, (stop - start, case.channels)).astype(np.float32)
            for unit, train in enumerate(trains):
                wave = waveform(unit)
                for sample in train[(train > start - 100) & (train < stop + 100)]:
                    first = sample - int(0.001 * RATE) - start
                    low, high = max(first, 0), min(first + len(wave), stop - start)
                    if low < high:
                        x_TC[low:high] += wave[low - first : high - first, None] * sizes[unit]
            np.round(x_TC / GAIN).astype("<i2").tofile(file)
    return trains


def opened(path: Path, case: Case) -> ArrayVoltage:
    stored_TC = np.memmap(path, "<i2", "r").reshape(-1, case.channels)
    return ArrayVoltage(stored_TC, RATE, case.layout, Scale(GAIN), path=str(path))


def hits(found: np.ndarray, true: np.ndarray) -> int:
    """Count the true times with a matching found time nearby."""
    if not len(found):
        return 0
    k = np.clip(np.searchsorted(found, true), 0, len(found) - 1)
    before = np.maximum(k - 1, 0)
    nearest = np.where(np.abs(found[k] - true) < np.abs(found[before] - true), k, before)
    return len(np.unique(nearest[np.abs(found[nearest] - true) <= WITHIN]))


def accuracy(trains: list[np.ndarray], found: list[np.ndarray]) -> float:
    """Return the mean over true units of hits / (hits + misses + false spikes), each with the best unit found."""
    scores = []
    for true in trains:
        pairs = [(hits(one, true), len(one)) for one in found]
        scores.append(max((h / (len(true) + n - h) for h, n in pairs), default=0.0))
    return float(np.mean(scores))


def by_unit(sorting: Sorting) -> list[np.ndarray]:
    return [sorting.train(unit) for unit in range(sorting.n_units)]


def live(sorter: OnlineSorter, voltage: ArrayVoltage, first: int, block: int) -> dict[str, Any]:
    """Feed the rest of a recording; return spikes, seconds from peak to label, and processor seconds per block."""
    now = 0.0  # seconds since the live part began, at which the sorter is free
    spent, late, times, units = [], [], [], []
    gc.collect()
    gc.disable()
    for start in range(first, voltage.n_samples - block + 1, block):
        raw_TC = voltage.read(start, start + block)
        began = time.thread_time()
        spikes = sorter.feed(raw_TC)
        took = time.thread_time() - began
        now = max(now, (start + block - first) / RATE) + took
        spent.append(took)
        late += (now - spikes.time_N).tolist()
        times.append(spikes.time_N)
        units.append(spikes.unit_N)
    gc.enable()
    parts = {"spent": spent, "late": late, "time": np.concatenate(times), "unit": np.concatenate(units)}
    return {name: np.asarray(values) for name, values in parts.items()}


def idle(seconds: float, block: int) -> float:
    """Return how late a loop wakes up at worst that does nothing with its blocks: what the machine adds."""
    begin, worst = time.perf_counter(), 0.0
    for k in range(1, int(seconds * RATE / block)):
        due = begin + k * block / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        worst = max(worst, time.perf_counter() - due)
    return worst


def online(page: Page, recipe: str, folder: Path) -> None:
    rows, holds, most, longest = [], [], [], 0.0
    for channels in (1, 4):
        case = Case(LEARNED + LIVE, channels, seed=channels)
        path = folder / f"online-{channels}.raw"
        trains = simulate(case, path)
        voltage = opened(path, case)
        first = int(LEARNED * RATE)
        before = ArrayVoltage(voltage._stored_TC[:first], RATE, case.layout, Scale(GAIN), path=str(path))
        after = ArrayVoltage(voltage._stored_TC[first:], RATE, case.layout, Scale(GAIN), path=str(path))
        settings = SortSettings(recipe=recipe)
        sorting = sort_voltage(before, settings)
        true = [(train[train >= first] - first) / RATE for train in trains]
        offline = accuracy(true, by_unit(sort_voltage(after, settings)))
        for block in BLOCKS:
            sorter = OnlineSorter.learn(before, sorting, settings)
            live(sorter, opened(path, case), voltage.n_samples - int(RATE), block)  # compiled and warm
            sorter = OnlineSorter.learn(before, sorting, settings)
            done = live(sorter, voltage, first, block)
            found = [np.sort(done["time"][done["unit"] == unit]) for unit in range(sorting.n_units)]
            late = 1e3 * done["late"]
            holds.append(late.max() <= 1e3 * TARGET)
            most.append(np.percentile(late, 99) <= 1e3 * TARGET)
            longest = max(longest, 1e3 * done["spent"].max())
            rows.append(
                [
                    "electrode" if channels == 1 else "tetrode",
                    f"{1e3 * block / RATE:g}",
                    len(late),
                    f"{1e3 * sorter.wait:.2f}",
                    *(f"{v:.2f}" for v in (np.median(late), np.percentile(late, 99), late.max())),
                    f"{1e3 * np.median(done['spent']):.2f}",
                    f"{done['spent'].sum() / LIVE:.0%}",
                    f"{accuracy(true, found):.3f}",
                    f"{offline:.3f}",
                ]
            )
    page.heading("Online")
    page.say(LATE.format(learned=LEARNED, live=LIVE))
    head = ["", "block ms", "spikes", "wait ms", "median ms", "99 % ms", "worst ms", "work a block ms", "of one core"]
    page.table([*head, "accuracy online", "offline"], rows, right=10)
    page.say(
        f"Every label within {1e3 * TARGET:g} ms of its peak: "
        + ("holds in every row." if all(holds) else f"holds in {sum(holds)} of {len(holds)} rows.")
        + f" 99 % of the labels: holds in {sum(most)} of {len(most)} rows.",
        f"The longest that one block took was {longest:.2f} ms. By the wall clock a label can be later: an empty loop "
        f"over blocks of 1 ms woke up {1e3 * idle(10.0, 24):.2f} ms late at worst in 10 s on this machine, which is "
        "shared.",
    )


def peak_mb() -> float:
    """Most memory that this process held since it began; `getrusage` would count its parent's before the start."""
    if not Path("/proc/self/status").is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    words = Path("/proc/self/status").read_text().split()
    return int(words[words.index("VmHWM:") + 1]) / 1024


def child(case: Case, path: Path, recipe: str) -> None:
    """Sort one recording, and print what it cost as JSON."""
    small = ArrayVoltage(np.random.default_rng(0).normal(0, 10, (60_000, 4)), RATE)
    sort_voltage(small, SortSettings(recipe="pca"))  # compiles
    base = peak_mb()
    cpu, wall = time.process_time(), time.perf_counter()
    sorting = sort_voltage(opened(path, case), SortSettings(recipe=recipe))
    cost = {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "peak": peak_mb(),
        "base": base,
        "units": sorting.n_units,
        "spikes": len(sorting),
        "trains": [train.tolist() for train in by_unit(sorting)],
    }
    print(json.dumps(cost))


def measured(case: Case, recipe: str, folder: Path) -> dict[str, Any]:
    path = folder / f"{case.seconds:g}-{case.channels}.raw"
    trains = simulate(case, path)
    words = [sys.executable, __file__, "--child", json.dumps([case.seconds, case.channels]), str(path), recipe]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    cost = json.loads(done.stdout.splitlines()[-1])
    found = [np.array(train) for train in cost["trains"]]
    path.unlink()
    return {**cost, "true": len(trains), "accuracy": accuracy([train / RATE for train in trains], found)}


def straight(x: list[float], y: list[float]) -> str:
    """Fit a line to figures; return it and their distance from it."""
    slope, start = np.polyfit(x, y, 1)
    away = np.abs(np.array(y) - (start + slope * np.array(x))) / np.array(y)
    r2 = 1 - np.var(np.array(y) - (start + slope * np.array(x))) / max(np.var(y), 1e-12)
    return f"{start:.2f} s + {slope:.4f} s for each, R2 {r2:.4f}, every figure within {away.max():.0%} of the line"


def costs(cases: list[Case], recipe: str, folder: Path, results: Path) -> list[dict[str, Any]]:
    """Return the cost of each case: the kept result, or a new one, which is kept."""
    found = []
    for case in cases:
        key = {"seconds": case.seconds, "channels": case.channels, "recipe": recipe}
        kept = [one for one in read_results(results) if all(one.get(name) == value for name, value in key.items())]
        if not kept:
            made = measured(case, recipe, folder)
            made.pop("trains")
            kept = [key | made | {"load": os.getloadavg()[0]}]
            put_result(results, kept[0], tuple(key))
            print(key, f"{made['cpu']:.1f} s, {made['peak']:.0f} MB", flush=True)
        found.append(kept[0])
    return found


def cost(page: Page, recipe: str, folder: Path, results: Path, picture: Path) -> None:
    head = ["seconds", "channels", "processor s", "wall s", "recorded s a processor s", "peak MB", "spikes", "units"]
    kinds = {
        "Seconds of a tetrode": [Case(s, 4) for s in DURATIONS],
        f"Seconds of a probe of {PROBE} channels": [Case(s, PROBE) for s in PROBE_DURATIONS],
        f"Channels of a probe, {SECONDS} s": [Case(SECONDS, c) for c in CHANNELS],
    }
    done = {title: costs(cases, recipe, folder, results) for title, cases in kinds.items()}
    page.heading("Cost")
    base = float(np.mean([one["base"] for ones in done.values() for one in ones]))
    page.say(COST.format(base=base), f"![{ALT}]({picture.name})")
    for title, ones in done.items():
        page.heading(title, 3)
        rows = [
            [
                f"{one['seconds']:,.0f}",
                one["channels"],
                f"{one['cpu']:.1f}",
                f"{one['wall']:.1f}",
                f"{one['seconds'] / one['cpu']:.2g}",
                f"{one['peak']:,.0f}",
                one["spikes"],
                f"{one['units']} of {one['true']}",
                f"{one['accuracy']:.3f}",
            ]
            for one in ones
        ]
        page.table([*head, "accuracy"], rows, right=9)
        what = [float(one["seconds" if "Seconds" in title else "channels"]) for one in ones]
        page.say(f"Processor time fits a straight line: {straight(what, [one['cpu'] for one in ones])}.")
    draw(done, picture)


def draw(done: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """Draw processor seconds and memory against seconds and channels."""
    with drawing(10.5, 5.0) as sheet:
        grid = sheet.figure.subplots(2, len(done))
        for column, (title, ones) in enumerate(done.items()):
            name = "seconds" if "Seconds" in title else "channels"
            x_K = np.array([float(one[name]) for one in ones])
            for row, (value, label) in enumerate((("cpu", "processor s"), ("peak", "peak MB"))):
                axes = grid[row, column]
                y_K = np.array([one[value] for one in ones])
                axes.plot(x_K, y_K, "o", color=COLOURS[row])
                if value == "cpu":
                    axes.plot(x_K, np.polyval(np.polyfit(x_K, y_K, 1), x_K), color=COLOURS[row], lw=1.0)
                    axes.set_title(title, fontsize=9, loc="left")
                axes.set_ylim(0, 1.15 * y_K.max())
                axes.set_xlim(0, 1.05 * x_K.max())
                axes.set_xlabel(name)
                axes.set_ylabel(label)
    path.write_bytes(sheet.content)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        child(Case(*json.loads(sys.argv[2])), Path(sys.argv[3]), sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="v3")
    parser.add_argument("--page", default="docs/benchmarks/sorting.md", help="where the page goes")
    parser.add_argument("--results", default="results/sorting/cost.jsonl", help="costs; kept ones are not made again")
    parser.add_argument("--keep-online", action="store_true", help="keep the page's section on labels online")
    parser.add_argument("--only", type=int, nargs=2, help="measure one case: seconds and channels")
    arguments = parser.parse_args()
    if arguments.only:
        with tempfile.TemporaryDirectory() as place:
            costs([Case(*arguments.only)], arguments.recipe, Path(place), Path(arguments.results))
        return
    command = f"python benchmarks/sorting_latency.py --recipe {arguments.recipe}"
    page = Page("Spike sorting", command, ("numpy", "scipy", "scikit-learn", "numba"))
    page.say(WHAT.format(recipe=arguments.recipe))
    with tempfile.TemporaryDirectory() as place:
        if arguments.keep_online:
            text = Path(arguments.page).read_text()
            page.parts.append(text[text.index("## Online") : text.index("## Cost")].strip())
        else:
            online(page, arguments.recipe, Path(place))
        picture = Path(arguments.page).with_name("sorting-cost.png")
        cost(page, arguments.recipe, Path(place), Path(arguments.results), picture)
    page.not_measured(
        [
            "real voltage: background of distant neurons, drift, bursts",
            "reading from an amplifier, and wall-clock latency on an idle machine",
            "other sorters, and other processors",
            "hours of a probe of 384 channels",
        ]
    )
    page.write(arguments.page)


if __name__ == "__main__":
    main()
