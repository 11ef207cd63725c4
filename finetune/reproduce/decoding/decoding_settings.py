"""Settings of the table of decoded behaviour. Quick to import."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Any

from finetune.finetune_settings import FullSettings, GRUSettings, WindowSettings
from foundation.common.errors import ConfigError
from foundation.common.settings.setting_limits import Count, Limited, at_least

LABELS = ("velocity", "position", "direction", "hidden_units")
# Pieces of work, of which each makes one row or several (`decoding_rows`), in the order in which they are done.
FEW = (20, 40, 80)  # labelled trials of a fold
WORK = (
    *("rates", "frozen", "frozen_apart", "finetuned", "scratch", *(f"few_{trials}" for trials in FEW)),
    *("others", "co_smoothing", "random", "gru", "gru_causal"),
)
TRANSFER = (10, 20)  # labelled trials of a fold for a model of other animals
MADE = (0, *TRANSFER)  # the same for a model that makes rows from identities; 0: the readout is that of other animals
FROM_OTHERS = (
    *(f"{kind}_{trials}" for kind in ("transfer", "untrained") for trials in TRANSFER),
    *(f"made_{trials}" for trials in MADE),
)
PLACE = ("place", "place_causal")  # for animals in mazes and on tracks: made where they are asked for
VARIANT = "variant_"  # begins the names of rows of variants
FIXED = ("rates", "others", *PLACE)  # nothing in them is drawn: made once, under the first seed


@dataclass(frozen=True)
class DecodingTable(Limited):
    """Which rows of the table of decoded behaviour are made, and for which targets.

    Args:
        subjects: animals with one recording in the store, or animal and session such as ``rat-w-maze``; one model is
            pretrained on all of them together.
        labels: ``velocity``, ``position``, ``direction`` (of trials), and ``hidden_units``, of which the counts are
            predicted from the other units; an animal without one of them has no such target.
        work: ``rates`` (the floor and all controls without a model), ``frozen`` (pretrained on all activity),
            ``frozen_apart`` (for each test block a model that was pretrained without it), ``finetuned`` (such models
            finetuned), ``scratch`` (the same training from random weights), ``few_20``, ``few_40`` and ``few_80`` (all
            of these with so few labelled trials, of velocity), ``random`` weights, ``gru`` and ``gru_causal``; of
            hidden units ``others`` (Poisson regression from the other units) and ``co_smoothing`` (models that were
            pretrained without the test block); of an animal's place ``place`` and ``place_causal``, Bayesian decoders;
            ``transfer_10`` and ``transfer_20``, as ``few_20``, by models that were pretrained on all other recordings
            of the store and have rows for this one, fitted to its activity outside the test block; ``untrained_10`` and
            ``untrained_20``, their control: such rows, and a trunk of random weights; ``made_0``, ``made_10`` and
            ``made_20``, frozen models of the other recordings whose rows for this one are made from the identities of
            its units, beside rows that are fitted.
        seeds: of pretraining, random weights and recurrent networks; each makes a run of every row.
        pretrain: a config of `foundation pretrain`: its file, or the name of a shipped one.
        models: folder in which pretrained models are kept; null: ``foundation/weights`` in the user's cache folder.
        folds: contiguous blocks of trials, each predicted once.
        control_repeats: times that a frozen model's readout is fitted to shuffled labels.
        variants: name -> settings of pretraining that differ from the config's, by dotted key, such as
            ``model.population_layers``. Each is a row: a frozen model, pretrained so on all activity.
        threads: of torch.
        windows: windows that labels are decoded from, as `foundation finetune` has them.
        gru: recurrent decoders of firing rates; ``run`` is not looked at.
        full: finetuning; ``from_scratch`` and ``label_curve`` are not looked at.

    Raises:
        ConfigError: if a value is impossible.
    """

    subjects: list[str] = field(default_factory=lambda: ["Chewie", "Mihi"])
    labels: list[str] = field(default_factory=lambda: list(LABELS))
    work: list[str] = field(default_factory=lambda: list(WORK))
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    pretrain: str = "pretrain/population"
    models: str | None = None
    folds: Annotated[int, at_least(2)] = 3
    control_repeats: Annotated[int, at_least(2)] = 39
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    threads: Count = 1
    windows: WindowSettings = field(default_factory=WindowSettings)
    gru: GRUSettings = field(default_factory=GRUSettings)
    full: FullSettings = field(default_factory=FullSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, values, allowed in (("labels", self.labels, LABELS), ("work", self.work, WORK + FROM_OTHERS + PLACE)):
            unknown = [value for value in values if value not in allowed]
            if unknown or not values:
                raise ConfigError(f"decoding.{name} is {values}: one or more of {', '.join(allowed)}")
        for name in self.variants:
            if not re.fullmatch(r"[a-z0-9_]+", name):
                raise ConfigError(f"decoding.variants has {name!r}: lower-case letters, digits and underscores")
        if not self.subjects or len(set(self.subjects)) < len(self.subjects):
            raise ConfigError(f"decoding.subjects is {self.subjects}: one animal or more, each once")
        if "made_0" in self.work and len(self.subjects) < 2:
            raise ConfigError(
                "decoding.work has made_0 and decoding.subjects one animal: expected two or more, as its readout is "
                "fitted to another's labels"
            )
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(f"decoding.seeds is {self.seeds}: one or more, each 0 or more and each once")
