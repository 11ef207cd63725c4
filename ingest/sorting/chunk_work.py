"""Work on one chunk of a recording: detect spikes, and match the voltage with templates.

The result of a chunk depends only on its samples and a margin, so chunks of any length give the same spikes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ingest.sorting.clustering.noise_whitening import MIN_BACKGROUND
from ingest.sorting.sort_settings import SortSettings
from ingest.sorting.spikes.detection import Detector, make_detector
from ingest.sorting.spikes.filtering import CleanVoltage, clean_voltage, excerpt_bounds
from ingest.sorting.spikes.neighbourhoods import Neighbourhood, neighbourhoods
from ingest.sorting.spikes.spike_windows import WindowCutter
from ingest.sorting.templates.template_matching import make_bank, match
from ingest.sorting.templates.unit_templates import QUARTERS, NoiseModel, Templates
from ingest.sorting.voltage.voltage import Voltage

SAMPLE_BYTES = 2e9  # of windows of the sample on the disk
BACKGROUND, BACKGROUND_BYTES = 1000, 2e8  # windows without spikes of a neighbourhood, and bytes of all
REACH = 0.01  # seconds beyond a chunk that matching looks at, beside its windows


@dataclass(frozen=True)
class Chunk:
    """Samples ``start`` to ``stop`` of a recording, and its number."""

    number: int
    start: int
    stop: int


class ChunkWork:
    """One recording being sorted.

    Args:
        voltage: the voltage to sort.
        settings: settings of the sorting.

    Raises:
        SourceError: if no channel can be sorted, or the sampling rate is too low.
    """

    def __init__(self, voltage: Voltage, settings: SortSettings) -> None:
        self.voltage, self.settings = voltage, settings
        self.clean: CleanVoltage = clean_voltage(voltage, settings.filter, settings.windows)
        self.detector: Detector = make_detector(self.clean, settings.detection, settings.windows)
        lower = min(1.0, settings.matching.threshold / settings.detection.threshold)
        alone_C = (self.detector.near_CM >= 0).sum(axis=1) <= 1
        low_C = self.detector.threshold_C * np.where(alone_C, np.float32(1.0), np.float32(lower))
        self.low_detector: Detector = replace(self.detector, threshold_C=low_C)  # for matching
        self.cutter = WindowCutter(voltage.sampling_rate, settings.windows, self.detector.sign)
        self.places: list[Neighbourhood] = neighbourhoods(voltage.channels, self.clean.used_C, settings.windows)
        self.place_C = np.full(voltage.n_channels, -1)
        for number, place in enumerate(self.places):
            self.place_C[place.core] = number

    @property
    def second(self) -> int:
        """Samples of a second: the sample of spikes is drawn second by second."""
        return max(1, round(self.voltage.sampling_rate))

    def chunks(self) -> Iterator[Chunk]:
        """Return the chunks: whole seconds, as many as fit into ``memory``."""
        seconds = self.settings.chunk
        if seconds is None:
            numbers = self.settings.memory * 1e6 / 8 / 4  # float64, and copies of it
            seconds = max(1, min(60, int(numbers / self.second / self.voltage.n_channels)))
        length = seconds * self.second
        for number, start in enumerate(range(0, self.voltage.n_samples, length)):
            yield Chunk(number, start, min(start + length, self.voltage.n_samples))

    @cached_property
    def quota(self) -> int:
        """Number of spikes per second and neighbourhood kept for clustering."""
        widest = max(len(place.channels) for place in self.places)
        fit = SAMPLE_BYTES / (4 * len(self.places) * widest * self.cutter.length)
        most = min(self.settings.max_spikes, max(1000, fit))
        return max(1, int(np.ceil(most * self.second / self.voltage.n_samples)))

    def detect(self, chunk: Chunk) -> dict[str, np.ndarray]:
        """Return the spikes of a chunk, and windows of a sample of them."""
        reach = max(self.detector.reach, self.cutter.reach) + 2
        x_TC, usable_TC = self.clean.read(chunk.start - reach, chunk.stop + reach)
        sample_P, channel_P = self.detector.find(x_TC, usable_TC)
        inside = (sample_P >= self.cutter.reach) & (sample_P < len(x_TC) - self.cutter.reach)
        sample_P, channel_P = sample_P[inside], channel_P[inside]
        local_P, sixteenth_P, height_P = self.cutter.peaks(x_TC, sample_P, channel_P)
        sample_P = local_P + chunk.start - reach
        mine = (sample_P >= chunk.start) & (sample_P < chunk.stop)
        local_P, sixteenth_P, height_P = local_P[mine], sixteenth_P[mine], height_P[mine]
        sample_P, channel_P = sample_P[mine], channel_P[mine]
        place_P = self.place_C[channel_P]
        chosen = self._drawn(sample_P, channel_P, place_P)
        order = chosen[np.argsort(place_P[chosen], kind="stable")]
        widest = max(len(place.channels) for place in self.places)
        cut = np.zeros((len(order), widest, self.cutter.length), dtype=np.float32)
        for number in np.unique(place_P[order]):
            rows = np.flatnonzero(place_P[order] == number)
            which, near = order[rows], self.places[number].channels
            cut[rows, : len(near)] = self.cutter.cut(x_TC, local_P[which], sixteenth_P[which], near)
        return {
            "sample": sample_P,
            "channel": channel_P,
            "chosen_sample": sample_P[order],
            "chosen_sixteenth": sixteenth_P[order],
            "chosen_channel": channel_P[order],
            "chosen_height": height_P[order],
            "chosen_place": place_P[order],
            "windows": cut,
        }

    def _drawn(self, sample_P: np.ndarray, channel_P: np.ndarray, place_P: np.ndarray) -> np.ndarray:
        """Return the spikes that are clustered: at most a quota of each second and neighbourhood, drawn by seed."""
        number_P = _scrambled(sample_P * self.voltage.n_channels + channel_P, self.settings.seed)
        group_P = (sample_P // self.second) * len(self.places) + place_P
        order = np.lexsort((number_P, group_P))
        grouped = group_P[order]
        first = np.concatenate([[True], grouped[1:] != grouped[:-1]]) if len(grouped) else np.zeros(0, bool)
        begin = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
        return np.sort(order[np.arange(len(order)) - begin < self.quota])

    def background(self) -> tuple[NoiseModel, list[np.ndarray]]:
        """Return a model of the noise, and ``(S, C, L)`` windows without spikes for each neighbourhood.

        A window is free if no channel near those of the neighbourhood has a spike in it: on a long probe there is
        always a spike somewhere.
        """
        length, before = self.cutter.length, self.cutter.before
        widest = max(len(place.channels) for place in self.places)
        most = int(min(BACKGROUND, max(MIN_BACKGROUND, BACKGROUND_BYTES / (4 * len(self.places) * widest * length))))
        bounds = excerpt_bounds(self.voltage)
        each = int(np.ceil(2 * most / len(bounds)))  # windows of an excerpt, so that they are of the whole recording
        rng = np.random.default_rng(self.settings.seed)
        found: list[list[np.ndarray]] = [[] for _ in self.places]
        for start, stop in bounds:
            x_TC, usable_TC = self.clean.read(start, stop)
            firsts = np.arange(0, len(x_TC) - length, length)
            busy_WC = np.zeros((len(firsts), x_TC.shape[1]), dtype=bool)
            sample_P, channel_P = self.detector.find(x_TC, usable_TC)
            for sample, channel in zip(sample_P, channel_P, strict=True):
                near = self.detector.near_CM[channel]
                first, last = (sample - before) // length, (sample + length - before) // length
                busy_WC[max(first, 0) : last + 1, near[near >= 0]] = True
            for place, windows in zip(self.places, found, strict=True):
                free = firsts[~busy_WC[:, place.channels].any(axis=1)]
                chosen = np.sort(rng.permutation(free)[:each])
                windows += [x_TC[k : k + length, place.channels].T for k in chosen]
        kept = [[windows[k] for k in np.sort(rng.permutation(len(windows))[:most])] for windows in found]
        pairs = [(x_CL.T, p.channels) for p, windows in zip(self.places, kept, strict=True) for x_CL in windows]
        noise = NoiseModel.fit([x_LC for x_LC, _ in pairs], self.clean.noise_C, [c for _, c in pairs])
        shapes = [(len(windows), len(p.channels), length) for p, windows in zip(self.places, kept, strict=True)]
        return noise, [
            np.array(windows, dtype=np.float32).reshape(shape) for windows, shape in zip(kept, shapes, strict=True)
        ]

    @property
    def period(self) -> tuple[int, int]:
        """Samples of a period of the templates, and number of periods."""
        if self.settings.matching.drift <= 0:
            return self.voltage.n_samples, 1
        n = max(1, round(self.voltage.duration / self.settings.matching.drift))
        return int(np.ceil(self.voltage.n_samples / n)), n

    def match(self, chunk: Chunk, templates: Templates, noise: NoiseModel) -> dict[str, np.ndarray]:
        """Return the spikes of a chunk by template matching.

        Templates are taken at the middle of each second, independent of chunks.
        """
        parts = [
            self._match(first, min(first + self.second, chunk.stop), templates, noise)
            for first in range(chunk.start, chunk.stop, self.second)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _match(self, start: int, stop: int, templates: Templates, noise: NoiseModel) -> dict[str, np.ndarray]:
        reach = self.cutter.reach + self.detector.reach + int(REACH * self.voltage.sampling_rate)
        begin = start - reach
        x_TC, usable_TC = self.clean.read(begin, stop + reach)
        middle = 0.5 * (start + stop)
        bank = make_bank(templates, middle, noise, self.voltage.n_channels)
        found = match(
            x_TC, usable_TC, self.low_detector, bank, noise, self.voltage.sampling_rate, self.settings.matching.overlaps
        )
        quarter_N = found.quarter_N + begin * QUARTERS
        mine = (quarter_N >= start * QUARTERS) & (quarter_N < stop * QUARTERS)
        unit_N = found.unit_N[mine]
        peak_U = np.abs(templates.at(middle)[:, 0, templates.before])
        return {
            "quarter": quarter_N[mine],
            "unit": unit_N,
            "amplitude": (found.scale_N[mine] * peak_U[unit_N]).astype(np.float32),
            "gain": found.gain_N[mine],
        }


def _scrambled(number_N: np.ndarray, seed: int) -> np.ndarray:
    """Hash numbers to a pseudorandom order (splitmix64)."""
    with np.errstate(over="ignore"):
        z = number_N.astype(np.uint64) + np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    scrambled: np.ndarray = z ^ (z >> np.uint64(31))
    return scrambled
