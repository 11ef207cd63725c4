"""Merge units of one neuron: found in two neighbourhoods or split by clustering."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ingest.sorting.templates.unit_templates import NoiseModel, Templates, tapered

SHIFTS = 3  # samples by which two templates may lie apart
FINE = 16  # steps of a sample in which the shift is sought: a large unit's templates differ by much less than a sample
REFRACTORY, SHOULDER = 0.002, 0.025  # seconds: intervals absent in one neuron, and the compared range
LEAST_EXPECTED = 5.0  # minimum number of intervals expected by chance, from which on their absence is evidence
MOST_OBSERVED = 0.35  # maximum share of them in a single unit
# If the correlogram is inconclusive, two units are one if their templates have this correlation and share of sizes, and
# lie no farther apart than this, in noise levels.
SAME, SAME_SIZE, APART = 0.98, 0.9, 7.0
INDISTINCT = 3.0  # noise levels between two templates below which clusters of spikes overlap
# On a single channel waveforms of many neurons have one shape, and only their size distinguishes them: units that are
# one lie nearer there, whatever the correlation. Chosen on simulated sessions of seeds 100 to 108.
INDISTINCT_ALONE, APART_ALONE = 2.0, 3.0
MIN_ECHOES = 10  # minimum spikes of a unit to use its lags
ECHO_SHARE = 0.5  # of a unit's spikes at the same lag to a larger unit
ECHO_BINS = np.arange(-0.0025, 0.0026, 0.000125)  # seconds
SIZES = 0.6  # the smaller of two templates over the larger, at least


@dataclass(frozen=True)
class Alike:
    """How alike two templates are, at the best shift.

    Args:
        correlation: of the two.
        size: of the smaller over the larger.
        distance: between the two, in units of the noise.
    """

    correlation: float
    size: float
    distance: float


def likeness(one: np.ndarray, other: np.ndarray) -> Alike:
    """Compare two templates on the same channels.

    Args:
        one, other: ``(M, L)``, made white.

    Example:
        >>> wave = np.sin(np.linspace(0, 6, 40))[None]
        >>> round(likeness(wave, 0.5 * wave).correlation, 3), likeness(wave, 0.5 * wave).size
        (1.0, 0.5)
    """
    padded = 2 * one.shape[1]
    spectrum_F = (np.fft.rfft(one, padded) * np.fft.rfft(other, padded).conj()).sum(axis=0)
    product_S = np.fft.irfft(spectrum_F, padded * FINE) * FINE
    reach = SHIFTS * FINE
    product = float(max(product_S[: reach + 1].max(), product_S[-reach:].max()))
    small, large = sorted((float(np.linalg.norm(one)), float(np.linalg.norm(other))))
    distance = float(np.sqrt(max(small**2 + large**2 - 2 * product, 0.0)))
    return Alike(product / max(small * large, 1e-12), small / max(large, 1e-12), distance)


def intervals_between(time_N: np.ndarray, other_N: np.ndarray, low: float, high: float) -> int:
    """Return how many pairs of spikes of two units lie ``low`` to ``high`` seconds apart, in either order.

    Example:
        >>> intervals_between(np.array([0.0, 1.0]), np.array([0.001, 2.0]), 0.0005, 0.002)
        1
    """
    found = 0
    for sign in (1.0, -1.0):
        a, b = (time_N, other_N) if sign > 0 else (other_N, time_N)
        found += int((np.searchsorted(b, a + high) - np.searchsorted(b, a + low)).sum())
    return found


def fire_as_one(time_N: np.ndarray, other_N: np.ndarray, dead: float, by_default: bool) -> bool:
    """Return True if the cross-correlogram of two units has the gap of a single neuron.

    Args:
        time_N, other_N: seconds, rising.
        dead: seconds within which detection finds no two spikes of one place; these are ignored.
        by_default: result for too few spikes.
    """
    gap = intervals_between(time_N, other_N, dead, REFRACTORY)
    shoulder = intervals_between(time_N, other_N, REFRACTORY, SHOULDER)
    expected = shoulder * (REFRACTORY - dead) / (SHOULDER - REFRACTORY)
    if expected < LEAST_EXPECTED:
        return by_default and gap <= MOST_OBSERVED * max(expected, 1.0)
    return gap <= MOST_OBSERVED * expected


def merges(
    templates: Templates,
    trains: list[np.ndarray],
    noise: NoiseModel,
    similarity: float,
    dead: float,
    complete: bool = True,
) -> np.ndarray:
    """Return ``(U,)`` the new unit of each unit: itself, or the one it is merged into.

    Pairs are compared in order of similarity; merged units are compared again with all their spikes.

    Args:
        templates: of U units.
        trains: spike times of each, seconds.
        noise: makes templates white.
        similarity: correlation of templates from which on two may be one.
        dead: seconds within which detection finds no two spikes of one place.
        complete: the trains include overlapping spikes. Without them, as before matching, any two units have a gap in
            their cross-correlogram; only units whose templates are nearly the same are merged then.
    """
    n_units = templates.n_units
    into_U = np.arange(n_units)
    groups = [np.sort(train) for train in trains]
    pairs = []
    scaled = [_white(templates, unit, noise) for unit in range(n_units)]
    for one in range(n_units):
        for other in range(one + 1, n_units):
            both = np.intersect1d(templates.channels_UM[one], templates.channels_UM[other])
            both = both[both >= 0]
            mains = (templates.channel_U[one], templates.channel_U[other])
            if not all(main in both for main in mains):
                continue
            mine, theirs = (np.array([scaled[unit][int(channel)] for channel in both]) for unit in (one, other))
            alike = likeness(mine, theirs)
            # Means of few spikes lie apart by their noise alone.
            chance = mine.size * (1 / templates.count_U[one] + 1 / templates.count_U[other])
            alone = len(both) == 1
            near = alike.distance**2 - chance < (INDISTINCT_ALONE if alone else INDISTINCT) ** 2
            apart = APART_ALONE if alone else APART
            near |= alike.correlation >= SAME and alike.size >= SAME_SIZE and alike.distance < apart
            may_be = complete and alike.correlation >= similarity and alike.size >= SIZES
            if near or (may_be and not (alone and alike.distance >= APART_ALONE)):
                pairs.append((alike.distance, one, other, near))
    for _, one, other, near in sorted(pairs):
        a, b = int(into_U[one]), int(into_U[other])
        if a == b or not fire_as_one(groups[a], groups[b], dead, near):
            continue
        keep, gone = (a, b) if len(groups[a]) >= len(groups[b]) else (b, a)
        groups[keep] = np.sort(np.concatenate([groups[keep], groups[gone]]))
        into_U[into_U == gone] = keep
    return into_U


def _white(templates: Templates, unit: int, noise: NoiseModel) -> dict[int, np.ndarray]:
    """Return a unit's white template on each of its channels."""
    channel_M = templates.channels_UM[unit][templates.channels_UM[unit] >= 0]
    white_LM = noise.white(tapered(templates.mean(unit)[: len(channel_M)]).T, channel_M)
    return {int(channel): white_LM[:, m] for m, channel in enumerate(channel_M)}


def echoes(trains: list[np.ndarray], size_U: np.ndarray) -> np.ndarray:
    """Return ``(U,)`` True for units that are echoes of larger ones.

    The end of a large spike, or a neuron that was found twice, fires at a fixed moment beside the larger unit. At least
    half of an echo's spikes have the same lag to one larger unit, within a quarter of a millisecond.

    Args:
        trains: seconds, rising, of each unit.
        size_U: of each unit's template.

    Example:
        >>> cell = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.2, 50))
        >>> echoes([cell, cell + 0.0012], np.array([5.0, 1.0])).tolist()
        [False, True]
    """
    found_U = np.zeros(len(trains), dtype=bool)
    order = np.argsort(-size_U, kind="stable")
    for rank, unit in enumerate(order):
        train = trains[unit]
        if len(train) < MIN_ECHOES:
            continue
        for larger in order[:rank]:
            if found_U[larger] or not len(trains[larger]):
                continue
            lags = _lags(trains[larger], train)
            counts = np.histogram(lags, ECHO_BINS)[0]
            if (counts[:-1] + counts[1:]).max() >= ECHO_SHARE * len(train):
                found_U[unit] = True
                break
    return found_U


def _lags(time_N: np.ndarray, other_N: np.ndarray) -> np.ndarray:
    """Return how long after or before the nearest two spikes of one unit each spike of another comes, seconds."""
    after = np.searchsorted(time_N, other_N)
    lags = [other_N - time_N[np.clip(after + k, 0, len(time_N) - 1)] for k in (-1, 0)]
    return np.concatenate([lags[0], lags[1][after < len(time_N)]])


def without_duplicates(time_N: np.ndarray, unit_N: np.ndarray, gain_N: np.ndarray, dead: float) -> np.ndarray:
    """Return True for spikes to keep: of two of the same unit within a dead time the one that explains more.

    Args:
        time_N: seconds, rising.
        unit_N: unit of each.
        gain_N: energy that each explains.
        dead: seconds.

    Example:
        >>> without_duplicates(np.array([0.0, 0.0001, 0.1]), np.zeros(3, int), np.array([1.0, 2.0, 1.0]), 0.0005)
        array([False,  True,  True])
    """
    kept_N = np.ones(len(time_N), dtype=bool)
    for unit in np.unique(unit_N):
        mine = np.flatnonzero(unit_N == unit)
        close = np.flatnonzero(np.diff(time_N[mine]) < dead)
        for k in close:
            a, b = mine[k], mine[k + 1]
            if kept_N[a]:
                kept_N[a if gain_N[a] < gain_N[b] else b] = False
    return kept_N
