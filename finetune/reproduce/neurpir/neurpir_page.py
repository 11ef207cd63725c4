"""Render the page of the firing mode tables from the existing runs."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from finetune.reproduce.common.run_results import RunResult, read_all, tables_of
from finetune.reproduce.neurpir.mode_scores import gain_cell, gain_over, score_cells
from foundation.common.output.pages import MarkdownPage

TITLES = {
    "isi": "26 interval features",
    "pca": "principal components of binned activity",
    "lolcat": "LOLCAT (learns from labels)",
    "nuclr": "NuCLR",
    "nuclr-released": "NuCLR, released form of the loss",
    "neurpir": "NeurPIR",
    "neurpir-no-cebra": "without CEBRA (principal components instead)",
    "neurpir-no-surround": "without surrounding information",
    "neurpir-no-variance": "without the variance term",
    "neurpir-no-covariance": "without the covariance term",
    "neurpir-fixed-length": "with segments of one length",
    "oracle": "a, b, c, d themselves (oracle)",
}
FURTHER = ("neurpir-first-rule", "neurpir-longer")  # tables mentioned on the page even if not run
HEAD = ["", "balanced accuracy", "spread over seeds", "95 % interval", "macro F1", "shuffled", "against intervals",
        "within / between", "seeds", "steps", "seconds a run"]  # fmt: skip
INTRODUCTION = """Which of Izhikevich's five firing modes a neuron has, from frozen embeddings of its spike train, in
networks unseen by encoder and readout (arXiv 2502.10425, section on simulated data). Balanced accuracy and macro F1 in
percent; chance is 20.

- **Networks.** Each level has {train} training and {test} test networks with separate synapses, input, movements and
  noise; the drive changes between wake, NREM and REM. Levels differ in the jitter of the neurons' a, b, c and d, and in
  `shift20` also in the drive of whole networks. A network is either for training or for testing.
- **Readout.** Logistic regression of scaled embeddings, its penalty chosen on folds of whole training networks; scaling
  and penalty come from training networks only. LOLCAT learns from the labels and predicts them itself.
- **Number of steps** follows one rule for all rows of a table, which is given with it; the end of the page says when it
  was fixed.
- **Interval**: a bootstrap over the {test} test networks of the mean over seeds. With so few networks it is rough, and
  it does not cover variation from other training networks.
- **Shuffled** is the same row with shuffled training labels.
- **Against intervals** is the gain over the 26 interval features (13 statistics of
  `finetune.tasks.problems.spike_statistics` and the shares of 13 lengths of interval), with a paired bootstrap over
  test networks.
- **Encoder** of NeurPIR, its ablations and NuCLR:
{encoder}
- **Windows** of NeurPIR, its ablations and NuCLR with seed 0 were drawn by an earlier rule of the same distribution:
  those runs cannot be reproduced exactly.
- No published figures are shown: the available part of the paper has none for unseen networks."""
CHOICES = """## Choices made here and not by the papers

The encoder sees one neuron at a time (`interaction_layers: 0`), where NuCLR's sees the population. NeurPIR's projector
is narrower than the released 1024, and its surrounding information is fitted on training networks alone: embedding a
test network needs none. The encoders have one learning rate, not the published ones, because the runs have hundreds of
steps, not hundreds of epochs; `rule.steps` and `encoder.learning_rate: null` give the published lengths and rates, for
a GPU. LOLCAT reads only snippets of 3 s, the published timescale, though the model takes several; its rate of 0.001 and
its 64 units a step are ours, as none are published.

## What was tried, and when results were seen

- Before the table, twelve short trainings (up to 200 steps, seed 0, `jitter10`) were evaluated on the held-out
  training networks, never on test networks: seven of NeurPIR without surrounding information and five of NuCLR, with
  bins of 2, 5 and 10 ms, tokens of 10, 20 and 50 bins, rates of 0.001 and 0.003, and once a third layer. The chosen
  shape is the best for NeurPIR, so it favours NeurPIR over NuCLR. The principal components use the same bins.
- The rule was first 300 steps at most, an evaluation every 30, ended by 4 evaluations without improvement. Under it the
  intervals, the components (of 50 bins of 10 ms), LOLCAT and the parameters were run once on the test networks. It was
  then shortened for lack of processor time, before any NeurPIR or NuCLR was tested. This costs LOLCAT, which was better
  with more steps; `reproduce/neurpir-first-rule` makes that row again under the first rule, and its table is shown here
  if it was run. Where steps reach the maximum, a model might have improved further.
- `neurpir-longer` asks whether five times the steps close the gap to the intervals. It was planned when the figures of
  `neurpir-izhikevich` were known, with nothing else changed and nothing chosen by its results.
- One encoder shape serves all levels; nothing was tuned on a level other than `jitter10`."""


def neurpir_page(folder: Path, command: str) -> str:
    """Return the page in Markdown: a section for each level of each table under ``folder``."""
    found = sorted(tables_of(folder), key=lambda table: (table.stem in FURTHER, table.stem))
    tables = {table.stem: read_all(table) for table in found}
    tables = {name: rows for name, rows in tables.items() if rows}
    page = MarkdownPage("NeurPIR: firing modes of simulated neurons")
    if not tables:
        page.code(command)
        page.say("There are no runs yet.")
        return page.text
    results = [result for rows in tables.values() for found in rows.values() for result in found]
    page.say(introduction(results))
    page.code(preparation() + command)
    for name, rows in tables.items():
        levels = list(dict.fromkeys(found[0].config["level"] for found in rows.values()))
        for level in sorted(levels, key=lambda level: ("shift" in level, level)):
            _add_level(page, name, level, rows)
    page.say(CHOICES)
    missing = [f"`{name}`" for name in FURTHER if name not in tables]
    if missing:
        page.say(f"Not run: {', '.join(missing)}.")
    return page.text


def preparation() -> str:
    """Return the commands that create the store."""
    levels = ("jitter0", "jitter10", "jitter20", "shift20")
    lines = [
        f"foundation simulate izhikevich --config simulate/neurpir-{level} --output simulated/{level}"
        for level in levels
    ]
    return "\n".join([*lines, "foundation ingest --input simulated --store store\n"])


def introduction(results: list[RunResult]) -> str:
    """Return the introduction to all tables, from the runs' settings."""
    first = results[0].config
    encoders = [e for e in _distinct(results, "encoder") if "heads" in e]
    return INTRODUCTION.format(
        train=first["train"],
        test=first["test"],
        encoder="\n".join(_wrapped(_encoder(encoder)) for encoder in encoders) or "  not run yet.",
    )


def _distinct(results: list[RunResult], key: str) -> list[dict[str, Any]]:
    found = {json.dumps(r.config[key], sort_keys=True) for r in results if key in r.config}
    return [json.loads(text) for text in sorted(found)]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 118, initial_indent="  ", subsequent_indent="  ")


def _rule(rule: dict[str, Any], held: int) -> str:
    if rule["steps"] is not None:
        return f"{rule['steps']} steps for every model."
    return (
        f"{held} of the training networks are held out, and the balanced accuracy on them is computed every "
        f"{rule['every']} steps as the mean of {rule['smooth']} evaluations; {rule['patience']} evaluations without "
        f"a better one end the search, {rule['most_steps']} steps at most. The model is then trained again on all "
        "training networks for as many steps."
    )


def _encoder(e: dict[str, Any]) -> str:
    rate = "as published" if e["learning_rate"] is None else e["learning_rate"]
    cebra = "" if e["cebra_iterations"] is None else f" CEBRA is trained for {e['cebra_iterations']} steps."
    return (
        f"EIT with {e['individual_layers']} individual and {e['interaction_layers']} interaction layers of {e['dim']} "
        f"features, bins of {1000 * e['bin_width']:g} ms, {e['patch_length']} of them a token; embeddings are means "
        f"over windows of {e['tokens']} tokens. Learning rate {rate}, steps of {e['windows']} windows or more of "
        f"{e['max_units']} neurons at most.{cebra}"
    )


def _add_level(page: MarkdownPage, table: str, level: str, rows: dict[str, list[RunResult]]) -> None:
    here = {found[0].config["row"]: found for found in rows.values() if found[0].config["level"] == level}
    first = next(iter(here.values()))[0]
    rules = _distinct([result for found in here.values() for result in found], "rule")
    page.heading(f"{table}: {level}")
    page.say(
        f"{sum(first.detail['units'])} neurons of {first.config['test']} networks; files {first.digests[level][:12]}."
        + "".join(f" Rule: {_rule(rule, first.config['held'])}" for rule in rules)
    )
    page.table(HEAD, [_row(row, here[row], here.get("isi")) for row in TITLES if row in here])
    page.say(*_verdict(here))


def _row(row: str, results: list[RunResult], isi: list[RunResult] | None) -> list[str]:
    gained = gain_cell(results, isi) if isi is not None and row != "isi" else "-"
    similarity = "-"
    if "similarity_within" in results[0].detail:
        pair = [np.mean([r.detail[f"similarity_{which}"] for r in results]) for which in ("within", "between")]
        similarity = f"{pair[0]:.2f} / {pair[1]:.2f}"
    steps = sorted(r.detail["steps"] for r in results if "steps" in r.detail)
    shown = "-" if not steps else f"{steps[0]}" if steps[0] == steps[-1] else f"{steps[0]} to {steps[-1]}"
    seconds = np.mean([r.detail["seconds"] for r in results])
    return [TITLES[row], *score_cells(results), gained, similarity, f"{len(results)}", shown, f"{seconds:,.0f}"]


def _verdict(here: dict[str, list[RunResult]]) -> list[str]:
    """Report rows below the interval features, LOLCAT or NuCLR."""
    means = {row: float(np.mean([r.accuracy for r in found])) for row, found in here.items()}
    sentences = []
    if "isi" in means:
        below = [TITLES[row] for row in TITLES if row in means and row != "isi" and means[row] <= means["isi"]]
        if below:
            sentences.append(f"Not above the 26 interval features: {', '.join(below)}.")
    if "neurpir" in means:
        rivals = {row: here[row] for row in TITLES if row in here and row not in ("isi", "oracle", "neurpir")}
        sentences += [_against(here["neurpir"], rivals)] if rivals else []
    if "neurpir" in means and len(here["neurpir"]) == 1:
        sentences.append("With one seed a row, a difference between learned rows may be chance: see the intervals.")
    missing = [TITLES[row] for row in TITLES if row not in here and row != "nuclr-released"]
    if missing:
        sentences.append(f"Not run at this level: {', '.join(missing)}.")
    return sentences


def _against(ours: list[RunResult], rivals: dict[str, list[RunResult]]) -> str:
    """Return which rivals a row is ahead of, behind, or not distinguishable from, by the differences' intervals."""
    sides: dict[str, list[str]] = {"ahead of": [], "behind": [], "not distinguishable from": []}
    for row, results in rivals.items():
        gain, (low, high) = gain_over(ours, results)
        side = "ahead of" if low > 0 else "behind" if high < 0 else "not distinguishable from"
        sides[side].append(f"{TITLES[row]} ({100 * gain:+.1f}, {100 * low:+.1f} to {100 * high:+.1f})")
    return " ".join(f"NeurPIR is {side} {', '.join(found)}." for side, found in sides.items() if found)
