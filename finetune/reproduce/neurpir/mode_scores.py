"""Firing modes of test neurons: the readout, the result of a run, and its figures as cells of a page."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from finetune.reproduce.common.run_results import RunResult, key_of, right_by_part, run_once, trial_interval
from finetune.reproduce.neurpir.simulated_networks import MODES, Networks, right_by_network
from foundation.evaluation.confidence_intervals import mean_interval
from foundation.evaluation.linear_readout import choose_strength, fit, make_basis
from foundation.evaluation.metrics import CLASSES, Predictions, score, sums
from foundation.evaluation.splits import split_by_subject

log = logging.getLogger(__name__)
# Modes of the test units, their modes when training labels were shuffled, and details of the run.
Row = tuple[np.ndarray, np.ndarray, dict[str, Any]]


def read_out(
    train_SF: np.ndarray, y_S: np.ndarray, train: Networks, test_SF: np.ndarray, seed: int
) -> tuple[np.ndarray, float]:
    """Predict modes of test units by a linear readout, its penalty chosen on folds of whole training networks."""
    basis = make_basis(train_SF, components=train_SF.shape[1], seed=seed)
    scores_SC = basis(train_SF)
    inner = split_by_subject(train.network_S, y_S, 3).folds
    strength, _ = choose_strength(scores_SC, y_S, inner, len(MODES))
    return fit(scores_SC, y_S, strength, len(MODES)).predict(basis(test_SF)), strength


def run_row(
    table: Path,
    level: str,
    row: str,
    seed: int,
    config: dict[str, Any],
    networks: tuple[Networks, Networks],
    make: Callable[[], Row],
) -> None:
    """Make a row's run unless the table has it, and append its result.

    Args:
        table: the JSON Lines file.
        level: of the networks.
        row: its name in the settings.
        seed: of the run.
        config: everything that affects the figures.
        networks: training and test networks.
        make: makes the row.

    Raises:
        FoundationError: if a result of another configuration exists.
    """
    train, test = networks
    name, digests = f"{level}-{row}", {level: Networks.of([*train.recordings, *test.recordings]).digest}

    def run() -> RunResult:
        began = time.perf_counter()
        predicted_S, shuffled_S, detail = make()
        right_G = right_by_network(predicted_S, test)
        detail |= {
            "predicted": "".join(map(str, predicted_S)),
            "true": "".join(map(str, test.y_S)),
            "units": np.bincount(test.network_S).tolist(),
            "shuffled": float(right_by_network(shuffled_S, test).mean()),
            "seconds": round(time.perf_counter() - began, 1),
        }
        log.info("%s, seed %d: %.4f (%s s)", name, seed, right_G.mean(), detail["seconds"])
        key = key_of(config, digests)
        return RunResult(name, seed, key, config, digests, float(right_G.mean()), right_G.tolist(), detail)

    run_once(table, name, seed, config, digests, run)


def macro_f1(result: RunResult) -> float:
    """Macro F1 over all test neurons, by the evaluation contract."""
    y_S, predicted_S = (np.array([int(c) for c in result.detail[key]]) for key in ("true", "predicted"))
    predictions = Predictions.of_classes(y_S, predicted_S, int(y_S.max()) + 1)
    return float(score(sums(predictions).sum(axis=0), CLASSES)["macro_f1"])


def gain_over(ours: list[RunResult], theirs: list[RunResult]) -> tuple[float, tuple[float, float]]:
    """Return the gain of one row over another, averaged over seeds, and its interval by a paired bootstrap."""
    difference_G = right_by_part(ours) - right_by_part(theirs)
    return float(difference_G.mean()), mean_interval(difference_G)


def gain_cell(ours: list[RunResult], theirs: list[RunResult]) -> str:
    """Return the gain over another row in percent, with its interval, as a cell."""
    gain, (low, high) = gain_over(ours, theirs)
    return f"{100 * gain:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def score_cells(results: list[RunResult]) -> list[str]:
    """Return the cells of every row: balanced accuracy, its spread, its interval, macro F1, shuffled labels."""
    values = np.array([r.accuracy for r in results]) * 100
    low, high = trial_interval(results)
    spread = f"{values.std(ddof=1):.1f} ({values.min():.1f} to {values.max():.1f})" if len(values) > 1 else "-"
    f1 = 100 * np.mean([macro_f1(r) for r in results])
    shuffled = 100 * np.mean([r.detail["shuffled"] for r in results])
    return [f"{values.mean():.1f}", spread, f"{100 * low:.1f} to {100 * high:.1f}", f"{f1:.1f}", f"{shuffled:.1f}"]
