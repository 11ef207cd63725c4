"""A whole sorting run: two passes over the voltage in chunks, with clustering between them.

The first pass detects spikes and keeps windows of a sample of them, spread over the recording. The sample of each
neighbourhood is clustered, and its units become templates. The second pass matches the voltage with templates. The
result of each chunk or neighbourhood is saved in a folder, so a killed run resumes with the next one.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from foundation.common.digests import json_digest
from foundation.common.files.locks import whole_folder, write_whole
from foundation.common.output.printable import count
from foundation.common.output.progress import progress
from foundation.version import __version__
from ingest.sorting.chunk_work import ChunkWork
from ingest.sorting.clustering import cluster_waveforms
from ingest.sorting.sort_settings import MatchingSettings, SortSettings
from ingest.sorting.sorted_units import Sorting
from ingest.sorting.spikes.neighbourhoods import neighbours_of
from ingest.sorting.spikes.spike_sample import SpikeSample, write_found
from ingest.sorting.spikes.spike_windows import FINENESS
from ingest.sorting.templates.template_matching import make_bank
from ingest.sorting.templates.unit_examples import add_examples
from ingest.sorting.templates.unit_merging import echoes, merges, without_duplicates
from ingest.sorting.templates.unit_templates import (
    QUARTERS,
    NoiseModel,
    Templates,
    amplitude_spread,
    drifting_mean,
)
from ingest.sorting.voltage.voltage import Voltage

log = logging.getLogger(__name__)
TEMPLATE_SPIKES = 3000  # maximum windows of a unit for its templates
NOISE_ENERGY = 1.5  # minimum energy of a template, in squares of the threshold
DUPLICATES = 0.0005  # seconds within which spikes of a unit are duplicates
NOTHING = "no unit found: no spikes beyond the threshold, or too few similar ones"
Arrays = dict[str, np.ndarray]


def sort_voltage(voltage: Voltage, settings: SortSettings, folder: Path | None = None) -> Sorting:
    """Sort a recording.

    Args:
        voltage: the voltage to sort.
        settings: settings of the sorting.
        folder: keeps finished work; the same call resumes after a kill. None: a temporary folder.

    Returns:
        Units with their spikes; none if the voltage has no spikes.

    Raises:
        SourceError: if no channel can be sorted, or the sampling rate is too low.
    """
    if folder is None:
        with TemporaryDirectory(prefix="foundation-sort-") as temporary:
            return sort_voltage(voltage, settings, Path(temporary))
    work = ChunkWork(voltage, settings)
    files = _RunFolder.begin(folder, work)
    chunks = list(work.chunks())
    found = []
    for chunk in progress(chunks, "finding spikes", unit="chunk"):
        found.append(files.once(f"found-{chunk.number:06d}", partial(work.detect, chunk), write_found))
    noise, backgrounds = work.background()
    sample = SpikeSample(found, [len(place.channels) for place in work.places])
    labels = []
    for number in progress(range(len(work.places)), "clustering", unit="neighbourhood"):
        done = files.once(f"clusters-{number:06d}", partial(_cluster, work, sample, number, backgrounds[number]))
        labels.append(_read(done)["label"])
    templates = _above_noise(work, _templates(work, sample, labels, noise), noise)
    log.debug("%d units of %d neighbourhoods before matching", templates.n_units, len(work.places))
    matched = []
    for chunk in progress(chunks, "matching templates", unit="chunk"):
        matched.append(files.once(f"matched-{chunk.number:06d}", partial(work.match, chunk, templates, noise)))
    sorting = _sorting(work, templates, noise, [_read(place) for place in matched])
    return _large_enough(add_examples(work.clean, work.cutter, sorting), settings.matching)


@dataclass(frozen=True)
class _RunFolder:
    """Finished work of a run, one folder per piece, written atomically."""

    path: Path

    @classmethod
    def begin(cls, path: Path, work: ChunkWork) -> _RunFolder:
        """Return the folder of a run, cleared unless it belongs to the same voltage and settings."""
        voltage = work.voltage
        file = Path(voltage.path)
        stat = file.stat() if file.is_file() else None
        identity = {
            "settings": json_digest(asdict(work.settings)),
            "voltage": [voltage.path, voltage.n_samples, voltage.n_channels, voltage.sampling_rate],
            "file": None if stat is None else [stat.st_size, stat.st_mtime_ns],
            "chunk": next(iter(work.chunks())).stop,
            "version": __version__,
        }
        mark = path / "run.json"
        if mark.is_file() and json.loads(mark.read_text()) != json.loads(json.dumps(identity)):
            log.info("%s belongs to other settings or another recording: starting again", path)
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        write_whole(mark, json.dumps(identity))
        return cls(path)

    def once(self, name: str, make: Callable[[], Arrays], write: Callable[[Path, Arrays], None] | None = None) -> Path:
        """Do a piece of work unless finished; return its folder."""
        target = self.path / name
        if not target.is_dir():
            made = make()
            with whole_folder(target) as part:
                (write or _write)(part, made)
        return target


def _write(folder: Path, arrays: Arrays) -> None:
    np.savez(folder / "arrays.npz", allow_pickle=False, **arrays)


def _read(folder: Path) -> Arrays:
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        return dict(stored)


def _cluster(work: ChunkWork, sample: SpikeSample, number: int, background_SCL: np.ndarray) -> Arrays:
    """Cluster the sampled spikes of a neighbourhood."""
    settings, cutter, spikes = work.settings, work.cutter, sample.of(number)
    if not len(spikes):
        return {"label": np.zeros(0, dtype=np.int64)}
    time_N = work.voltage.seconds(spikes.sample + spikes.sixteenth / FINENESS)
    waveforms = cutter.waveforms(spikes.windows_NCL, spikes.height, time_N, spikes.channel)
    if len(background_SCL):
        waveforms = replace(waveforms, background_SCT=cutter.resampled(background_SCL))
    clusters = cluster_waveforms(
        waveforms,
        recipe=settings.recipe,
        n_units=settings.n_units,
        seed=settings.seed,
        settings=settings.clustering,
    )
    return {"label": np.asarray(clusters.label_N, dtype=np.int64)}


def _templates(work: ChunkWork, sample: SpikeSample, labels: list[np.ndarray], noise: NoiseModel) -> Templates:
    """Return the templates of all clusters that are large enough; clusters of one neuron are merged."""
    period, n_periods = work.period
    cutter, clean = work.cutter, work.clean
    near = neighbours_of(
        work.voltage.channels, clean.used_C, work.settings.windows.radius, work.settings.windows.max_channels
    )
    widest = max(len(place.channels) for place in work.places)
    means, channels, mains, spreads, counts, trains = [], [], [], [], [], []
    least = _least(work)
    for number, (place, label_N) in enumerate(zip(work.places, labels, strict=True)):
        if not len(label_N):
            continue
        spikes = sample.of(number)
        for label in np.unique(label_N[label_N >= 0]):
            mine = np.flatnonzero(label_N == label)
            if len(mine) < least:
                continue
            trains.append(work.voltage.seconds(spikes.sample[mine] + spikes.sixteenth[mine] / FINENESS))
            some = mine[np.linspace(0, len(mine) - 1, min(len(mine), TEMPLATE_SPIKES)).astype(int)]
            windows_NCL = spikes.windows_NCL[some]
            mean_PCL = drifting_mean(windows_NCL, spikes.sample[some] // period, n_periods)
            whole_CL = mean_PCL.mean(axis=0)
            noise_C = clean.noise_C[place.channels]
            at_peak_C = np.abs(whole_CL[:, cutter.before - 1 : cutter.before + 2]).max(axis=1) / noise_C
            main = int(place.channels[at_peak_C.argmax()])
            order = [int(c) for c in near[main] if c in place.channels][:widest]
            rows = [int(np.flatnonzero(place.channels == c)[0]) for c in order]
            mean_PML = np.zeros((n_periods, widest, cutter.length), dtype=np.float32)
            mean_PML[:, : len(rows)] = mean_PCL[:, rows]
            means.append(mean_PML)
            channels.append(order + [-1] * (widest - len(order)))
            mains.append(main)
            counts.append(len(mine))
            spreads.append(amplitude_spread(windows_NCL, whole_CL, noise_C))
    templates = Templates(
        np.array(means, dtype=np.float32).reshape(len(means), n_periods, widest, cutter.length),
        np.array(channels, dtype=np.int64).reshape(len(channels), widest),
        np.array(mains, dtype=np.int64),
        np.array(spreads, dtype=np.float32),
        np.array(counts, dtype=np.int64),
        cutter.before,
        period,
    )
    if not work.settings.matching.merge or templates.n_units < 2:
        return templates
    into_U = merges(templates, trains, noise, work.settings.matching.similarity, _dead(work), complete=False)
    return _joined(templates, into_U)


def _above_noise(work: ChunkWork, templates: Templates, noise: NoiseModel) -> Templates:
    """Leave out units that are noise peaks.

    The mean of whitened noise around peaks of height v has energy v^2, whatever the noise's spectrum: just above the
    threshold's square. The template of a neuron of that height has more energy.
    """
    if not templates.n_units:
        return templates
    least = NOISE_ENERGY * max(work.settings.detection.threshold, 3.0) ** 2
    return templates.part(np.flatnonzero(_detectability(work, templates, noise) ** 2 >= least))


def _detectability(work: ChunkWork, templates: Templates, noise: NoiseModel) -> np.ndarray:
    """Return ``(U,)`` norms of the white templates in the middle of the recording."""
    if not templates.n_units:
        return np.zeros(0)
    bank = make_bank(templates, 0.5 * work.voltage.n_samples, noise, work.voltage.n_channels)
    return np.sqrt(bank.energy_UQ[:, 0])


def _large_enough(sorting: Sorting, matching: MatchingSettings) -> Sorting:
    """Leave out small units; they took part in matching, so other units do not contain their spikes."""
    low_U = (sorting.quality()["snr"] < matching.min_snr) | (sorting.detectability_U < matching.min_detectability)
    if not low_U.any():
        return sorting
    notes = [
        *sorting.notes,
        f"{count(int(low_U.sum()), 'unit')} with an SNR below {matching.min_snr:g} or a detectability below "
        f"{matching.min_detectability:g}: left out",
    ]
    if low_U.all():
        notes.append(NOTHING)
    return replace(sorting.part(np.flatnonzero(~low_U)), notes=notes)


def _least(work: ChunkWork) -> float:
    """Return the minimum sampled spikes of a unit."""
    matching = work.settings.matching
    return max(min(matching.min_spikes, 5), 2)


def _dead(work: ChunkWork) -> float:
    return work.settings.detection.dead_time * 1e-3


def _joined(templates: Templates, into_U: np.ndarray) -> Templates:
    """Return the templates of remaining units, with merged ones weighted by their spikes on common channels."""
    kept = np.unique(into_U)
    mean_UPML = templates.mean_UPML.copy()
    count_U = templates.count_U.copy()
    for unit in kept:
        mine = np.flatnonzero(into_U == unit)
        alike = [u for u in mine if (templates.channels_UM[u] == templates.channels_UM[unit]).all()]
        weight = templates.count_U[alike].astype(float)
        mean_UPML[unit] = np.average(templates.mean_UPML[alike], axis=0, weights=weight)
        count_U[unit] = templates.count_U[mine].sum()
    joined = replace(templates, mean_UPML=mean_UPML, count_U=count_U)
    return joined.part(kept)


def _sorting(work: ChunkWork, templates: Templates, noise: NoiseModel, parts: list[Arrays]) -> Sorting:
    """Join the chunks' spikes, merge split units, and leave out units with too few spikes."""
    matching = work.settings.matching
    quarter_N, unit_N, amplitude_N, gain_N = (
        np.concatenate([part[name] for part in parts]) for name in ("quarter", "unit", "amplitude", "gain")
    )
    order = np.lexsort((unit_N, quarter_N))
    quarter_N, unit_N, amplitude_N, gain_N = quarter_N[order], unit_N[order], amplitude_N[order], gain_N[order]
    time_N = work.voltage.seconds(quarter_N / QUARTERS)
    if matching.merge and templates.n_units > 1:
        trains = [time_N[unit_N == unit] for unit in range(templates.n_units)]
        into_U = merges(templates, trains, noise, matching.similarity, _dead(work))
        unit_N = into_U[unit_N]
    trains = [time_N[unit_N == unit] for unit in range(templates.n_units)]
    size_U = np.linalg.norm(templates.mean_UPML.mean(axis=1), axis=(1, 2))
    echo_U = echoes(trains, size_U)
    kept_N = without_duplicates(time_N, unit_N, gain_N, DUPLICATES) & ~echo_U[unit_N]
    count_U = np.bincount(unit_N[kept_N], minlength=templates.n_units)
    least = max(matching.min_spikes, matching.min_rate * work.voltage.duration)
    kept_U = np.flatnonzero(count_U >= max(least, 1))
    kept_N &= np.isin(unit_N, kept_U)
    notes = [*work.voltage.notes, *work.clean.notes]
    few = int(((count_U > 0) & (count_U < least)).sum())
    if few:
        notes.append(f"{count(few, 'unit')} of fewer than {least:g} spikes: left out")
    if echo_U.any():
        notes.append(f"{count(int(echo_U.sum()), 'unit')} that echoed a larger one: left out")
    if not len(kept_U):
        notes.append(NOTHING)
    new_U = np.full(templates.n_units, -1)
    new_U[kept_U] = np.arange(len(kept_U))
    return Sorting(
        time_N[kept_N],
        new_U[unit_N[kept_N]],
        amplitude_N[kept_N],
        templates.channel_U[kept_U],
        np.zeros((len(kept_U), work.voltage.n_channels, work.cutter.length), dtype=np.float32),
        work.cutter.before,
        work.voltage.sampling_rate,
        work.voltage.channels,
        work.clean.noise_C,
        work.voltage.start,
        work.voltage.start + work.voltage.duration,
        detectability_U=_detectability(work, templates, noise)[kept_U],
        notes=notes,
    )
