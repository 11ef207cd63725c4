"""What the loader is compared with: the same spikes in torch_brain's files, and counts that lie in memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from foundation.data import Loader, WindowReader, WindowTable
from foundation.store import Catalog, Interval, Recording, Source, Spikes, Store, Subject, Units, write_recording

UNITS, SECONDS, RATE, RECORDINGS = 163, 600, 5.0, 8
DURATION, BIN, BATCH = 1.0, 0.01, 64
BINS = round(DURATION / BIN)


def recordings() -> Iterator[Recording]:
    """Return eight populations of 163 Poisson units of 5 Hz, 600 s, sampled at 30 kHz."""
    for seed in range(RECORDINGS):
        rng = np.random.default_rng(seed)
        counts = rng.poisson(RATE * SECONDS, UNITS)
        trains = [np.sort(rng.integers(0, SECONDS * 30_000, n)) / 30_000 for n in counts]
        yield Recording(
            source=Source(f"{seed}.nwb", f"{seed:064x}"),
            subject=Subject(f"mouse{seed}"),
            session=f"session{seed}",
            units=Units(UNITS),
            domain=Interval.single(0.0, float(SECONDS)),
            spikes=Spikes.from_trains(trains),
        )


def write_both(folder: Path) -> Catalog:
    """Write the spikes as a store, and as torch_brain's files with only spikes and units."""
    from torch_brain import data as tb

    store = Store(folder / "store", create=True)
    (folder / "torch_brain").mkdir()
    for recording in recordings():
        write_recording(store, recording)
        spikes = recording.spikes
        assert spikes is not None
        order = np.argsort(spikes.times, kind="stable")
        domain = tb.Interval(0.0, float(SECONDS))
        unit = np.repeat(np.arange(UNITS), spikes.counts)
        timed = tb.IrregularTimeSeries(timestamps=spikes.times[order], unit_index=unit[order], domain=domain)
        units = tb.ArrayDict(id=np.arange(UNITS).astype("S"))
        tb.Data(spikes=timed, units=units, domain=domain).save(folder / "torch_brain" / f"{recording.session}.h5")
    catalog = Catalog.build(store)
    catalog.save()
    return catalog


class TorchBrain:
    """``Dataset[index]`` and ``bin_spikes``, stacked to batches with a mask of units."""

    def __init__(self, folder: Path) -> None:
        from torch_brain.datasets import Dataset, DatasetIndex
        from torch_brain.utils import bin_spikes

        self.dataset, self.index, self.bin_spikes = Dataset(folder), DatasetIndex, bin_spikes
        self.rng = np.random.default_rng(0)

    def __call__(self, batches: int) -> float:
        """Return the seconds of a round."""
        names = self.dataset.recording_ids
        began = time.perf_counter()
        for _ in range(batches):
            which, starts = self.rng.integers(len(names), size=BATCH), self.rng.uniform(0, SECONDS - DURATION, BATCH)
            parts = []
            for r, start in zip(which.tolist(), starts.tolist(), strict=True):
                sample = self.dataset[self.index(names[r], start, start + DURATION)]
                parts.append(torch.from_numpy(self.bin_spikes(sample.spikes, UNITS, BIN, dtype=np.uint8)))
            torch.stack(parts), torch.ones(BATCH, UNITS, dtype=torch.bool)
        return time.perf_counter() - began


class Slices:
    """Slices of uint8 counts of all recordings in memory, cut on the grid of bins, with a mask of units.

    Args:
        catalog: the recordings.
        bins_first: counts lie as ``(T, N)``, so that a window is one piece of memory, and come out as ``(B, T, N)``.
    """

    def __init__(self, catalog: Catalog, bins_first: bool) -> None:
        reader = WindowReader(catalog.store, catalog.records)
        n = round(SECONDS / BIN)
        self.counts, self.bins_first, self.rng = [], bins_first, np.random.default_rng(0)
        for r in range(len(catalog)):
            one = np.array([r])
            table = WindowTable(one, one * 0, one * 0 + n, one * 0 + round(BIN * 1e9), one * 0)
            counts = reader.read(table).x_BNT[0].numpy()
            self.counts.append(np.ascontiguousarray(counts.T if bins_first else counts))

    def __call__(self, batches: int) -> float:
        """Return the seconds of a round."""
        last = self.counts[0].shape[0 if self.bins_first else 1] - BINS
        began = time.perf_counter()
        for _ in range(batches):
            which, starts = self.rng.integers(len(self.counts), size=BATCH), self.rng.integers(last + 1, size=BATCH)
            shape = (BATCH, BINS, UNITS) if self.bins_first else (BATCH, UNITS, BINS)
            x = torch.empty(shape, dtype=torch.uint8)
            out = x.numpy()
            for b, (r, start) in enumerate(zip(which.tolist(), starts.tolist(), strict=True)):
                if self.bins_first:
                    out[b] = self.counts[r][start : start + BINS]
                else:
                    out[b] = self.counts[r][:, start : start + BINS]
            torch.ones(BATCH, UNITS, dtype=torch.bool)
        return time.perf_counter() - began


class Steps:
    """The loader's own iterator, going on where it was."""

    def __init__(self, loader: Loader) -> None:
        self.loader, self.step = loader, 0

    def __call__(self, batches: int) -> float:
        """Return the seconds of a round."""
        began = time.perf_counter()
        for batch in self.loader.steps(self.step, self.step + batches):
            assert batch.x_BNT.dtype == torch.uint8
            assert len(batch.mask_BN) == len(batch)
        self.step += batches
        return time.perf_counter() - began


def forget(folder: Path) -> None:
    """Ask the system to drop what it holds of these files, so that they are read from the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)
