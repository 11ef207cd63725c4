"""Labels of time: behaviour, trials, states. One sample is a token or a window of one recording's whole population."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from finetune.tasks.decoding_task import Labels, Picked, Problem
from finetune.tasks.trial_windows import Windows
from foundation.data.batch import WindowBatch
from foundation.data.reading.reader import VALUES_MODALITY, ActivityReader
from foundation.embedding.frozen_embeddings import embedded_parts
from foundation.evaluation.controls import all_turned, come_in_runs, few_ways, orders, permuted, turns
from foundation.evaluation.splits import Fold, Split, split_by_time
from foundation.models import EIT
from foundation.store import StoredRecording

LAGS = (0, 2)


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
        what: what a window is to people, ``trials`` or ``windows``.
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
        what: str = "windows",
    ) -> None:
        self.labels, self.recording, self.windows, self.what = labels, recording, windows, what
        self.window_S, self.token_S = window_S, token_S
        self.token_seconds, self.readers, self.patch = token_seconds, readers, bins_per_token
        self.bin_width = token_seconds / bins_per_token
        self.end_W = windows.start_W + windows.tokens_W * token_seconds
        self.cluster_S, self.cluster_name = windows.part_W[window_S], windows.part_name
        self.subjects = 1
        self.recordings = [(recording.id, recording.record.digest)]
        if token_S is not None:
            lags = 2 * int(windows.tokens_W.max()) - 1
            self.view = f" of the sample's own token; that of firing rates may see {lags} tokens around it"

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
        """Trials are dealt anew; a time series is turned, and so are trials whose classes come in runs."""
        y_S = self.labels.y_S
        if self.token_S is not None:
            return all_turned(y_S, repeats), f"turned in time{few_ways(turns(y_S))}"
        if come_in_runs(y_S):
            how = f"turned over trials, whose classes come in runs{few_ways(turns(y_S))}"
            return all_turned(y_S, repeats), how
        dealt = [permuted(y_S, np.random.default_rng([seed, 7, repeat])) for repeat in range(repeats)]
        return dealt, f"over trials{few_ways(orders(y_S))}"

    def features(self, model: EIT, samples: np.ndarray | None = None) -> np.ndarray:
        """``(S, N * D)`` all units at the sample's token, or ``(S, T * N * D)`` at all tokens of its window."""
        samples = np.arange(len(self.window_S)) if samples is None else samples
        reader = self.readers(self.recording.id)
        size = reader.n_units * model.config.dim
        length = 1 if self.token_S is not None else int(self.windows.tokens_W[0])
        out_SF = np.zeros((len(samples), size * length), dtype=np.float32)
        needed = np.unique(self.window_S[samples])
        for tokens in np.unique(self.windows.tokens_W[needed]):
            chosen = needed[self.windows.tokens_W[needed] == tokens]
            for part, _, h_PNTD in embedded_parts(
                model,
                reader,
                self.windows.start_W[chosen],
                bin_width=self.bin_width,
                n_bins=int(tokens) * self.patch,
            ):
                here = np.flatnonzero(np.isin(self.window_S[samples], chosen[part]))
                row = np.searchsorted(chosen[part], self.window_S[samples[here]])
                if self.token_S is None:
                    out_SF[here] = h_PNTD[row].transpose(0, 2, 1, 3).reshape(len(here), -1)
                else:
                    out_SF[here] = h_PNTD[row, :, self.token_S[samples[here]]].reshape(len(here), -1)
        return out_SF

    def rate_features(self) -> list[tuple[str, np.ndarray]]:
        """Activity of all units per token; of the neighbouring tokens too, up to all that the model sees."""
        reader = self.readers(self.recording.id)
        longest = int(self.windows.tokens_W.max())
        table = reader.table(self.windows.start_W, self.windows.tokens_W, self.token_seconds)
        x_WTN = np.ascontiguousarray(reader.read(table, dtype=torch.float32).x_BNT.numpy().transpose(0, 2, 1))
        if reader.modality != VALUES_MODALITY:
            x_WTN = np.sqrt(x_WTN)  # steadies the variance of counts
        if self.token_S is None:
            return [
                ("counts per token", x_WTN[self.window_S].reshape(len(self.window_S), -1)),
                ("counts of the whole window", x_WTN[self.window_S].sum(axis=1)),
            ]
        lags = sorted({lag for lag in (*LAGS, longest - 1) if lag < longest})
        return [(f"counts, {2 * lag + 1} tokens", self._with_lags(x_WTN, lag)) for lag in lags]

    def _with_lags(self, x_WTN: np.ndarray, lag: int) -> np.ndarray:
        """``(S, (2 lag + 1) N)`` tokens from ``-lag`` to ``+lag`` around each sample, 0 outside its window."""
        assert self.token_S is not None
        padded = np.pad(x_WTN, ((0, 0), (lag, lag), (0, 0)))
        around = [padded[self.window_S, self.token_S + k] for k in range(2 * lag + 1)]
        return np.concatenate(around, axis=1)

    def draw(
        self, samples: np.ndarray, tokens: int, rng: np.random.Generator, bins_per_token: int
    ) -> tuple[WindowBatch, Picked]:
        """Windows in random order, each at most once, with all of their samples that may be shown.

        Samples are drawn as often as they are there, so that those of a rare class weigh more.
        """
        reader = self.readers(self.recording.id)
        order = rng.permutation(np.unique(self.window_S[samples]))
        used = np.cumsum(self.windows.tokens_W[order] * reader.n_units)
        chosen = np.sort(order[: max(1, int(np.searchsorted(used, tokens, side="right")))])
        starts, lengths = self.windows.start_W[chosen], self.windows.tokens_W[chosen]
        table = reader.table(starts, lengths * bins_per_token, self.bin_width)
        batch = reader.read(table, bins_per_token=bins_per_token)
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
