"""Details of one target in the report: its readouts, facts and pictures."""

from __future__ import annotations

import logging
from pathlib import Path

from finetune.report.result_pictures import coverage_figure, label_curve_figure, target_figure
from finetune.report.score_table import CURVE, TITLES_OF, Row, cell, gain_figures, sample_text
from finetune.result import Result, read_predictions
from foundation.common.output.pictures import Picture
from foundation.evaluation.metrics import TITLES

log = logging.getLogger(__name__)


def readout_lines(row: Row) -> list[list[str]]:
    """Return every readout and control of a target: title, score, R² around the profile, choices."""
    beyond = any("beyond_profile" in score.metrics for score in row.scores.values())
    lines = [["readout", TITLES[row.first.metric], *([TITLES["beyond_profile"]] if beyond else []), "how"]]
    for name, score in row.scores.items():
        around = score.metrics.get("beyond_profile")
        choices = row.results[name].choices if name in row.results else {}
        how = score.detail or "; ".join(f"{what} by fold {_listed(chosen)}" for what, chosen in choices.items())
        lines.append(
            [
                TITLES_OF[name],
                cell(score, row.first.metric),
                *(["-" if around is None else f"{around:.2f}"] if beyond else []),
                how,
            ]
        )
    return lines


def _listed(chosen: list) -> str:
    """Return numbers per fold, and distinct names.

    Example:
        >>> _listed([0.1, 0.1]), _listed(["counts", "counts"])
        ('0.1, 0.1', 'counts')
    """
    named = dict.fromkeys(chosen) if all(isinstance(value, str) for value in chosen) else chosen
    return ", ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in named)


def target_facts(result: Result) -> list[tuple[str, str]]:
    """Return samples, split, interval and time of a result, as names and values."""
    others = ", ".join(
        f"{TITLES[name]} {value:.2f}"
        for name, value in result.score.metrics.items()
        if name in TITLES and name not in (result.metric, "beyond_profile")
    )
    facts = [
        ("samples", f"{sample_text(result)}, {result.subjects} animal{'s' if result.subjects != 1 else ''}"),
        ("split", result.split),
        ("interval", result.interval),
        ("readout", result.readout),
    ]
    if result.classes:
        facts.insert(1, ("classes", ", ".join(f"{name} {n:,}" for name, n in result.classes.items())))
    else:
        facts.insert(1, ("values", ", ".join(result.value_names)))
    if (over := result.gain_statistics) is not None:
        facts.append((f"{TITLES_OF[result.mode]} minus {TITLES_OF['statistics']}", gain_figures(over)))
    if others:
        facts.append((f"other metrics, {TITLES_OF[result.mode]}", others))
    facts.append(("time", f"{result.seconds:.0f} s"))
    return facts


def curve_picture(row: Row) -> Picture | None:
    """Return readouts over the number of labelled trials, if available."""
    result = row.finetuned
    if result is None or not result.curve:
        return None
    names = {name: TITLES_OF[name] for name in CURVE}
    first = result.curve[0]
    alt = (
        f"{result.title} with few labelled trials: with {first.trials} the finetuned model has "
        f"{cell(first.scores['full'], result.metric)}, firing rates {cell(first.scores['rate'], result.metric)}."
    )
    caption = "With few labelled trials, drawn by the seed; bars are 95 % intervals"
    return Picture(label_curve_figure(result, {**row.scores, "full": result.score}, names), alt, caption)


def coverage_picture(row: Row) -> Picture | None:
    """Return accuracy over the share of units that are classified, if available."""
    curves = {name: points for result in row.results.values() for name, points in result.coverage.items()}
    shown = {TITLES_OF[name]: curves[name] for name in TITLES_OF if name in curves}
    if not shown:
        return None
    half = {name: next(point for point in points if point.share >= 0.5) for name, points in shown.items()}
    points = ", ".join(f"{name} {point.accuracy:.2f}" for name, point in half.items())
    alt = f"{row.first.title}: accuracy over the share of units classified. At half of the units: {points}."
    caption = "Accuracy of the units that a readout is most confident of; bands are 95 % intervals"
    return Picture(coverage_figure(shown, row.first.title), alt, caption)


def result_picture(result: Result, folder: Path | None, notes: list[str]) -> Picture | None:
    """Return the picture of a result; none, with a note, if drawing fails."""
    if folder is None:
        return None
    predictions = read_predictions(folder / result.task / result.target / f"{result.mode}.npz", result.key)
    if predictions is None:
        return None
    try:
        png = target_figure(result, predictions)
    except Exception as error:  # one failing picture must not stop the report
        log.warning("no picture of %s %s: %s: %s", result.target, result.mode, type(error).__name__, error)
        notes.append(f"no picture: {type(error).__name__}")
        return None
    score = cell(result.score, result.metric)
    what = "Confusion matrix" if result.classes else "Predicted against true values"
    alt = f"{what} of {result.title}, {TITLES_OF[result.mode]}: {TITLES[result.metric]} {score}."
    return Picture(png, alt, f"{what}, {TITLES_OF[result.mode]}: {score}")
