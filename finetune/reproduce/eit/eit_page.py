"""Render the page of the EIT tables from the existing runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from finetune.reproduce.common.run_results import RunResult, read_all, same_seeds, tables_of, trial_interval
from finetune.reproduce.eit.eit_settings import BY_TRIAL, CONTROL
from finetune.reproduce.neurpir.mode_scores import gain_cell
from foundation.common.output.pages import MarkdownPage

TITLES = {
    "linear": "logistic regression of the window (floor)",
    "mlp": "MLP",
    "gru": "GRU",
    "ndt": "NDT (self-supervised)",
    "ndt-sup": "NDT-Sup",
    "eit-t": "EIT (T)",
    "eit": "EIT",
}
# Liu et al. 2022, table 1: columns C-1 and M-1 are the sessions of these animals.
PUBLISHED = {
    ("Chewie", 2): {"mlp": 74.22, "gru": 75.78, "ndt": 59.90, "ndt-sup": 80.47, "eit-t": 76.04, "eit": 79.69},
    ("Chewie", 6): {"mlp": 78.91, "gru": 84.72, "ndt": 64.93, "ndt-sup": 87.33, "eit-t": 83.33, "eit": 88.36},
}
HEAD = ["", "mean", "spread over seeds", "95 % interval over trials", "shuffled", "seeds", "epochs", "published",
        "seconds a run"]  # fmt: skip
INTRODUCTION = """Accuracy of 8 reach directions per time step, in percent. Protocol of Liu et al. 2022 (arXiv
2206.06131): 100 ms bins in Hz, the first 8 of each trial, trials split 80/20 in order of recording,
units that do not vary in training left out, each unit's mean subtracted from training and test trials separately,
windows of T bins, Adam with a rate of 1e-4 and 16 windows a batch.

One rule, fixed before any run, sets the number of epochs of all models: the last fifth of the training trials is held
out, the epoch of the best figure on it is found (accuracy, or the loss of masked bins for NDT without labels), and the
model is trained again on all training trials for as many. Test trials are used once, at the end; but the test accuracy
of EIT (T) at T = 2 was traced over 200 epochs in search of a fault, with no setting chosen from it (from epoch 50 on
it moves between 72 and 77). Tables whose name ends in *400* have the published 400 epochs for every model. Those
whose names end in *in-order* and *by-start* do not shuffle windows: *in-order* takes them trial by trial, the windows
of a trial one after another; *by-start* takes all trials' first window, then all trials' second, and so on, as the
released code does at T = 6, so that a batch holds windows of 16 trials at one start. Both were planned when the
figures of the others were known. *Shuffled* is the row's first seed with shuffled directions of the training trials, as
a control; chance is 12.5. The interval is a bootstrap over test trials of the mean over seeds; it does not cover
variation from other training trials. Each row gives its number of seeds. Seconds are wall-clock time on one thread of a
shared machine, and the code has become faster since: docs/benchmarks/published-eit.md is about speed."""


IN_ORDER = ("-in-order", "-by-start")  # tables of windows that are not shuffled
NOT_RUN = "The table *by-start* (`reproduce/eit-chewie-T6-by-start`) has not been run here."


def eit_page(folder: Path, command: str) -> str:
    """Return the page in Markdown: a section for each table under ``folder``."""
    page = MarkdownPage("EIT on reaching trials")
    page.say(INTRODUCTION)
    page.code(command)
    tables = {table.stem: read_all(table) for table in tables_of(folder)}
    tables = {name: rows for name, rows in tables.items() if any(not row.endswith(CONTROL) for row in rows)}
    for name, rows in tables.items():
        _add_table(page, name, rows)
        page.say(_against_shuffled(name, tables))
    if not tables:
        page.say("There are no runs yet.")
    if not any(name.endswith("-by-start") for name in tables):
        page.say(NOT_RUN)
    return page.text


def _add_table(page: MarkdownPage, name: str, every: dict[str, list[RunResult]]) -> None:
    controls = {row: found for row, found in every.items() if row.endswith(CONTROL)}
    rows = {row: found for row, found in every.items() if row not in controls}
    first = next(iter(rows.values()))[0]
    subject, bins, detail = first.config["subject"], first.config["bins"], first.detail
    published = PUBLISHED.get((subject, bins), {})
    rules = {
        json.dumps(r.config["rule"], sort_keys=True) for found in rows.values() for r in found if "rule" in r.config
    }
    page.heading(f"{name}: {subject}, T = {bins}")
    page.say(
        f"{detail['train']} training and {detail['test']} test trials; file {first.digests[subject][:12]}."
        + "".join(_rule(json.loads(rule)) for rule in sorted(rules))
    )
    order = [*TITLES, *sorted(set(rows) - set(TITLES))]
    page.table(
        HEAD, [_row(row, rows[row], controls.get(row + CONTROL), published.get(row)) for row in order if row in rows]
    )
    # Transfers, and windows in order, are tables of their own, of fewer rows.
    fewer = any(row not in TITLES for row in rows) or any(not json.loads(r).get("shuffle", True) for r in rules)
    missing = [TITLES[row] for row in TITLES if row not in rows and not fewer]
    if missing:
        page.say(f"Not run yet: {', '.join(missing)}.")
    page.say(_traced(rows), *_verdict(rows, published))


def _against_shuffled(name: str, tables: dict[str, dict[str, list[RunResult]]]) -> str:
    """Compare a table of windows in order with the table of shuffled windows, over the seeds that both have."""
    shuffled = next((name.removesuffix(end) for end in IN_ORDER if name.endswith(end)), None)
    if shuffled not in tables:
        return ""
    gains = []
    for row in ("eit-t", "eit"):
        if row in tables[name] and row in tables[shuffled]:
            ours, theirs = same_seeds(tables[name][row], tables[shuffled][row])
            if ours:
                gains.append(f"{TITLES[row]} {gain_cell(ours, theirs)} over {len(ours)} seed{'s' * (len(ours) > 1)}")
    return (
        f"Against shuffled windows with the same seeds, paired over test trials: {'; '.join(gains)}." if gains else ""
    )


def _traced(rows: dict[str, list[RunResult]]) -> str:
    """Report the best epoch chosen on the test trials, for runs with a test trace."""
    sentences = []
    for name, title in TITLES.items():
        kept = [r.detail["traced"] for r in rows.get(name, []) if "traced" in r.detail]
        if kept:
            best = [max(curve.items(), key=lambda at: (at[1], -int(at[0]))) for curve in kept]
            figure = 100 * np.mean([value for _, value in best])
            sentences.append(f"{title} {figure:.2f} (epoch {', '.join(str(epoch) for epoch, _ in best)})")
    if not sentences:
        return ""
    return (
        "The released script logs the test figure after every fifth epoch. The best of these, which is not a valid "
        f"figure, as it is chosen on the test trials: {'; '.join(sentences)}."
    )


def _rule(rule: dict[str, Any]) -> str:
    order = "" if rule.get("shuffle", True) else f" Windows come {_order(rule)}, unshuffled."
    if rule["epochs"] is not None:
        return f" {rule['epochs']} epochs for every model.{order}"
    return (
        f" Held-out figures are means of {rule['smooth']} epochs; {rule['patience']} epochs without a "
        f"better one end the search, {rule['most_epochs']} at most.{order}"
    )


def _order(rule: dict[str, Any]) -> str:
    return f"{rule.get('order', BY_TRIAL)} by {rule.get('order', BY_TRIAL)}"


def _title(name: str) -> str:
    return TITLES.get(name, name.replace("transfer-", "EIT (T), individual module frozen, trained on "))


def _row(name: str, results: list[RunResult], control: list[RunResult] | None, published: float | None) -> list[str]:
    values = np.array([r.accuracy for r in results]) * 100
    low, high = trial_interval(results)
    spread = f"{values.std(ddof=1):.2f} ({values.min():.2f} to {values.max():.2f})" if len(values) > 1 else "-"
    epochs = sorted(r.detail["epochs"] for r in results if "epochs" in r.detail)
    epoch_text = f"{epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else (str(epochs[0]) if epochs else "-")
    seconds = np.mean([r.detail["seconds"] for r in results])
    shuffled = f"{100 * np.mean([r.accuracy for r in control]):.1f}" if control else "-"
    shown = f"{published:.2f}" if published is not None else "-"
    return [
        _title(name), f"{values.mean():.2f}", spread, f"{100 * low:.1f} to {100 * high:.1f}", shuffled,
        f"{len(results)}", epoch_text, shown, f"{seconds:,.0f}",
    ]  # fmt: skip


def _verdict(rows: dict[str, list[RunResult]], published: dict[str, float]) -> list[str]:
    """Report rows below the paper's figure or the floor, with their evidence."""
    means = {name: float(np.mean([r.accuracy for r in results])) * 100 for name, results in rows.items()}
    sentences = []
    if "linear" in means:
        below = [_title(n) for n, mean in means.items() if n != "linear" and mean <= means["linear"]]
        if below:
            sentences.append(f"Not above the floor: {', '.join(below)}.")
    short = [n for n in TITLES if n in published and n in means and means[n] < published[n]]
    if short:
        n_test = len(rows[short[0]][0].right_R)
        sentences.append(
            f"Below the published figure (a test trial is {100 / n_test:.1f} points):\n\n"
            + "\n".join(_shortfall(n, rows[n], published[n]) for n in short)
        )
    return sentences


def _shortfall(name: str, results: list[RunResult], published: float) -> str:
    """Return by how much a row falls short, and what was tried."""
    gap = published - float(np.mean([r.accuracy for r in results])) * 100
    low, high = trial_interval(results)
    within = "lies within" if 100 * low <= published <= 100 * high else "lies outside"
    seeds = ", ".join(str(r.seed) for r in results)
    rules = {json.dumps(r.config["rule"], sort_keys=True) for r in results}
    tried = " and ".join(sorted(_tried(json.loads(rule)) for rule in rules))
    return (
        f"- {TITLES[name]} by {gap:.2f}. Tried: {tried}, {'seed' if len(results) == 1 else 'seeds'} {seeds}. "
        f"The published figure {within} the interval over trials."
    )


def _tried(rule: dict[str, Any]) -> str:
    length = f"{rule['epochs']} epochs" if rule["epochs"] is not None else "the rule of the held-out trials for epochs"
    order = "" if rule.get("shuffle", True) else f", {_order(rule)} and not shuffled"
    return f"{length}, a rate of {rule['learning_rate']:g}, {rule['batch_size']} windows a batch{order}"
