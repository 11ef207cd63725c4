"""Five firing modes from frozen embeddings of tokens of intervals, on networks never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetune.reproduce.identity.identity_settings import FIXED, IdentityTable
from finetune.reproduce.identity.identity_training import IdentityTraining, embed, find_settings, mean_tokens
from finetune.reproduce.neurpir.mode_scores import Row, read_out, run_row
from finetune.reproduce.neurpir.simulated_networks import (
    Networks,
    find_networks,
    interval_features,
    parameter_features,
)
from foundation.evaluation.controls import permuted
from foundation.models import EIT
from foundation.store.catalog import Catalog

VERSION = 1
LEAST_TRAIN = 3  # networks: the penalty is chosen on three folds of them


def run_identity(settings: IdentityTable, catalog: Catalog, table: Path) -> None:
    """Make the missing runs, seed by seed and row by row, and add them to the table.

    Raises:
        ConfigError: if the store has too few networks.
        FoundationError: if a result of another configuration exists.
    """
    torch.set_num_threads(settings.threads)
    found = {
        level: find_networks(catalog, name, settings.test + LEAST_TRAIN) for level, name in settings.levels.items()
    }
    for seed in settings.seeds:
        for row in settings.rows:
            for level, networks in found.items():
                parts = networks.part(slice(-settings.test)), networks.part(slice(-settings.test, None))
                _once(settings, level, *parts, row, 0 if row in FIXED else seed, table)


def _once(
    settings: IdentityTable, level: str, train: Networks, test: Networks, row: str, seed: int, table: Path
) -> None:
    config: dict[str, Any] = {"version": VERSION, "network_level": level, "row": row, "seed": seed}
    config |= {"test": len(test), "train": len(train)}
    if row not in ("isi", "oracle"):
        recipe = find_settings(settings, row, seed).identity()
        config |= {
            "tokens": settings.tokens,
            "recipe": recipe if row != "tokens" else {k: recipe[k] for k in ("model",)},
        }
    run_row(table, level, row, seed, config, (train, test), lambda: make_row(row, train, test, settings, seed))


def make_row(row: str, train: Networks, test: Networks, settings: IdentityTable, seed: int) -> Row:
    """Return one row's test predictions, those with shuffled training labels, and details."""
    recipe = find_settings(settings, row, seed)
    shuffled_S = permuted(train.y_S, np.random.default_rng(seed))

    def embedded(model: EIT) -> list[np.ndarray]:
        return [embed(model, part, recipe, settings.tokens) for part in (train, test)]

    detail: dict[str, Any] = {}
    if row in FIXED:
        train_SF, test_SF = (_fixed(row, part, settings) for part in (train, test))
    elif row == "labels":
        # This row trains on labels, so the control trains on shuffled ones.
        detail["steps"] = recipe.steps
        control_SF = embedded(IdentityTraining(train, recipe, shuffled_S).run())
        said_shuffled_S, _ = read_out(control_SF[0], shuffled_S, train, control_SF[1], seed)
        train_SF, test_SF = embedded(IdentityTraining(train, recipe, train.y_S).run())
        said_S, strength = read_out(train_SF, train.y_S, train, test_SF, seed)
        return said_S, said_shuffled_S, detail | {"strength": strength}
    elif row == "random":
        train_SF, test_SF = embedded(IdentityTraining(train, recipe).model)
    else:
        detail["steps"] = recipe.steps
        train_SF, test_SF = embedded(IdentityTraining(train, recipe).run())
    said_S, strength = read_out(train_SF, train.y_S, train, test_SF, seed)
    said_shuffled_S, _ = read_out(train_SF, shuffled_S, train, test_SF, seed)
    return said_S, said_shuffled_S, detail | {"strength": strength}


def _fixed(row: str, networks: Networks, settings: IdentityTable) -> np.ndarray:
    if row == "tokens":
        return mean_tokens(networks, find_settings(settings, row, 0), settings.tokens)
    return {"isi": interval_features, "oracle": parameter_features}[row](networks)
