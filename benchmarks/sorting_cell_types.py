"""How much of a cell-type head's score survives spike sorting, on simulated networks with voltage made from them.

    python benchmarks/sorting_cell_types.py
    foundation reproduce sorting --config reproduce/sorting    # writes the page

Neurons of Izhikevich networks are dealt to tetrodes, their spikes become voltage, and the voltage is sorted. Three
stores hold the same recordings: the true trains of all neurons, the true trains of those that the sorter found, and
what the sorter found of them. `foundation finetune` scores the cell type from each store. Sorted tetrodes and results
are kept, so the command continues where it was stopped.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from foundation.common.files.jsonl_results import put_result, read_results
from foundation.store import Catalog, Spikes, Store, Units, write_recording
from ingest.sorting.simulation.simulated_voltage import simulate_session
from ingest.sorting.simulation.simulated_voltage_settings import SessionSettings
from ingest.sorting.sort_settings import SortSettings
from ingest.sorting.sorting_run import sort_voltage
from ingest.sorting.sorting_score import match_times, score_sorting
from ingest.sorting.voltage.voltage import ArrayVoltage, Channels

TETRODE = 4  # channels
FOUND = 0.5  # accuracy from which on a neuron counts as found
STORES = ("true", "kept", "sorted")
FOUNDATION = str(Path(sys.executable).with_name("foundation"))
KEY = ("store", "networks", "seconds", "each", "seed")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--neurons", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--each", type=int, default=8, help="neurons of a tetrode")
    parser.add_argument("--min-snr", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", default="eit-tiny")
    parser.add_argument("--work", type=Path, default=Path("runs/sorting-cell-types"))
    parser.add_argument("--results", type=Path, default=Path("results/sorting/cell_types.jsonl"))
    given = parser.parse_args()
    work = given.work / f"{given.networks}x{given.neurons}-{given.seconds:g}s-{given.each}-{given.seed}"
    files, true = work / "nwb", work / "true"
    if not true.is_dir():
        foundation("simulate", "izhikevich", "--output", files, "--networks", given.networks, "--neurons",
                   given.neurons, "--seconds", given.seconds, "--seed", given.seed, "--drive_shift", 0,
                   "--wake", 20, "--nrem", 12, "--rem", 8)  # fmt: skip
        foundation("ingest", "--input", files, "--store", true)
    about = write_stores(given, work, true)
    for name in STORES:
        key = {
            "store": name,
            "networks": given.networks,
            "seconds": given.seconds,
            "each": given.each,
            "seed": given.seed,
        }
        if any(all(r[k] == key[k] for k in KEY) for r in read_results(given.results)):
            continue
        out = work / f"finetuned-{name}"
        foundation("finetune", "--checkpoint", given.checkpoint, "--store", work / name, "--output", out, "--tasks",
                   "[cell_type]", "--modes", "[probe]", "--heads", "false", "--folds", min(given.networks, 7),
                   "--windows.unit_token", 5.0, "--windows.unit_tokens", 6, "--windows.unit_windows", 16)  # fmt: skip
        found = json.loads(next(out.rglob("probe.json")).read_text())
        put_result(given.results, key | about | scores_of(found), KEY)
        print(name, scores_of(found), flush=True)


def foundation(*words):
    done = subprocess.run([FOUNDATION, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"foundation {words[0]}: {done.stderr.strip()[-600:]}")


def write_stores(given, work, true):
    """Sort every tetrode, write the two other stores, and return what the sorter found."""
    accuracies, units, false = [], 0, 0
    for number, stored in enumerate(Catalog.open(Store(str(true)))):
        recording = stored.load()
        rng = np.random.default_rng([given.seed, number])
        order = rng.permutation(recording.n_units)  # cell types lie in blocks: deal them
        kept, trains = [], []
        for tetrode, first in enumerate(range(0, len(order), given.each)):
            neurons = order[first : first + given.each]
            found = sort_tetrode(recording, neurons, given, [given.seed, number, tetrode], work)
            accuracies += found["accuracy_U"].tolist()
            units += int(found["n_units"])
            false += int(found["false"])
            for place, neuron in enumerate(neurons):
                if found["accuracy_U"][place] >= FOUND:
                    kept.append(int(neuron))
                    trains.append(found["time_N"][found["unit_N"] == found["cluster_U"][place]])
        columns = {name: values[kept] for name, values in recording.units.items()}
        own = [recording.spikes.train(neuron) for neuron in kept]
        for name, spikes in (("kept", own), ("sorted", trains)):
            changed = replace(recording, units=Units(len(kept), columns), spikes=Spikes.from_trains(spikes))
            write_recording(Store(str(work / name), create=True), changed)
    accuracy = np.array(accuracies)
    return {
        "neurons": len(accuracy), "found": int((accuracy >= FOUND).sum()),
        "well_detected": int((accuracy >= 0.8).sum()), "accuracy": round(float(accuracy.mean()), 4),
        "units": units, "false": false,
    }  # fmt: skip


def sort_tetrode(recording, neurons, given, seed, work):
    """Make the voltage of some neurons on one tetrode, sort it, and return what was found of each."""
    file = work / "tetrodes" / f"{'-'.join(map(str, seed))}.npz"
    if not file.is_file():
        settings = SessionSettings(seconds=given.seconds, electrodes="tetrode", min_snr=given.min_snr)
        inside = [recording.spikes.train(n) for n in neurons]
        inside = [t[(t > 0.003) & (t < given.seconds - 0.003)] for t in inside]
        session = simulate_session(settings, len(neurons), seed, inside)
        channels = Channels(np.arange(TETRODE).astype(str), session.positions_C2, np.full(TETRODE, "0"))
        sorting = sort_voltage(ArrayVoltage(session.x_TC, session.sampling_rate, channels), SortSettings())
        order = np.argsort(sorting.time_N, kind="stable")
        time_N, unit_N = sorting.time_N[order], sorting.unit_N[order]
        true_N, spikes_U = match_times(time_N, inside)
        scores = score_sorting(true_N, unit_N, spikes_U)
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, time_N=time_N, unit_N=unit_N, cluster_U=scores.cluster_U, accuracy_U=scores.accuracy,
                 n_units=sorting.n_units, false=scores.false_clusters, snr_U=session.snr_U)  # fmt: skip
        print(file.name, "accuracy", scores.accuracy.round(2).tolist(), flush=True)
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)


def scores_of(result):
    """Return the balanced accuracies of a result with their intervals."""
    rows = {"probe": result["score"], **result["references"]}
    return {
        name: {"value": rows[name]["metrics"]["balanced_accuracy"], "low": rows[name]["low"],
               "high": rows[name]["high"]}
        for name in ("rate", "probe", "both", "shuffled") if name in rows
    } | {"samples": result["samples"]}  # fmt: skip


if __name__ == "__main__":
    main()
