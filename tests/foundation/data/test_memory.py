"""Memory of a loader, as stated in docs/data.md."""

import gc
import tracemalloc

import numpy as np

from foundation.data.reading.decoded_blocks import open_source
from foundation.store import RegularTimeSeries, Store, StoredRecording, Units, write_recording


def test_open_recording_takes_ten_kilobytes(tmp_path, make_recording):
    """Its columns, behaviours and intervals have metadata too, which a reader of spikes or samples need not hold."""
    store = Store(tmp_path / "store", create=True)
    columns = {f"column{k}": np.arange(3.0) for k in range(40)}
    names = []
    for seed in range(12):
        counts = RegularTimeSeries(np.ones((50, 3), np.float32), rate=1.0, start=0.0, unit="1")
        kind = {"spikes": None, "activity": counts, "activity_kind": "counts"} if seed % 2 else {}
        recording = make_recording(seed, n_units=3, seconds=50.0, units=Units(3, columns), **kind)
        names.append(write_recording(store, recording))
    open_source(StoredRecording(store, names[0])), open_source(StoredRecording(store, names[1]))
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = [open_source(StoredRecording(store, name)) for name in names]
        gc.collect()
        each = (tracemalloc.get_traced_memory()[0] - before) / len(held)
    finally:
        tracemalloc.stop()
    assert each < 15_000
