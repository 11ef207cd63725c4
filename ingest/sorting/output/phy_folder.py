"""Write a folder for Phy and SpikeInterface: spikes, templates and channel positions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foundation.common.files.locks import whole_folder
from ingest.sorting.sorted_units import Sorting

PLACED_UM = 20.0  # spacing of channels with unknown positions, so that Phy shows them separately


def write_phy(sorting: Sorting, folder: Path, voltage_path: str = "", dtype: str = "int16", header: int = 0) -> None:
    """Write a sorting in Phy's format (params.py and arrays), atomically; an existing folder is replaced.

    Spike times are samples from the first one of the voltage. Templates are in units of the noise.

    Args:
        sorting: units and spikes.
        folder: output folder.
        voltage_path: a plain binary file whose voltage Phy shows; empty for other formats.
        dtype, header: of that file.
    """
    n_channels, n_units = len(sorting.channels), sorting.n_units
    sample_N = np.round((sorting.time_N - sorting.start) * sorting.sampling_rate).astype(np.int64)
    noise_C = np.where(sorting.noise_C > 0, sorting.noise_C, 1.0)
    templates_ULC = (sorting.templates_UCT / noise_C[None, :, None]).transpose(0, 2, 1).astype(np.float32)
    positions_C2 = np.array(sorting.channels.positions_C2, dtype=np.float64)
    if np.isnan(positions_C2).any():
        positions_C2 = np.stack([np.zeros(n_channels), PLACED_UM * np.arange(n_channels)], axis=1)
    flat = templates_ULC.reshape(n_units, templates_ULC.shape[1] * templates_ULC.shape[2])
    norms = np.maximum(np.linalg.norm(flat, axis=1), 1e-9)
    peak_U = np.abs(sorting.templates_UCT[np.arange(n_units), sorting.channel_U, sorting.peak]) if n_units else []
    scale_N = sorting.amplitude_N / np.maximum(np.asarray(peak_U)[sorting.unit_N], 1e-9) if n_units else np.zeros(0)
    arrays = {
        "spike_times": sample_N,
        "spike_clusters": sorting.unit_N.astype(np.int32),
        "spike_templates": sorting.unit_N.astype(np.int32),
        "amplitudes": np.asarray(scale_N, dtype=np.float64),
        "templates": templates_ULC,
        "similar_templates": ((flat / norms[:, None]) @ (flat / norms[:, None]).T).astype(np.float32),
        "channel_map": np.arange(n_channels, dtype=np.int32),
        "channel_positions": positions_C2,
        "channel_shanks": np.unique(sorting.channels.groups, return_inverse=True)[1].reshape(-1).astype(np.int32),
        "whitening_mat": np.eye(n_channels),
        "whitening_mat_inv": np.eye(n_channels),
    }
    quality = sorting.quality()
    with whole_folder(folder, replace=True) as part:
        for name, values in arrays.items():
            np.save(part / f"{name}.npy", values, allow_pickle=False)
        parameters = {
            "dat_path": str(Path(voltage_path).resolve()) if voltage_path else "",
            "n_channels_dat": n_channels,
            "dtype": dtype,
            "offset": header,
            "sample_rate": sorting.sampling_rate,
            "hp_filtered": False,
        }
        lines = [f"{name} = {value!r}" for name, value in parameters.items()]
        (part / "params.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for name, values in {"group": sorting.labels(), "ch": sorting.channel_U.tolist(), **quality}.items():
            rows = [f"{unit}\t{_shown(value)}" for unit, value in enumerate(values)]
            (part / f"cluster_{name}.tsv").write_text("\n".join([f"cluster_id\t{name}", *rows]) + "\n")


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
