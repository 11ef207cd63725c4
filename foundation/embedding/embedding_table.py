"""An embedding of every unit as a table, the result of `model.embed(recording)`.

The table is an Arrow table, because the store needs Arrow anyway; pandas is not a dependency, but ``.to_pandas()``
works if it is installed.
"""

from __future__ import annotations

import tempfile

import numpy as np
import pyarrow as pa

from foundation.embedding.frozen_embeddings import check_kind, check_units_trained, embed_units
from foundation.models import EIT
from foundation.models.saved.preprocessing import Preprocessing
from foundation.store.commit.recording_writer import write_recording
from foundation.store.recording import Recording
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording

LABELS = ("location", "region", "cell_type")


def unit_table(
    model: EIT,
    recording: Recording | StoredRecording,
    *,
    bin_width: float | None = None,
    tokens: int | None = None,
    max_windows: int = 64,
    seed: int = 0,
) -> pa.Table:
    """Return an embedding of every unit: the mean over windows in which the unit was active.

    Args:
        model: a pretrained model; it is put into evaluation mode.
        recording: in memory, or from a store.
        bin_width: seconds of a bin; None: the shortest of pretraining for which the recording has enough detail.
        tokens: of a window; None: as many as fit, between the shortest and the longest window of pretraining.
        max_windows: largest number of windows to average.
        seed: of the choice of windows.

    Returns:
        A row for each unit: ``recording`` (its session), ``unit`` (its row in the units table), ``id`` (as in the
        source), ``location``, ``region`` and ``cell_type`` (null if unknown), ``rate`` (events a second; for sampled
        values their mean) and ``embedding`` (``(D,)`` float32).

    Raises:
        CheckpointError: if the model does not read recordings of this kind, its unit stream was not trained, or its
            embeddings are not finite.
        NoWindowError: if no window fits the recording's observed time.
        ConfigError: if a setting is invalid.

    Example:
        >>> from foundation.models import EITConfig
        >>> from foundation.store import Interval, Source, Spikes, Subject, Units
        >>> trains = [np.arange(0.0, 20.0, 0.1), np.arange(0.0, 20.0, 0.5)]
        >>> units = Units(2, {"cell_type": ["PV", ""]})
        >>> recording = Recording(Source("a.nwb", "0" * 64), Subject("m1"), "monday", units,
        ...                       Interval.single(0.0, 20.0), spikes=Spikes.from_trains(trains))
        >>> table = unit_table(EIT(EITConfig(dim=16, heads=2)), recording)
        >>> table.column("cell_type").to_pylist(), table.column("rate").to_pylist(), len(table.column("embedding")[0])
        (['PV', None], [10.0, 2.0], 16)
    """
    if isinstance(recording, Recording):
        with tempfile.TemporaryDirectory(prefix="foundation-embed-") as folder:
            store = Store(f"{folder}/store", create=True)
            stored = StoredRecording(store, write_recording(store, recording))
            return unit_table(model, stored, bin_width=bin_width, tokens=tokens, max_windows=max_windows, seed=seed)
    check_units_trained(model)
    check_kind(model, recording)
    own, patch = Preprocessing.of(model.config), model.config.patch_length
    width = own.bin_width(recording.resolution, patch) if bin_width is None else bin_width
    longest = float(np.max(recording.observed.end - recording.observed.start, initial=0.0))
    z_ND = embed_units(
        model,
        recording,
        bin_width=width,
        n_bins=(own.tokens_of(longest, width * patch) if tokens is None else tokens) * patch,
        max_windows=max_windows,
        seed=seed,
    )
    units, n_units = recording.units, recording.n_units
    columns = {"recording": pa.array([recording.session] * n_units, pa.string())}
    columns["unit"] = pa.array(np.arange(n_units))
    columns["id"] = pa.array(units["id"] if "id" in units else np.arange(n_units))
    for name in LABELS:
        columns[name] = pa.array([text or None for text in units.text(name).tolist()], pa.string())
    columns["rate"] = pa.array(np.asarray(recording.firing_rates(), dtype=np.float64))
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(z_ND.reshape(-1)), z_ND.shape[1])
    return pa.table(columns)
