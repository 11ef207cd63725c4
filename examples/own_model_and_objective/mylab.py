"""Your own model, objective, sampler, task and recipe; nothing here is part of the packages."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from finetune.tasks import UnitTask
from foundation.data import StepPlan, ViewSpec
from foundation.models import Encoder, EncoderConfig
from foundation.objectives import Objective, check_rows, counted_units, embed_rows
from foundation.store import Units
from ingest.recipe.own_recipe import OwnRecipe


class RecurrentConfig(EncoderConfig):
    """The fields of the base, and the number of layers of the GRU."""

    model_type = "mylab_recurrent"
    layers: int = 1


class Recurrent(Encoder):
    """A GRU over the tokens of each unit separately."""

    config_class = RecurrentConfig

    def __init__(self, config):
        super().__init__(config)
        self.read_in = nn.Linear(config.patch_length, config.dim)
        self.over_time = nn.GRU(config.dim, config.dim, config.layers, batch_first=True)
        self.post_init()

    def forward(self, x_BNT, mask_BN, mask_BT, dt_B, modality_B):
        tokens_BNTP = torch.log1p(x_BNT.abs()).unflatten(-1, (-1, self.config.patch_length))
        h_BNTD = self.read_in(tokens_BNTP)
        h_MTD, _ = self.over_time(h_BNTD.flatten(0, 1))
        return self.output(h_MTD.unflatten(0, h_BNTD.shape[:2]), mask_BN, mask_BT)


@dataclass(frozen=True)
class RedundancySettings:
    """Settings of the objective.

    Args:
        min_tokens, max_tokens: tokens of a segment.
        weight: weight of correlations between different features.
    """

    min_tokens: int = 4
    max_tokens: int = 8
    weight: float = 0.01


class Redundancy(Objective):
    """Two segments of a unit agree in every feature, and different features are uncorrelated (Barlow twins)."""

    settings_class = RedundancySettings

    def __init__(self, settings, dim, model=None):
        super().__init__()
        self.settings = settings
        self.project = nn.Linear(dim, dim)

    @property
    def view_spec(self):
        return ViewSpec(views=2, min_tokens=self.settings.min_tokens, max_tokens=self.settings.max_tokens)

    def losses(self, model, views, context):
        counted_BN = counted_units(views, min_events=1)
        rows = embed_rows(model, views, context, "units", counted_BN)  # embeddings of all processes
        check_rows(len(rows.item_M), "units")
        a_MD, b_MD = (self.project(z_MD) for z_MD in rows.z_VMD)
        a_MD, b_MD = ((z - z.mean(0)) / (z.std(0) + 1e-4) for z in (a_MD, b_MD))
        correlation_DD = a_MD.T @ b_MD / len(a_MD)
        same = (1 - correlation_DD.diagonal()).square().sum()
        others = correlation_DD.square().sum() - correlation_DD.diagonal().square().sum()
        return {"loss": same + self.settings.weight * others, "same": same.detach()}, rows.z_VMD[0]


@dataclass(frozen=True)
class FirstMinutesSettings:
    """Settings of the sampler.

    Args:
        seconds: length of the beginning of each recording from which windows are drawn.
    """

    seconds: float = 600.0


class FirstMinutes(StepPlan):
    """Windows from the beginning of each recording, with equal chances for all recordings."""

    settings_class = FirstMinutesSettings

    def chances(self, chance_R):
        return np.ones_like(chance_R)

    def times(self, recording, observed):
        begin = observed.start[0]
        return observed.slice(begin, begin + self.own.seconds)


class Busy(UnitTask):
    """Whether a unit fires more often than the median of its recording."""

    name, title = "busy", "Units that are busier than most"

    def labels(self, recording):
        rate_N = recording.firing_rates()
        return np.where(rate_N > np.median(rate_N), "busy", "quiet")


class Numbered(OwnRecipe):
    """The default recipe, and a column of units that the files do not have."""

    def amend(self, recording, nwb):
        half_N = np.where(np.arange(recording.n_units) % 2, "odd", "even")
        return replace(recording, units=Units(recording.n_units, {**recording.units, "half": half_N}))
