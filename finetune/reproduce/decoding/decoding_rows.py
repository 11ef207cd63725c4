"""The rows of the table of decoded behaviour: what is fitted, by which functions of `foundation finetune`.

A further row is a function here with a line in `WORK`, its name in `decoding_settings.WORK` and its title in
`decoding_page.TITLES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.full_finetuning import Starts, full
from finetune.heads.fitting.head_probe import ByFold, Fitted, gather, probe, probe_with_rates
from finetune.heads.fitting.label_curve import fewer_trials, label_curve
from finetune.heads.fitting.new_rows import UPDATES, with_new_rows
from finetune.heads.references.gru_decoder import decode_with_gru
from finetune.heads.references.place_decoder import CAUSAL, SMOOTHED, decode_place
from finetune.heads.references.reference_rows import from_scratch, random_weights, rows_over_time
from finetune.reproduce.common.stored_sums import pack_gains, pack_sums
from finetune.reproduce.decoding.co_smoothing import HiddenUnits, bits_per_spike, by_model, by_regression, gained
from finetune.reproduce.decoding.decoding_by_others import decode_by_others
from finetune.reproduce.decoding.decoding_settings import FEW, MADE, TRANSFER, VARIANT, DecodingTable
from finetune.reproduce.decoding.pretrained_models import PretrainedModels
from finetune.tasks.problems.window_task import WindowProblem
from foundation.evaluation.metrics import Predictions, primary
from foundation.evaluation.readings import Features
from foundation.evaluation.splits import Fold, Split, TooLittleError
from foundation.models import EIT


@dataclass(frozen=True)
class Target:
    """What is decoded.

    Args:
        label: ``velocity``, ``position``, ``direction`` or ``hidden_units``.
        subject: the animal.
        problem: labelled samples of its recording.
        split: the test blocks.
        others: the same label of the other animals of the table.
    """

    label: str
    subject: str
    problem: WindowProblem
    split: Split
    others: tuple[WindowProblem, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.label}/{self.subject}"


@dataclass(frozen=True)
class Made:
    """A row that was made.

    Args:
        figure: the primary metric.
        detail: what a page needs of it, JSON values: ``sums`` over trials, or ``control``, the metric of each set of
            shuffled labels; and what was chosen.
    """

    figure: float
    detail: dict[str, Any]

    @classmethod
    def of(cls, predictions: Predictions, **detail: Any) -> Made:
        """Return a row of predictions."""
        return cls(primary(predictions), {"sums": pack_sums(predictions), **detail})


@dataclass(frozen=True)
class Work:
    """A piece of work that makes rows which share their computation.

    Args:
        make: gives the rows, first the one that has the name of the work, or ``rate``.
        labels: what it is made for.
        uses: which pretraining decides the rows: of ``all`` activity, of all ``apart`` from each test block, of the
            ``others`` of the store's recordings, or none.
        changes: settings of that pretraining that differ from the table's config, by dotted key.
    """

    make: Callable[[Target, PretrainedModels, FinetuneSettings], dict[str, Made]]
    labels: tuple[str, ...]
    uses: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)


def make_rates(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """The floor, and what needs no model and no seed: own bin, time in the trial, mean courses of directions."""
    problem, split = target.problem, target.split
    rates = problem.rate_features()
    rows = {"rate": _made(probe(problem, rates, split, settings))}
    for name, row in rows_over_time(problem, rates, split, settings).items():
        rows[name] = Made.of(row.predictions, note=row.detail)
    return rows


def make_random(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """The readout of the weights that pretraining with this seed begins from."""
    model = random_weights(models(settings.seed), settings.seed)
    return {"random": _made(probe(target.problem, target.problem.features(model), target.split, settings))}


def make_frozen(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """The readout of a model that was pretrained on all activity, alone and beside rates."""
    return _frozen(target, settings, target.problem.features(models(settings.seed)), "")


def make_frozen_apart(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """The same of models of which each was pretrained without the activity of the block that it is tested on."""

    @cache
    def of_block(block: int) -> Sequence[Features]:
        return target.problem.features(models(settings.seed, block))

    return _frozen(target, settings, of_block, "_apart")


def make_finetuned(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """Models that were pretrained without the block that they are tested on, finetuned, with their readout beside."""
    problem, starts = target.problem, _starts_apart(target, models, settings)
    rates, split = problem.rate_features(), target.split
    probes = probe_with_rates(problem, rates, lambda k: starts(k)[1], split, settings, shuffled=False)
    return {"finetuned": _made(full(problem, starts, probes.both, split, settings))}


def make_scratch(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """The same training from random weights, with the readout of rates beside."""
    problem, rates, split = target.problem, target.problem.rate_features(), target.split
    starts = from_scratch(problem, models(settings.seed), settings.seed)
    probes = probe_with_rates(problem, rates, starts(0)[1], split, settings, shuffled=False)
    return {"scratch": _made(full(problem, starts, probes.rate, split, settings))}


def make_few(trials: int, target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """Rates, frozen, both, finetuned and from scratch with so few labelled trials of each fold."""
    scratch = from_scratch(target.problem, models(settings.seed), settings.seed)
    return _few(f"few_{trials}", trials, target, _starts_apart(target, models, settings), scratch, settings)


def make_transfer(trials: int, target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """The same of a model that was pretrained on the other animals alone.

    It gets rows for this animal's units by masked modelling of the activity outside the test block, without labels;
    all its other weights stay as they are until it is finetuned.
    """
    model = models.without(target.problem.recording.id)(settings.seed)
    starts = _grown(target, model, models, settings)
    scratch = from_scratch(target.problem, starts(0)[0], settings.seed)
    return _few(f"transfer_{trials}", trials, target, starts, scratch, settings)


def make_untrained(
    trials: int, target: Target, models: PretrainedModels, settings: FinetuneSettings
) -> dict[str, Made]:
    """The control of `make_transfer`: the same rows and readout, and all other weights random."""
    problem = target.problem
    model = random_weights(models.without(problem.recording.id)(settings.seed), settings.seed)
    starts, few = _grown(target, model, models, settings), _fewer(target, trials, settings)
    rates = problem.rate_features()
    probes = probe_with_rates(problem, rates, lambda k: starts(k)[1], few, settings, shuffled=False)
    return {f"untrained_{trials}": _made(probes.model)}


def make_made(trials: int, target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """Frozen models of the other animals whose rows for this one are made from the identities of its units.

    Made rows alone, with identities shuffled over units as a control, and with rows of their own fitted on top;
    beside them the rows fitted from nothing, of a model that makes no rows. Without labelled trials, the readout is
    fitted to the trials of the other animals.
    """
    problem, seed = target.problem, settings.seed
    model = replace(models, changes=MADE_ROWS).without(problem.recording.id)(seed)
    plain = models.without(problem.recording.id)(seed)
    kinds = {
        "": (model, _grown(target, model, models, settings, updates=0)),
        "_dealt": (model, _grown(target, model, models, settings, updates=0, dealt=True)),
        "_tuned": (model, _grown(target, model, models, settings)),
        "_fitted": (plain, _grown(target, plain, models, settings)),
    }
    name = f"made_{trials}"
    if not trials:
        return {
            f"{name}{end}": Made.of(decode_by_others(problem, target.others, trunk, starts, target.split, seed))
            for end, (trunk, starts) in kinds.items()
        }
    few, rates = _fewer(target, trials, settings), problem.rate_features()
    rows: dict[str, Made] = {}
    for end, (_, starts) in kinds.items():
        probes = probe_with_rates(problem, rates, partial(_features_of, starts), few, settings, shuffled=False)
        rows[f"{name}{end}"] = _made(probes.model)
        rows.setdefault(f"{name}_rate", _made(probes.rate))
    return rows


def make_variant(
    name: str, changes: Mapping[str, Any], target: Target, models: PretrainedModels, settings: FinetuneSettings
) -> dict[str, Made]:
    """The readout of a frozen model that was pretrained with some settings changed."""
    model = replace(models, changes=changes)(settings.seed)
    return {name: _made(probe(target.problem, target.problem.features(model), target.split, settings))}


def make_gru(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """A recurrent decoder of rates that sees the whole trial, trained on labels alone."""
    return {"gru": _made(decode_with_gru(target.problem, target.split, settings, causal=False))}


def make_gru_causal(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """The same without any bin of the future."""
    return {"gru_causal": _made(decode_with_gru(target.problem, target.split, settings, causal=True))}


def make_others(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """Predict hidden units from the others by Poisson regression."""
    problem, chosen = target.problem, []
    hidden = HiddenUnits.of(problem)

    def expected(_: int, fold: Fold) -> np.ndarray:
        predicted_TN, penalties = by_regression(hidden, fold, problem.inner(fold.train, settings.seed))
        chosen.append(penalties)
        return predicted_TN

    sums_G2 = gained(hidden, target.split.folds, expected)
    return {"others": Made(bits_per_spike(sums_G2), {"sums": pack_gains(sums_G2), "penalties": chosen})}


def make_co_smoothing(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """Predict hidden units from the others by models pretrained without the test block."""
    hidden = HiddenUnits.of(target.problem)
    sums_G2 = gained(hidden, target.split.folds, lambda k, fold: by_model(hidden, models(settings.seed, k), fold))
    return {"co_smoothing": Made(bits_per_spike(sums_G2), {"sums": pack_gains(sums_G2)})}


def make_place(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """The Bayesian decoder of place that sees the whole window."""
    return {"place": _place(target, SMOOTHED)}


def make_place_causal(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> dict[str, Made]:
    """The same without any bin of the future."""
    return {"place_causal": _place(target, CAUSAL)}


# Changes of pretraining that make rows from identities too.
MADE_ROWS = {"model.made_rows": True, "objective.masked.made_windows": 0.5}
VALUES, BEHAVIOR, HIDDEN = ("velocity", "position"), ("velocity", "position", "direction"), ("hidden_units",)
WORK: dict[str, Work] = {
    "rates": Work(make_rates, BEHAVIOR),
    "frozen": Work(make_frozen, BEHAVIOR, uses="all"),
    "frozen_apart": Work(make_frozen_apart, BEHAVIOR, uses="apart"),
    "finetuned": Work(make_finetuned, BEHAVIOR, uses="apart"),
    "scratch": Work(make_scratch, BEHAVIOR, uses="all"),  # the architecture, and the seed
    **{f"few_{trials}": Work(partial(make_few, trials), ("velocity",), uses="apart") for trials in FEW},
    **{f"transfer_{trials}": Work(partial(make_transfer, trials), ("velocity",), uses="others") for trials in TRANSFER},
    **{
        f"untrained_{trials}": Work(partial(make_untrained, trials), ("velocity",), uses="others")
        for trials in TRANSFER
    },
    **{
        f"made_{trials}": Work(partial(make_made, trials), ("velocity",), uses="others", changes=MADE_ROWS)
        for trials in MADE
    },
    "others": Work(make_others, HIDDEN),
    "co_smoothing": Work(make_co_smoothing, HIDDEN, uses="apart"),
    "random": Work(make_random, BEHAVIOR, uses="all"),  # the architecture, and the seed
    "gru": Work(make_gru, VALUES),
    "gru_causal": Work(make_gru_causal, VALUES),
    "place": Work(make_place, ("position",)),
    "place_causal": Work(make_place_causal, ("position",)),
}


def planned_work(table: DecodingTable) -> dict[str, Work]:
    """Return the pieces of work of a table, in the order in which they are done; each variant is one of its own."""
    variants = {f"{VARIANT}{name}": changes for name, changes in table.variants.items()}
    return {name: WORK[name] for name in WORK if name in table.work} | {
        name: Work(partial(make_variant, name, changes), VALUES, uses="all", changes=changes)
        for name, changes in variants.items()
    }


def _grown(
    target: Target,
    model: EIT,
    models: PretrainedModels,
    settings: FinetuneSettings,
    *,
    updates: int = UPDATES,
    dealt: bool = False,
) -> Starts:
    """For each test block the model with rows that were fitted to the animal's activity outside it, and features.

    With ``dealt``, rows are made from shuffled identities.
    """
    problem = target.problem

    @cache
    def of_block(block: int) -> tuple[EIT, Sequence[Features]]:
        grown = with_new_rows(
            model,
            problem.recording,
            token_seconds=problem.token_seconds,
            tokens=int(problem.windows.tokens_W.max()),
            seed=settings.seed,
            updates=updates,
            held_out=models.held_out[block][problem.recording.id],
        )
        if dealt:
            assert grown.population is not None
            identity_NF = grown.population.rows.get_buffer(f"identity_{grown.population.rows.tables - 1}")
            order_N = np.random.default_rng([settings.seed, 29]).permutation(len(identity_NF))
            identity_NF.copy_(identity_NF[torch.from_numpy(order_N)].clone())
        return grown, problem.features(grown)

    return of_block


def _features_of(starts: Starts, block: int) -> Sequence[Features]:
    return starts(block)[1]


def _fewer(target: Target, trials: int, settings: FinetuneSettings) -> Split:
    few = fewer_trials(target.problem, target.split, trials, settings.seed)
    if few is None:
        raise TooLittleError(f"{target.name} has too few trials in a fold to take {trials} of them")
    return few


def _few(
    row: str, trials: int, target: Target, starts: Starts, scratch: Starts, settings: FinetuneSettings
) -> dict[str, Made]:
    _fewer(target, trials, settings)
    settings = replace(settings, full=replace(settings.full, label_curve=[trials]))
    point = next(label_curve(target.problem, starts, scratch, target.split, settings), None)
    if point is None:
        raise TooLittleError(f"{target.name} has too few trials in a fold to choose inside {trials} of them")
    ends = {"full": "", "rate": "_rate", "probe": "_frozen", "both": "_both", "scratch": "_scratch"}
    return {f"{row}{end}": Made.of(point.rows[name]) for name, end in ends.items()}


def _frozen(
    target: Target, settings: FinetuneSettings, features: Sequence[Features] | ByFold, end: str
) -> dict[str, Made]:
    problem = target.problem
    probes = probe_with_rates(problem, problem.rate_features(), features, target.split, settings)
    how = problem.shuffles(settings.control_repeats, settings.seed)[1]
    dealt = {
        "control": [round(value, 6) for value in probes.control],
        "note": f"labels shuffled {len(probes.control)} times {how}",
    }
    return {
        f"frozen{end}": _made(probes.model),
        f"both{end}": _made(probes.both),
        f"shuffled{end}": Made(float(np.mean(probes.control)), dealt),
    }


def _starts_apart(target: Target, models: PretrainedModels, settings: FinetuneSettings) -> Starts:
    """For each test block the model that was pretrained without it, and its features."""

    @cache
    def of_block(block: int) -> tuple[EIT, Sequence[Features]]:
        model = models(settings.seed, block)
        return model, target.problem.features(model)

    return of_block


def _place(target: Target, continuity: str) -> Made:
    problem, width = target.problem, target.problem.token_seconds
    assert problem.token_S is not None
    count_SN = problem.counts()[problem.own_bin.rows_SL[:, 0]]
    start_S = problem.windows.start_W[problem.window_S] + problem.token_S * width
    y_SK, folds = problem.labels.y_S, target.split.folds
    found = [
        decode_place(count_SN, y_SK, start_S, f.train, f.test, bin_seconds=width, continuity=continuity) for f in folds
    ]
    chosen = {"smoothing": [d.smoothing for d in found], "walk": [d.walk for d in found]}
    return Made.of(gather(problem, target.split, [d.mean_SK for d in found]), choices=chosen)


def _made(fitted: Fitted) -> Made:
    return Made.of(fitted.predictions, choices=fitted.choices)
