"""`foundation embed`: an embedding of every unit of every recording of a store, in files or in the store."""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foundation.common.errors import CheckpointError, FoundationError
from foundation.common.files.locks import whole_file
from foundation.common.output.printable import count
from foundation.common.output.progress import progress
from foundation.embedding.embed_settings import EmbedSettings
from foundation.embedding.feature_cache import FeatureCache
from foundation.embedding.frozen_embeddings import NoWindowError, check_kind, check_units_trained, embed_units
from foundation.embedding.unit_facts import unit_facts
from foundation.embedding.unit_map import Placed, check_packages, write_map_page
from foundation.hub.checkpoint_resolver import resolve
from foundation.hub.checkpoints import load_model
from foundation.models.saved.preprocessing import Preprocessing
from foundation.store.catalog import Catalog
from foundation.store.derived import Derived
from foundation.store.input_store import ingested
from foundation.store.result_cache import ResultCache
from foundation.store.storage import Store
from foundation.store.stored import StoredRecording

log = logging.getLogger(__name__)
KIND = "unit-embedding-1"  # kind for `Derived`; the number changes with the content
SHOWN = 5  # recordings named in an error


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
