"""Predict behaviour from a recording's population: a class of each trial, and sampled values at each moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from finetune.tasks.labels.time_series import angle_at, value_at
from finetune.tasks.problems.decoding_task import Labels
from finetune.tasks.problems.trial_windows import Windows, block_windows, observed_trials, trial_windows
from finetune.tasks.problems.window_task import WindowProblem
from finetune.tasks.task import Attempt, Found, Sources, target_names
from foundation.store import Interval, StoredRecording, TimeSeries

VALUES = ("velocity", "position", "speed", "wheel_velocity", "wheel_position", "pupil_area", "pupil_size")
ANGLES = ("head_direction",)
MOST_DIRECTIONS = 32


def find(sources: Sources) -> Found:
    """Return a target for each behaviour that each recording has, by itself: populations differ."""
    found = Found()
    for label in ("trials.direction", *VALUES, *ANGLES):
        recordings = sources.labelled(label)
        for recording, name in zip(recordings, target_names(recordings), strict=True):
            found.add("behavior", recording, label, partial(_attempt, recording, label, name, sources))
    return found


def direction_classes(direction_K: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Angles as classes, by their distinct values.

    Args:
        direction_K: ``(K,)`` radians, NaN for trials without a direction.

    Returns:
        ``(K,)`` class indices, -1 for NaN, and names in degrees.

    Example:
        >>> y, names = direction_classes(np.array([np.pi / 2, 0.0, np.nan, 2 * np.pi]))
        >>> y.tolist(), names
        ([1, 0, -1, 0], ['0°', '90°'])
    """
    degrees = np.round(np.degrees(np.asarray(direction_K, dtype=np.float64)) % 360.0, 2) % 360.0
    there = np.isfinite(degrees)
    values, y = np.unique(degrees[there], return_inverse=True)
    out = np.full(len(degrees), -1, dtype=np.int64)
    out[there] = y
    return out, [f"{v:g}°" for v in values]


def _attempt(recording: StoredRecording, label: str, name: str, sources: Sources) -> Attempt:
    token = sources.windows.behavior_token
    if recording.resolution > token + 1e-9:
        return None, f"the recording's resolution of {recording.resolution:g} s is coarser than a token of {token:g} s"
    if label == "trials.direction":
        trials = recording.intervals["trials"]
        y_K, classes = direction_classes(trials.columns["direction"])
        return classes_of_trials(
            sources, recording, trials, y_K, classes, task="behavior", target=f"direction-{name}",
            title=f"Reach direction per trial, {name}", label="direction", token=token,
        )  # fmt: skip
    series, angle, words = recording.behavior[label], label in ANGLES, label.replace("_", " ")
    return values_over_time(
        sources, recording, lambda times: (angle_at if angle else value_at)(series, times), task="behavior",
        target=f"{label}-{name}", title=f"{words.capitalize()}, {name}", label=words, token=token, unit=series.unit,
        span=_span(series), circular=angle,
    )  # fmt: skip


def classes_of_trials(
    sources: Sources,
    recording: StoredRecording,
    trials: Interval,
    y_K: np.ndarray,
    classes: list[str],
    *,
    task: str,
    target: str,
    title: str,
    label: str,
    token: float,
) -> Attempt:
    """Return the target of one class for each trial, read from the first time bins of the trial.

    Args:
        sources: the store, and how it is read.
        recording: the recording.
        trials: K of them.
        y_K: ``(K,)`` class of each trial, -1 for unlabelled trials.
        classes: their names.
        task, target, title: see `Labels`.
        label: what the label is called, in notes.
        token: seconds of a time bin.
    """
    if len(classes) > MOST_DIRECTIONS:
        return None, f"{len(classes)} different {label}s are no classes (at most {MOST_DIRECTIONS})"
    if recording.resolution > token + 1e-9:
        return None, f"the recording's resolution of {recording.resolution:g} s is coarser than a token of {token:g} s"
    pieces, trial = observed_trials(trials, recording.domain)
    _, first = np.unique(trial, return_index=True)  # the first observed piece of each trial
    start, trial = pieces.start[first], trial[first]
    tokens = np.floor((pieces.end[first] - start) / token + 1e-6).astype(np.int64)
    usable = (tokens >= 1) & (y_K[trial] >= 0)
    if usable.sum() < 2 * sources.folds:
        return None, f"{int(usable.sum())} trials with a {label}, fewer than two a fold"
    # As many tokens as 95 % of the trials have, so that one short trial does not shorten all.
    common = max(1, min(int(np.quantile(tokens[usable], 0.05, method="lower")), sources.windows.max_trial_tokens))
    notes = []
    keep = usable & (tokens >= common)
    if keep.sum() < usable.sum():
        notes.append(f"{int(usable.sum() - keep.sum())} trials shorter than {common * token:g} s are left out")
    counts = np.bincount(y_K[trial[keep]], minlength=len(classes))
    for c in np.flatnonzero(counts < sources.folds):
        notes.append(f"{label} {classes[c]} is left out: {counts[c]} trials, fewer than the {sources.folds} folds")
    used = np.flatnonzero(counts >= sources.folds)
    if len(used) < 2:
        return None, f"fewer than two {label}s have a trial for each fold"
    keep &= np.isin(y_K[trial], used)
    order = np.flatnonzero(keep)
    order = order[np.argsort(start[order], kind="stable")]
    labels = Labels(
        task=task,
        target=target,
        title=title,
        y_S=np.searchsorted(used, y_K[trial[order]]),
        classes=tuple(classes[c] for c in used),
        notes=[*notes, f"the first {common * token:g} s of each trial"],
    )
    windows = Windows(start[order], np.full(len(order), common), trial[order], "trials")
    return _problem(labels, recording, windows, np.arange(len(order)), None, sources, "trials", token=token), ""


def values_over_time(
    sources: Sources,
    recording: StoredRecording,
    at: Callable[[np.ndarray], np.ndarray],
    *,
    task: str,
    target: str,
    title: str,
    label: str,
    token: float,
    unit: str = "",
    span: Interval | None = None,
    circular: bool = False,
    value_names: Sequence[str] = (),
) -> Attempt:
    """Return the target of numbers at each moment: inside trials where there are enough, else over all observed time.

    Args:
        sources: the store, and how it is read.
        recording: the recording.
        at: gives the numbers at some times, ``(T,)`` or ``(T, K)``, NaN where the series has no value.
        task, target, title: see `Labels`.
        label: what the numbers are called.
        token: seconds of a time bin.
        unit: of the numbers.
        span: where they are known; None: everywhere.
        circular: whether they are an angle in radians, of which cosine and sine are predicted.
        value_names: names of the K numbers; by default made from the label.
    """
    settings = sources.windows
    if recording.resolution > token + 1e-9:
        return None, f"the recording's resolution of {recording.resolution:g} s is coarser than a token of {token:g} s"
    trials = recording.intervals.get("trials")
    inside_trials = trials is not None and len(trials) >= 2 * sources.folds
    if trials is not None and inside_trials:
        windows = trial_windows(trials, recording.domain, token, settings.max_trial_tokens)
        windows = _thinned(windows, settings.max_tokens)
    else:
        seen = recording.domain if span is None else recording.domain.intersect(span)
        windows = block_windows(seen, token, settings.behavior_tokens, settings.max_tokens, 10 * sources.folds)
    if not len(windows):
        return None, f"no token of {token:g} s fits its observed time"
    window_S = np.repeat(np.arange(len(windows)), windows.tokens_W)
    token_S = np.concatenate([np.arange(n) for n in windows.tokens_W])
    y_SK = at(windows.start_W[window_S] + (token_S + 0.5) * token).reshape(len(window_S), -1)
    if circular:
        y_SK = np.concatenate([np.cos(y_SK[:, :1]), np.sin(y_SK[:, :1])], axis=1)
    keep = np.isfinite(y_SK).all(axis=1)
    notes = []
    if (~keep).any():
        notes.append(f"{int((~keep).sum())} time bins without a value are left out")
    used, window_S = np.unique(window_S[keep], return_inverse=True)
    if len(used) < 2 * sources.folds:
        return None, f"{len(used)} windows with a value, fewer than two a fold"
    y_SK = y_SK[keep]
    moves = y_SK.std(axis=0) > 1e-9 * (1 + np.abs(y_SK).mean(axis=0))
    if circular:
        moves[:] = moves.any()  # an angle is both
    if not moves.any():
        return None, f"{label} never changes"
    if not moves.all():
        notes.append(f"{int((~moves).sum())} dimensions that never change are left out")
    every = list(value_names) if len(value_names) == len(moves) else _value_names(label, len(moves), unit, circular)
    names = tuple(name for name, moving in zip(every, moves, strict=True) if moving)
    windows = windows.where(used)
    pieces = len(windows) - len(np.unique(windows.part_W)) if inside_trials else 0
    if pieces:
        longest = settings.max_trial_tokens * token
        notes.append(
            f"{pieces} windows go on with a trial that is longer than {longest:g} s or not observed throughout"
        )
    notes.append("inside trials" if inside_trials else "over all observed time")
    labels = Labels(
        task=task,
        target=target,
        title=title,
        y_S=y_SK[:, moves],
        value_names=names,
        notes=notes,
        unit="" if circular else unit,
        circular=circular,
    )
    what = ("windows inside trials" if pieces else "trials") if inside_trials else "windows"
    direction_W = _directions(trials, windows) if trials is not None and inside_trials else None
    kept_S = token_S[keep]
    return _problem(labels, recording, windows, window_S, kept_S, sources, what, direction_W, token=token), ""


def _problem(
    labels: Labels,
    recording: StoredRecording,
    windows: Windows,
    window_S: np.ndarray,
    token_S: np.ndarray | None,
    sources: Sources,
    what: str,
    direction_W: np.ndarray | None = None,
    *,
    token: float,
) -> WindowProblem:
    return WindowProblem(
        labels,
        recording,
        windows,
        window_S,
        token_S,
        token_seconds=token,
        readers=sources.readers,
        bins_per_token=sources.population_bins,
        max_lag=sources.windows.max_lag,
        direction_W=direction_W,
        what=what,
        causal=sources.windows.causal,
    )


def _directions(trials: Interval, windows: Windows) -> np.ndarray | None:
    """``(W,)`` the class of each window's trial, -1 where it has no direction; None if trials have no classes."""
    if "direction" not in trials.columns:
        return None
    y_K, names = direction_classes(trials.columns["direction"])
    return y_K[windows.part_W] if 2 <= len(names) <= MOST_DIRECTIONS else None


def _thinned(windows: Windows, max_tokens: int) -> Windows:
    """Whole trials, spread evenly over the recording, of about ``max_tokens`` tokens in all."""
    total = int(windows.tokens_W.sum())
    if total <= max_tokens:
        return windows
    trials = np.unique(windows.part_W)
    wanted = max(1, len(trials) * max_tokens // total)
    kept = trials[np.unique(np.linspace(0, len(trials) - 1, wanted).round().astype(int))]
    return windows.where(np.isin(windows.part_W, kept))


def _span(series: TimeSeries) -> Interval:
    times = series.timestamps
    return Interval.single(float(times[0]), float(times[-1])) if len(times) else Interval(times, times)


def _value_names(label: str, n: int, unit: str, circular: bool) -> list[str]:
    if circular:
        return [f"cosine of {label}", f"sine of {label}"]
    unit = f" ({unit})" if unit else ""
    return [f"{label} {axis}{unit}".replace("  ", " ").strip() for axis in _axes(n)]


def _axes(n: int) -> list[str]:
    return [""] if n == 1 else list("xyz")[:n] if n <= 3 else [str(k) for k in range(n)]
