"""Our sorter beside SpikeInterface's on recordings whose spikes are known; SpikeInterface compares them all.

    bash benchmarks/sorters/make_environment.sh
    python benchmarks/sorters/compare_sorters.py --out docs/benchmarks/sorters.md

Results are kept in results/sorting/sorters.jsonl and not made twice; recordings in benchmarks/sorters/.work.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from harness import Page

from foundation.common.files.jsonl_results import put_result, read_results
from foundation.common.files.locks import write_whole
from foundation.evaluation.confidence_intervals import mean_interval
from ingest.sorting.simulation.simulated_voltage import simulate_session
from ingest.sorting.simulation.simulated_voltage_settings import SessionSettings

HERE = Path(__file__).parent
THEIRS = HERE / ".venv" / "bin" / "python"  # made by make_environment.sh
RIVALS = ("simple", "tridesclous2", "spykingcircus2", "lupin", "mountainsort5", "kilosort4")
GOOD = "good"
OURS = ("ours, v3", f"ours, v3, {GOOD}", "ours, pca")
KINDS = {1: ("electrode", 6), 4: ("tetrode", 8), 32: ("probe", 20)}  # channels -> name, units
# where a recording comes from, what the page says of it, and what our simulator does besides
SOURCES = {
    "spikeinterface": ("SpikeInterface's simulation", {}),
    "ours": ("our simulation", {}),
    "drift": ("our simulation with amplitudes that drift by up to 30 %", {"drift": 0.3}),
    "bursts": ("our simulation with half of the units firing bursts", {"bursting": 0.5}),
}
KEY = ("source", "channels", "seed", "sorter")


def make_recording(source, channels, seed, seconds, work, theirs):
    file = work / f"{source}-{channels}ch-{seed}-{seconds}s.npz"
    kind, units = KINDS[channels]
    if file.is_file():
        return file
    if source == "spikeinterface":
        run(theirs, HERE / "spikeinterface_side.py", "record", file, channels, units, seconds, seed)
        return file
    settings = SessionSettings(seconds=seconds, electrodes=kind, min_snr=5.0, min_rate=1.0, max_rate=8.0,
                               **SOURCES[source][1])  # fmt: skip
    session = simulate_session(settings, units, [seed, channels])
    time_N = np.concatenate(session.times)
    order = np.argsort(time_N)
    unit_N = np.repeat(np.arange(units), [len(t) for t in session.times])[order]
    sample_N = np.rint(time_N[order] * session.sampling_rate).astype(np.int64)
    small = session.near_times  # of the multi-unit activity, which is not in the truth
    np.savez(file, x_TC=session.x_TC, rate=session.sampling_rate, positions_C2=session.positions_C2,
             sample_N=sample_N, unit_N=unit_N, small_sample_N=np.rint(np.concatenate(small) * session.sampling_rate),
             small_unit_N=np.repeat(np.arange(len(small)), [len(t) for t in small]))  # fmt: skip
    return file


def run(*words, timeout=3000):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1][:300])
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 4, 32])
    parser.add_argument("--sources", nargs="+", default=list(SOURCES), choices=SOURCES)
    parser.add_argument("--sorters", nargs="+", default=[*OURS, *RIVALS])
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/sorters.md"))
    parser.add_argument("--results", type=Path, default=Path("results/sorting/sorters.jsonl"))
    parser.add_argument("--work", type=Path, default=HERE / ".work")
    parser.add_argument("--python", type=Path, default=THEIRS, help="of SpikeInterface's environment")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    table = given.results
    versions = run(given.python, HERE / "spikeinterface_side.py", "versions").strip()
    kinds = [
        (source, channels, seed) for seed in given.seeds for channels in given.channels for source in given.sources
    ]
    for sorter in given.sorters:
        keys = [dict(zip(KEY, (*kind, sorter), strict=True)) for kind in kinds]
        done = read_results(table)
        todo = [key for key in keys if not any(all(r[k] == key[k] for k in KEY) for r in done)]
        recordings = [make_recording(key["source"], key["channels"], key["seed"], given.seconds, given.work,
                                     given.python) for key in todo]  # fmt: skip
        for key, found in zip(todo, measure(sorter, recordings, given.work, given.python), strict=False):
            print(key, found.get("accuracy", found), flush=True)
            put_result(table, key | {"length": given.seconds} | found, KEY)
            write_whole(given.out, page(read_results(table), versions).encode())
    write_whole(given.out, page(read_results(table), versions).encode())


def measure(sorter, recordings, work, theirs):
    """Yield the scores and the cost of a sorter on each recording, all in one process of the sorter."""
    if not recordings:
        return
    pairs = [word for file in recordings for word in (file, work / f"{file.stem}-{sorter.replace(', ', '-')}.npz")]
    side = HERE / "spikeinterface_side.py"
    if sorter in OURS:
        sort_ours(sorter, pairs)
        command = [theirs, side, "compare", *pairs]
    else:
        command = [theirs, side, "sort", sorter, *pairs]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as process:  # fmt: skip
        place = 0
        for line in process.stdout:
            if not line.startswith("RESULT "):
                continue
            found = json.loads(line.removeprefix("RESULT "))
            if sorter in OURS:
                with np.load(pairs[2 * place + 1], allow_pickle=False) as arrays:
                    found |= {name: float(arrays[name]) for name in ("seconds", "processor_seconds", "peak_mb")}
            place += 1
            yield found


def sort_ours(sorter, pairs):
    """Sort recordings with our sorter; of good units alone, take those of the sorting with all units."""
    recipe, good = sorter.split(", ")[1], sorter.endswith(GOOD)
    full = [str(word).replace(f"-{GOOD}.npz", ".npz") for word in pairs]
    todo = [k for k in range(0, len(pairs), 2) if not (good and Path(full[k + 1]).is_file())]
    if todo:
        run(sys.executable, HERE / "our_side.py", recipe, *(word for k in todo for word in full[k : k + 2]))
    for whole, out in zip(full[1::2], pairs[1::2], strict=True):
        if good:
            with np.load(whole, allow_pickle=False) as arrays:
                kept_N = arrays["good_N"]
                np.savez(
                    out, **{name: v[kept_N] if name in ("sample_N", "unit_N") else v for name, v in arrays.items()}
                )


def page(results, versions):
    made = Page("Sorters", "bash benchmarks/sorters/make_environment.sh\npython benchmarks/sorters/compare_sorters.py",
                ("neural-foundation", "numpy", "torch", "scikit-learn"))  # fmt: skip
    made.say(f"In the environment of the other sorters: {versions}.")
    made.say(
        "Our sorter and those that SpikeInterface runs on the CPU, each with its own defaults, in one process with one "
        "thread, on recordings with known spikes from `generate_ground_truth_recording` (SpikeInterface) and from our "
        "simulator. MountainSort 5 gets band-passed voltage and scheme 2 (1 on a single channel); Kilosort 4 is set "
        "to use the CPU. "
        "`compare_sorter_to_ground_truth` scores all of them. Accuracy, precision and recall are means over true "
        "units; a unit that no found unit matches counts 0. *Well detected*: accuracy of 0.8 or more. "
        "*False*: found units that match no true unit. Our simulator also has 20 small units, meant as multi-unit "
        "activity, which are not in the truth and count as false for every sorter. *Small*: false units that match one "
        "of these with an accuracy of 0.5 or more. They are correctly sorted neurons that the truth omits: on a probe "
        "the 20 are far apart, and the band-pass and the reference remove the background. *Good*: only the units that "
        "our sorter labels as single units. *Processor s* are seconds of one "
        "core; *wall s* is longer because the machine had other work. A sorter sorts all recordings in one process, in "
        "the order of these tables: compilation counts in its first recording (ours caches compiled code on disk), and "
        "memory is the peak of the process so far."
    )
    made.say(
        "Parameters of our sorter were chosen on recordings of other seeds (100 and up) than those below. The last "
        "column is the accuracy of our v3 minus that of the row, over units of recordings that both sorted, with a 95 "
        "% interval (bootstrap over units)."
    )
    made.say(
        "On one channel of our simulation our accuracy was 0.802 in an earlier version of this page, on the same two "
        "recordings. Three small units make the difference. One, found with an accuracy of 0.53, has a detectability "
        "of 5.8 and is left out since units below 6 are. Two, found with 0.72 and 0.64, lie so near to each other "
        "that the draw of background windows decides whether they are one unit: the earlier sorter joins them too for "
        "two of five seeds of that draw. A comparison apart from this command, on 40 other recordings (seeds 300 to "
        "339), gave a mean accuracy of 0.852 with the limit of detectability and of 0.861 with the earlier limit, an "
        "SNR of 4.5; 0.13 and 0.32 found units a recording agreed with no true unit. The limit stays."
    )
    made.say(
        "Kilosort 4 has been tried on one recording, our tetrode of seed 0, on the CPU, and failed: it collects "
        "windows of 61 samples to learn its waveforms from, and found none (the message is at the end). It has not "
        "been tried on the others. MountainSort 5 has not run on 32 channels, nor on tetrodes of seed 1. Neither they "
        "nor the other sorters have run on drift and bursts."
    )
    for source, (origin, _) in SOURCES.items():
        for channels, (kind, units) in KINDS.items():
            mine = [r for r in results if r["source"] == source and r["channels"] == channels]
            if not mine:
                continue
            seeds = ", ".join(str(seed) for seed in sorted({r["seed"] for r in mine}))
            many = "1 channel" if channels == 1 else f"{channels} channels"
            made.say(f"**{kind}, {many}, {units} units, {origin}**, {mine[0]['length']} s, "
                     f"seed {seeds}:")  # fmt: skip
            ours = [r for r in mine if r["sorter"] == OURS[0]]
            made.table(["", "accuracy", "precision", "recall", "well detected", "found", "false", "small",
                        "processor s", "wall s", "MB", "runs", "v3 less this"],
                       [row_of(s, [r for r in mine if r["sorter"] == s], ours) for s in (*OURS, *RIVALS)
                        if any(r["sorter"] == s for r in mine)])  # fmt: skip
            made.say(best_of(mine))
    failed = sorted({f"{r['sorter']} on {r['channels']} channels ({r['source']}): {r['failed']}" for r in results
                     if "failed" in r})  # fmt: skip
    if failed:
        made.say("Did not run:")
        made.items(failed)
    made.not_measured(["sorters on a GPU", "real recordings", "sorters tuned by their makers"])
    return made.text


def row_of(sorter, results, ours):
    done = [r for r in results if "failed" not in r]
    if not done:
        return [sorter, *["-"] * 12]

    def mean(name):
        return float(np.mean([r[name] for r in done]))

    shares = [f"{mean(name):.3f}" for name in ("accuracy", "precision", "recall")]
    units = done[0]["units"]
    small = f"{mean('small'):.1f}" if all("small" in r for r in done) else "-"
    return [sorter, *shares, f"{mean('well_detected'):.1f} of {units}", f"{mean('found'):.1f}", f"{mean('false'):.1f}",
            small,
            f"{mean('processor_seconds'):.1f}", f"{mean('seconds'):.1f}", f"{mean('peak_mb'):.0f}", len(done),
            gain_of(done, ours)]  # fmt: skip


def best_of(results):
    """Return a sentence on the highest mean accuracy over all recordings, and on the sorters that have not run."""
    found = {s: [r["accuracy"] for r in results if r["sorter"] == s and "failed" not in r] for s in (*OURS, *RIVALS)}
    most = max(len(accuracies) for accuracies in found.values())
    mean = {s: np.mean(accuracies) for s, accuracies in found.items() if len(accuracies) == most}
    best = max(mean, key=mean.get)
    text = f"Highest accuracy: {best}, {mean[best]:.3f}." if set(mean) - set(OURS) else "No other sorter has run yet."
    if fewer := [s for s, accuracies in found.items() if 0 < len(accuracies) < most]:
        text += f" Not compared, with fewer runs: {', '.join(fewer)}."
    absent = [s for s in RIVALS if not any(r["sorter"] == s for r in results)]
    return text + (f" Not run: {', '.join(absent)}." if absent else "")


def gain_of(theirs, ours):
    """Return the mean accuracy of our units less that of theirs, with its interval."""
    by_seed = {r["seed"]: r["accuracy_U"] for r in ours if "failed" not in r}
    gain = [np.subtract(by_seed[r["seed"]], r["accuracy_U"]) for r in theirs if r["seed"] in by_seed]
    if not gain or theirs[0]["sorter"] == OURS[0]:
        return "-"
    gain = np.concatenate(gain)
    low, high = mean_interval(gain)
    return f"{gain.mean():+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()
