"""What a model says of a population in each time bin, whichever of its outputs holds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from foundation.common.errors import CheckpointError, ConfigError
from foundation.data.batch import WindowBatch
from foundation.data.reading.reader import ActivityReader
from foundation.embedding.frozen_embeddings import TOKENS_PER_BATCH
from foundation.models import EIT
from foundation.models.eit import EITOutput
from foundation.models.parts.population_stream import PopulationPlaces, population_places


def token_features(out: EITOutput) -> torch.Tensor:
    """Return ``(B, T, F)`` all that a model says of the population at each token.

    A model with a token for each unit and time gives the tokens of all its units side by side (F = N * D); one whose
    population stream stands alone gives that stream's token (F = D). Nothing is averaged or projected.

    Raises:
        CheckpointError: if the model gives neither.

    Example:
        >>> token_features(EITOutput(h_BNTD=torch.zeros(2, 3, 5, 4))).shape
        torch.Size([2, 5, 12])
        >>> token_features(EITOutput(p_BTD=torch.zeros(2, 5, 4))).shape
        torch.Size([2, 5, 4])
    """
    if out.h_BNTD is not None:
        return out.h_BNTD.transpose(1, 2).flatten(2)
    if out.p_BTD is not None:
        return out.p_BTD
    raise CheckpointError("the model gives neither h_BNTD nor p_BTD: nothing can be read over time")


def token_inputs(model: EIT, recording_id: str, batch: WindowBatch) -> dict[str, Any]:
    """Return what a model is given to be read over time: windows that show all units of one recording.

    A model whose population stream has rows for the recording runs that stream alone; any other runs its units.

    Raises:
        CheckpointError: if the model reads populations in shorter tokens than units, and has no rows for this one.

    Args:
        model: a pretrained model.
        recording_id: the recording that all windows are of, whatever place it has in the reader of the batch.
        batch: the windows.
    """
    places = PopulationPlaces(model.config, [recording_id])
    if not places.runs or int(places.first_R[0]) < 0:
        if model.config.population_patch != model.config.patch_length:
            raise CheckpointError(
                f"recording {recording_id} has no rows in the model's population stream: expected one that the model "
                "was pretrained on, or a model that has got rows for it (EIT.add_populations)"
            )
        return batch.model_inputs()
    of_one = replace(batch, recording_B=torch.zeros(len(batch), dtype=torch.int64))
    return {**places.placed(of_one).model_inputs(), "units": False}


def check_causal(model: EIT, recording_id: str) -> None:
    """Raise unless what a model says of a recording over time depends on nothing of the future.

    Raises:
        ConfigError: naming what would have to be otherwise.
    """
    if not (model.config.causal and model.config.population_layers):
        raise ConfigError(
            f"causal is true, and the model has causal {model.config.causal} and population_layers "
            f"{model.config.population_layers}: expected a model with a causal population stream (`foundation pretrain "
            "--config pretrain/population --model.causal true`)"
        )
    if recording_id not in population_places(model.config):
        raise ConfigError(
            f"causal is true, and the model's population stream has no rows for recording {recording_id}: expected one "
            "of the recordings that it was pretrained on"
        )


@torch.no_grad()
def token_parts(
    model: EIT,
    reader: ActivityReader,
    starts_B: np.ndarray,
    *,
    bin_width: float,
    n_bins: int,
    units: np.ndarray | None = None,
    rows_of: str | None = None,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Read windows a batch after another, and give what the model says of each of their tokens.

    Args:
        model: a pretrained model; it is put into evaluation mode.
        reader: of the recording.
        starts_B: ``(B,)`` seconds at which windows begin.
        bin_width: seconds of a bin.
        n_bins: bins of a window; whole tokens.
        units: ``(N,)`` units that are shown, in this order; by default all.
        rows_of: id of the recording whose rows in the population stream the shown units have, one after another, as on
            another day of the same population; by default of the reader's own.

    Yields:
        Which windows, and their ``(P, n_bins / population_patch, F)`` float32 features; see `token_features`.

    Raises:
        ConfigError: if ``n_bins`` is no multiple of the model's ``population_patch``.
        CheckpointError: if the model gives features that are not finite.
    """
    patch = model.config.population_patch
    if n_bins % patch:
        raise ConfigError(f"n_bins is {n_bins}: expected a multiple of {patch}, the bins of a token of the population")
    n_units = reader.n_units if units is None else len(units)
    at_once = max(1, TOKENS_PER_BATCH // max(1, n_units * n_bins // patch))
    model.eval()
    for first in range(0, len(starts_B), at_once):
        some = starts_B[first : first + at_once]
        batch = reader.read(reader.table(some, n_bins, bin_width, units), bins_per_token=patch)
        if units is not None and rows_of is not None:
            batch.unit_BN = torch.arange(n_units).expand(len(batch), -1)
        out = model(**token_inputs(model, rows_of or reader.recording.id, batch.to(model.device)))
        x_PTF = token_features(out).float().cpu().numpy()
        if wrong := int((~np.isfinite(x_PTF)).sum()):
            raise CheckpointError(
                f"recording {reader.recording.id}: {wrong} of {x_PTF.size} values of its embeddings are not finite; "
                "the model diverged, or the recording holds values too large for it"
            )
        yield slice(first, first + len(some)), x_PTF
