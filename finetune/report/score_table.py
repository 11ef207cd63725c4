"""Scores as text: for the terminal, and the cells of the report's table."""

from __future__ import annotations

from dataclasses import dataclass

from finetune.result import Evaluation, LeftOut, Result, Score
from foundation.common.output.pages import text_table
from foundation.common.output.printable import printable
from foundation.evaluation.metrics import TITLES

COLUMNS = {
    "rate": "firing rates",
    "probe": "model, probe",
    "full": "model, finetuned",
    "majority": "always the same",
    "shuffled": "shuffled labels",
    "laboratory": "laboratory alone",
}
VERDICTS = {"better": "better than firing rates", "worse": "worse than firing rates", "equal": "no clear difference"}


@dataclass(frozen=True)
class Row:
    """All readouts of one target.

    Args:
        results: mode -> result.
        scores: column -> score, of the columns that there are.
        best: the column with the highest primary metric among firing rates and the model's modes.
    """

    results: dict[str, Result]
    scores: dict[str, Score]
    best: str

    @property
    def first(self) -> Result:
        """Any of the results: what it says of the target is the same in all."""
        return next(iter(self.results.values()))


def rows(results: list[Result]) -> list[Row]:
    """Results by target, in the order in which targets come."""
    by_target: dict[tuple[str, str], dict[str, Result]] = {}
    for result in results:
        by_target.setdefault((result.task, result.target), {})[result.mode] = result
    made = []
    for modes in by_target.values():
        first = next(iter(modes.values()))
        scores = {**first.references, **{mode: result.score for mode, result in modes.items()}}
        scores = {name: scores[name] for name in COLUMNS if name in scores}
        rivals = [name for name in ("rate", *modes) if name in scores]
        best = max(rivals, key=lambda name: scores[name].metrics[first.metric])
        made.append(Row(modes, scores, best))
    return made


def cell(score: Score, metric: str) -> str:
    """A score with its 95 % interval.

    Example:
        >>> cell(Score({"r2": 0.5}, 0.4, 0.6), "r2")
        '0.50 [0.40, 0.60]'
    """
    value = f"{score.metrics[metric]:.2f}"
    return value if score.low is None or score.high is None else f"{value} [{score.low:.2f}, {score.high:.2f}]"


def gain_text(result: Result) -> str:
    """The model against firing rates, in words with the numbers."""
    if result.gain_low is None or result.gain_high is None:
        return f"{result.gain:+.2f}, no interval"
    return f"{VERDICTS[result.verdict]} ({result.gain:+.2f} [{result.gain_low:+.2f}, {result.gain_high:+.2f}])"


def sample_text(result: Result) -> str:
    """How many samples, of how many independent parts."""
    parts = "" if result.parts == result.samples else f" in {result.parts} {result.part_name}"
    return f"{result.samples:,} of {result.parts} {result.part_name}" if not parts else f"{result.samples:,}{parts}"


def table(evaluation: Evaluation) -> str:
    """All scores as a table for the terminal: a row per target, the best of model and rates marked with ``*``.

    Below it: targets without results, and what the tracking server has not got.
    """
    below = [left_out_text(entry) for entry in evaluation.left_out]
    below += [f"tracking waits in {place}: `foundation runs --send {place}` sends it" for place in evaluation.waiting]
    return "\n".join([*(_table(rows(evaluation.results)) if evaluation.results else []), *below])


def left_out_text(entry: LeftOut) -> str:
    """Why a target has no results.

    Example:
        >>> left_out_text(LeftOut("cell_type", "all", "no unit fires"))
        'cell_type all failed: no unit fires'
    """
    name = f"{entry.task} {entry.target}".strip()
    return printable(f"{name} {'failed' if entry.failed else 'is left out'}: {entry.reason}")


def _table(made: list[Row]) -> list[str]:
    shown = [name for name in COLUMNS if any(name in row.scores for row in made)]
    lines = [["task", "target", "metric", "samples", *(COLUMNS[name] for name in shown)]]
    for row in made:
        first = row.first
        cells = [
            (cell(row.scores[name], first.metric) + (" *" if name == row.best else "")) if name in row.scores else "-"
            for name in shown
        ]
        lines.append([first.task, first.target, TITLES[first.metric], sample_text(first), *cells])
    return [text_table(lines), "[a, b]: 95 % interval; *: the best of firing rates and the model"]
