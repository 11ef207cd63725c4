"""Scores of benchmarks over seeds: means, intervals and paired gains, and the table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from finetune.finetune_settings import FINETUNED
from finetune.report.score_table import TITLES_OF
from finetune.reproduce.common.stored_sums import unpack_sums
from foundation.common.files.jsonl_results import SUFFIX, read_results
from foundation.common.output.pages import text_table
from foundation.evaluation.confidence_intervals import middle_95, resampled_mean
from foundation.evaluation.metrics import TITLES

FLOOR, STATISTICS, SHUFFLED = "rate", "statistics", "shuffled"
ROWS = {**TITLES_OF, "probe": "model, frozen", "lolcat": "LOLCAT"}
MODELS = ("probe", "mlp", "both", *FINETUNED)  # readouts with a gain over firing rates
SUMMARY = (FLOOR, STATISTICS, *MODELS, SHUFFLED)
SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)  # of the units that are classified


@dataclass(frozen=True)
class Figure:
    """A mean over seeds with its 95 % interval (None where there is one part only), and the spread over seeds."""

    value: float
    low: float | None = None
    high: float | None = None
    spread: float | None = None

    def text(self, signed: bool = False) -> str:
        """Return the figure as a cell shows it; a signed one is bold where its interval is above 0."""
        sign = "+" if signed else ""
        if self.low is None or self.high is None:
            return f"{self.value:{sign}.3f}"
        text = f"{self.value:{sign}.3f} [{self.low:{sign}.3f}, {self.high:{sign}.3f}]"
        return f"**{text}**" if signed and self.low > 0 else text


@dataclass
class Target:
    """One target of a benchmark and a checkpoint.

    Args:
        benchmark, checkpoint: whose.
        about: task, target, title, metric, samples, parts, split, notes.
        rows: readout -> seed -> score with sums.
        seconds: mode -> seconds of each seed.
        by_seconds: seconds that were recorded -> the same target with the readouts of recordings of this length.
    """

    benchmark: str
    checkpoint: str
    about: dict[str, Any]
    rows: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    by_seconds: dict[str, Target] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The readouts with a result, in the order in which tables show them."""
        return [name for name in ROWS if name in self.rows]

    def figure(self, name: str) -> Figure:
        """Return the mean over seeds of a readout with its interval."""
        rows = list(self.rows[name].values())
        values = [row["value"] for row in rows]
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        drawn = _drawn(rows)
        if drawn is not None:
            low, high = middle_95(drawn)
            return Figure(float(np.mean(values)), low, high, spread)
        lows = [row["low"] for row in rows if row["low"] is not None]
        highs = [row["high"] for row in rows if row["high"] is not None]
        return Figure(float(np.mean(values)), min(lows, default=None), max(highs, default=None), spread)

    def gain(self, name: str, over: str = FLOOR) -> Figure | None:
        """Return by how much a readout is better than another on the seeds of both, paired."""
        if name not in self.rows or over not in self.rows:
            return None
        seeds = [seed for seed in self.rows[name] if seed in self.rows[over]]
        ours, theirs = ([self.rows[k][seed] for seed in seeds] for k in (name, over))
        if not seeds:
            return None
        value = float(np.mean([a["value"] - b["value"] for a, b in zip(ours, theirs, strict=True)]))
        drawn, their_drawn = _drawn(ours), _drawn(theirs)
        if drawn is None or their_drawn is None:
            return Figure(value)
        return Figure(value, *middle_95(drawn - their_drawn))

    def accuracy(self, name: str, share: float) -> Figure | None:
        """Return the accuracy of a readout on the share of samples that it is most confident of.

        The interval reaches from the lowest limit of a seed to the highest. None if the readout has no such curve.
        """
        curves = [row["coverage"] for row in self.rows[name].values() if "coverage" in row]
        points = [point for curve in curves for point in curve if abs(point["share"] - share) < 1e-6]
        if not points:
            return None
        values = [point["accuracy"] for point in points]
        lows, highs = ([p[end] for p in points if p[end] is not None] for end in ("low", "high"))
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return Figure(float(np.mean(values)), min(lows, default=None), max(highs, default=None), spread)

    @property
    def samples(self) -> str:
        """How many samples, in how many independent parts."""
        return f"{self.about['samples']:,} in {self.about['parts']} {self.about['part_name']}"

    @property
    def mean_seconds(self) -> str:
        """Seconds of a run, by mode."""
        return ", ".join(f"{np.mean(found):.0f}" for found in self.seconds.values())


def _drawn(rows: Sequence[dict[str, Any]]) -> np.ndarray | None:
    """The primary metric, the mean over seeds, of resampled parts; None without sums, or with one part only."""
    if not all("sums" in row for row in rows):
        return None
    sums = [unpack_sums(row["sums"]) for row in rows]
    if len({len(parts) for parts in sums}) != 1 or len(sums[0]) < 2:
        return None
    drawn = resampled_mean(sums, rows[0]["sums"]["kind"])
    return drawn if np.isfinite(drawn).any() else None


def targets_of(lines: Iterable[dict[str, Any]]) -> list[Target]:
    """Return the targets of the results of one benchmark, those of each checkpoint apart."""
    found: dict[tuple[str, str, str], Target] = {}
    for line in lines:
        for record in line["targets"]:
            place = (line["checkpoint"], record["task"], record["target"])
            about = {name: value for name, value in record.items() if name not in ("rows", "seconds", "by_seconds")}
            target = found.setdefault(place, Target(line["benchmark"], line["checkpoint"], about))
            target.seconds.setdefault(line["mode"], []).append(record["seconds"])
            for name, row in record["rows"].items():
                target.rows.setdefault(name, {}).setdefault(line["seed"], row)
            for seconds, rows in record.get("by_seconds", {}).items():
                shorter = Target(line["benchmark"], line["checkpoint"], about)
                shorter = target.by_seconds.setdefault(seconds, shorter)
                for name, row in rows.items():
                    shorter.rows.setdefault(name, {}).setdefault(line["seed"], row)
    return list(found.values())


def summary_head(targets: Sequence[Target]) -> list[str]:
    """Return the names of the summary's columns."""
    shown = [name for name in SUMMARY if any(name in target.rows for target in targets)]
    gains = [f"{ROWS[name]}: gain" for name in MODELS if name in shown]
    return ["benchmark", "target", "metric", "n", *(ROWS[name] for name in shown), *gains, "seeds", "seconds a seed"]


def summary_line(target: Target, targets: Sequence[Target]) -> list[str]:
    """Return a target's line of the summary of some targets."""
    shown = [name for name in SUMMARY if any(name in other.rows for other in targets)]
    cells = [target.figure(name).text() if name in target.rows else "-" for name in shown]
    gains = [target.gain(name) for name in MODELS if name in shown]
    seeds = max(len(rows) for rows in target.rows.values())
    first = [target.benchmark, f"{target.about['task']} {target.about['target']}", TITLES[target.about["metric"]]]
    texts = ["-" if gain is None else gain.text(signed=True) for gain in gains]
    return [*first, target.samples, *cells, *texts, str(seeds), target.mean_seconds]


@dataclass(frozen=True)
class Shown:
    """What `foundation benchmark` gives.

    Args:
        targets: of the benchmarks that were asked for.
        missing: benchmark -> why it was not run.
        left_out: targets without results, with the reason.
    """

    targets: list[Target]
    missing: dict[str, str]
    left_out: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [summary_head(self.targets), *(summary_line(target, self.targets) for target in self.targets)]
        texts = [text_table([[cell.replace("**", "") for cell in line] for line in lines])] if self.targets else []
        if self.targets:
            texts.append("[a, b]: 95 % interval over independent parts; gain: over firing rates, paired")
        texts += [f"not run: {name}: {reason}" for name, reason in self.missing.items()]
        return "\n".join([*texts, *self.left_out])


def shown(results: Path, names: Sequence[str], missing: dict[str, str]) -> Shown:
    """Return what the result files say of some benchmarks.

    Args:
        results: folder of the files.
        names: of the benchmarks.
        missing: benchmark -> why it was not run.
    """
    targets, left_out = [], list[str]()
    for name in names:
        lines = read_results(results / f"{name}{SUFFIX}")
        targets += targets_of(lines)
        left_out += [f"{name}: {text}" for line in lines for text in line["left_out"]]
    return Shown(targets, missing, list(dict.fromkeys(left_out)))
