"""Sort recordings in a process of its own: python our_side.py RECIPE RECORDING.npz SORTING.npz [...]."""

import resource
import sys
import time

import numpy as np

from ingest.sorting.sort_settings import SortSettings
from ingest.sorting.sorted_units import GOOD
from ingest.sorting.sorting_run import sort_voltage
from ingest.sorting.voltage.voltage import ArrayVoltage, Channels


def main(recipe, recording, out):
    with np.load(recording, allow_pickle=False) as arrays:
        x_TC, rate, positions_C2 = arrays["x_TC"], float(arrays["rate"]), arrays["positions_C2"]
    channels = Channels(np.arange(len(positions_C2)).astype(str), positions_C2, np.full(len(positions_C2), "0"))
    began, used = time.perf_counter(), time.process_time()
    sorting = sort_voltage(ArrayVoltage(x_TC, rate, channels), SortSettings(recipe=recipe))
    seconds, used = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    good_N = (sorting.labels() == GOOD)[sorting.unit_N]
    sample_N = np.rint(sorting.time_N * rate).astype(np.int64)
    np.savez(
        out,
        sample_N=sample_N,
        unit_N=sorting.unit_N,
        good_N=good_N,
        seconds=seconds,
        processor_seconds=used,
        peak_mb=peak,
    )


if __name__ == "__main__":
    for k in range(2, len(sys.argv), 2):
        main(sys.argv[1], *sys.argv[k : k + 2])
