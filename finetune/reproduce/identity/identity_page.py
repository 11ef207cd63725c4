"""Render the page of the identity table from the existing runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from finetune.reproduce.common.run_results import RunResult, read_all, tables_of
from finetune.reproduce.identity.identity_settings import ROWS, VARIANT
from finetune.reproduce.identity.identity_variants import PICTURE, add_variants
from finetune.reproduce.neurpir.mode_scores import gain_cell, gain_over, score_cells
from foundation.common.output.pages import MarkdownPage

TITLES = {
    "isi": "26 interval features",
    "tokens": "tokens of intervals, nothing learned",
    "random": "encoder with random weights",
    "labels": "encoder trained on labels only",
    "nuclr": "NuCLR on the same tokens",
    "vicreg": "NeurPIR with VICReg on the same tokens",
    "infonce": "NeurPIR with InfoNCE (`pretrain/identity`)",
    "oracle": "a, b, c, d themselves (oracle)",
}
HEAD = ["", "balanced accuracy", "spread over seeds", "95 % interval", "macro F1", "shuffled", "against 26 features",
        "against the tokens", "seeds", "seconds a run"]  # fmt: skip
MANY = "identity-networks"  # the table of up to 64 networks
TARGETS, SEEDS = {"jitter20": 94.0}, 5  # what the recipe was to reach, on the mean of so many seeds
INTRODUCTION = """Which of Izhikevich's five firing modes a neuron has, in networks unseen by encoder and readout,
from tokens of the intervals between spikes ([models.md](../models.md#tokens-of-intervals)). The networks are
those of [neurpir.md](neurpir.md), where encoders read bins of 5 ms. Balanced accuracy and macro F1 in percent; chance
is 20.

- **Networks.** Each level has {train} training and {test} test networks with separate synapses, input, movements and
  noise. Levels differ in the jitter of the neurons' a, b, c and d, and in `shift20` also in the drive
  of whole networks. A network is either for training or for testing.
- **Encoder and objective.** `pretrain/identity` as it is shipped, on the training networks of the level:
  {recipe}
  NeurPIR with VICReg and NuCLR are `objective/identity-vicreg` and `objective/identity-nuclr` on top of it. These rows
  use labels neither for training nor for choices: all rows train for the recipe's number of steps.
- **Readout.** Logistic regression of scaled features, its penalty chosen on folds of whole training networks; scaling
  and penalty come from training networks only. A unit's features are the mean over windows of {tokens} tokens, which
  cover all of its time.
- **Tokens, nothing learned**: the mean of the encoder's 223 input numbers with the same readout, the baseline for
  pretraining. **26 interval features** are 13 statistics of `finetune.tasks.problems.spike_statistics` and the shares
  of 13 lengths of interval.
- **Encoder trained on labels only**: the same encoder and windows, a linear layer and cross-entropy on the
  training networks' labels, no pretraining.
- **Interval**: a bootstrap over the {test} test networks of the mean over seeds; columns *against* are paired over
  them. With so few networks it is rough, and it does not cover variation from other training networks.
- **Shuffled** is the same row with shuffled training labels."""
CHOICES = """## What was fixed, and when

The recipe's shape was chosen on 20 other networks of `jitter20` (`--seed 100`; 8 to train, 12 to test, one seed of
weights unless stated). There 26 interval features gave 85.7 and the tokens without learning 92.3 to 92.7. With 64
features and InfoNCE: segments of 3 to 10 tokens 92.5 and 93.3 with 320 units a step (two seeds), 93.8 with 550;
segments of 1 to 4 tokens 90.7, and of these with 400 steps 93.2, 128 features 93.7, 640 units 92.0, no projector
90.4, dropout of 0.1 91.2, one layer 91.6, a learning rate of 0.001 91.8, temperatures of 0.05 and 0.2 90.4 and
90.3, a read-in that starts at 0.3 of its size 91.5. All but the run with 550 units drew segments at quarters of a
token, to save time. So segments of 3 to 10 tokens and 128 features were taken, which gave 93.9 there (one layer 93.5),
with windows of 48 units at most, some 380 a step.

The content of the tokens, InfoNCE and its temperature of 0.1 come from earlier trials on networks of these levels, in
which the test networks of this page may have been seen. Later runs before the table did not read them. Rows, seeds,
the measure and the target were fixed before it: at `jitter20` at least 94 on the mean of five seeds, and above the
tokens without learning by a paired interval.

Figures of this table cannot be compared with those of [neurpir.md](neurpir.md) row by row: there the number of steps
was chosen on held-out networks, here it is the recipe's."""


def identity_page(folder: Path, command: str, pictures: Path | None = None) -> str:
    """Return the page in Markdown, with a section for each level of each table.

    Args:
        folder: of the tables.
        command: makes them.
        pictures: the folder beside the page that holds a folder of pictures for each table; None: no pictures.
    """
    tables = {table.stem: read_all(table) for table in tables_of(folder)}
    tables = {name: rows for name, rows in tables.items() if rows}
    page = MarkdownPage("Identity: firing modes from tokens of intervals")
    if not tables:
        page.code(command)
        page.say("There are no runs yet.")
        return page.text
    page.say(introduction([r for rows in tables.values() for found in rows.values() for r in found]))
    page.code(preparation(tables) + command)
    for name, rows in tables.items():
        levels = list(dict.fromkeys(found[0].config["network_level"] for found in rows.values()))
        for level in sorted(levels, key=lambda level: ("shift" in level, level)):
            drawn = pictures is not None and (pictures / name / PICTURE).is_file()
            _add_level(page, name, level, rows, f"{pictures.name}/{name}/{PICTURE}" if pictures and drawn else None)
    page.say(CHOICES)
    return page.text


def preparation(tables: Iterable[str] = ()) -> str:
    """Return the commands that create the store of some tables.

    Example:
        >>> "many20net" in preparation(["identity-networks"])
        True
    """
    lines = [
        f"foundation simulate izhikevich --config simulate/neurpir-{level} --output simulated/{level}"
        for level in ("jitter10", "jitter20", "shift20")
    ]
    if MANY in tables:
        lines.append(
            "foundation simulate izhikevich --config simulate/neurpir-jitter20 --networks 70 --name many20net "
            "--seed 200 --output simulated/many20"
        )
    return "\n".join([*lines, "foundation ingest --input simulated --store store\n"])


def introduction(results: list[RunResult]) -> str:
    """Return the introduction to all tables, from the runs' settings."""
    first = results[0].config
    recipes = [r.config for r in results if "objective" in r.config.get("recipe", {})]
    sentences, tokens = "not run yet.", "-"
    if recipes:
        sentences, tokens = _recipe(recipes[0]["recipe"]), recipes[0]["tokens"]
    return INTRODUCTION.format(train=first["train"], test=first["test"], recipe=sentences, tokens=tokens)


def _recipe(recipe: dict[str, Any]) -> str:
    model, data, optimizer = recipe["model"], recipe["data"], recipe["optimizer"]
    width = 1000 * data["bin_widths"][0]
    return (
        f"{model['individual_layers']} layers of {model['dim']} features, tokens of "
        f"{model['patch_length'] * width / 1000:g} s from bins of {width:g} ms, {recipe['steps']} steps of up to "
        f"{data['tokens_per_step']:,} neuron-tokens, learning rate {optimizer['learning_rate']:g}."
    )


def _add_level(
    page: MarkdownPage, table: str, level: str, rows: dict[str, list[RunResult]], picture: str | None
) -> None:
    here = {found[0].config["row"]: found for found in rows.values() if found[0].config["network_level"] == level}
    first = next(iter(here.values()))[0]
    page.heading(f"{table}: {level}")
    page.say(
        f"{sum(first.detail['units'])} neurons of {first.config['test']} networks; files {first.digests[level][:12]}."
    )
    page.table(HEAD, [_row(row, here) for row in TITLES if row in here])
    if any(row.startswith(VARIANT) for row in here):
        add_variants(page, here, picture)
    else:
        page.say(*_verdict(level, here))


def _row(row: str, here: dict[str, list[RunResult]]) -> list[str]:
    results = here[row]
    floors = [here.get(floor) if floor != row else None for floor in ("isi", "tokens")]
    against = ["-" if floor is None else gain_cell(results, floor) for floor in floors]
    seconds = np.mean([r.detail["seconds"] for r in results])
    return [TITLES[row], *score_cells(results), *against, f"{len(results)}", f"{seconds:,.0f}"]


def _verdict(level: str, here: dict[str, list[RunResult]]) -> list[str]:
    """Return sentences on the recipe against its floors and the target, and on missing rows."""
    sentences = []
    if "infonce" in here:
        sides: dict[str, list[str]] = {"above": [], "below": [], "not distinguishable from": []}
        for row in ("isi", "tokens", "random", "labels", "nuclr", "vicreg"):
            if row in here:
                gain, (low, high) = gain_over(here["infonce"], here[row])
                side = "above" if low > 0 else "below" if high < 0 else "not distinguishable from"
                sides[side].append(f"{TITLES[row]} ({100 * gain:+.1f}, {100 * low:+.1f} to {100 * high:+.1f})")
        sentences = [f"NeurPIR with InfoNCE is {side} {', '.join(found)}." for side, found in sides.items() if found]
        if level in TARGETS:
            reached = 100 * float(np.mean([r.accuracy for r in here["infonce"]]))
            met = "reached" if reached >= TARGETS[level] else "missed"
            runs = f"{len(here['infonce'])} of the {SEEDS} planned seeds"
            sentences.append(f"The target of {TARGETS[level]:g} is {met}: {reached:.1f}, the mean of {runs}.")
    missing = [TITLES[row] for row in ROWS if row not in here]
    return sentences + ([f"Not run at this level: {', '.join(missing)}."] if missing else [])
