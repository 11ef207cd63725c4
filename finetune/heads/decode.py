"""Apply a head to a recording: labels of its units, or of its time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from finetune.heads.fitting.fit_head import unit_ids
from finetune.heads.head import ANY_POPULATION, LAGS, MEAN, RATES, UNIT, Head, HeadBlock, HeadError
from finetune.heads.head_files import FACTS
from finetune.tasks.problems.spike_statistics import interval_statistics, unit_statistics
from finetune.tasks.problems.trial_windows import cut_windows, observed_trials
from finetune.tasks.problems.unit_averages import averaged_activity, averaged_tokens
from foundation.common.digests import json_digest
from foundation.common.errors import CheckpointError
from foundation.data.reading.reader import VALUES_MODALITY, ActivityReader
from foundation.embedding.feature_cache import FeatureCache
from foundation.embedding.frozen_embeddings import NoWindowError, embed_units
from foundation.embedding.population_tokens import token_parts
from foundation.evaluation.metrics import CLASSES
from foundation.evaluation.readings import WindowRows
from foundation.models import EIT
from foundation.store import StoredRecording

SHOWN = 5  # units named in an error
CACHED_KIND = "head-tokens-1"  # of `FeatureCache`
INTERVALS = "intervals, successive intervals and autocorrelogram"


@dataclass(frozen=True)
class Decoded:
    """What a head says of one recording.

    Args:
        head: the head.
        recording: the recording.
        out_SK: ``(S, K)`` probabilities of the classes, or values.
        unit_S: ``(S,)`` ids of units; None for labels over time.
        start_S: ``(S,)`` seconds at which each sample begins; None for units.
        seconds: length of a sample; 0 for units.
    """

    head: Head
    recording: StoredRecording
    out_SK: np.ndarray
    unit_S: np.ndarray | None = None
    start_S: np.ndarray | None = None
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.out_SK)

    @property
    def times(self) -> np.ndarray:
        """``(S,)`` seconds, the middle of each sample."""
        assert self.start_S is not None
        return self.start_S + self.seconds / 2

    @property
    def names(self) -> np.ndarray:
        """``(S,)`` names of the most probable classes."""
        return np.array(self.head.classes)[self.out_SK.argmax(axis=1)]


def decode(
    head: Head,
    recording: StoredRecording,
    models: Mapping[str, EIT] | None = None,
    cache: FeatureCache | None = None,
) -> Decoded:
    """Apply a head to a recording.

    Args:
        head: loaded, or just fitted.
        recording: of a store.
        models: what `head_models` found; none are needed by a head that reads plain activity alone.
        cache: of features of the unchanged checkpoint; None: they are computed each time.

    Raises:
        HeadError: if the head does not fit the recording, with the reason.
    """
    models = models or {}
    name, windows = recording.record.path, head.windows
    if recording.kind != windows.activity:
        raise HeadError(
            f"{name} holds {recording.kind}, and head {head.name} was fitted to {windows.activity}: "
            f"expected a recording of {windows.activity}"
        )
    if recording.resolution > windows.token_seconds + 1e-9:
        raise HeadError(
            f"{name} has a resolution of {recording.resolution:g} s: expected one of {windows.token_seconds:g} s or "
            f"finer, which is a token of head {head.name}"
        )
    reader = ActivityReader(recording)
    if head.of_units:
        return _decode_units(head, recording, reader, models, cache)
    units = np.arange(recording.n_units) if head.population is None else matched_units(head, recording)
    starts, tokens_W, window_S, bin_S = _samples(head, recording)
    over_time = _OverTime(head, reader, units, starts, tokens_W, cache)
    features = [over_time.features(block, window_S, bin_S, models) for block in head.blocks]
    out_SK = head.outputs(features)
    seconds = windows.token_seconds
    length = seconds * windows.tokens if windows.whole else seconds
    return Decoded(head, recording, _final(head, out_SK), None, starts[window_S] + bin_S * seconds, length)


def _final(head: Head, out_SK: np.ndarray) -> np.ndarray:
    return head.probabilities(out_SK) if head.kind == CLASSES else out_SK


def _decode_units(
    head: Head,
    recording: StoredRecording,
    reader: ActivityReader,
    models: Mapping[str, EIT],
    cache: FeatureCache | None,
) -> Decoded:
    windows, everyone = head.windows, np.arange(recording.n_units)
    features = []
    for block in head.blocks:
        if block.source != RATES:
            try:
                x_NF = embed_units(
                    models[block.source],
                    reader,
                    bin_width=windows.bin_width,
                    n_bins=windows.tokens * windows.bins_per_token,
                    max_windows=windows.max_windows,
                    seed=windows.seed,
                    cache=cache,
                )
            except NoWindowError as error:
                raise HeadError(f"head {head.name} cannot read {recording.record.path}: {error}") from error
        elif block.features == INTERVALS:
            found = interval_statistics(reader, windows.max_windows, windows.seed)
            if found is None:
                raise HeadError(
                    f"head {head.name} cannot read {recording.record.path}: it has no second of gapless observed time"
                )
            x_NF = found
        else:
            x_NF = unit_statistics(recording, everyone).astype(np.float32)
        features.append((x_NF, everyone[:, None]))
    ids = np.array(unit_ids(recording))
    return Decoded(head, recording, _final(head, head.outputs(features)), unit_S=ids)


def matched_units(head: Head, recording: StoredRecording) -> np.ndarray:
    """Return the places of a head's units in a recording, in the order of the head.

    Raises:
        HeadError: if the recording is of another animal or lacks units: it shows another population.
    """
    population = head.population
    assert population is not None  # a head of labels over time
    name, hint = recording.record.path, "--calibrate fits the head anew to labelled minutes of this recording"
    if (other := any_population_folder(head)) is not None:
        hint = f"{other} reads any population, and {hint}"
    if recording.record.subject != population.subject:
        raise HeadError(
            f"{name} is of {recording.record.subject!r}, and head {head.name} was fitted to units of "
            f"{population.subject!r}: expected the same population; {hint}"
        )
    place = {identity: k for k, identity in enumerate(unit_ids(recording))}
    missing = [identity for identity in population.unit_ids if identity not in place]
    if missing:
        named = ", ".join(map(str, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
        raise HeadError(
            f"{name} lacks {len(missing)} of the {len(population.unit_ids)} units of head {head.name} ({named}): "
            f"expected the same population; {hint}"
        )
    return np.array([place[identity] for identity in population.unit_ids], dtype=np.int64)


def any_population_folder(head: Head) -> Path | None:
    """Return the folder of the head that predicts the same labels from any population; None without such a head."""
    if head.folder is None:
        return None
    folder = head.folder.parent / ANY_POPULATION / head.name
    return folder if (folder / FACTS).is_file() else None


def _samples(head: Head, recording: StoredRecording) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Starts and tokens of windows, and the window and token of each sample: cut as for the fit."""
    windows, name = head.windows, recording.record.path
    token, trials = windows.token_seconds, recording.intervals.get("trials")
    inside = windows.part == "trials" and trials is not None and len(trials) > 0
    if windows.whole and not inside:
        raise HeadError(f"{name} has no trials, and head {head.name} reads whole trials: expected a table of trials")
    if inside and trials is not None:
        pieces, trial = observed_trials(trials, recording.domain)
    else:
        pieces, trial = recording.domain.union(), np.arange(len(recording.domain.union()))
    if windows.whole:
        _, first = np.unique(trial, return_index=True)  # the first observed piece of each trial
        length = np.floor((pieces.end[first] - pieces.start[first]) / token + 1e-6)
        starts = pieces.start[first][length >= windows.tokens]
        tokens_W = np.full(len(starts), windows.tokens)
    else:
        # A causal head goes on without an end: its windows are as long as what was observed.
        longest = 1 << 40 if windows.causal else windows.tokens
        starts, tokens_W, _ = cut_windows(pieces, token, longest)
    if not len(starts):
        what = f"trial of {windows.tokens * token:g} s" if windows.whole else f"token of {token:g} s"
        raise HeadError(f"no {what} of head {head.name} fits the observed time of {name}")
    if windows.whole:
        return starts, tokens_W, np.arange(len(starts)), np.zeros(len(starts), dtype=np.int64)
    window_S = np.repeat(np.arange(len(starts)), tokens_W)
    return starts, tokens_W, window_S, np.concatenate([np.arange(n) for n in tokens_W])


@dataclass(frozen=True)
class _OverTime:
    """Features of the tokens of windows."""

    head: Head
    reader: ActivityReader
    units: np.ndarray
    starts: np.ndarray
    tokens_W: np.ndarray
    cache: FeatureCache | None = None

    def features(
        self, block: HeadBlock, window_S: np.ndarray, bin_S: np.ndarray, models: Mapping[str, EIT]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Features for a block, and the rows that each sample reads."""
        if self.head.population is None:
            x_TF = self.averages(block, models)
        else:
            x_TF = self.counts(block.features) if block.source == RATES else self.tokens(models[block.source])
        rows = WindowRows(self.tokens_W)
        if block.reading == UNIT:
            raise HeadError(f"head {self.head.name} reads units one by one and names a population: it is damaged")
        if block.reading == LAGS:
            return x_TF, rows.lags(window_S, bin_S, np.array(block.lags))
        if block.reading == MEAN:
            return x_TF, rows.all_bins(window_S).rows_SL
        return x_TF.reshape(len(self.starts), -1), window_S[:, None]

    def averages(self, block: HeadBlock, models: Mapping[str, EIT]) -> np.ndarray:
        """Return ``(T, F)`` averages over all units, of activity or of a model's tokens."""
        if block.source == RATES:
            return averaged_activity(self.counts("counts"), self.reader.modality != VALUES_MODALITY)
        seconds = self.head.windows.token_seconds
        try:
            return averaged_tokens(models[block.source], self.reader, self.starts, self.tokens_W, seconds)
        except CheckpointError as error:
            raise HeadError(
                f"head {self.head.name} cannot read {self.reader.recording.record.path}: {error}"
            ) from error

    def counts(self, name: str) -> np.ndarray:
        """``(T, N)`` activity of each unit in each token."""
        x_TN = self._filled(len(self.units))
        for here, tokens in self._by_length():
            table = self.reader.table(self.starts[here], tokens, self.head.windows.token_seconds, self.units)
            x_PNT = self.reader.read(table, dtype=torch.float32).x_BNT.numpy()
            x_TN[self._rows(here, tokens)] = x_PNT.transpose(0, 2, 1)
        return np.sqrt(x_TN) if name.startswith("square roots") else x_TN

    def tokens(self, model: EIT) -> np.ndarray:
        """Return ``(T, F)`` a model's output for each token, from the cache where possible."""
        if self.cache is None:
            return self.computed_tokens(model)
        windows, population = self.head.windows, self.head.population
        assert population is not None  # checked by `decode`
        given = {
            "bin_width": windows.bin_width,
            "bins_per_token": windows.bins_per_token,
            "context": windows.tokens,
            "rows_of": population.recording,
            "windows": json_digest([self.starts.tolist(), self.tokens_W.tolist(), self.units.tolist()]),
        }
        return self.cache.get(model, CACHED_KIND, given, self.reader.recording, lambda: self.computed_tokens(model))

    def computed_tokens(self, model: EIT) -> np.ndarray:
        """``(T, F)`` what a model says of each token; of a causal one after as many tokens as the fit had at most."""
        windows, x_TF = self.head.windows, np.empty((0, 0), np.float32)
        for here, tokens in self._by_length():
            context = min(tokens, windows.tokens)
            rows = self._rows(here, tokens)
            for part, x_PTF in self._parts(model, self.starts[here], context):
                if not x_TF.size:
                    x_TF = self._filled(x_PTF.shape[-1])
                x_TF[rows[part, :context]] = x_PTF
            later = np.arange(1, tokens - context + 1)
            starts = (self.starts[here][:, None] + later * windows.token_seconds).reshape(-1)
            ends = rows[:, context:].reshape(-1)
            for part, x_PTF in self._parts(model, starts, context):
                x_TF[ends[part]] = x_PTF[:, -1]
        return x_TF

    def _parts(self, model: EIT, starts: np.ndarray, tokens: int) -> Iterator[tuple[slice, np.ndarray]]:
        windows, population = self.head.windows, self.head.population
        assert population is not None  # checked by `decode`
        n_bins = tokens * windows.bins_per_token
        return token_parts(
            model, self.reader, starts, bin_width=windows.bin_width, n_bins=n_bins,
            units=self.units, rows_of=population.recording,
        )  # fmt: skip

    def _filled(self, width: int) -> np.ndarray:
        return np.empty((int(self.tokens_W.sum()), width), dtype=np.float32)

    def _by_length(self) -> list[tuple[np.ndarray, int]]:
        return [(np.flatnonzero(self.tokens_W == n), int(n)) for n in np.unique(self.tokens_W)]

    def _rows(self, here: np.ndarray, tokens: int) -> np.ndarray:
        return WindowRows(self.tokens_W).first[here][:, None] + np.arange(tokens)
