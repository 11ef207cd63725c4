"""Labels of units: their type, their place. One sample is one unit; its feature is the unit's mean embedding."""

from __future__ import annotations

import math

import numpy as np

from finetune.tasks.problems.decoding_task import Labels, Picked, Problem
from finetune.tasks.problems.firing_patterns import GROUPS, unit_patterns
from finetune.tasks.problems.same_units import Duplicates
from finetune.tasks.problems.spike_statistics import interval_statistics, unit_statistics
from foundation.common.errors import StoreError
from foundation.data.batch import WindowBatch
from foundation.data.reading.reader import ReaderCache
from foundation.embedding.frozen_embeddings import embed_units, spread_starts
from foundation.evaluation.controls import (
    arrangements,
    few_ways,
    orders,
    permuted,
    permuted_inside,
    permuted_over_animals,
)
from foundation.evaluation.readings import Features, each_row
from foundation.evaluation.splits import Fold, Split, split_by_subject, split_units
from foundation.models import EIT
from foundation.models.parts.interval_tokens import FEATURES
from foundation.store import StoredRecording


class UnitProblem(Problem):
    """Labelled units of any number of recordings.

    Args:
        labels: of S units.
        recordings: that hold them.
        recording_S: ``(S,)`` which recording.
        unit_S: ``(S,)`` which unit of it.
        readers: opens a recording's activity by id.
        bin_width: seconds.
        n_bins: of a window.
        bins_per_token: bins that make one token of a unit.
        windows: windows that the embedding of a unit is averaged over.
        seed: of the choice of windows.
        tokens: of a window.
    """

    def __init__(
        self,
        labels: Labels,
        recordings: list[StoredRecording],
        recording_S: np.ndarray,
        unit_S: np.ndarray,
        *,
        readers: ReaderCache,
        bin_width: float,
        n_bins: int,
        bins_per_token: int,
        windows: int,
        seed: int,
        tokens: int = 1,
    ) -> None:
        self.tokens = tokens
        self.labels, self.stored, self.recording_S, self.unit_S = labels, recordings, recording_S, unit_S
        self.readers, self.bin_width, self.n_bins, self.windows, self.seed = readers, bin_width, n_bins, windows, seed
        self.patch = bins_per_token
        self.recordings = [(r.id, r.record.digest) for r in recordings]
        self.subject_S = np.array([r.record.subject for r in recordings])[recording_S]
        self.subjects = len(np.unique(self.subject_S))
        several = self.subjects > 1
        self.cluster_S = self.subject_S if several else np.arange(len(unit_S))
        self.cluster_name = "animals" if several else "units"
        labs = np.array([r.record.lab for r in recordings])
        several_labs = len(set(labs.tolist()) - {""}) > 1
        self.lab_S = labs[recording_S] if several_labs and labels.n_classes else None
        self._starts: dict[int, np.ndarray] = {}

    def split(self, folds: int, seed: int) -> Split:
        """By animal; by unit if there is but one animal."""
        y_S = self._strata
        return split_by_subject(self.subject_S, y_S, folds) if self.subjects > 1 else split_units(y_S, folds, seed)

    @property
    def _strata(self) -> np.ndarray:
        """``(S,)`` the class of each unit, which folds are balanced over; one for all where labels are numbers."""
        return self.labels.y_S if self.labels.n_classes else np.zeros(len(self.unit_S), dtype=np.int64)

    def check(self, split: Split) -> None:
        """Raise StoreError if one neuron stands on both sides of a fold, however it came into the store twice."""
        found = Duplicates(self.stored, self.recording_S, self.unit_S)
        for fold in split.folds:
            same = found.across(fold.train, fold.test)
            if same is not None:
                a, b = (self._place(sample) for sample in same)
                raise StoreError(f"{a} and {b} are the same neuron, on both sides of the split: keep one of the two")

    def _place(self, sample: int) -> str:
        recording, unit = self.stored[self.recording_S[sample]], int(self.unit_S[sample])
        identity = int(recording.units["id"][unit]) if "id" in recording.units else unit
        return f"unit {identity} of {recording.record.path}"

    def inner(self, train: np.ndarray, seed: int) -> list[Fold]:
        """Three folds made the same way."""
        subject, y = self.subject_S[train], self._strata[train]
        if len(np.unique(subject)) > 1:
            return split_by_subject(subject, y, 3).folds
        return split_units(y, min(3, int(np.bincount(y).max())), seed).folds

    def shuffles(self, repeats: int, seed: int) -> tuple[list[np.ndarray], str]:
        """Shuffle labels among the units of each animal, and exchange whole animals that have one class each."""
        y_S, subject_S = self.labels.y_S, self.subject_S
        rngs = [np.random.default_rng([seed, 7, repeat]) for repeat in range(repeats)]
        if not self.labels.n_classes:
            ids = [np.flatnonzero(subject_S == subject) for subject in np.unique(subject_S)]
            ways = few_ways(math.prod(math.factorial(len(here)) for here in ids))
            return [y_S[permuted_inside(ids, rng)] for rng in rngs], f"over the units of each animal{ways}"
        if self.subjects == 1:
            return [permuted(y_S, rng) for rng in rngs], f"over units{few_ways(orders(y_S))}"
        ways = few_ways(arrangements(y_S, subject_S))
        how = f"over the units of each animal, and over animals with one class{ways}"
        return [permuted_over_animals(y_S, subject_S, rng) for rng in rngs], how

    def places(self) -> dict[str, np.ndarray]:
        """Return recording and row of each unit."""
        return {"recording_S": np.array([r.id for r in self.stored])[self.recording_S], "unit_S": self.unit_S}

    def features(self, model: EIT) -> list[Features]:
        """Mean embeddings, each sample its own."""
        everyone = np.arange(len(self.unit_S))
        return [Features("embeddings", self.head_features(model, everyone), (each_row(len(everyone)),))]

    def head_rows(self, x_TF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The samples' embeddings as they are."""
        return x_TF, np.arange(len(self.unit_S))

    def head_features(self, model: EIT, samples: np.ndarray) -> np.ndarray:
        """``(len(samples), D)`` mean embeddings."""
        out_SD = np.zeros((len(samples), model.config.dim), dtype=np.float32)
        for k in np.unique(self.recording_S[samples]):
            here = self.recording_S[samples] == k
            z_ND = embed_units(
                model,
                self.readers(self.stored[k].id),
                bin_width=self.bin_width,
                n_bins=self.n_bins,
                max_windows=self.windows,
                seed=self.seed,
                cache=self.cache,
            )
            out_SD[here] = z_ND[self.unit_S[samples[here]]]
        return out_SD

    def rate_features(self) -> list[Features]:
        """Rate, inter-spike intervals and their irregularity, from all that was observed of the unit.

        Where all recordings have spike times, shares of intervals, successive intervals and lags are an alternative.
        """
        statistics: list[np.ndarray] = [np.empty(0)] * len(self.unit_S)
        for k, recording in enumerate(self.stored):
            here = np.flatnonzero(self.recording_S == k)
            for sample, row in zip(here, unit_statistics(recording, self.unit_S[here]), strict=True):
                statistics[sample] = row
        x_SF, reading = np.stack(statistics).astype(np.float32), (each_row(len(self.unit_S)),)
        found = [Features("rate and inter-spike intervals", x_SF, reading)]
        shares_SF = self._interval_shares()
        if shares_SF is not None:
            found.append(Features("intervals, successive intervals and autocorrelogram", shares_SF, reading))
        return found

    def pattern_features(self) -> list[Features]:
        """Return what a careful person measures of spikes (`firing_patterns`), as alternatives; none without spikes.

        The first group of features alone, with the second, with the third, and with both.
        """
        if any(recording.kind != "spikes" for recording in self.stored):
            return []
        x_SF = np.zeros((len(self.unit_S), sum(GROUPS.values())), dtype=np.float32)
        for k, recording in enumerate(self.stored):
            here = np.flatnonzero(self.recording_S == k)
            x_SF[here] = unit_patterns(recording, self.unit_S[here])
        first, second, third = np.split(x_SF, np.cumsum(list(GROUPS.values()))[:-1], axis=1)
        a, b, c = GROUPS
        made = [(a, [first]), (f"{a}; {b}", [first, second]), (f"{a}; {c}", [first, third]), ("all", [x_SF])]
        reading = (each_row(len(x_SF)),)
        return [Features(name, np.concatenate(parts, axis=1), reading) for name, parts in made]

    def _interval_shares(self) -> np.ndarray | None:
        """``(S, 223)`` of `interval_statistics`; None unless all recordings have them."""
        out_SF = np.zeros((len(self.unit_S), FEATURES), dtype=np.float32)
        for k, recording in enumerate(self.stored):
            if recording.kind != "spikes":
                return None
            statistics_NF = interval_statistics(self.readers(recording.id), self.windows, self.seed)
            if statistics_NF is None:
                return None
            here = self.recording_S == k
            out_SF[here] = statistics_NF[self.unit_S[here]]
        return out_SF

    def draw(self, samples: np.ndarray, tokens: int, rng: np.random.Generator) -> tuple[WindowBatch, Picked]:
        """Windows of recordings drawn by class, each class as often; a window shows all samples of its recording.

        In a window a sample weighs as much as it did in the draw, and all windows weigh the same. A class has thus the
        same share of the loss however its units are spread over recordings.
        """
        y = self._strata[samples]
        share = 1.0 / np.bincount(y)[y]
        share /= share.sum()
        drawn, starts, used = list[int](), list[float](), 0
        while not used or used < tokens:
            k = int(self.recording_S[rng.choice(samples, p=share)])
            reader = self.readers(self.stored[k].id)
            if k not in self._starts:
                self._starts[k] = spread_starts(reader, self.n_bins * self.bin_width, self.windows, self.seed)
            starts.append(float(rng.choice(self._starts[k])))
            drawn.append(k)
            used += reader.n_units * (self.n_bins // self.patch)
        table = self.readers.table([self.stored[k].id for k in drawn], starts, self.n_bins, self.bin_width)
        batch = self.readers.read(table, bins_per_token=self.patch)
        active_BN = (batch.x_BNT != 0).any(dim=2).numpy()
        rows, units, shown, weights = [], [], [], []
        for row, k in enumerate(drawn):
            inside = np.flatnonzero(self.recording_S[samples] == k)
            active = active_BN[row, self.unit_S[samples[inside]]]
            inside = inside[active] if active.any() else inside
            here = samples[inside]
            weights.append(share[inside] / share[inside].sum())
            rows.append(np.full(len(here), row))
            units.append(self.unit_S[here])
            shown.append(here)
        weight = np.concatenate(weights) / len(drawn)
        return batch, Picked(np.concatenate(shown), "unit", np.concatenate(rows), np.concatenate(units), weight)
