"""Five firing modes from frozen embeddings on networks never seen (NeurPIR, arXiv 2502.10425, section 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.reproduce.neurpir.firing_training import (
    EncoderTraining,
    LOLCATTraining,
    Recipe,
    criterion,
    embed,
    find_recipe,
)
from finetune.reproduce.neurpir.mode_scores import Row, read_out, run_row
from finetune.reproduce.neurpir.neurpir_settings import FIXED, NeurPIRTable
from finetune.reproduce.neurpir.simulated_networks import (
    MODES,
    Networks,
    component_features,
    find_networks,
    interval_features,
    parameter_features,
    right_by_network,
)
from finetune.reproduce.neurpir.step_rule import StepRule, best_steps
from foundation.common.settings.renamed_settings import former_names
from foundation.evaluation.controls import permuted
from foundation.evaluation.linear_readout import fit, make_basis
from foundation.store.catalog import Catalog

VERSION = 1


@dataclass(frozen=True)
class Cut:
    """The networks of one level; ``train`` is ``learn`` and ``held`` together."""

    level: str
    learn: Networks
    held: Networks
    train: Networks
    test: Networks

    @classmethod
    def of(cls, catalog: Catalog, level: str, table: NeurPIRTable) -> Cut:
        """Split whole networks, in order.

        Raises:
            ConfigError: if the store has too few networks.
        """
        found = find_networks(catalog, table.levels[level], table.test + table.held + 2)
        n_train = len(found) - table.test
        parts = (slice(n_train - table.held), slice(n_train - table.held, n_train), slice(n_train))
        learn, held, train = (found.part(rows) for rows in parts)
        return cls(level, learn, held, train, found.part(slice(n_train, None)))


def run_neurpir(settings: NeurPIRTable, catalog: Catalog, table: Path) -> None:
    """Make the missing runs, seed by seed and row by row, and add them to the table.

    Raises:
        ConfigError: if the store has too few networks.
        FoundationError: if a result of another configuration exists, or ``cebra`` is not installed.
    """
    torch.set_num_threads(settings.threads)
    cuts = {level: Cut.of(catalog, level, settings) for level in settings.levels}
    for seed in sorted({*settings.seeds, *settings.ablation_seeds}):
        rows = [(level, row) for row in settings.rows for level in cuts if seed in settings.seeds]
        if seed in settings.ablation_seeds:
            rows += [(settings.ablation_level, row) for row in settings.ablations]
        for level, row in dict.fromkeys(rows):
            _once(settings, cuts[level], row, 0 if row in FIXED else seed, table)


def _recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe for the results file, without newer settings at their defaults."""
    later: dict[str, Any] = {"apart": False, "condition": None}
    losses = {"loss": "vicreg", "temperature": 0.1}
    values = former_names(Recipe, asdict(recipe))
    for name, defaults in (("neurpir", later | losses), ("vicreg", later | {"statistics": "across"})):
        settings = values["objective"][name]
        values["objective"][name] = {k: v for k, v in settings.items() if k not in defaults or v != defaults[k]}
    for unused in ("masked", "decoding", "settings"):  # no row uses it, nor a user's own objective
        del values["objective"][unused]
    return values


def _once(settings: NeurPIRTable, cut: Cut, row: str, seed: int, table: Path) -> None:
    config: dict[str, Any] = {"version": VERSION, "level": cut.level, "row": row, "seed": seed}
    config |= {"test": len(cut.test), "held": len(cut.held), "train": len(cut.train)}
    if row == "pca":
        config |= {"encoder": {k: getattr(settings.encoder, k) for k in ("dim", "patch_length", "bin_width")}}
    if row not in FIXED:
        config |= {"rule": former_names(StepRule, asdict(settings.rule))}
    if row not in (*FIXED, "lolcat"):
        config |= {"encoder": asdict(settings.encoder), "recipe": _recipe_facts(find_recipe(row, settings.encoder))}
    parts = cut.train, cut.test
    run_row(table, cut.level, row, seed, config, parts, lambda: make_row(row, cut, settings, seed))


def make_row(row: str, cut: Cut, settings: NeurPIRTable, seed: int) -> Row:
    """Return one row's test predictions, those with shuffled training labels, and details."""
    if row == "lolcat":
        return _lolcat(cut, settings.rule, seed)
    detail: dict[str, Any] = {}
    if row == "pca":
        e = settings.encoder
        train_SF, test_SF = component_features(
            cut.train,
            cut.test,
            bin_width=e.bin_width,
            patch_length=e.patch_length,
            components=e.dim // 2,
            seed=seed,
        )
    elif row in FIXED:
        features = {"isi": interval_features, "oracle": parameter_features}[row]
        train_SF, test_SF = features(cut.train), features(cut.test)
    else:
        train_SF, test_SF, detail = _encoder(row, cut, settings, seed)
    rng = np.random.default_rng(seed)
    predicted_S, strength = read_out(train_SF, cut.train.y_S, cut.train, test_SF, seed)
    shuffled_S, _ = read_out(train_SF, permuted(cut.train.y_S, rng), cut.train, test_SF, seed)
    return predicted_S, shuffled_S, detail | {"strength": strength}


def _steps(settings: StepRule, training: Any, score: Callable[[], float]) -> tuple[int, dict[str, Any]]:
    if settings.steps is not None:
        return settings.steps, {"steps": settings.steps, "validation": []}
    steps, figures = best_steps(training(), score, settings)
    return steps, {"steps": steps, "validation": [round(value, 5) for value in figures]}


def _encoder(row: str, cut: Cut, settings: NeurPIRTable, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    encoder, recipe = settings.encoder, find_recipe(row, settings.encoder)
    made: list[EncoderTraining] = []

    def start() -> EncoderTraining:
        made.append(EncoderTraining(cut.learn, recipe, encoder, seed))
        return made[-1]

    def score() -> float:
        learn_SF, held_SF = (embed(made[-1].model, part, encoder, encoder.looks) for part in (cut.learn, cut.held))
        basis = make_basis(learn_SF, components=encoder.dim, seed=seed)
        readout = fit(basis(learn_SF), cut.learn.y_S, 1.0, len(MODES))
        return float(right_by_network(readout.predict(basis(held_SF)), cut.held).mean())

    steps, detail = _steps(settings.rule, start, score)
    training = EncoderTraining(cut.train, recipe, encoder, seed)
    training.run(steps)
    features = [embed(training.model, part, encoder) for part in (cut.train, cut.test)]
    return features[0], features[1], detail | criterion(training.model, cut.test, encoder)


def _lolcat(cut: Cut, rule: StepRule, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    made: list[LOLCATTraining] = []

    def start() -> LOLCATTraining:
        made.append(LOLCATTraining(cut.learn, cut.learn.y_S, seed))
        return made[-1]

    def score() -> float:
        return float(right_by_network(made[-1].say(cut.held), cut.held).mean())

    steps, detail = _steps(rule, start, score)
    predictions = []
    for y_S in (cut.train.y_S, permuted(cut.train.y_S, np.random.default_rng(seed))):
        training = LOLCATTraining(cut.train, y_S, seed)
        training.run(steps)
        predictions.append(training.say(cut.test))
    return predictions[0], predictions[1], detail
