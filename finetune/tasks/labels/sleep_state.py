"""Which state the animal is in, predicted from its population every few seconds."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from finetune.tasks.problems.decoding_task import Labels
from finetune.tasks.problems.trial_windows import block_windows
from finetune.tasks.problems.window_task import WindowProblem
from finetune.tasks.task import Attempt, Found, Sources, target_names
from foundation.store import Interval, StoredRecording


def find(sources: Sources) -> Found:
    """Every recording with a table of states, by itself: populations differ."""
    found = Found()
    recordings = sources.labelled("states.state")
    for recording, name in zip(recordings, target_names(recordings), strict=True):
        found.add("sleep_state", recording, "sleep_state", partial(_states, recording, name, sources))
    return found


def states_at(states: Interval, times: np.ndarray) -> np.ndarray:
    """The state at each time, ``''`` outside all intervals; the one that begins last where several overlap.

    Example:
        >>> states = Interval([0.0, 10.0], [10.0, 20.0], {"state": np.array(["wake", "rem"])})
        >>> states_at(states, np.array([5.0, 10.0, 25.0])).tolist()
        ['wake', 'rem', '']
    """
    text = states.columns["state"].astype(str)
    out = np.full(len(times), "", dtype=text.dtype if len(text) else "<U1")
    for k in np.argsort(states.start, kind="stable"):
        out[(times >= states.start[k]) & (times < states.end[k])] = text[k]
    return out


def _states(recording: StoredRecording, name: str, sources: Sources) -> Attempt:
    settings, states = sources.windows, recording.intervals["states"]
    problem, reason = classes_over_time(
        sources, recording, lambda times: states_at(states, times), task="sleep_state", target=name,
        title=f"State, {name}", token=settings.sleep_token, tokens=settings.sleep_tokens, label="state",
    )  # fmt: skip
    if problem is not None:
        problem.is_state = True
        for state in problem.labels.classes:
            if int((states.columns["state"].astype(str) == state).sum()) < 2:
                slow = "it cannot be distinguished from slow changes over time"
                problem.labels.notes.append(f"state {state!r} occurs in one bout: {slow}")
    return problem, reason


def classes_over_time(
    sources: Sources,
    recording: StoredRecording,
    at: Callable[[np.ndarray], np.ndarray],
    *,
    task: str,
    target: str,
    title: str,
    token: float,
    tokens: int,
    label: str = "class",
) -> Attempt:
    """Return the target of a class at each moment of the observed time.

    Args:
        sources: the store, and how it is read.
        recording: the recording.
        at: gives the text of the class at some times, ``''`` at unlabelled times.
        task, target, title: see `Labels`.
        token: seconds of a time bin.
        tokens: time bins of a window, at most.
        label: what a class is called, in notes.
    """
    settings = sources.windows
    if recording.resolution > token + 1e-9:
        return None, f"its resolution of {recording.resolution:g} s is coarser than a token of {token:g} s"
    windows = block_windows(recording.domain, token, tokens, settings.max_tokens, 10 * sources.folds)
    window_S = np.repeat(np.arange(len(windows)), windows.tokens_W)
    token_S = np.concatenate([np.arange(n) for n in windows.tokens_W] or [np.empty(0, dtype=np.int64)])
    text_S = at(windows.start_W[window_S] + (token_S + 0.5) * token).astype(str)
    notes, kept = [], []
    for state in sorted(set(text_S.tolist()) - {""}):
        n = int((text_S == state).sum())
        if n < sources.folds:
            notes.append(f"{label} {state!r} is left out: {n} time bins, fewer than the {sources.folds} folds")
            continue
        kept.append(state)
    if len(kept) < 2:
        return (
            None,
            f"it has fewer than two {'states' if label == 'state' else 'classes'} with {sources.folds} time bins",
        )
    keep = np.isin(text_S, kept)
    used, window_S = np.unique(window_S[keep], return_inverse=True)
    if len(used) < 2 * sources.folds:
        return None, f"it has {len(used)} windows, fewer than two a fold"
    labels = Labels(
        task=task,
        target=target,
        title=title,
        y_S=np.searchsorted(kept, text_S[keep]),
        classes=tuple(kept),
        notes=notes,
    )
    problem = WindowProblem(
        labels,
        recording,
        windows.where(used),
        window_S,
        token_S[keep],
        token_seconds=token,
        readers=sources.readers,
        bins_per_token=sources.population_bins,
        max_lag=settings.max_lag,
        causal=settings.causal,
    )
    return problem, ""
