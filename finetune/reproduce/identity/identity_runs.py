"""Five firing modes from frozen embeddings of tokens of intervals, on networks never seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from finetune.reproduce.common.run_results import read_all
from finetune.reproduce.identity.identity_settings import FIXED, NETWORKS, VARIANT, IdentityTable
from finetune.reproduce.identity.identity_training import IdentityTraining, embed, find_settings, mean_tokens
from finetune.reproduce.identity.identity_variants import draw_networks
from finetune.reproduce.neurpir.mode_scores import Row, read_out, run_row
from finetune.reproduce.neurpir.simulated_networks import (
    Networks,
    find_networks,
    interval_features,
    parameter_features,
)
from foundation.common.errors import ConfigError
from foundation.evaluation.controls import permuted
from foundation.models import EIT
from foundation.store.catalog import Catalog

VERSION = 1
LEAST_TRAIN = 3  # networks: the penalty is chosen on three folds of them


def run_identity(settings: IdentityTable, catalog: Catalog, table: Path, pictures: Path | None = None) -> None:
    """Make the missing runs, seed by seed and row by row, and add them to the table.

    Args:
        settings: of the table.
        catalog: of the store.
        table: the JSON Lines file.
        pictures: folder of the picture of variants that differ in their number of networks; None: no picture.

    Raises:
        ConfigError: if the store has too few networks.
        FoundationError: if a result of another configuration exists.
    """
    torch.set_num_threads(settings.threads)
    found = {
        level: find_networks(catalog, name, settings.test + LEAST_TRAIN) for level, name in settings.levels.items()
    }
    for seed in settings.seeds:
        for row in settings.all_rows():
            for level, networks in found.items():
                _once(settings, level, _parts(settings, row, networks), row, 0 if row in FIXED else seed, table)
    if pictures is not None:
        draw_networks(read_all(table), pictures)


class Parts(NamedTuple):
    """The networks that an encoder learns from, those that its readout is fitted to, and those of the test."""

    learn: Networks
    train: Networks
    test: Networks


def _parts(settings: IdentityTable, row: str, networks: Networks) -> Parts:
    most = len(networks) - settings.test
    wanted = settings.changes(row).get(NETWORKS, most)
    for name, count in (("labelled", settings.labelled or most), (f"networks of {row}", wanted)):
        if count > most:
            raise ConfigError(
                f"{name} is {count}: the store has {most} networks beside the {settings.test} test networks"
            )
    if settings.labelled is not None and settings.labelled < LEAST_TRAIN:
        raise ConfigError(f"labelled is {settings.labelled}: expected at least {LEAST_TRAIN}")
    return Parts(
        networks.part(slice(wanted)),
        networks.part(slice(settings.labelled or most)),
        networks.part(slice(most, None)),
    )


def _once(settings: IdentityTable, level: str, parts: Parts, row: str, seed: int, table: Path) -> None:
    config: dict[str, Any] = {"version": VERSION, "network_level": level, "row": row, "seed": seed}
    config |= {"test": len(parts.test), "train": len(parts.train)}
    read = parts.train
    if row.startswith(VARIANT):
        config[NETWORKS] = len(parts.learn)
        read = max(parts.learn, parts.train, key=len)
    if row not in ("isi", "oracle"):
        recipe = find_settings(settings, row, seed).identity()
        config |= {
            "tokens": settings.tokens,
            "recipe": recipe if row != "tokens" else {k: recipe[k] for k in ("model",)},
        }
    run_row(table, level, row, seed, config, (read, parts.test), lambda: make_row(row, parts, settings, seed))


def make_row(row: str, parts: Parts, settings: IdentityTable, seed: int) -> Row:
    """Return one row's test predictions, those with shuffled training labels, and details."""
    learn, train, test = parts
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
        shuffled_predicted_S, _ = read_out(control_SF[0], shuffled_S, train, control_SF[1], seed)
        train_SF, test_SF = embedded(IdentityTraining(train, recipe, train.y_S).run())
        predicted_S, strength = read_out(train_SF, train.y_S, train, test_SF, seed)
        return predicted_S, shuffled_predicted_S, detail | {"strength": strength}
    elif row == "random":
        train_SF, test_SF = embedded(IdentityTraining(learn, recipe).model)
    else:
        detail["steps"] = recipe.steps
        train_SF, test_SF = embedded(IdentityTraining(learn, recipe).run())
    predicted_S, strength = read_out(train_SF, train.y_S, train, test_SF, seed)
    shuffled_predicted_S, _ = read_out(train_SF, shuffled_S, train, test_SF, seed)
    return predicted_S, shuffled_predicted_S, detail | {"strength": strength}


def _fixed(row: str, networks: Networks, settings: IdentityTable) -> np.ndarray:
    if row == "tokens":
        return mean_tokens(networks, find_settings(settings, row, 0), settings.tokens)
    return {"isi": interval_features, "oracle": parameter_features}[row](networks)
