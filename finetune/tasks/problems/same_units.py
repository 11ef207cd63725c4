"""Find neurons that are in the store twice: equal activity, or one session's unit with most of its activity equal."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from foundation.store import StoredRecording

MIN_SHARE = 0.5  # of what is compared that must be equal
TOLERANCE = 1e-3  # s between spikes that count as one
MIN_EVENTS = 10  # fewer equal spikes, or samples off the median, are no evidence
COMPARED = 1000  # first spikes or samples of a unit


class Duplicates:
    """Which of S units are the same neuron.

    A copy of a file that was changed, or given another animal's name, has a digest of its own and the same neurons.
    Two probes of one session may number their units alike: activity distinguishes these.

    Args:
        recordings: that hold the units.
        recording_S, unit_S: the recording and the row of each.
    """

    def __init__(self, recordings: list[StoredRecording], recording_S: np.ndarray, unit_S: np.ndarray) -> None:
        by_name: dict[tuple[str, str, int], list[int]] = defaultdict(list)
        for sample, (k, unit) in enumerate(zip(recording_S, unit_S, strict=True)):
            record, units = recordings[k].record, recordings[k].units
            identity = int(units["id"][unit]) if "id" in units else int(unit)
            by_name[str(record.subject), str(record.session), identity].append(sample)
        self._alike = [group for group in by_name.values() if len(set(recording_S[group].tolist())) > 1]
        compared = {sample for group in self._alike for sample in group}
        by_content: dict[str, list[int]] = defaultdict(list)
        self._first: dict[int, np.ndarray] = {}
        self._spiking = [recording.kind == "spikes" for recording in recordings]
        for k, recording in enumerate(recordings):
            samples = np.flatnonzero(recording_S == k)
            for sample, activity in zip(samples.tolist(), _activities(recording, unit_S[samples]), strict=True):
                events = len(activity) if self._spiking[k] else int(off_median(activity).sum())
                if events >= MIN_EVENTS:
                    by_content[hashlib.sha256(activity.tobytes()).hexdigest()].append(sample)
                if sample in compared:
                    self._first[sample] = activity[:COMPARED].copy()
        self._equal = [group for group in by_content.values() if len(group) > 1]
        self.recording_S = recording_S

    def across(self, train: np.ndarray, test: np.ndarray) -> tuple[int, int] | None:
        """Return a training and a test sample of the same neuron; None if there is no such pair."""
        learned, tested = set(train.tolist()), set(test.tolist())
        for groups, certain in ((self._equal, True), (self._alike, False)):
            for group in groups:
                for a in (sample for sample in group if sample in learned):
                    for b in (sample for sample in group if sample in tested):
                        if certain or self._mostly_equal(a, b):
                            return a, b
        return None

    def _mostly_equal(self, a: int, b: int) -> bool:
        recordings = self.recording_S[a], self.recording_S[b]
        spiking = {self._spiking[k] for k in recordings}
        if recordings[0] == recordings[1] or len(spiking) > 1:
            return False
        share = spikes_shared if spiking == {True} else samples_shared
        return share(self._first[a], self._first[b]) > MIN_SHARE


def _activities(recording: StoredRecording, units: np.ndarray) -> Iterator[np.ndarray]:
    """Spike times in seconds, or samples, of some units."""
    if recording.activity is not None:
        for unit in units:
            yield np.ascontiguousarray(recording.activity.data[:, unit], dtype=np.float64)
        return
    blocks = recording.spike_blocks
    assert blocks is not None  # a recording has spikes or samples
    spikes = blocks.to_spikes()
    for unit in units:
        yield np.ascontiguousarray(spikes.train(int(unit)), dtype=np.float64)
    recording.__dict__.pop("spike_blocks", None)  # read again if it is needed again


def spikes_shared(x: np.ndarray, y: np.ndarray) -> float:
    """Share of the spikes in common time, of the train with fewer, that the other has too.

    Example:
        >>> x = np.arange(20.0)
        >>> spikes_shared(x, x[:15]), spikes_shared(x, x + 0.5)
        (1.0, 0.0)
    """
    if min(len(x), len(y)) < MIN_EVENTS:
        return 0.0
    last = min(x[-1], y[-1])
    few, many = sorted((x[x <= last], y[y <= last]), key=len)
    if len(few) < MIN_EVENTS:
        return 0.0
    after = np.minimum(np.searchsorted(many, few - TOLERANCE), len(many) - 1)
    return float((np.abs(many[after] - few) <= TOLERANCE).mean())


def off_median(x: np.ndarray) -> np.ndarray:
    """Return which samples are finite and not at the median of the finite ones.

    Example:
        >>> off_median(np.array([0.0, np.nan, 0.0, 1.0])).tolist(), off_median(np.full(2, np.nan)).tolist()
        ([False, False, False, True], [False, False])
    """
    finite = np.isfinite(x)
    return finite & (x != np.median(x[finite])) if finite.any() else finite


def samples_shared(x: np.ndarray, y: np.ndarray) -> float:
    """Return the share of equal samples among those where either is off its median and both are finite.

    Example:
        >>> x = np.concatenate([np.zeros(30), np.arange(1.0, 21.0)])
        >>> samples_shared(x, x), samples_shared(x, x[::-1])
        (1.0, 0.0)
    """
    n = min(len(x), len(y))
    x, y = x[:n], y[:n]
    moving = (off_median(x) | off_median(y)) & np.isfinite(x) & np.isfinite(y)
    return float((x[moving] == y[moving]).mean()) if moving.sum() >= MIN_EVENTS else 0.0
