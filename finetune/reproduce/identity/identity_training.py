"""Train a pretraining recipe on simulated networks, and read out its encoder."""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from finetune.reproduce.identity.identity_settings import LEARNED, NETWORKS, IdentityTable
from finetune.reproduce.neurpir.simulated_networks import MODES, Networks
from finetune.training_loop import run_updates
from foundation.common.settings.command import build_parser, parse
from foundation.data import Loader, StepPlan
from foundation.data.batch import WindowBatch
from foundation.data.reading.reader import ReaderCache
from foundation.embedding.frozen_embeddings import embed_units, spread_starts
from foundation.models import EIT, param_groups
from foundation.models.parts.interval_tokens import interval_features
from foundation.objectives import build_objective
from foundation.training.pretrain_settings import PretrainSettings
from foundation.training.update.schedule import learning_rate


def find_settings(table: IdentityTable, row: str, seed: int) -> PretrainSettings:
    """Return the settings of the table's recipe, with the objective or the changes of a row.

    Raises:
        ConfigError: if the recipe is unknown.

    Example:
        >>> find_settings(IdentityTable(), "infonce", 0).objective.neurpir.loss
        'infonce'
    """
    arguments = ["--config", table.recipe, "--store", "-", "--output", "-", "--seed", str(seed)]
    if LEARNED.get(row) is not None:
        arguments += ["--config", f"objective/{LEARNED[row]}"]
    if table.steps is not None:
        arguments += ["--steps", str(table.steps)]
    for key, value in table.changes(row).items():
        if key != NETWORKS:
            arguments += [f"--{key}", json.dumps(value) if isinstance(value, (list, dict)) else str(value)]
    parser = build_parser("recipe", PretrainSettings, PretrainSettings)
    settings: PretrainSettings = parse(parser, PretrainSettings, arguments)
    return settings


class IdentityTraining:
    """An encoder in training, by the recipe's objective or on labels.

    Args:
        networks: training networks.
        settings: the recipe.
        y_S: labels of the networks' units; None: trained without labels.
    """

    def __init__(self, networks: Networks, settings: PretrainSettings, y_S: np.ndarray | None = None) -> None:
        torch.manual_seed(settings.seed)
        self.settings = settings
        self.model = EIT(settings.model.config())
        dim = self.model.config.dim
        self.objective = build_objective(settings.objective, dim, self.model)
        self.head = None if y_S is None else nn.Linear(dim, len(MODES))
        catalog = networks.catalog
        plan = StepPlan(
            catalog,
            settings.data,
            self.objective.view_spec,
            bins_per_token=settings.model.patch_length,
            seed=settings.seed,
        )
        self.loader = Loader(catalog, plan, prefetch=0)
        if y_S is not None:
            of_network = [torch.from_numpy(y_S[networks.network_S == k]) for k in range(len(networks))]
            place = {recording.id: k for k, recording in enumerate(networks.recordings)}
            self.label_RN = [of_network[place[name]] for name in plan.recordings]
        trained = nn.ModuleList([self.model, self.objective if self.head is None else self.head])
        o = settings.optimizer
        self.parameters = list(trained.parameters())
        self.optimizer = torch.optim.AdamW(
            param_groups(trained, o.learning_rate, o.weight_decay), betas=(o.beta1, o.beta2)
        )

    def run(self) -> EIT:
        """Train for the recipe's steps and return the encoder."""
        self.model.train()
        clip = self.parameters, self.settings.optimizer.clip
        run_updates(range(self.settings.steps), self._loss, self.optimizer, clip=clip)
        return self.model

    def _loss(self, step: int) -> torch.Tensor:
        rate = learning_rate(step, self.settings.steps, self.settings.optimizer)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        batch = self.loader.load(step)
        if self.head is not None:
            return torch.stack([self._label_loss(view.cast()) for view in batch.views]).mean()
        loss: torch.Tensor = self.objective(self.model, batch.views, batch.context)["loss"]
        return loss

    def _label_loss(self, view: WindowBatch) -> torch.Tensor:
        assert self.head is not None
        assert view.recording_B is not None
        assert view.unit_BN is not None
        z_MD = self.model(**view.model_inputs()).z_BND[view.mask_BN]
        unit_B = [view.unit_BN[b][view.mask_BN[b]].long() for b in range(len(view))]
        y_M = torch.cat([self.label_RN[int(r)][units] for r, units in zip(view.recording_B, unit_B, strict=True)])
        return F.cross_entropy(self.head(z_MD), y_M)


def embed(model: EIT, networks: Networks, settings: PretrainSettings, tokens: int) -> np.ndarray:
    """``(S, D)`` frozen embeddings: the mean over all windows in which the unit was active."""
    readers, n_bins = ReaderCache(networks.catalog), tokens * settings.model.patch_length
    [width] = settings.data.bin_widths
    rows = [
        embed_units(model, readers(recording.id), bin_width=width, n_bins=n_bins, max_windows=10**6)
        for recording in networks.recordings
    ]
    return np.concatenate(rows)


def mean_tokens(networks: Networks, settings: PretrainSettings, tokens: int) -> np.ndarray:
    """``(S, 223)`` the encoder's input: the mean of a unit's tokens over all windows."""
    readers, patch = ReaderCache(networks.catalog), settings.model.patch_length
    [width] = settings.data.bin_widths
    rows = []
    for recording in networks.recordings:
        reader = readers(recording.id)
        starts = spread_starts(reader, tokens * patch * width, 10**6, 0)
        means = []
        for start in starts:
            batch = reader.read(reader.table([start], tokens * patch, width), bins_per_token=patch)
            means.append(interval_features(batch.x_BNT.float(), batch.dt_B, patch)[0].mean(1).numpy())
        rows.append(np.mean(means, axis=0))
    return np.concatenate(rows)
