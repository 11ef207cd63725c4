"""The page of decoded behaviour, from whatever runs are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from finetune.reproduce.common.run_results import RunResult, read_all, same_seeds, tables_of
from finetune.reproduce.common.stored_sums import BITS, unpack_sums
from finetune.reproduce.decoding.decoding_aims import AIMS, FLOOR, Aim
from finetune.reproduce.decoding.decoding_settings import FEW, LABELS, MADE, TRANSFER, VARIANT, WORK
from finetune.reproduce.decoding.decoding_text import (
    AIMED,
    CONTROLS,
    FEW_COLUMNS,
    FEW_LABELS,
    HIDDEN,
    IN_REAL_TIME,
    MADE_COLUMNS,
    MADE_OF_IDENTITY,
    NOTES,
    OF_HIDDEN,
    PREPARATION,
    RULE,
    STEREOTYPED,
    TITLES,
    TRANSFERRED,
    TRIED,
    VARIANTS,
)
from foundation.common.output.pages import MarkdownPage
from foundation.common.settings.resources import find_config
from foundation.evaluation.confidence_intervals import control_interval, draw_parts, middle_95, resampled_mean
from foundation.evaluation.metrics import VALUES, score

ORACLE = "oracle"
Rows = dict[str, list[RunResult]]  # row -> its results by seed


@dataclass(frozen=True)
class Figure:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, signed: bool = False) -> str:
        """As a cell shows it; a signed one is bold where its interval excludes 0."""
        sign = "+" if signed else ""
        text = f"{self.value:{sign}.3f} [{self.low:{sign}.3f}, {self.high:{sign}.3f}]"
        return f"**{text}**" if signed and self.low > 0 else text


def decoding_page(folder: Path, command: str) -> str:
    """Return the page in Markdown: a section for each table under ``folder``."""
    tables = {table.stem: by_target(read_all(table)) for table in tables_of(folder)}
    page = MarkdownPage("Decoding of behaviour by pretrained models")
    page.say(RULE)
    if not any(tables.values()):
        page.code(f"{PREPARATION['decoding-reach']}\n{command}")
        page.say("No run is there yet.")
    for name, targets in tables.items():
        if targets:
            _add_table(page, name, targets)
    missing = [f"`reproduce/{name}`" for name in PREPARATION if not tables.get(name)]
    if missing:
        page.say(f"Tables without a run: {', '.join(missing)}.")
    page.heading("What was tried")
    page.say(TRIED)
    return page.text


def by_target(rows: dict[str, list[RunResult]]) -> dict[str, Rows]:
    """``label/subject`` -> row -> results by seed, in the order of labels and subjects as the runs have them."""
    targets: dict[str, Rows] = {}
    for name in sorted(rows, key=lambda name: (LABELS.index(name.split("/")[0]), name)):
        target, _, row = name.rpartition("/")
        targets.setdefault(target, {})[row] = rows[name]
    return targets


def drawn(results: list[RunResult]) -> np.ndarray:
    """Return the primary metric, the mean over seeds, of resampled trials; see `resampled_mean`."""
    sums, kind = [unpack_sums(r.detail["sums"]) for r in results], results[0].detail["kind"]
    if kind != BITS:
        return resampled_mean(sums, kind)
    times_RG = draw_parts(len(sums[0]), 1000, [0, len(sums[0])]).astype(np.float64)
    drawn_R2 = [times_RG @ parts_G2 for parts_G2 in sums]
    mean_R: np.ndarray = np.mean([nats_R2[:, 0] / nats_R2[:, 1] for nats_R2 in drawn_R2], axis=0) / np.log(2)
    return mean_R


def figure(results: list[RunResult]) -> Figure:
    """Return the mean over seeds with its interval: of trials, or of shuffles."""
    value = float(np.mean([r.accuracy for r in results]))
    if "control" in results[0].detail:
        return Figure(value, *control_interval(np.mean([r.detail["control"] for r in results], axis=0).tolist()))
    return Figure(value, *middle_95(drawn(results)))


def gain(ours: list[RunResult], theirs: list[RunResult]) -> Figure:
    """Return by how much one row is better than another, means over seeds, with a paired interval."""
    value = float(np.mean([r.accuracy for r in ours]) - np.mean([r.accuracy for r in theirs]))
    return Figure(value, *middle_95(drawn(ours) - drawn(theirs)))


def around_profile(results: list[RunResult], oracle: list[RunResult]) -> float:
    """Return the share of the variance left by the true direction's mean course that a row explains.

    It is 0 for a row as good as that course, and below 0 for one that is worse.
    """
    left_K = unpack_sums(oracle[0].detail["sums"]).sum(axis=0)[:, 0]
    errors = [unpack_sums(r.detail["sums"]).sum(axis=0)[:, 0] for r in results]
    return float(np.mean([score(np.stack([error_K, left_K], axis=-1), VALUES)["r2"] for error_K in errors]))


def _add_table(page: MarkdownPage, name: str, targets: dict[str, Rows]) -> None:
    seeds = sorted({r.seed for rows in targets.values() for found in rows.values() for r in found})
    page.heading(name)
    if name in PREPARATION:
        page.code(f"{PREPARATION[name]}\nfoundation reproduce --config reproduce/{name} --store store")
    page.say(
        f"Seeds so far: {', '.join(map(str, seeds))}. "
        + " ".join(_about(target, rows) for target, rows in targets.items())
    )
    if any(r.config["windows"].get("causal") for rows in targets.values() for found in rows.values() for r in found):
        page.say(IN_REAL_TIME)
    if name in NOTES:
        page.say(NOTES[name])
    hidden = {target: rows for target, rows in targets.items() if set(rows) & set(OF_HIDDEN)}
    targets = {target: rows for target, rows in targets.items() if target not in hidden}
    if targets:
        _add_behavior(page, name, targets)
    if hidden:
        _add_hidden(page, hidden)
    order = {row for rows in (*targets.values(), *hidden.values()) for row in rows}
    missing = [TITLES[row] for row in _expected(name) if row not in order]
    if missing:
        page.say(f"Not run: {'; '.join(missing)}.")


def _add_behavior(page: MarkdownPage, name: str, targets: dict[str, Rows]) -> None:
    named = {target: f"{target.replace('/', ', ')}" for target in targets}
    order = [row for row in TITLES if any(row in rows for rows in targets.values())]
    page.heading("Scores", 3)
    page.say("R² of velocity and position, balanced accuracy of directions; means over the seeds in the last column.")
    page.table(
        ["", *named.values(), "seeds"],
        [[TITLES[row], *(_score(rows, row) for rows in targets.values()), _seeds(targets, row)] for row in order],
    )
    page.heading("Gain over firing rates with all lags", 3)
    page.say("Paired 95 % intervals; bold where the interval is above 0.")
    compared = [row for row in order if row != FLOOR and not row.startswith("shuffled")]
    page.table(
        ["", *named.values()],
        [[TITLES[row], *(_gain(rows, row, FLOOR) for rows in targets.values())] for row in compared],
    )
    with_courses = {target: rows for target, rows in targets.items() if ORACLE in rows}
    if with_courses:
        page.heading("Against the mean course of the named direction, and around that of the true one", 3)
        page.say(STEREOTYPED)
        page.table(
            ["", *(f"{named[target]}: {what}" for target in with_courses for what in ("gain", "around"))],
            [[TITLES[row], *(cell for rows in with_courses.values() for cell in _course(rows, row))]
             for row in compared if row not in CONTROLS],
        )  # fmt: skip
    _add_few_labels(page, targets)
    _add_transfer(page, targets)
    _add_made(page, targets)
    _add_variants(page, targets)
    _add_aims(page, AIMS.get(name, ()), targets)
    page.heading("Verdicts", 3)
    page.items(_verdicts(targets, [row for row in compared if row not in CONTROLS]))


def _add_few_labels(page: MarkdownPage, targets: dict[str, Rows]) -> None:
    """Add what decoders reach that were given few labelled trials, and beside them those with all."""
    lines = []
    for target, rows in targets.items():
        lines += _lines_of_few(target, rows, [f"few_{trials}" for trials in FEW])
        if lines and "finetuned" in rows:
            scores = [_score(rows, row) for row in ("rate", "frozen_apart", "both_apart", "scratch", "finetuned")]
            gains = [_gain(rows, "finetuned", row) for row in ("rate", "scratch")]
            lines.append([target.replace("/", ", "), "all", *scores, *gains, str(len(rows["finetuned"]))])
    if lines:
        page.heading("With few labelled trials", 3)
        page.say(FEW_LABELS)
        page.table(["", "trials", *FEW_COLUMNS.values(), "over rates", "over from scratch", "seeds"], lines)


def _add_transfer(page: MarkdownPage, targets: dict[str, Rows]) -> None:
    """Add what models reach that were pretrained on other animals."""
    lines = []
    for target, rows in targets.items():
        for trials in TRANSFER:
            for line in _lines_of_few(target, rows, [f"transfer_{trials}"]):
                *line, seeds = line
                control = f"untrained_{trials}"
                more = [_score(rows, control), _gain(rows, f"transfer_{trials}_frozen", control)]
                lines.append([*line, *more, seeds])
    if lines:
        page.heading("From other animals", 3)
        page.say(TRANSFERRED)
        gains = ["over rates", "over from scratch", "random trunk", "frozen over random trunk"]
        page.table(["", "trials", *FEW_COLUMNS.values(), *gains, "seeds"], lines)


def _add_made(page: MarkdownPage, targets: dict[str, Rows]) -> None:
    """Add what models of other animals reach that make rows from the identities of units."""
    lines = []
    for target, rows in targets.items():
        for trials in MADE:
            ours = f"made_{trials}"
            if ours not in rows:
                continue
            scores = [_score(rows, ours + end) for end in MADE_COLUMNS]
            compared = (("", "_dealt"), ("", "_fitted"), ("_tuned", "_fitted"))
            gains = [_gain(rows, ours + one, ours + other) for one, other in compared]
            lines.append([target.replace("/", ", "), str(trials), *scores, *gains, str(len(rows[ours]))])
    if lines:
        page.heading("Rows made from identity", 3)
        page.say(MADE_OF_IDENTITY)
        gains = ["made over shuffled", "made over fitted", "tuned over fitted"]
        page.table(["", "trials", *MADE_COLUMNS.values(), *gains, "seeds"], lines)


def _add_variants(page: MarkdownPage, targets: dict[str, Rows]) -> None:
    """Add what frozen models reach whose pretraining was changed in one thing, and the difference to the recipe."""
    order = dict.fromkeys(row for rows in targets.values() for row in rows if row.startswith(VARIANT))
    if not order:
        return
    recipe = f"{VARIANT}recipe"
    page.heading("Variants of pretraining", 3)
    page.say(VARIANTS)
    columns = [target.replace("/", ", ") for target in targets]
    lines = []
    for row in sorted(order, key=lambda row: (row != recipe, row)):
        scores = [_score(rows, row) for rows in targets.values()]
        gains = [_gain_of_same_seeds(rows, row, recipe) if row != recipe else "" for rows in targets.values()]
        lines.append([row.removeprefix(VARIANT).replace("_", " "), *scores, *gains, _seeds(targets, row)])
    page.table(["", *columns, *(f"{column}: over the recipe" for column in columns), "seeds"], lines)


def _lines_of_few(target: str, rows: Rows, names: Sequence[str]) -> list[list[str]]:
    """A line for each number of labelled trials that was tried."""
    lines = []
    for ours in names:
        if ours in rows:
            scores = [_score(rows, ours + end) for end in FEW_COLUMNS]
            gains = [_gain(rows, ours, ours + end) for end in ("_rate", "_scratch")]
            lines.append([target.replace("/", ", "), ours.split("_")[1], *scores, *gains, str(len(rows[ours]))])
    return lines


def _add_hidden(page: MarkdownPage, targets: dict[str, Rows]) -> None:
    """Add the predictions of hidden units."""
    ours, theirs = OF_HIDDEN
    page.heading("Hidden units (co-smoothing), bits a spike", 3)
    page.say(HIDDEN)
    lines = [[TITLES[row], *(_score(rows, row) for rows in targets.values()), _seeds(targets, row)]
             for row in OF_HIDDEN if any(row in rows for rows in targets.values())]  # fmt: skip
    if any(ours in rows and theirs in rows for rows in targets.values()):
        lines.append(["gain of the model", *(_gain(rows, ours, theirs) for rows in targets.values()), ""])
    page.table(["", *(target.rpartition("/")[2] for target in targets), "seeds"], lines)


def _expected(name: str) -> list[str]:
    """The rows that a table has once it is finished, those that only some targets have left out."""
    work = WORK
    if name in PREPARATION:
        given = yaml.safe_load(find_config(f"reproduce/{name}").read_text(encoding="utf-8"))
        work = tuple(given["decoding"]["work"])
    whole = {"rate": "rates", "both": "frozen", "both_apart": "frozen_apart"}
    return [row for row in TITLES if whole.get(row, row) in work]


def _about(target: str, rows: Rows) -> str:
    first = next(iter(rows.values()))[0]
    detail = first.detail
    what = target.replace("/", ", ").replace("_", " ")
    width = first.config["windows"]["behavior_token"]
    bins = f" of {width:g} s" if width != 0.1 else ""
    return f"{what}: {detail['samples']:,} bins{bins} in {detail['parts']} {detail['part_name']}."


def _score(rows: Rows, row: str) -> str:
    return figure(rows[row]).text() if row in rows else ""


def _gain(rows: Rows, row: str, over: str) -> str:
    if row not in rows or over not in rows:
        return ""
    return gain(rows[row], rows[over]).text(signed=True)


def _gain_of_same_seeds(rows: Rows, row: str, over: str) -> str:
    if row not in rows or over not in rows:
        return ""
    return gain(*same_seeds(rows[row], rows[over])).text(signed=True)


def _title(row: str) -> str:
    """The name of a row, those with few labels too.

    Example:
        >>> _title("few_20_scratch")
        'from scratch, 20 labelled trials'
    """
    if row in TITLES:
        return TITLES[row]
    kind, trials, *end = row.split("_")
    others = ", pretrained on other animals" if kind == "transfer" and end in ([], ["frozen"], ["both"]) else ""
    return f"{FEW_COLUMNS['_' + end[0] if end else '']}{others}, {trials} labelled trials"


def _seeds(targets: dict[str, Rows], row: str) -> str:
    counts = sorted({len(rows[row]) for rows in targets.values() if row in rows})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _course(rows: Rows, row: str) -> list[str]:
    if row not in rows:
        return ["", ""]
    return [_gain(rows, row, "profile"), f"{around_profile(rows[row], rows[ORACLE]):+.2f}"]


def _add_aims(page: MarkdownPage, aims: Sequence[Aim], targets: dict[str, Rows]) -> None:
    lines = [_aim(a, targets[f"{a.label}/{a.subject}"]) for a in aims if f"{a.label}/{a.subject}" in targets]
    if found := _mean_of_directions(targets, "frozen_apart"):
        met = "yes" if found.low > 0 else "no"
        about = ["direction, mean of the animals", TITLES["frozen_apart"], f"above {TITLES[FLOOR]}"]
        lines.append([*about, found.text(signed=True), met])
    if not lines:
        return
    page.heading("Aims", 3)
    page.say(AIMED)
    page.table(["", "row", "aim", "found", "met"], lines)


def _aim(aim: Aim, rows: Rows) -> list[str]:
    what = f"{aim.label}, {aim.subject}"
    asked = (
        f"at least {aim.at_least:g}"
        if aim.at_least is not None
        else f"{'not below' if aim.not_below else 'above'} {_title(aim.over)}"
    )
    if aim.by:
        asked += f" by {aim.by:g}"
    if aim.row not in rows or aim.over not in rows:
        return [what, _title(aim.row), asked, "not run", ""]
    if aim.at_least is not None:
        found = figure(rows[aim.row])
        return [what, _title(aim.row), asked, found.text(), "yes" if found.value >= aim.at_least else "no"]
    found = gain(rows[aim.row], rows[aim.over])
    met = found.high >= 0 if aim.not_below else found.low > 0 and found.value >= aim.by
    return [what, _title(aim.row), asked, found.text(signed=True), "yes" if met else "no"]


def _verdicts(targets: dict[str, Rows], compared: list[str]) -> list[str]:
    """For each row: on which targets it is above the floor, below it, and not distinguishable from it."""
    above, below, neither = "above the floor", "below it", "not distinguishable from it"
    sentences = []
    for row in compared:
        sides: dict[str, list[str]] = {above: [], below: [], neither: []}
        for target, rows in targets.items():
            if row in rows and FLOOR in rows:
                found = gain(rows[row], rows[FLOOR])
                side = above if found.low > 0 else below if found.high < 0 else neither
                sides[side].append(target.replace("/", " of "))
        text = "; ".join(f"{side}: {', '.join(names)}" for side, names in sides.items() if names)
        if text:
            sentences.append(f"*{TITLES[row]}*: {text}.")
    seen = [
        f"{target.replace('/', ' of ')} {_gain(rows, 'frozen', 'frozen_apart')}"
        for target, rows in targets.items()
        if "frozen" in rows and "frozen_apart" in rows
    ]
    if seen:
        sentences.append(f"Gain of a frozen model from seeing the test block's activity: {', '.join(seen)}.")
    return sentences


def _mean_of_directions(targets: dict[str, Rows], row: str) -> Figure | None:
    """What a row gains on the mean over the animals' directions, which are independent of each other."""
    parts = [rows for target, rows in targets.items() if target.startswith("direction/")]
    if len(parts) < 2 or not all(row in rows and FLOOR in rows for rows in parts):
        return None
    value = float(np.mean([gain(rows[row], rows[FLOOR]).value for rows in parts]))
    return Figure(value, *middle_95(np.mean([drawn(rows[row]) - drawn(rows[FLOOR]) for rows in parts], axis=0)))
