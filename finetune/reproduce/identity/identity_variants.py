"""Changes of the identity recipe, one at a time: their table on the page, and the picture of more networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from finetune.reproduce.common.run_results import RunResult, same_seeds, trial_interval
from finetune.reproduce.identity.identity_settings import NETWORKS, VARIANT
from finetune.reproduce.neurpir.mode_scores import gain_cell
from foundation.common.files.locks import write_whole
from foundation.common.output.pages import MarkdownPage
from foundation.common.output.pictures import COLOURS, MARKERS, drawing

PICTURE = "networks.svg"
TEXT = """Each row changes the recipe in what its name says, and is trained on the first {most} networks where its name
gives no number. Readouts are fitted to the labels of the first {train} networks. *Gain* is over the tokens without
learning, and over the recipe, paired over test networks and averaged over the seeds that both rows have."""


def add_variants(page: MarkdownPage, here: Mapping[str, list[RunResult]], picture: str | None) -> None:
    """Add a table of the variants among a level's rows.

    Args:
        page: to add to.
        here: row -> its runs.
        picture: place of the picture, relative to the page; None: no picture.
    """
    rows = {row: runs for row, runs in here.items() if row.startswith(VARIANT)}
    if not rows:
        return
    rows = dict(sorted(rows.items(), key=_place))
    most = max(run.config[NETWORKS] for runs in rows.values() for run in runs)
    page.say(TEXT.format(most=most, train=next(iter(rows.values()))[0].config["train"]))
    floor, recipe = here.get("tokens"), here.get(f"{VARIANT}recipe")
    lines = []
    for row, runs in rows.items():
        low, high = trial_interval(runs)
        gains = [
            gain_cell(*same_seeds(runs, other)) if other is not None and other is not runs else "-"
            for other in (floor, recipe)
        ]
        model = runs[0].config["recipe"]["model"]
        score = 100 * np.mean([run.accuracy for run in runs])
        seconds = np.mean([run.detail["seconds"] for run in runs])
        name = row.removeprefix(VARIANT).replace("_", " ")
        lines.append([name, runs[0].config[NETWORKS], model["dim"], runs[0].config["recipe"]["steps"], f"{score:.1f}",
                      f"{100 * low:.1f} to {100 * high:.1f}", *gains, len(runs), f"{seconds:,.0f}"])  # fmt: skip
    page.table(
        ["", "networks", "features", "steps", "balanced accuracy", "95 % interval", "gain over the tokens",
         "gain over the recipe", "seeds", "seconds a run"],
        lines,
    )  # fmt: skip
    page.say(" ".join(_gains_of_more(rows)))
    if picture is not None:
        page.picture(picture, "Balanced accuracy against the number of networks of pretraining, a line for each width")


def _place(row: tuple[str, list[RunResult]]) -> tuple[bool, int, int]:
    """Return the place of a row in the table: the recipe first, then by networks and features."""
    name, runs = row
    config = runs[0].config
    return name != f"{VARIANT}recipe", config[NETWORKS], config["recipe"]["model"]["dim"]


def _gains_of_more(rows: Mapping[str, list[RunResult]]) -> list[str]:
    """Return a sentence for each width on the gain of the most networks over the fewest, if rows differ in networks."""
    sentences = []
    for width in sorted({runs[0].config["recipe"]["model"]["dim"] for runs in rows.values()}):
        of_width = [runs for runs in rows.values() if runs[0].config["recipe"]["model"]["dim"] == width]
        fewest, most = (choose(of_width, key=lambda runs: runs[0].config[NETWORKS]) for choose in (min, max))
        numbers = [runs[0].config[NETWORKS] for runs in (fewest, most)]
        if numbers[0] < numbers[1]:
            gain = gain_cell(*same_seeds(most, fewest))
            sentences.append(f"{numbers[1]} networks over {numbers[0]}, {width} features: {gain}.")
    return sentences


def draw_networks(rows: Mapping[str, list[RunResult]], folder: Path) -> None:
    """Draw the balanced accuracy of variants against their number of networks, if they differ in it.

    Args:
        rows: row -> its runs.
        folder: of the picture, which is created.
    """
    runs = [run for found in rows.values() for run in found if NETWORKS in run.config]
    counts = sorted({run.config[NETWORKS] for run in runs})
    if len(counts) < 2:
        return
    with drawing(6.6, 3.4, kind="svg") as sheet:
        axes = sheet.figure.add_subplot()
        widths = sorted({run.config["recipe"]["model"]["dim"] for run in runs})
        for k, width in enumerate(widths):
            of_width = [run for run in runs if run.config["recipe"]["model"]["dim"] == width]
            points = [(run.config[NETWORKS], 100 * run.accuracy) for run in of_width]
            axes.plot(*zip(*points, strict=True), MARKERS[k], color=COLOURS[k], alpha=0.5, ms=4)
            present = [count for count in counts if any(at == count for at, _ in points)]
            means = [np.mean([score for at, score in points if at == count]) for count in present]
            axes.plot(present, means, color=COLOURS[k], label=f"{width} features")
        fixed = {found[0].config["row"]: 100 * found[0].accuracy for found in rows.values()}
        for row, name in (("tokens", "tokens, nothing learned"), ("oracle", "a, b, c, d themselves")):
            if row in fixed:
                axes.axhline(fixed[row], color="0.5", ls="--" if row == "tokens" else ":", lw=1, label=name)
        axes.set_xscale("log", base=2)
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.set_xlabel("networks of pretraining, 100 neurons each")
        axes.set_ylabel("balanced accuracy, %")
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / PICTURE, sheet.content)
