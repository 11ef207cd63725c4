"""Frozen embeddings of stored recordings: per unit and token, or one per unit."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foundation.common.errors import CheckpointError, ConfigError, FoundationError
from foundation.common.files.locks import whole_file
from foundation.common.output.printable import count
from foundation.common.output.progress import progress
from foundation.data.batch import WindowBatch
from foundation.data.reading.reader import ActivityReader
from foundation.embedding.embed_settings import EmbedSettings
from foundation.embedding.feature_cache import FeatureCache
from foundation.embedding.unit_facts import unit_facts
from foundation.embedding.unit_map import Placed, check_packages, write_map_page
from foundation.hub.checkpoint_resolver import resolve
from foundation.hub.checkpoints import load_model
from foundation.models import EIT
from foundation.models.saved.preprocessing import Preprocessing
from foundation.store.catalog import Catalog
from foundation.store.derived import Derived
from foundation.store.input_store import ingested
from foundation.store.result_cache import ResultCache
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording

log = logging.getLogger(__name__)
TOKENS_PER_BATCH = 32768
BINS_PER_BATCH = 1 << 25  # matters if a token has more than a thousand bins
KIND = "unit-embedding-1"  # kind for `Derived`; the number changes with the content
CACHED_KIND = "unit-features-1"  # kind for `FeatureCache`
SHOWN = 5  # recordings named in an error


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


@dataclass(frozen=True)
class Embedded:
    """Result of `embed`.

    Args:
        where: the folder, or the store's name.
        names: names of the files in the folder, or of folders in the store (``derived/<digest>``).
    """

    where: str
    names: list[str]

    def __str__(self) -> str:
        kind = "file" if all(name.endswith(".npz") for name in self.names) else "embedding"
        return f"{count(len(self.names), kind)} in {self.where}"


def embed(settings: EmbedSettings) -> Embedded:
    """Write an embedding of every unit of every recording that has a window, with its provenance.

    With ``output`` each recording gets a file ``<recording>.npz`` there: ``z_ND`` (float32), and ``about`` as JSON.
    Otherwise the embeddings are derived data of the store: kind `KIND`, array ``z_ND``, found by
    ``Derived.find(store, KIND)``. Windows are those of the checkpoint's pretraining unless settings differ (see
    `Preprocessing`); a bin is widened to the recording's resolution if that is coarser. Recordings without a fitting
    window are named in the log, with settings that would fit, and so are those whose embeddings are not finite.

    Raises:
        CheckpointError, StoreError: if the model or the store cannot be read.
        FoundationError: if no recording has a window that fits.
    """
    checkpoint = resolve(settings.checkpoint)
    model = load_model(checkpoint)
    check_units_trained(model)
    patch, own = model.config.patch_length, Preprocessing.of(model.config)
    catalog = Catalog.open(Store(settings.store or ingested(str(settings.input))))
    size = 0 if settings.output is None else settings.cache_size  # what is written into the store itself is kept there
    cache = FeatureCache(model, checkpoint.digest, ResultCache(catalog.store, size))
    written: list[str] = []
    misfits: list[Misfit] = []
    refused: list[str] = []
    placed: list[Placed] = []
    if settings.page is not None:
        check_packages()  # before any work
    for recording in progress(list(catalog), "embedding units", unit="recording"):
        width = own.bin_width(recording.resolution, patch)
        if settings.bin_width is not None:
            width = max(settings.bin_width, recording.resolution / patch)
        tokens = settings.tokens
        if tokens is None:
            longest = float(np.max(recording.observed.end - recording.observed.start, initial=0.0))
            tokens = own.tokens_of(longest, width * patch)
        made_by = {"checkpoint": checkpoint.digest, "bin_width": width, "tokens": tokens}
        made_by |= {"max_windows": settings.max_windows, "seed": settings.seed}
        derived = Derived(catalog.store, KIND, made_by, [recording.record.digest])
        if settings.output is None and derived.exists():
            written.append(derived.folder)
            if settings.page is not None:
                placed.append(_placed(recording, derived.read("z_ND")))
            continue
        try:
            check_kind(model, recording)
            z_ND = embed_units(
                model,
                recording,
                bin_width=width,
                n_bins=tokens * patch,
                max_windows=settings.max_windows,
                seed=settings.seed,
                cache=cache,
            )
        except NoWindowError as error:
            misfits.append(Misfit(recording.record.path, error.longest, width, tokens, patch))
            log.warning("%s is left out: %s", recording.record.path, misfits[-1])
            continue
        except CheckpointError as error:  # the embeddings are not finite, or the model cannot read the recording
            log.warning("%s is left out: %s", recording.record.path, error)
            refused.append(f"{recording.record.path}: {error}")
            continue
        if settings.page is not None:
            placed.append(_placed(recording, z_ND))
        about = {"recording": recording.id, "path": recording.record.path}
        if settings.output is None:
            derived.write({"z_ND": z_ND}, about)
            written.append(derived.folder)
        else:
            written.append(
                _write_file(Path(settings.output), z_ND, {**about, "checkpoint": checkpoint.digest, "bin_width": width})
            )
    if not written:
        raise FoundationError(_nothing(catalog.store.name, misfits, refused))
    if settings.page is not None:
        write_map_page(placed, Path(settings.page), f"Units of {catalog.store.name}")
        log.info("page: %s", settings.page)
    return Embedded(catalog.store.name if settings.output is None else settings.output, written)


@dataclass(frozen=True)
class Misfit:
    """A recording that is too short for a window, and settings that would fit.

    Args:
        path: of the recording.
        longest: seconds of its longest stretch of observed time.
        width: seconds of a bin.
        tokens: of a window.
        patch: bins of a token.

    Example:
        >>> print(Misfit("a.nwb", 0.5, 0.005, 32, 4))
        0.5 s are observed without a gap, and a window takes 0.64 s: --tokens 25 or --bin_width 0.0039 would fit
    """

    path: str
    longest: float
    width: float
    tokens: int
    patch: int

    @property
    def fitting_tokens(self) -> int:
        """Return the maximum tokens of a window."""
        return math.floor((self.longest + 1e-6) / (self.width * self.patch))

    @property
    def fitting_width(self) -> float:
        """Return the maximum bin width in seconds, rounded down to two digits."""
        exact = self.longest / (self.tokens * self.patch)
        unit = 10.0 ** (math.floor(math.log10(exact)) - 1) if exact > 0 else 1.0
        return round(math.floor(exact / unit + 1e-9) * unit, 12)

    def __str__(self) -> str:
        fitting = [f"--tokens {self.fitting_tokens}"] if self.fitting_tokens else []
        if self.fitting_width >= 1e-4:
            fitting.append(f"--bin_width {self.fitting_width:g}")
        window = self.tokens * self.patch * self.width
        need = f"{self.longest:.4g} s are observed without a gap, and a window takes {window:.4g} s"
        return f"{need}: {' or '.join(fitting) or 'no setting'} would fit"


def _nothing(store: str, misfits: list[Misfit], refused: list[str]) -> str:
    """Return why nothing was embedded, and which settings would fit."""
    if not misfits and not refused:
        return f"{store!r} holds no recording: there is nothing to embed"
    if not misfits:
        return "\n".join(
            [f"no recording of {store!r} has embeddings that are finite", *(f"  {r}" for r in refused[:SHOWN])]
        )
    lines = [f"no recording of {store!r} has a window that fits", *(f"  {line}" for line in refused[:SHOWN])]
    lines += [f"  {misfit.path}: {misfit}" for misfit in misfits[:SHOWN]]
    if len(misfits) > SHOWN:
        lines.append(f"  and {len(misfits) - SHOWN} more")
    fewest, most = (pick(misfit.fitting_tokens for misfit in misfits) for pick in (min, max))
    if fewest:
        lines.append(f"--tokens {fewest} fits all {count(len(misfits), 'recording')}")
    elif most:
        fit = sum(misfit.fitting_tokens > 0 for misfit in misfits)
        lines.append(f"--tokens 1 fits {fit} of {count(len(misfits), 'recording')}")
    return "\n".join(lines)


def _placed(recording: StoredRecording, z_ND: np.ndarray) -> Placed:
    """Return all units of a recording, for the map."""
    everyone = np.arange(len(z_ND))
    return Placed("", {**unit_facts([recording], np.zeros_like(everyone), everyone), "z_SD": z_ND})


def _write_file(folder: Path, z_ND: np.ndarray, about: dict[str, Any]) -> str:
    path = folder / f"{about['recording']}.npz"
    with whole_file(path) as part, part.open("wb") as file:
        np.savez(file, z_ND=z_ND, about=np.array(json.dumps(about)))
    return path.name
