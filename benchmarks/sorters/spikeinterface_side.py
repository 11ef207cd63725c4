"""What runs in SpikeInterface's environment: make a recording, sort it, compare sortings. Files are .npz of arrays.

    python spikeinterface_side.py record OUT.npz CHANNELS UNITS SECONDS SEED
    python spikeinterface_side.py sort SORTER RECORDING.npz SORTING.npz [RECORDING.npz SORTING.npz ...]
    python spikeinterface_side.py compare RECORDING.npz SORTING.npz [RECORDING.npz SORTING.npz ...]
    python spikeinterface_side.py versions

A recording holds ``x_TC`` (float32, µV), ``rate``, ``positions_C2`` (µm), ``sample_N`` and ``unit_N`` of the true
spikes; ours also ``small_sample_N`` and ``small_unit_N`` of units that are not in the truth. A sorting holds
``sample_N`` and ``unit_N``, ``seconds`` of the wall clock, ``processor_seconds`` and ``peak_mb``. `sort` prints a JSON
object for each, with the error where one failed, and `compare` one with the scores.
"""

import json
import os
import re
import resource
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import spikeinterface.full as si
from probeinterface import Probe

THREADS = {"n_jobs": 1, "progress_bar": False, "chunk_duration": "1s"}


def record(out, channels, units, seconds, seed):
    kind = {1: {"num_columns": 1}, 4: {"num_columns": 2, "xpitch": 25, "ypitch": 25}}.get(channels, {"num_columns": 2})
    recording, truth = si.generate_ground_truth_recording(
        durations=[float(seconds)],
        sampling_frequency=24_000.0,
        num_channels=channels,
        num_units=units,
        generate_probe_kwargs={"num_columns": 2, "xpitch": 20, "ypitch": 20, "contact_shapes": "circle",
                               "contact_shape_params": {"radius": 6}, **kind},
        generate_sorting_kwargs={"firing_rates": (1.0, 8.0), "refractory_period_ms": 4.0},
        noise_kwargs={"noise_levels": 10.0, "strategy": "on_the_fly"},
        generate_templates_kwargs={"unit_params": {"alpha": (100.0, 300.0)}},
        seed=seed,
    )  # fmt: skip
    vector = truth.to_spike_vector()
    np.savez(
        out,
        x_TC=recording.get_traces(return_in_uV=False).astype(np.float32),
        rate=recording.get_sampling_frequency(),
        positions_C2=recording.get_channel_locations(),
        sample_N=vector["sample_index"],
        unit_N=vector["unit_index"],
    )


def read(file):
    with np.load(file, allow_pickle=False) as arrays:
        found = dict(arrays)
    # int16 with a gain, as recording systems write it, which some sorters ask for
    gain = 0.195
    stored = np.clip(np.rint(found["x_TC"] / gain), -32768, 32767).astype(np.int16)
    recording = si.NumpyRecording([stored], float(found["rate"]))
    recording.set_channel_gains(gain)
    recording.set_channel_offsets(0.0)
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(found["positions_C2"], shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(len(found["positions_C2"])))
    recording.set_probe(probe)
    return recording, found


def sort(sorter, file, out):
    recording, _ = read(file)
    with tempfile.TemporaryDirectory() as folder:
        saved = recording.save(folder=Path(folder) / "recording", format="binary", **THREADS)
        began, used = time.perf_counter(), processor_seconds()
        if sorter == "mountainsort5":
            filtered = si.bandpass_filter(saved, 300, 6000)
            found = si.run_sorter(sorter, filtered, folder=Path(folder) / "out", remove_existing_folder=True,
                                  filter=False, scheme="2" if recording.get_num_channels() > 1 else "1")  # fmt: skip
        else:
            extra = {"torch_device": "cpu"} if sorter == "kilosort4" else {}
            found = si.run_sorter(sorter, saved, folder=Path(folder) / "out", remove_existing_folder=True, **extra)
        seconds, used = time.perf_counter() - began, processor_seconds() - used
        vector = found.to_spike_vector()
        sample_N, unit_N = vector["sample_index"].copy(), vector["unit_index"].copy()
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    cost = {"seconds": seconds, "processor_seconds": used, "peak_mb": peak}
    np.savez(out, sample_N=sample_N, unit_N=unit_N, **cost)
    return compare(file, out) | cost


def processor_seconds():
    """Return processor time of this process and of its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def compare(file, sorting):
    _, found = read(file)
    rate = float(found["rate"])
    truth = si.NumpySorting.from_samples_and_labels([found["sample_N"]], [found["unit_N"]], rate)
    with np.load(sorting, allow_pickle=False) as arrays:
        tested = si.NumpySorting.from_samples_and_labels([arrays["sample_N"]], [arrays["unit_N"]], rate)
    result = si.compare_sorter_to_ground_truth(truth, tested, delta_time=0.5, exhaustive_gt=True)
    values = result.get_performance()[["accuracy", "precision", "recall"]].to_numpy(dtype=float)
    small = small_ones(found, tested, result.get_false_positive_units())
    return {
        "accuracy": float(values[:, 0].mean()), "precision": float(values[:, 1].mean()),
        "recall": float(values[:, 2].mean()), "units": len(values), "found": len(tested.unit_ids),
        "well_detected": int(result.count_well_detected_units(0.8)), "false": int(result.count_false_positive_units()),
        "redundant": int(result.count_redundant_units()), "accuracy_U": values[:, 0].round(4).tolist(),
        **({} if small is None else {"small": small}),
    }  # fmt: skip


def small_ones(found, tested, false):
    """Return how many of the false units are small simulated units that are not in the truth; None without such."""
    if "small_sample_N" not in found:
        return None
    if not len(false):
        return 0
    rate = float(found["rate"])
    units = [found["small_sample_N"].astype(np.int64)], [found["small_unit_N"]]
    truth = si.NumpySorting.from_samples_and_labels(*units, rate)
    result = si.compare_sorter_to_ground_truth(truth, tested.select_units(false), delta_time=0.5)
    return int((result.get_performance()["accuracy"].to_numpy(dtype=float) >= 0.5).sum())


def versions():
    names = ("spikeinterface", "mountainsort5", "kilosort", "torch", "numpy")
    print(", ".join(f"{name} {version(name)}" for name in names))


def reason(error):
    """Return the last error that the sorter's trace names, without paths of this machine."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    named = [line.strip() for line in lines if re.match(r"\s*[\w.]+(Error|Exception):", line)]
    return re.sub(r"/\S+/", ".../", (named or lines)[-1])[:200]


def each(job, files):
    """Do a job for each pair of files and print what it returns, or why it failed."""
    for recording, sorting in zip(files[::2], files[1::2], strict=True):
        try:
            found = job(recording, sorting)
        except Exception as error:  # the other recordings are sorted
            found = {"failed": reason(error)}
        print("RESULT " + json.dumps(found), flush=True)


if __name__ == "__main__":
    job, *words = sys.argv[1:]
    si.set_global_job_kwargs(**THREADS)
    if job == "record":
        record(words[0], *map(int, words[1:]))
    elif job == "sort":
        each(partial(sort, words[0]), words[1:])
    elif job == "compare":
        each(compare, words)
    else:
        versions()
