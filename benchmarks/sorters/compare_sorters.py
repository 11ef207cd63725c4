"""Our sorter beside SpikeInterface's on recordings whose spikes are known; SpikeInterface compares them all.

    bash benchmarks/sorters/make_environment.sh
    python benchmarks/sorters/compare_sorters.py --seconds 120 --out docs/benchmarks/sorters.md

Results are kept in benchmarks/sorters/.work and not made twice.
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
from ingest.sorting.simulation.simulated_voltage import simulate_session
from ingest.sorting.simulation.simulated_voltage_settings import SessionSettings

HERE = Path(__file__).parent
THEIRS = HERE / ".venv" / "bin" / "python"  # made by make_environment.sh
RIVALS = ("simple", "tridesclous2", "spykingcircus2", "lupin", "mountainsort5")
OURS = ("ours, v3", "ours, pca")
KINDS = {1: ("electrode", 6), 4: ("tetrode", 8), 32: ("probe", 20)}  # channels -> name, units
KEY = ("source", "channels", "seed", "sorter")


def make_recording(source, channels, seed, seconds, work, theirs):
    file = work / f"{source}-{channels}ch-{seed}-{seconds}s.npz"
    kind, units = KINDS[channels]
    if file.is_file():
        return file
    if source == "spikeinterface":
        run(theirs, HERE / "spikeinterface_side.py", "record", file, channels, units, seconds, seed)
        return file
    settings = SessionSettings(seconds=seconds, electrodes=kind, min_snr=5.0, min_rate=1.0, max_rate=8.0)
    session = simulate_session(settings, units, [seed, channels])
    time_N = np.concatenate(session.times)
    order = np.argsort(time_N)
    unit_N = np.repeat(np.arange(units), [len(t) for t in session.times])[order]
    sample_N = np.rint(time_N[order] * session.sampling_rate).astype(np.int64)
    np.savez(file, x_TC=session.x_TC, rate=session.sampling_rate, positions_C2=session.positions_C2,
             sample_N=sample_N, unit_N=unit_N)  # fmt: skip
    return file


def sort(sorter, recording, out, theirs):
    if sorter in OURS:
        run(sys.executable, HERE / "our_side.py", sorter.split()[-1], recording, out)
    else:
        run(theirs, HERE / "spikeinterface_side.py", "sort", sorter, recording, out)


def run(*words, timeout=900):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1][:300])
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--channels", type=int, nargs="+", default=[1, 4, 32])
    parser.add_argument("--sorters", nargs="+", default=[*OURS, *RIVALS])
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/sorters.md"))
    parser.add_argument("--work", type=Path, default=HERE / ".work")
    parser.add_argument("--python", type=Path, default=THEIRS, help="of SpikeInterface's environment")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    table = given.work / "sorters.jsonl"
    for seed in given.seeds:
        for channels in given.channels:
            for source in ("spikeinterface", "ours"):
                recording = make_recording(source, channels, seed, given.seconds, given.work, given.python)
                for sorter in given.sorters:
                    key = {"source": source, "channels": channels, "seed": seed, "sorter": sorter}
                    if any(all(r[k] == key[k] for k in KEY) for r in read_results(table)):
                        continue
                    put_result(
                        table,
                        key | {"length": given.seconds} | measure(sorter, recording, given.work, given.python),
                        KEY,
                    )
                    write_whole(given.out, page(read_results(table)).encode())


def measure(sorter, recording, work, theirs):
    out = work / "sorting.npz"
    try:
        sort(sorter, recording, out, theirs)
        with np.load(out, allow_pickle=False) as arrays:
            cost = {"seconds": float(arrays["seconds"]), "peak_mb": float(arrays["peak_mb"])}
        found = json.loads(run(theirs, HERE / "spikeinterface_side.py", "compare", recording, out))
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        print(sorter, recording.name, "failed:", error, flush=True)
        return {"failed": str(error)[:200]}
    print(f"{recording.name} {sorter}: accuracy {found['accuracy']:.3f}, {cost['seconds']:.1f} s", flush=True)
    return found | cost


def page(results):
    made = Page("Sorters", "bash benchmarks/sorters/make_environment.sh\npython benchmarks/sorters/compare_sorters.py",
                ("neural-foundation", "numpy", "torch", "scikit-learn"))  # fmt: skip
    made.say(
        "Our sorter beside those that SpikeInterface 0.105 runs on the CPU, each with its own defaults and one "
        "process, on recordings whose spikes are known: of `generate_ground_truth_recording` (SpikeInterface) and of "
        "our simulator. "
        "`compare_sorter_to_ground_truth` scores all of them: means over true units, a unit counting 0 where no found "
        "unit agrees with it. Well detected: accuracy of 0.8 or more. False: found units that agree with none. Seconds "
        "include the start of a process's compiled code; memory is the peak of the process."
    )
    for source in ("spikeinterface", "ours"):
        for channels, (kind, units) in KINDS.items():
            mine = [r for r in results if r["source"] == source and r["channels"] == channels]
            if not mine:
                continue
            origin = "SpikeInterface's" if source == "spikeinterface" else "our"
            seeds = sorted({r["seed"] for r in mine})
            made.say(f"**{kind}, {units} units, {origin} simulation**, {mine[0]['length']} s, seeds {seeds}:")
            made.table(["", "accuracy", "precision", "recall", "well detected", "found", "false", "seconds", "MB",
                        "runs"],
                       [row_of(s, [r for r in mine if r["sorter"] == s]) for s in (*OURS, *RIVALS)
                        if any(r["sorter"] == s for r in mine)])  # fmt: skip
    failed = sorted({f"{r['sorter']} on {r['channels']} channels ({r['source']}): {r['failed']}" for r in results
                     if "failed" in r})  # fmt: skip
    if failed:
        made.say("Did not run:")
        made.items(failed)
    made.not_measured(
        ["Kilosort 4, which wants a GPU.", "Real recordings.", "Drift.", "Sorters tuned by their makers."]
    )
    return made.text


def row_of(sorter, results):
    done = [r for r in results if "failed" not in r]
    if not done:
        return [sorter, *["-"] * 9]

    def mean(name):
        return float(np.mean([r[name] for r in done]))

    shares = [f"{mean(name):.3f}" for name in ("accuracy", "precision", "recall")]
    units = done[0]["units"]
    return [sorter, *shares, f"{mean('well_detected'):.1f} of {units}", f"{mean('found'):.1f}", f"{mean('false'):.1f}",
            f"{mean('seconds'):.1f}", f"{mean('peak_mb'):.0f}", len(done)]  # fmt: skip


if __name__ == "__main__":
    main()
