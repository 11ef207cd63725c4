"""Render the page of the MYOW tables from the existing runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from finetune.reproduce.common.run_results import RunResult, read_all, tables_of
from foundation.common.output.pages import MarkdownPage
from foundation.evaluation.confidence_intervals import draw_parts, middle_95

TITLES = {
    "linear": "linear readout of events (floor)",
    "shuffled": "the same, labels of other trials (control)",
    "supervised": "supervised baseline",
    "byol": "BYOL",
    "myow": "MYOW",
    "swap_vae": "Swap-VAE",
    "cebra": "CEBRA (time)",
}
# 1,000 epochs of reaches, and 800 of sleep, in steps of the published batches.
PUBLISHED_STEPS = {"reach": 4000, "sleep": 9600}
INTRODUCTION = """Features of one bin are
learned without labels (but for the supervised baseline), frozen, and read by a linear
layer. Protocol of Azabou et al. 2021 (arXiv 2102.10106).

**Reaches**: bins of 100 ms; encoders see all observed bins of the training trials; bins with a speed above 5
are scored. The first 80 % of the trials, in the order in which they were recorded, are for training. Ridge
regression to cosine and sine of the direction; *right*: off by less than pi/8; *wider*: by less than 3 pi/16.
Intervals: bootstrap over test trials.

**Wake and sleep**: bins of 4 s; training is the first 70 % of the first 80 %, the last 20 % is the test, as
released. Class-balanced logistic regression to wake, NREM and REM; F1 weighted by the frequency of each state.
Intervals: bootstrap over blocks of ten minutes. The codes of the states were inferred from their transitions by the
authors of the file, so the classes themselves are uncertain.

One rule, fixed before these runs, sets the number of steps of all models: with the last fifth of the training
trials held out (for sleep, with the part between training and test), the readout's figure on it is computed every tenth
of the published length (CEBRA, which cannot be evaluated during training: after a 64th of it, a 32nd, and so on), and
the model is trained again on the training part for as many steps as the best had; the readout's penalty is that of the
best. For sleep that part is the same. Test bins are used once, at the end. Intervals do not cover variation from other
training trials. In tables whose name ends in *published* every model has the published length instead, and the only the
readout's penalty is chosen, on the last fifth of the training trials.

Seconds are wall-clock time on one thread of a shared machine.

**As released**: on reaches, LARS with a rate that rises for 10 epochs and falls as a cosine and trusts a layer
by 0.001, and also norm scales (the script tries to exclude these, but by a parameter name that does not
exist), dropout and noise alike for both bins of a pair, candidates augmented by themselves, 1,000 epochs; on sleep, SGD
with a rate that rises for 100 epochs, no first projector, mined views that count as much as the others from the 10th
epoch on, a target network that begins as nearly the online one, 800 epochs. An epoch is the training bins once: the
released reach script reads them once in each of its 4 workers, so that its epochs are 4 of these. **Not as released**:
both directions of a pair are predicted on reaches, and mined views are searched from the pair's first bin instead of a
third; encoders of sleep see the training part only, without the part between it and the test; a partner is never the
bin itself; a ridge regression reads features out in place of a linear layer trained for 100 epochs; a unit is divided
by its spread before all augmentations, as released except for a shift; CEBRA sees one bin at a time, like
the others, and takes trials as one stretch of time. The paper's figures are not shown: its tables were not available
when this page was made.

**Earlier results**: tables of an earlier form, whose test figures were known when these were planned. With 300
steps of AdamW and noise of its own for each bin of a pair, BYOL, MYOW and Swap-VAE reached 50.9, 48.5 and 57.8 on
Chewie, and 53.4, 53.8 and 52.7 on Mihi; with 4,000 steps of LARS, BYOL and MYOW reached 61.5 and 60.9, and 64.3 and
64.5. On sleep, 300 steps of a smaller network with the reaches' weights gave 85.5, 85.8 and 89.7. Swap-VAE's
reconstruction was a mean over units then, which made its divergence too heavy by a
factor of the number of units. They were discarded
because they were not the released method, and led to no other change. BYOL and MYOW were first
run on reaches with LARS that leaves the scales of norms out: the tables ending in *scales-apart*, continued by
`--name myow-chewie-scales-apart --myow.training.adapt_scales false`. On held-out training trials the released form was
about three points better on either monkey, seen with one seed of BYOL before the rows of the other tables were made
again; four times the steps, and a readout trained on augmented bins as released, changed nothing there beyond chance.
"""


def myow_page(folder: Path, command: str, pictures: Path | None = None) -> str:
    """Return the page in Markdown: a section for each table of the folder.

    Args:
        folder: of the tables.
        command: what makes them.
        pictures: the folder beside the page that holds a folder of pictures for each table; None: the page shows none.
    """
    page = MarkdownPage("MYOW on reaches and on wake and sleep")
    page.say(INTRODUCTION)
    page.code(command)
    tables = {table.stem: read_all(table) for table in tables_of(folder)}
    for name, rows in tables.items():
        if rows:
            _add_table(page, name, rows, pictures)
    if not any(tables.values()):
        page.say("There are no runs yet.")
    return page.text


def interval(results: list[RunResult], resamples: int = 4000) -> tuple[float, float]:
    """95 % interval of the mean figure over seeds, by a bootstrap over test trials or blocks.

    Example:
        >>> one = RunResult("a", 0, "", {}, {}, 0.5, [0.0, 1.0] * 50, {"bins_R": [4] * 100})
        >>> low, high = interval([one])
        >>> bool(0.38 < low < 0.42 and 0.58 < high < 0.62)
        True
    """
    n = len(results[0].right_R)
    weight_SR = draw_parts(n, resamples, n)
    return middle_95(np.mean([_resampled(result, weight_SR) for result in results], axis=0))


def _resampled(result: RunResult, weight_SR: np.ndarray) -> np.ndarray:
    if "bins_R" in result.detail:
        bins_R = np.array(result.detail["bins_R"])
        return (weight_SR @ (bins_R * np.array(result.right_R))) / (weight_SR @ bins_R)
    table_SCC = np.tensordot(weight_SR, np.array(result.detail["tables_R"]), axes=1).astype(float)
    right_SC = np.diagonal(table_SCC, axis1=1, axis2=2)
    true_SC, predicted_SC = table_SCC.sum(2), table_SCC.sum(1)
    f1_SC = 2 * right_SC / np.maximum(true_SC + predicted_SC, 1)
    return (f1_SC * true_SC).sum(1) / true_SC.sum(1)


def _add_table(page: MarkdownPage, name: str, rows: dict[str, list[RunResult]], pictures: Path | None) -> None:
    first = next(iter(rows.values()))[0]
    subject, sleep, detail = first.config["subject"], first.config["task"] == "sleep", first.detail
    learned = [r for found in rows.values() for r in found if "training" in r.config]
    rule = ""
    if learned:
        t = learned[0].config["training"]
        rate = f"{t['optimizer']} with a rate of {t['learning_rate']:g}, {t['batch_size']} bins a step"
        if t["optimizer"] == "lars":
            rate = f"MYOW and BYOL: {rate}; supervised: adamw with a rate of {t['supervised_learning_rate']:g}"
        looks = f"looked at every {t['every']} steps, {t['most_steps']} at most"
        rule = f" {rate}; " + (looks if t["steps"] is None else f"{t['steps']} steps for every model") + "."
    what = "weighted F1" if sleep else "right"
    last = "agreement of clusters" if sleep else "wider"
    page.heading(f"{name}: {subject}")
    page.say(
        f"{detail['train']} scored bins for training and {detail['test']} for testing, {detail['units']} units; "
        f"file {first.digests[subject][:12]}.{rule}"
    )
    page.table(
        ["", f"{what}, %", "spread over seeds", "95 % interval", last, "seeds", "steps", "published", "seconds a run"],
        [_row(row, rows[row]) for row in TITLES if row in rows],
    )
    missing = [title for row, title in TITLES.items() if row not in rows]
    if missing and "linear" in rows:  # a table of other rows has no floor of its own
        page.say(f"Not run yet: {', '.join(missing)}.")
    page.say(*_verdict(rows), _parted(rows))
    if "myow" in rows and pictures is not None and (pictures / name / "myow-map.svg").is_file():
        _add_map(page, rows["myow"][0], f"{pictures.name}/{name}/myow-map.svg")


def _row(name: str, results: list[RunResult]) -> list[str]:
    values = np.array([r.accuracy for r in results]) * 100
    low, high = interval(results)
    spread = f"{values.std(ddof=1):.2f} ({values.min():.2f} to {values.max():.2f})" if len(values) > 1 else "-"
    steps = sorted(r.detail["steps"] for r in results if "steps" in r.detail)
    shown = f"{steps[0]} to {steps[-1]}" if len(set(steps)) > 1 else (str(steps[0]) if steps else "-")
    seconds = np.mean([r.detail["seconds"] for r in results])
    if "wider" in results[0].detail:
        last = f"{100 * np.mean([r.detail['wider'] for r in results]):.2f}"
    elif "agreement" in results[0].detail:
        last = f"{np.mean([r.detail['agreement'] for r in results]):.3f}"
    else:
        last = "-"
    return [
        TITLES[name], f"{values.mean():.2f}", spread, f"{100 * low:.1f} to {100 * high:.1f}", last, f"{len(results)}",
        shown, "-", f"{seconds:,.0f}",
    ]  # fmt: skip


def _verdict(rows: dict[str, list[RunResult]]) -> list[str]:
    """Report rows below the floor or the supervised baseline."""
    means = {name: float(np.mean([r.accuracy for r in results])) for name, results in rows.items()}
    learned = [name for name in TITLES if name in means and name not in ("linear", "shuffled")]
    sentences = []
    for against, title in (("linear", "the floor"), ("supervised", "the supervised baseline")):
        below = [TITLES[n] for n in learned if n != against and against in means and means[n] <= means[against]]
        if below:
            sentences.append(f"Not above {title}: {', '.join(below)}.")
    learned_runs = [r for n in learned for r in rows[n] if "training" in r.config]
    if learned_runs:
        published = PUBLISHED_STEPS[learned_runs[0].config["task"]]
        most = learned_runs[0].config["training"]["most_steps"]
        if most < published:
            sentences.append(
                f"A run is of {most} steps at most, and of about {published:,} as published for MYOW: this alone may "
                "explain lower figures."
            )
    return sentences


def _parted(rows: dict[str, list[RunResult]]) -> str:
    """Report how well Swap-VAE separates content and style."""
    found = [r.detail["parting"] for r in rows.get("swap_vae", []) if "parting" in r.detail]
    if not found:
        return ""
    mean = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    return (
        "Separation of content and style in all bins of the test trials: Swap-VAE's content predicts the direction of "
        f"{100 * mean['content_target']:.1f} % of them and its style of {100 * mean['style_target']:.1f} % (chance "
        f"{100 * mean['chance']:.1f}); of the variance of the time since the trial's first bin, content explains "
        f"{100 * mean['content_dynamics']:.0f} % and style {100 * mean['style_dynamics']:.0f} %."
    )


def _add_map(page: MarkdownPage, first: RunResult, picture: str) -> None:
    page.heading(f"The map that {TITLES['myow']} finds without labels", level=3)
    page.picture(picture, "Map of states")
    page.say(
        f"Features of all bins of seed {first.seed}, clustered by k-means; no label was used. Agreement of "
        "clusters and states (adjusted mutual information, 0 as by chance, 1 the same): "
        f"{first.detail['agreement']:.3f}."
    )
    rows = []
    for number, counts in enumerate(first.detail["clusters"], 1):
        share = 100 * np.array(counts) / max(sum(counts), 1)
        rows.append([number, sum(counts), *(f"{value:.0f}" for value in share)])
    page.table(["cluster", "bins", "wake, %", "NREM, %", "REM, %"], rows)
