"""Features of a population in each time bin, from whichever of the model's outputs holds them."""

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
    """Return ``(B, T, F)`` all features of the population at each token.

    For a model with a token for each unit and time, these are the tokens of all units side by side (F = N * D); for a
    population stream alone, its token (F = D). Nothing is averaged or projected.

    Raises:
        CheckpointError: if the model has neither output.

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
    """Return the model's inputs for reading over time: windows that show all units of one recording.

    If the population stream has rows for the recording, only that stream runs; otherwise the unit stream runs.

    Raises:
        CheckpointError: if the population's tokens are shorter than the units', and the recording has no rows.

    Args:
        model: a pretrained model.
        recording_id: the recording of all windows, regardless of its index in the batch's reader.
        batch: the windows.
    """
    places = PopulationPlaces(model.config, [recording_id])
    if not places.runs or int(places.first_R[0]) < 0:
        if model.config.population_patch != model.config.patch_length:
            raise CheckpointError(
                f"recording {recording_id} has no rows in the model's population stream: expected one that the model "
                "was pretrained on, or a model with rows for it (EIT.add_populations)"
            )
        return batch.model_inputs()
    of_one = replace(batch, recording_B=torch.zeros(len(batch), dtype=torch.int64))
    return {**places.placed(of_one).model_inputs(), "units": False}


def check_causal(model: EIT, recording_id: str) -> None:
    """Raise unless a model's features of a recording over time are independent of later activity.

    Raises:
        ConfigError: names what would have to differ.
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
    """Yield the model's features of each token, batch by batch.

    Args:
        model: a pretrained model; it is put into evaluation mode.
        reader: of the recording.
        starts_B: ``(B,)`` seconds at which windows begin.
        bin_width: seconds of a bin.
        n_bins: bins of a window; whole tokens.
        units: ``(N,)`` units to show, in this order; by default all.
        rows_of: id of the recording whose rows in the population stream the shown units use, one after another, for
            example on another day with the same population; by default the reader's own recording.

    Yields:
        The indices of windows, and their ``(P, n_bins / population_patch, F)`` float32 features; see `token_features`.

    Raises:
        ConfigError: if ``n_bins`` is not a multiple of the model's ``population_patch``.
        CheckpointError: if the model's features are not finite.
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
