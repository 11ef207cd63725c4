"""Labels of time: behaviour, trials, states. One sample is a token or a window of one recording's whole population."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from finetune.tasks.problems.decoding_task import Labels, Picked, Problem
from finetune.tasks.problems.trial_windows import Windows
from finetune.tasks.problems.unit_averages import ACTIVITY, TOKENS, averaged_activity, averaged_tokens
from foundation.common.digests import json_digest
from foundation.data.batch import WindowBatch
from foundation.data.reading.reader import VALUES_MODALITY, ActivityReader
from foundation.embedding.population_tokens import check_causal, token_inputs, token_parts
from foundation.evaluation.controls import all_turned, come_in_runs, few_ways, orders, permuted, turns
from foundation.evaluation.readings import Features, Reading, WindowRows
from foundation.evaluation.splits import Fold, Split, split_by_time
from foundation.models import EIT
from foundation.store import StoredRecording

CACHED_KIND, AVERAGES_KIND = "token-features-1", "average-features-1"  # of `FeatureCache`


class WindowProblem(Problem):
    """Labelled moments of one recording.

    Args:
        labels: of S samples.
        recording: the recording.
        windows: where its W windows are; each shows one sample or more.
        window_S: ``(S,)`` the window of each sample, rising.
        token_S: ``(S,)`` the token in its window; None if a sample is all of its window (windows then have one length).
        token_seconds: length of a token.
        readers: opens a recording's activity by id.
        bins_per_token: bins of a token.
        max_lag: tokens on each side of a sample that readouts see, at most.
        direction_W: ``(W,)`` class of the direction of each window's trial, -1 without a direction; None: no trials.
        what: what a window is to people, ``trials`` or ``windows``.
        causal: readouts see nothing of the future.
    """

    def __init__(
        self,
        labels: Labels,
        recording: StoredRecording,
        windows: Windows,
        window_S: np.ndarray,
        token_S: np.ndarray | None,
        *,
        token_seconds: float,
        readers: Callable[[str], ActivityReader],
        bins_per_token: int,
        max_lag: int = 32,
        direction_W: np.ndarray | None = None,
        what: str = "windows",
        causal: bool = False,
    ) -> None:
        self.causal = causal
        self.labels, self.recording, self.windows, self.what = labels, recording, windows, what
        self.window_S, self.token_S = window_S, token_S
        self.token_seconds, self.readers, self.patch = token_seconds, readers, bins_per_token
        self.bin_width = token_seconds / bins_per_token
        self.end_W = windows.start_W + windows.tokens_W * token_seconds
        self.cluster_S, self.cluster_name = windows.part_W[window_S], windows.part_name
        self.subjects = 1
        self.recordings = [(recording.id, recording.record.digest)]
        self.rows, self.max_lag, self.direction_W = WindowRows(windows.tokens_W), max_lag, direction_W
        self.readings = self._readings()
        self.view = f" of a time bin: {self._seen()}; that of firing rates sees the same bins"

    def _seen(self) -> str:
        if self.token_S is None:
            return f"all {int(self.windows.tokens_W.max())} time bins of a window, or their mean"
        lags = self.rows.all_lags(self.window_S, self.token_S, self.max_lag, self.causal).rows_SL.shape[1]
        other = ", its own bin alone, or the mean of its window" if self.labels.n_classes else ""
        if self.causal:
            other = ", or its own bin alone" if self.labels.n_classes else ""
        around = "up to" if self.causal else "around"
        return f"{lags} lags of {self.token_seconds:g} s {around} the sample, 0 outside the window{other}"

    def _readings(self) -> tuple[Reading, ...]:
        """How samples read time bins: values all lags, classes what does best of a few."""
        name = "trial mean" if self.windows.part_name == "trials" else "window mean"
        mean = self.rows.window_mean(self.window_S, name)
        if self.token_S is None:
            return (mean,)
        lags = self.rows.all_lags(self.window_S, self.token_S, self.max_lag, self.causal)
        if self.causal:
            return (lags, self.own_bin) if self.labels.n_classes else (lags,)
        return (lags, self.own_bin, mean) if self.labels.n_classes else (lags,)

    def _features(self, name: str, x_TF: np.ndarray) -> list[Features]:
        """Time bins, of rates and of models alike, and how samples read them; nothing is copied."""
        made = [Features(name, x_TF, self.readings)]
        if self.token_S is None:  # each bin of the trial is a feature by itself, standardised over trials
            made.insert(0, Features(name, self.head_rows(x_TF)[0], (Reading("all bins", self.window_S[:, None]),)))
        return made

    @property
    def own_bin(self) -> Reading:
        """The reading of each sample's own token."""
        assert self.token_S is not None
        return self.rows.own_bin(self.window_S, self.token_S)

    def split(self, folds: int, seed: int) -> Split:
        """Contiguous blocks of windows, a window's length or more between train and test."""
        split = self._split(np.arange(len(self.end_W)), folds)
        return Split([self._samples(fold) for fold in split.folds], split.description)

    def inner(self, train: np.ndarray, seed: int) -> list[Fold]:
        """Three contiguous blocks of the training windows."""
        windows = np.unique(self.window_S[train])
        folds = self._split(windows, 3).folds
        position = np.full(len(self.end_W), -1)
        window_of_train = self.window_S[train]
        made = []
        for fold in folds:
            position[:] = -1
            position[windows[fold.train]], position[windows[fold.test]] = 0, 1
            side = position[window_of_train]
            made.append(Fold(np.flatnonzero(side == 0), np.flatnonzero(side == 1)))
        return made

    def inner_windows(self, windows: np.ndarray) -> list[Fold]:
        """The same of windows, as indices into ``windows``."""
        return self._split(windows, 3).folds

    def check(self, split: Split) -> None:
        """Time of one recording is split with a gap: there is nothing to check."""

    def _split(self, windows: np.ndarray, folds: int) -> Split:
        start, end = self.windows.start_W[windows], self.end_W[windows]
        return split_by_time(start, end, folds, gap=float((self.end_W - self.windows.start_W).max()), what=self.what)

    def _samples(self, fold: Fold) -> Fold:
        return Fold(
            np.flatnonzero(np.isin(self.window_S, fold.train)), np.flatnonzero(np.isin(self.window_S, fold.test))
        )

    def shuffles(self, repeats: int, seed: int) -> tuple[list[np.ndarray], str]:
        """Shuffle labels of trials; rotate a time series, and trials whose classes come in runs."""
        y_S = self.labels.y_S
        if self.token_S is not None:
            return all_turned(y_S, repeats), f"turned in time{few_ways(turns(y_S))}"
        if come_in_runs(y_S):
            how = f"turned over trials, whose classes come in runs{few_ways(turns(y_S))}"
            return all_turned(y_S, repeats), how
        dealt = [permuted(y_S, np.random.default_rng([seed, 7, repeat])) for repeat in range(repeats)]
        return dealt, f"over trials{few_ways(orders(y_S))}"

    def places(self) -> dict[str, np.ndarray]:
        """Return the middle of each sample in seconds, and how many it lasts."""
        if self.token_S is None:
            start_S, length_S = self.windows.start_W[self.window_S], (self.end_W - self.windows.start_W)[self.window_S]
        else:
            start_S = self.windows.start_W[self.window_S] + self.token_S * self.token_seconds
            length_S = np.full(len(start_S), self.token_seconds)
        return {"time_S": start_S + length_S / 2, "seconds_S": length_S}

    def features(self, model: EIT) -> list[Features]:
        """What the model says of the population at every token of every window.

        Raises:
            ConfigError: if readouts are to see nothing of the future, and the model does.
        """
        if self.causal and self.token_S is not None:
            check_causal(model, self.recording.id)
        return self._features("the model", self._tokens(model, np.arange(len(self.windows))))

    def head_rows(self, x_TF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sample's own token, or all tokens of its window."""
        if self.token_S is None:
            return x_TF.reshape(len(self.windows), -1), self.window_S
        return x_TF, self.own_bin.rows_SL[:, 0]

    def head_features(self, model: EIT, samples: np.ndarray) -> np.ndarray:
        """``(len(samples), F)`` the same, of the windows that hold the samples."""
        needed, window_S = np.unique(self.window_S[samples], return_inverse=True)
        x_TF = self._tokens(model, needed)
        if self.token_S is None:
            return x_TF.reshape(len(needed), -1)[window_S]
        rows = WindowRows(self.windows.tokens_W[needed])
        return x_TF[rows.own_bin(window_S, self.token_S[samples]).rows_SL[:, 0]]

    def _tokens(self, model: EIT, chosen: np.ndarray) -> np.ndarray:
        """Return ``(T, F)`` tokens of some windows, one window after another; the checkpoint's may be in the cache."""
        if self.cache is None:
            return self._computed_tokens(model, chosen)
        windows = [self.windows.start_W[chosen].tolist(), self.windows.tokens_W[chosen].tolist()]
        given = {"bin_width": self.bin_width, "bins_per_token": self.patch, "windows": json_digest(windows)}
        return self.cache.get(model, CACHED_KIND, given, self.recording, lambda: self._computed_tokens(model, chosen))

    def _computed_tokens(self, model: EIT, chosen: np.ndarray) -> np.ndarray:
        reader, length_W = self.readers(self.recording.id), self.windows.tokens_W[chosen]
        first_W, x_TF = WindowRows(length_W).first, None
        for tokens in np.unique(length_W):
            here = np.flatnonzero(length_W == tokens)
            starts, n_bins = self.windows.start_W[chosen[here]], int(tokens) * self.patch
            for part, x_PTF in token_parts(model, reader, starts, bin_width=self.bin_width, n_bins=n_bins):
                if x_TF is None:
                    x_TF = np.empty((int(length_W.sum()), x_PTF.shape[-1]), dtype=np.float32)
                x_TF[first_W[here[part]][:, None] + np.arange(tokens)] = x_PTF
        assert x_TF is not None  # a problem has a window
        return x_TF

    def counts(self) -> np.ndarray:
        """``(T, N)`` activity of all units in every token of every window."""
        reader, length_W = self.readers(self.recording.id), self.windows.tokens_W
        table = reader.table(self.windows.start_W, length_W, self.token_seconds)
        x_WTN = reader.read(table, dtype=torch.float32).x_BNT.numpy().transpose(0, 2, 1)
        return np.ascontiguousarray(x_WTN[np.arange(x_WTN.shape[1]) < length_W[:, None]])

    def rate_features(self) -> list[Features]:
        """Activity of all units per token, and the square roots of counts, which steady their variance."""
        x_TN = self.counts()
        if self.readers(self.recording.id).modality == VALUES_MODALITY:
            return self._features("activity", x_TN)
        return [*self._features("square roots of counts", np.sqrt(x_TN)), *self._features("counts", x_TN)]

    def averaged_rates(self) -> list[Features]:
        """Return averages of activity over units, which any other population has too."""
        counts = self.readers(self.recording.id).modality != VALUES_MODALITY
        return self._features(ACTIVITY, averaged_activity(self.counts(), counts))

    def averaged_features(self, model: EIT) -> list[Features]:
        """Return the model's tokens of units, averaged over units.

        Raises:
            CheckpointError: if the model gives no embeddings of the recording's units.
        """
        windows = self.windows.start_W, self.windows.tokens_W

        def computed() -> np.ndarray:
            return averaged_tokens(model, self.readers(self.recording.id), *windows, self.token_seconds)

        if self.cache is None:
            return self._features(TOKENS, computed())
        given = {"token_seconds": self.token_seconds, "windows": json_digest([part.tolist() for part in windows])}
        return self._features(TOKENS, self.cache.get(model, AVERAGES_KIND, given, self.recording, computed))

    def model_inputs(self, model: EIT, batch: WindowBatch) -> dict[str, Any]:
        """What `features` give it too: the population stream alone, where it has one for the recording."""
        return token_inputs(model, self.recording.id, batch)

    def draw(self, samples: np.ndarray, tokens: int, rng: np.random.Generator) -> tuple[WindowBatch, Picked]:
        """Windows in random order, each at most once, with all of their samples that may be shown.

        Samples are drawn as often as they are there, so that those of a rare class weigh more.
        """
        reader = self.readers(self.recording.id)
        order = rng.permutation(np.unique(self.window_S[samples]))
        used = np.cumsum(self.windows.tokens_W[order] * reader.n_units)
        chosen = np.sort(order[: max(1, int(np.searchsorted(used, tokens, side="right")))])
        starts, lengths = self.windows.start_W[chosen], self.windows.tokens_W[chosen]
        table = reader.table(starts, lengths * self.patch, self.bin_width)
        batch = reader.read(table, bins_per_token=self.patch)
        shown = samples[np.isin(self.window_S[samples], chosen)]
        row = np.searchsorted(chosen, self.window_S[shown])
        weight = np.full(len(shown), 1.0 / len(shown))
        if self.labels.n_classes:
            counts = np.bincount(self.labels.y_S[samples], minlength=self.labels.n_classes)
            there = np.count_nonzero(counts)
            weight *= len(samples) / (there * counts[self.labels.y_S[shown]])
        if self.token_S is None:
            return batch, Picked(shown, "window", row, np.zeros_like(row), weight)
        return batch, Picked(shown, "token", row, self.token_S[shown], weight)
