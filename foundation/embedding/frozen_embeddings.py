"""Frozen embeddings of stored recordings: per unit and token, or one per unit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from foundation.common.errors import CheckpointError, ConfigError
from foundation.data.batch import WindowBatch
from foundation.data.reading.reader import ActivityReader
from foundation.embedding.feature_cache import FeatureCache
from foundation.models import EIT
from foundation.models.saved.preprocessing import Preprocessing
from foundation.store.stored import StoredRecording

log = logging.getLogger(__name__)
TOKENS_PER_BATCH = 32768
BINS_PER_BATCH = 1 << 25  # matters if a token has more than a thousand bins
CACHED_KIND = "unit-features-1"  # kind for `FeatureCache`


class NoWindowError(ConfigError):
    """No window fits a recording's observed time.

    Args:
        message: the error's text.
        longest: seconds of the longest stretch of observed time.
    """

    def __init__(self, message: str, longest: float) -> None:
        super().__init__(message)
        self.longest = longest


def embed_windows(
    model: EIT,
    recording: StoredRecording | ActivityReader,
    starts_B: np.ndarray,
    *,
    bin_width: float,
    n_bins: int,
    units: np.ndarray | None = None,
) -> np.ndarray:
    """Return embeddings of every unit at every token.

    Args:
        model: a pretrained model; it is put into evaluation mode.
        recording: stored, or already open.
        starts_B: ``(B,)`` seconds at which windows begin.
        bin_width: seconds of a bin.
        n_bins: bins of a window; whole tokens.
        units: ``(M,)`` indices; all units by default.

    Returns:
        ``(B, M, n_bins / patch_length, D)`` float32.

    Raises:
        ConfigError: if ``n_bins`` is not a multiple of the model's ``patch_length``.
        CheckpointError: if the model's embeddings are not finite, or the model reads intervals between spikes and the
            recording has none.
    """
    reader = recording if isinstance(recording, ActivityReader) else ActivityReader(recording)
    n_units, n_tokens = reader.n_units if units is None else len(units), n_bins // model.config.patch_length
    starts_B = np.asarray(starts_B, dtype=np.float64).reshape(-1)
    h_BNTD = np.zeros((len(starts_B), n_units, n_tokens, model.config.dim), dtype=np.float32)
    for part, _, h_PNTD in embedded_parts(model, reader, starts_B, bin_width=bin_width, n_bins=n_bins, units=units):
        h_BNTD[part] = h_PNTD
    return h_BNTD


def check_kind(model: EIT, recording: StoredRecording) -> None:
    """Raise if a recording holds events and pretraining saw only sampled values, or vice versa.

    Raises:
        CheckpointError: names both kinds and what to do.
    """
    kinds = Preprocessing.of(model.config).kinds
    if kinds and (recording.kind == "values") not in {kind == "values" for kind in kinds}:
        raise CheckpointError(
            f"recording {recording.id} holds {recording.kind}, and the model was pretrained on {' and '.join(kinds)} "
            "alone: choose a model that was pretrained on such recordings (`foundation models`), or pretrain one"
        )


def check_units_trained(model: EIT) -> None:
    """Raise if pretraining did not train the unit stream, whose embeddings are then uninformative about units.

    Raises:
        CheckpointError: says what to do.
    """
    if not Preprocessing.of(model.config).units_trained:
        raise CheckpointError(
            "the model was pretrained by masked modelling of the population alone, so its unit stream, which embeds "
            "units, still has random weights: choose a model that was pretrained with an objective of units "
            "(`foundation models`, or `foundation pretrain --config pretrain/two-streams`); `foundation finetune` "
            "reads this model's population stream"
        )


@torch.no_grad()
def embedded_parts(
    model: EIT,
    reader: ActivityReader,
    starts_B: np.ndarray,
    *,
    bin_width: float,
    n_bins: int,
    units: np.ndarray | None = None,
) -> Iterator[tuple[slice, WindowBatch, np.ndarray]]:
    """Yield embeddings of windows batch by batch, for callers that do not hold all embeddings in memory.

    Arguments and errors are as in `embed_windows`.

    Yields:
        The indices of windows, their batch, and their ``(P, M, n_bins / patch_length, D)`` float32 embeddings.
    """
    patch = model.config.patch_length
    if n_bins % patch:
        raise ConfigError(f"n_bins is {n_bins}: expected a multiple of the model's patch_length, {patch}")
    if getattr(model.config, "tokens", "bins") == "intervals" and reader.recording.kind != "spikes":
        raise CheckpointError(
            f"recording {reader.recording.id} has no spike times, and the model reads intervals between spikes: "
            "expected a recording with spike times, or a model whose config.tokens is 'bins'"
        )
    n_units = reader.n_units if units is None else len(units)
    most = min(TOKENS_PER_BATCH // max(1, n_units * n_bins // patch), BINS_PER_BATCH // max(1, n_units * n_bins))
    at_once = max(1, most)
    model.eval()
    for first in range(0, len(starts_B), at_once):
        some = starts_B[first : first + at_once]
        batch = reader.read(reader.table(some, n_bins, bin_width, units), bins_per_token=patch)
        out = model(**batch.to(model.device).model_inputs())
        if out.h_BNTD is None:
            raise CheckpointError("the model gives no h_BNTD: it embeds no units")
        h_PNTD = out.h_BNTD.float().cpu().numpy()
        if wrong := int((~np.isfinite(h_PNTD)).sum()):
            raise CheckpointError(
                f"recording {reader.recording.id}: {wrong} of {h_PNTD.size} values of its embeddings are not finite; "
                "the model diverged, or the recording holds values too large for it"
            )
        yield slice(first, first + len(some)), batch, h_PNTD


def spread_starts(reader: ActivityReader, length: float, count: int, seed: int) -> np.ndarray:
    """Return up to ``count`` starts of windows of ``length`` seconds, spread over the observed time without overlap.

    Returns:
        ``(B,)`` sorted seconds; empty if no interval holds a window.
    """
    domain = reader.domain
    places = np.floor((domain.end - domain.start + 1e-6) / length).astype(np.int64)
    starts = np.concatenate(
        [s + length * np.arange(k) for s, k in zip(domain.start, places, strict=True)] or [np.empty(0)]
    )
    if len(starts) > count:
        # One from each of `count` equal parts of the list: spread out, but not on a fixed grid.
        edges = np.linspace(0, len(starts), count + 1).astype(int)
        rng = np.random.default_rng([seed, len(starts)])
        starts = starts[[int(rng.integers(a, b)) for a, b in pairwise(edges)]]
    return starts


def embed_units(
    model: EIT,
    recording: StoredRecording | ActivityReader,
    *,
    bin_width: float,
    n_bins: int,
    max_windows: int = 64,
    seed: int = 0,
    cache: FeatureCache | None = None,
) -> np.ndarray:
    """Return one embedding per unit: the mean over windows in which the unit is active (over all, if never active).

    Args:
        model: a pretrained model; it is put into evaluation mode.
        recording: stored, or already open.
        bin_width: seconds of a bin.
        n_bins: bins of a window; whole tokens.
        max_windows: largest number of windows to average.
        seed: of the choice of windows.
        cache: cache for embeddings of its model; None: no cache.

    Returns:
        ``(N, D)`` float32.

    Raises:
        NoWindowError: if no window fits the recording's observed time.
    """
    reader = recording if isinstance(recording, ActivityReader) else ActivityReader(recording)
    if cache is not None:
        given: dict[str, Any] = {"bin_width": bin_width, "n_bins": n_bins, "max_windows": max_windows, "seed": seed}
        return cache.get(model, CACHED_KIND, given, reader.recording, lambda: embed_units(model, reader, **given))
    starts = spread_starts(reader, n_bins * bin_width, max_windows, seed)
    if not len(starts):
        longest = float(np.max(reader.domain.end - reader.domain.start, initial=0.0))
        raise NoWindowError(
            f"a window of {n_bins} bins of {bin_width} s does not fit {longest:.3f} s of observed time", longest
        )
    z_BND = np.zeros((len(starts), reader.n_units, model.config.dim), dtype=np.float32)
    active_BN = np.zeros(z_BND.shape[:2], dtype=bool)
    for part, batch, h_PNTD in embedded_parts(model, reader, starts, bin_width=bin_width, n_bins=n_bins):
        z_BND[part] = h_PNTD.mean(axis=2)
        active_BN[part] = (batch.x_BNT != 0).any(dim=2).numpy()
    weight_BN = np.where(active_BN.any(axis=0), active_BN, True).astype(np.float64)
    mean_ND = (z_BND * weight_BN[..., None]).sum(axis=0) / weight_BN.sum(axis=0)[:, None]
    return mean_ND.astype(np.float32)
