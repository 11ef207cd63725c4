"""The sample of spikes that is clustered: its windows, in files of the chunks that they were found in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COLUMNS = ("sample", "sixteenth", "channel", "height")


@dataclass(frozen=True)
class SampledSpikes:
    """Spikes of one neighbourhood.

    Args:
        sample: of the recording, the one before the peak.
        sixteenth: of a sample from there to the peak.
        channel: of the peak.
        height: µV of the peak, with its sign.
        windows_NCL: µV, on the neighbourhood's channels.
    """

    sample: np.ndarray
    sixteenth: np.ndarray
    channel: np.ndarray
    height: np.ndarray
    windows_NCL: np.ndarray

    def __len__(self) -> int:
        return len(self.sample)


def write_found(folder: Path, found: dict[str, np.ndarray]) -> None:
    """Write what was found in a chunk into a folder; the windows lie in a file of their own, to be read in parts."""
    np.save(folder / "windows.npy", found["windows"], allow_pickle=False)
    columns = {name: values for name, values in found.items() if name != "windows"}
    np.savez(folder / "found.npz", allow_pickle=False, **columns)


@dataclass(frozen=True)
class SpikeSample:
    """The sampled spikes of all chunks.

    Args:
        folders: of the chunks, in order.
        widths: channels of each neighbourhood.
    """

    folders: list[Path]
    widths: list[int]

    def of(self, place: int) -> SampledSpikes:
        """Return the spikes of a neighbourhood, in order of time."""
        columns: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
        windows: list[np.ndarray] = []
        for folder in self.folders:
            with np.load(folder / "found.npz", allow_pickle=False) as found:
                first, last = np.searchsorted(found["chosen_place"], [place, place + 1])
                for name in COLUMNS:
                    columns[name].append(found[f"chosen_{name}"][first:last])
            if last > first:
                stored = np.load(folder / "windows.npy", mmap_mode="r", allow_pickle=False)
                windows.append(np.asarray(stored[first:last, : self.widths[place]]))
            else:
                stored = np.load(folder / "windows.npy", mmap_mode="r", allow_pickle=False)
                windows.append(np.zeros((0, self.widths[place], stored.shape[2]), dtype=np.float32))
        joined = {name: np.concatenate(parts) for name, parts in columns.items()}
        order = np.lexsort((joined["channel"], joined["sample"]))
        columns_N = {name: values[order] for name, values in joined.items()}
        return SampledSpikes(**columns_N, windows_NCL=np.concatenate(windows)[order])

    def peaks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Return sample and channel of all spikes, chunk by chunk."""
        for folder in self.folders:
            with np.load(folder / "found.npz", allow_pickle=False) as found:
                yield found["sample"], found["channel"]
