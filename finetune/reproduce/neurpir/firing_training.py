"""Train encoders on unlabelled networks, and LOLCAT on labels, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn import functional as F

from finetune.reproduce.models import LOLCAT, LOLCATConfig, Timescale, snippet_batch
from finetune.reproduce.neurpir.neurpir_settings import FiringEncoder
from finetune.reproduce.neurpir.simulated_networks import MODES, Networks
from finetune.training_loop import run_updates
from foundation.common.settings.command import build_parser, parse
from foundation.data import Loader, StepPlan
from foundation.data.reading.reader import ReaderCache
from foundation.data.steps.data_settings import DataSettings
from foundation.embedding.frozen_embeddings import embed_units, embed_windows, spread_starts
from foundation.models import EIT
from foundation.objectives import ObjectiveSettings, build_objective
from foundation.objectives.parts.collapse import similarity_gap
from foundation.training.inputs.surround_fitting import fit_surroundings
from foundation.training.pretrain_settings import OptimizerSettings


@dataclass(frozen=True)
class Recipe:
    """A shipped ``objective/...`` config.

    Args:
        objective: the objective.
        optimizer: AdamW.
    """

    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)


def find_recipe(name: str, encoder: FiringEncoder) -> Recipe:
    """Return the config ``objective/<name>`` with the encoder's changes.

    Raises:
        ConfigError: if it does not exist.

    Example:
        >>> find_recipe("neurpir-no-variance", FiringEncoder()).objective.neurpir.vicreg.variance
        0.0
    """
    arguments = ["--config", f"objective/{name}"]
    if name.startswith("nuclr"):
        arguments += [f"--objective.nuclr.{length}={encoder.tokens}" for length in ("min_tokens", "max_tokens")]
    elif encoder.projector:
        arguments.append(f"--objective.neurpir.projector={encoder.projector}")
    if encoder.learning_rate is not None:
        arguments.append(f"--optimizer.learning_rate={encoder.learning_rate}")
    recipe: Recipe = parse(build_parser("recipe", Recipe, Recipe), Recipe, arguments)
    surround = recipe.objective.neurpir.surround
    if surround is None or surround.kind != "cebra" or encoder.cebra_iterations is None:
        return recipe
    arguments.append(f"--objective.neurpir.surround.iterations={encoder.cebra_iterations}")
    changed: Recipe = parse(build_parser("recipe", Recipe, Recipe), Recipe, arguments)
    return changed


class EncoderTraining:
    """An encoder in training on networks without labels.

    Args:
        networks: training networks.
        recipe: objective and optimiser; the rate is constant after ``warmup_steps``.
        encoder: its shape.
        seed: of weights and windows.
    """

    def __init__(self, networks: Networks, recipe: Recipe, encoder: FiringEncoder, seed: int) -> None:
        torch.manual_seed(seed)
        self.recipe, self.step = recipe, 0
        self.model = encoder.model()
        self.objective = build_objective(recipe.objective, encoder.dim, self.model)
        spec = self.objective.view_spec
        data = DataSettings(
            bin_widths=[encoder.bin_width],
            tokens_per_step=encoder.windows * encoder.max_units * spec.tokens,
            min_windows=encoder.windows,
            max_units=encoder.max_units,
            weight_power=0.0,
        )
        catalog = networks.catalog
        plan = StepPlan(catalog, data, spec, bins_per_token=encoder.patch_length, seed=seed)
        self.loader = Loader(catalog, plan, prefetch=0)
        fit_surroundings(self.loader.surroundings)
        self.parameters = [*self.model.parameters(), *self.objective.parameters()]
        o = recipe.optimizer
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=o.learning_rate, betas=(o.beta1, o.beta2), weight_decay=o.weight_decay
        )

    def run(self, steps: int) -> None:
        """Train for this many further steps."""
        self.model.train()
        clip = self.parameters, self.recipe.optimizer.clip
        run_updates(range(self.step, self.step + steps), self._loss, self.optimizer, clip=clip, after=self._after)

    def _loss(self, step: int) -> torch.Tensor:
        o = self.recipe.optimizer
        for group in self.optimizer.param_groups:
            group["lr"] = o.learning_rate * min(1.0, (step + 1) / max(o.warmup_steps, 1))
        batch = self.loader.load(step)
        loss: torch.Tensor = self.objective(self.model, batch.views, batch.context)["loss"]
        return loss

    def _after(self, _: int) -> None:
        self.objective.after_step(self.model, 0.0)
        self.step += 1


def embed(model: EIT, networks: Networks, encoder: FiringEncoder, windows: int | None = None) -> np.ndarray:
    """``(S, D)`` frozen embeddings: the mean over windows in which the unit was active; over all windows by default."""
    readers = ReaderCache(networks.catalog)
    n_bins, most = encoder.tokens * encoder.patch_length, windows or 10**6

    def of(name: str) -> np.ndarray:
        return embed_units(model, readers(name), bin_width=encoder.bin_width, n_bins=n_bins, max_windows=most)

    return np.concatenate([of(recording.id) for recording in networks.recordings])


def criterion(model: EIT, networks: Networks, encoder: FiringEncoder) -> dict[str, float]:
    """Return NeurPIR's first criterion: similarity of two halves of a unit's time, and of halves of different units.

    Uses as many windows as an evaluation.
    """
    readers, halves = ReaderCache(networks.catalog), []
    n_bins = encoder.tokens * encoder.patch_length
    for recording in networks.recordings:
        reader = readers(recording.id)
        starts = spread_starts(reader, n_bins * encoder.bin_width, encoder.looks, 0)
        z_WND = embed_windows(model, reader, starts, bin_width=encoder.bin_width, n_bins=n_bins).mean(axis=2)
        halves.append([z_WND[: len(starts) // 2].mean(0), z_WND[len(starts) // 2 :].mean(0)])
    first, second = (torch.from_numpy(np.concatenate(z)) for z in zip(*halves, strict=True))
    return {name: round(float(value), 4) for name, value in similarity_gap(first, second).items()}


class LOLCATTraining:
    """LOLCAT in training on firing modes from snippets of 3 s, as published.

    Its settings are constants here, not in a run's configuration: changing them requires a new `neurpir.VERSION`.

    Args:
        networks: training networks.
        y_S: their labels (separate, so that they can be shuffled).
        seed: of weights, batches and dropout.
        batch: units of a step, balanced over modes.
    """

    SCALES = (Timescale(),)
    RATE = 1e-3

    def __init__(self, networks: Networks, y_S: np.ndarray, seed: int, batch: int = 64) -> None:
        torch.manual_seed(seed)
        self.histograms, self.masks = self.snippets(networks)
        self.model = LOLCAT(LOLCATConfig(n_features=[s.bins for s in self.SCALES], n_classes=len(MODES)))
        self.model.fit_scale(self.histograms, self.masks)
        self.y_S, self.batch = torch.from_numpy(y_S), batch
        self.weight_S = 1.0 / torch.bincount(self.y_S, minlength=len(MODES)).clamp(min=1)[self.y_S]
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=self.RATE, weight_decay=0.01)

    def snippets(self, networks: Networks) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Histograms and masks of all units."""
        parts = []
        for recording in networks.recordings:
            blocks, domain = recording.spike_blocks, recording.domain
            assert blocks is not None  # simulated networks have spikes
            spikes = blocks.to_spikes()
            trains = [spikes.train(unit) for unit in range(recording.n_units)]
            parts.append(snippet_batch(trains, (float(domain.start[0]), float(domain.end[-1])), self.SCALES))
        shortest = [min(h[k].shape[1] for h, _ in parts) for k in range(len(self.SCALES))]
        histograms = [torch.cat([h[k][:, :n] for h, _ in parts]) for k, n in enumerate(shortest)]
        return histograms, [torch.cat([m[k][:, :n] for _, m in parts]) for k, n in enumerate(shortest)]

    def run(self, steps: int) -> None:
        """Train for this many further steps."""
        self.model.train()
        drawn = (torch.multinomial(self.weight_S, min(self.batch, len(self.y_S))) for _ in range(steps))
        run_updates(drawn, self._loss, self.optimizer)

    def _loss(self, rows: torch.Tensor) -> torch.Tensor:
        out = self.model([h[rows] for h in self.histograms], [m[rows] for m in self.masks])
        return F.cross_entropy(out.logits_BC, self.y_S[rows])

    @torch.no_grad()
    def say(self, networks: Networks) -> np.ndarray:
        """``(S,)`` predicted modes of other networks' units."""
        predicted_S: np.ndarray = self.model.eval()(*self.snippets(networks)).logits_BC.argmax(-1).numpy()
        return predicted_S
