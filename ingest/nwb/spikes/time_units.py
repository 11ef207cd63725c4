"""Check whether spike times are seconds from the session's start, from firing statistics and the file's other times."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from foundation.store import Spikes
from foundation.store.format.spike_ticks import SAMPLING_RATES
from foundation.store.format.spill import let_go

# Numbers of units and spikes that are checked.
MAX_UNITS, MAX_SPIKES = 64, 5000
MIN_INTERVALS = 50
# Spike times in seconds have at least a few intervals below 20 ms: three in all, and one in a thousand.
SHORT, MIN_SHORT, MIN_SHORT_SHARE = 0.02, 3, 0.001
# Times in milliseconds or finer units never look like more than this many spikes per second.
MAX_RATE = 0.5
# Five or more units that all fire slower than this (Hz) are suspect by their rates alone.
MAX_SLOW_RATE, MIN_SLOW_UNITS, MIN_SLOW_INTERVALS = 0.05, 5, 100
# An apparent refractory period of half a second: expected and observed counts of shorter intervals.
REFRACTORY, MIN_EXPECTED, MAX_FOUND_SHARE = 0.5, 20.0, 0.1
# Other times end near the last spike, or by this factor earlier, so that the unit must differ.
AGREEING, MIN_RATIO = 20.0, 500.0
# Minimum spikes and seconds for a comparison with other times.
MIN_OTHERS_SPIKES, MIN_OTHERS_SECONDS = 100, 20.0
# Without other times that end earlier, only recordings of more than six hours are suspected: in milliseconds a shorter
# one would be of less than 22 s, while rare spikes and events of slow imaging look the same.
MIN_LONG = 21_600.0
# Trains of nearly constant steps are not neural and are skipped.
MIN_SPREAD = 0.05
# Seconds since 1970 of the years 1989 to 2042.
UNIX_YEARS = (6e8, 2.3e9)
NAMES = {1e3: "milliseconds", 1e6: "microseconds", 1e9: "nanoseconds"}
RATES = (*SAMPLING_RATES, 10_000.0)
TYPICAL_RATE = 3.0


@dataclass(frozen=True)
class OtherTimes:
    """Times of a file other than spikes.

    Args:
        ends: path of trials, behaviour and other series -> their last time, in seconds.
        observed_end: last time of the units' observation, which may be in the unit of the spikes.
        rates: sampling rates of voltage, Hz.
        in_seconds: paths whose times are certainly seconds: fractions, or counted by a rate in Hz.
    """

    ends: dict[str, float] = field(default_factory=dict)
    observed_end: float | None = None
    rates: list[float] = field(default_factory=list)
    in_seconds: frozenset[str] = frozenset()

    def agreeing(self, last: float) -> list[str]:
        """Return the paths of series that end near the last spike."""
        return [path for path, end in self.ends.items() if end > 0 and last / AGREEING <= end <= last * AGREEING]

    def is_in_seconds(self, path: str) -> bool:
        """Return whether the times at a path are not whole numbers of a finer unit."""
        return path in self.in_seconds or not self.ends[path].is_integer()


@dataclass(frozen=True)
class _Look:
    """Summary of spike trains.

    Args:
        intervals: ``(K,)`` seconds between distinct spikes of a unit.
        rates: ``(N,)`` Hz.
        expected_short: number of intervals below `REFRACTORY` that random times would have.
        whole: whether all times are whole numbers.
    """

    intervals: np.ndarray
    rates: np.ndarray
    expected_short: float
    whole: bool


def suspicion(spikes: Spikes, others: OtherTimes, resolution: float = 0.0) -> str | None:
    """Return why spike times are unlikely to be seconds, with the recipe line that corrects them.

    Args:
        spikes: clean trains, in the file's numbers.
        others: the file's other times.
        resolution: resolution of the times in seconds, if known.

    Returns:
        None if nothing is suspicious. Trains with intervals as short as neurons have are in seconds, whatever their
        rate;
            few spikes, and trains of regular steps, are inconclusive.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> trains = [np.sort(rng.uniform(0, 60, 300)) for _ in range(6)]
        >>> suspicion(Spikes.from_trains(trains), OtherTimes({"trials": 58.0})) is None
        True
        >>> print(suspicion(Spikes.from_trains([train * 1000 for train in trains]), OtherTimes({"trials": 58.0})))
        ... # doctest: +ELLIPSIS
        spike times end at ... s where the file's other times end at 58 s; ...: likely \
milliseconds (the last spike then is at 60.0 s); if so, the recipe's line is `spike_times: {scale: 0.001}`
    """
    if not len(spikes):
        return None
    if (since := _since_1970(spikes, others)) is not None:
        return since
    look = _look(spikes)
    last = spikes.span[1]
    if len(look.intervals) < MIN_INTERVALS or last <= 0 or look.intervals.std() < MIN_SPREAD * look.intervals.mean():
        return None
    short = int((look.intervals < SHORT).sum())
    fastest = float(look.rates.max())
    if (short >= MIN_SHORT and short >= MIN_SHORT_SHARE * len(look.intervals)) or fastest > MAX_RATE:
        return None
    reasons, ratio = _reasons(look, last, others, resolution, spikes.n_units)
    if not reasons:
        return None
    factor = _factor(ratio, look, others.rates)
    name = NAMES.get(factor, f"samples at {factor:g} Hz")
    reasons.append(f"no unit fires faster than {fastest:.2g} Hz")
    return (
        f"spike times {'; '.join(reasons)}: likely {name} (the last spike then is at {last / factor:.1f} s); "
        f"if so, the recipe's line is `spike_times: {{scale: {1 / factor!r}}}`"
    )


def timescale_mismatches(spikes: Spikes, others: OtherTimes) -> dict[str, str]:
    """Return a warning for each table and series that ends far beyond the last spike, by path.

    Their times may be in another unit than the spikes, or since 1970; no recipe corrects them.

    Example:
        >>> train = np.arange(0, 60, 0.1)
        >>> timescale_mismatches(Spikes.from_trains([train]), OtherTimes({"intervals/trials": 58000.0, "licks": 50.0}))
        {'intervals/trials': 'ends at 58000 s, and the last spike is at 60 s: its times may be in another unit'}
    """
    if len(spikes) < MIN_OTHERS_SPIKES or spikes.span[1] < MIN_OTHERS_SECONDS:
        return {}
    last = spikes.span[1]
    return {
        path: f"ends at {end:.0f} s, and the last spike is at {last:.0f} s: its times may be in another unit"
        for path, end in others.ends.items()
        if end >= MIN_RATIO * last
    }


def _reasons(
    look: _Look, last: float, others: OtherTimes, resolution: float, n_units: int
) -> tuple[list[str], float | None]:
    """Return the reasons against seconds, and the ratio of the last spike to the other times' end, if known."""
    ends = [end for end in others.ends.values() if end > 0]
    agree = others.agreeing(last)
    everything = [*ends, *([others.observed_end] if others.observed_end else [])]
    latest = max(everything, default=0.0)
    reasons, ratio = [], None
    if latest and last >= MIN_RATIO * latest:
        reasons.append(f"end at {last:.0f} s where the file's other times end at {latest:g} s")
        ratio = last / latest
    if not reasons and last <= MIN_LONG:
        return [], None
    if look.whole and resolution < 1 and not any(others.is_in_seconds(path) for path in agree):
        reasons.append("are whole numbers")
    if agree:
        return reasons, ratio
    found = int((look.intervals < REFRACTORY).sum())
    if (
        look.expected_short >= MIN_EXPECTED
        and found <= MAX_FOUND_SHARE * look.expected_short
        and resolution < REFRACTORY
    ):
        reasons.append(f"of a unit lie {look.intervals.min():.2g} s apart at the least")
    if n_units >= MIN_SLOW_UNITS and len(look.intervals) >= MIN_SLOW_INTERVALS and look.rates.max() < MAX_SLOW_RATE:
        reasons.append(f"extend to {last:.0f} s")
    return reasons, ratio


def _look(spikes: Spikes) -> _Look:
    first, last = spikes.span
    seconds = max(last - first, np.finfo(float).tiny)
    rates = spikes.counts / seconds
    chosen = np.unique(np.linspace(0, spikes.n_units - 1, min(spikes.n_units, MAX_UNITS)).astype(np.int64))
    intervals, expected, whole = [], 0.0, True
    for unit in chosen.tolist():
        train = np.asarray(spikes.train(unit)[:MAX_SPIKES])
        steps = np.diff(train)
        intervals.append(steps[steps > 0])
        expected += len(intervals[-1]) * -math.expm1(-rates[unit] * REFRACTORY)
        whole = whole and bool((train == np.rint(train)).all())
        let_go(spikes.times)
    return _Look(np.concatenate(intervals), rates, expected, whole)


def _factor(ratio: float | None, look: _Look, rates: list[float]) -> float:
    """Estimate how many of the file's units make a second."""
    known = [rate for rate in rates if rate > 0]
    if ratio is None:
        typical = TYPICAL_RATE / max(float(np.median(look.rates[look.rates > 0])), 1e-12)
        choices = [*NAMES, *((known or RATES[:1]) if look.whole else [])]
        return min(choices, key=lambda factor: abs(math.log(factor / typical)))
    choices = [*NAMES, *(known or RATES)]
    # Trials and series end a little before the last spike, rarely after it.
    near = [factor for factor in choices if ratio / 1.25 <= factor <= ratio * 1.02]
    return near[0] if near else min(choices, key=lambda factor: abs(math.log(factor / ratio)))


def _since_1970(spikes: Spikes, others: OtherTimes) -> str | None:
    """Return a warning for times since 1970 in a file whose other times are not."""
    first, last = spikes.span
    if any(end >= UNIX_YEARS[0] for end in others.ends.values()):
        return None
    for scale in (1.0, 1e-3, 1e-6, 1e-9):
        if UNIX_YEARS[0] <= first * scale <= last * scale <= UNIX_YEARS[1]:
            keys = "since_1970: true" if scale == 1 else f"scale: {scale!r}, since_1970: true"
            name = "seconds" if scale == 1 else NAMES[round(1 / scale)]
            return (
                f"spike times begin at {first:.6g}: likely {name} since 1970; if so, the recipe's line is "
                f"`spike_times: {{{keys}}}`"
            )
    return None
