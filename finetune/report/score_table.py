"""Scores as text: for the terminal, and the cells of the report's tables."""

from __future__ import annotations

from dataclasses import dataclass

from finetune.finetune_settings import FINETUNED
from finetune.result import Evaluation, Gain, LeftOut, Result, Score
from foundation.common.output.pages import text_table
from foundation.common.output.printable import printable
from foundation.evaluation.metrics import TITLES

COLUMNS = {
    "rate": "firing rates",
    "statistics": "spike statistics",
    "probe": "model, probe",
    "mlp": "model, MLP probe",
    "both": "rates and model",
    "statistics_both": "statistics and model",
    "full": "model, finetuned",
    "gradual": "model, unfrozen gradually",
    "lora": "model, LoRA",
    "units": "model, unit embeddings",
}
CONTROLS = {
    "rate_own": "rates, own bin",
    "random": "random weights",
    "gru": "GRU of rates",
    "gru_causal": "causal GRU of rates",
    "profile": "named profile",
    "oracle": "true profile",
    "time": "time in trial",
    "scratch": "from scratch",
    "rate_smoothed": "rates, smoothed",
    "smoothed": "probe, smoothed",
    "any_population": "any population",
    "majority": "always the same",
    "shuffled": "shuffled labels",
    "laboratory": "laboratory alone",
}
CURVE = ("rate", "probe", "both", "scratch", "full")
TITLES_OF = COLUMNS | CONTROLS
VERDICTS = {"better": "better than firing rates", "worse": "worse than firing rates", "equal": "no clear difference"}


@dataclass(frozen=True)
class Row:
    """All readouts of one target.

    Args:
        results: mode -> result.
        scores: name -> score, of the available readouts and controls.
        best: the name with the highest primary metric among firing rates and the readouts of the model.
    """

    results: dict[str, Result]
    scores: dict[str, Score]
    best: str

    @property
    def first(self) -> Result:
        """Any of the results: all describe the same target."""
        return next(iter(self.results.values()))

    @property
    def finetuned(self) -> Result | None:
        """The result of a finetuned model, the first in the order of modes; None if the model stayed frozen."""
        return next((self.results[mode] for mode in FINETUNED if mode in self.results), None)

    @property
    def headline(self) -> Result:
        """The result that stands for the target: of the finetuned model if there is one."""
        return self.finetuned or self.first


def rows(results: list[Result]) -> list[Row]:
    """Group results by target, in order of appearance."""
    by_target: dict[tuple[str, str], dict[str, Result]] = {}
    for result in results:
        by_target.setdefault((result.task, result.target), {})[result.mode] = result
    made = []
    for modes in by_target.values():
        first = next(iter(modes.values()))
        references = {name: score for result in modes.values() for name, score in result.references.items()}
        scores = {**references, **{mode: result.score for mode, result in modes.items()}}
        scores = {name: scores[name] for name in TITLES_OF if name in scores}
        rivals = [name for name in COLUMNS if name in scores]
        best = max(rivals, key=lambda name: scores[name].metrics[first.metric])
        made.append(Row(modes, scores, best))
    return made


def names_in(made: list[Row], names: dict[str, str]) -> list[str]:
    """Return the given readouts that any target has."""
    return [name for name in names if any(name in row.scores for row in made)]


def cell(score: Score, metric: str) -> str:
    """Return a score with its 95 % interval.

    Example:
        >>> cell(Score({"r2": 0.5}, 0.4, 0.6), "r2")
        '0.50 [0.40, 0.60]'
    """
    value = f"{score.metrics[metric]:.2f}"
    return value if score.low is None or score.high is None else f"{value} [{score.low:.2f}, {score.high:.2f}]"


def gain_text(result: Result) -> str:
    """Return the comparison of model and firing rates in words and numbers."""
    return _gain(result.verdict, result.gain, result.gain_low, result.gain_high)


def gain_of_both_text(result: Result) -> str:
    """Return the comparison of rates plus model with rates alone."""
    return _gain(result.verdict_both, result.gain_both, result.gain_both_low, result.gain_both_high)


def _gain(verdict: str, value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{value:+.2f}, no interval"
    return f"{VERDICTS[verdict]} ({value:+.2f} [{low:+.2f}, {high:+.2f}])"


def sample_text(result: Result) -> str:
    """Return the numbers of samples and independent parts."""
    parts = "" if result.parts == result.samples else f" in {result.parts} {result.part_name}"
    return f"{result.samples:,} of {result.parts} {result.part_name}" if not parts else f"{result.samples:,}{parts}"


def table(evaluation: Evaluation) -> str:
    """Return all scores as two tables for the terminal: the model beside firing rates, and the controls.

    The best of model and rates is marked with ``*``. Below them: targets without results, and results not yet sent to
    the tracking server.
    """
    below = [left_out_text(entry) for entry in evaluation.left_out]
    below += [f"tracking waits in {place}: `foundation runs --send {place}` sends it" for place in evaluation.waiting]
    return "\n".join([*(_tables(rows(evaluation.results)) if evaluation.results else []), *below])


def left_out_text(entry: LeftOut) -> str:
    """Return why a target has no results.

    Example:
        >>> left_out_text(LeftOut("cell_type", "all", "no unit fires"))
        'cell_type all failed: no unit fires'
    """
    name = f"{entry.task} {entry.target}".strip()
    return printable(f"{name} {'failed' if entry.failed else 'is left out'}: {entry.reason}")


def _tables(made: list[Row]) -> list[str]:
    shown = names_in(made, COLUMNS)
    head = ["task", "target", "metric", "samples", *(TITLES_OF[name] for name in shown), "gain", "gain of both"]
    lines = [head]
    for row in made:
        first = row.first
        model = row.results.get("probe", first)
        gains = [
            _short(model.gain, model.gain_low, model.gain_high),
            _short(model.gain_both, model.gain_both_low, model.gain_both_high),
        ]
        lines.append([first.task, first.target, TITLES[first.metric], sample_text(first), *_cells(row, shown), *gains])
    controls = names_in(made, CONTROLS)
    against = [["task", "target", *(TITLES_OF[name] for name in controls)]]
    against += [[row.first.task, row.first.target, *_cells(row, controls)] for row in made]
    parts = [
        text_table(lines),
        "[a, b]: 95 % interval; *: the best of firing rates and the model; gain: model minus firing rates, paired",
        "",
        "read against:",
        text_table(against),
    ]
    curves = [row for row in made if row.finetuned is not None and row.finetuned.curve]
    return [*parts, "", "with few labelled trials:", text_table(curve_lines(curves))] if curves else parts


def curve_lines(curves: list[Row]) -> list[list[str]]:
    """Return readouts and finetuning by number of labelled trials, with a heading; a target's last row has all.

    Args:
        curves: targets that were finetuned with few labels.
    """
    with_curve = [(row, row.finetuned) for row in curves if row.finetuned is not None]
    names = [name for name in CURVE if any(name in p.scores for _, result in with_curve for p in result.curve)]
    lines = [["task", "target", "trials", *(TITLES_OF[name] for name in names), "finetuned over rates", "over scratch"]]
    for row, result in with_curve:
        for point in result.curve:
            scores = [cell(point.scores[name], result.metric) if name in point.scores else "-" for name in names]
            gains = [gain_figures(point.over_rate), gain_figures(point.over_scratch)]
            lines.append([result.task, result.target, str(point.trials), *scores, *gains])
        gains = [gain_figures(Gain(result.gain, result.gain_low, result.gain_high)), gain_figures(result.gain_scratch)]
        all_scores = {**row.scores, "full": result.score}
        whole = [cell(all_scores[name], result.metric) if name in all_scores else "-" for name in names]
        lines.append([result.task, result.target, "all", *whole, *gains])
    return lines


def gain_figures(gain: Gain | None) -> str:
    """Return a gain with its 95 % interval.

    Example:
        >>> gain_figures(Gain(0.1, -0.02, 0.2)), gain_figures(None)
        ('+0.10 [-0.02, +0.20]', '-')
    """
    return "-" if gain is None else _short(gain.value, gain.low, gain.high)


def _short(value: float, low: float | None, high: float | None) -> str:
    return f"{value:+.2f}" if low is None or high is None else f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _cells(row: Row, names: list[str]) -> list[str]:
    return [
        (cell(row.scores[name], row.first.metric) + (" *" if name == row.best else "")) if name in row.scores else "-"
        for name in names
    ]
