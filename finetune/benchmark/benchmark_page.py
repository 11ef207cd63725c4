"""The page of benchmarks, from whatever results are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetune.benchmark.benchmark_data import how_to_get
from finetune.benchmark.benchmark_settings import SEEDS, Benchmark, benchmark_names, read_benchmark
from finetune.benchmark.benchmark_tables import (
    FLOOR,
    ROWS,
    SHARES,
    SHUFFLED,
    STATISTICS,
    Target,
    summary_head,
    summary_line,
    targets_of,
)
from foundation.common.files.jsonl_results import SUFFIX, read_results
from foundation.common.output.pages import MarkdownPage
from foundation.evaluation.metrics import TITLES

COMMAND = "foundation benchmark --all --data $FOUNDATION_DATA --page docs/results/benchmarks.md"
RULE = (
    "Each benchmark names its recordings, its tasks and its folds in a file under `configs/benchmark`. "
    "`foundation benchmark` reads the recordings into a store and scores every readout with the machinery of "
    "[foundation finetune](../finetune.md). Fixed before the runs: no setting was chosen by these scores. The protocol "
    "asks for the seeds 43 to 47; each section names those that were run. The floor is the same kind of readout on "
    "plain firing rates. *Spike statistics* are classical measures of a unit's spike train: rates, "
    "intervals, bursts, refractoriness, the return map, and autocorrelograms in log lags, also by deciles of the local "
    "rate. *Random weights* is the architecture of the model without pretraining; *shuffled labels* is the frozen "
    "model fitted to permuted labels, with the interval over its shuffles (over several seeds the widest). "
    "*From scratch* and *model, finetuned* come with `--mode full`, recurrent decoders with `--gru`; "
    "[Decoding](decoding.md) has both on the reaching and track recordings."
)
INTERVALS = (
    "Scores are means over the seeds; *spread* is the standard deviation over seeds. Intervals of 95 % resample "
    "independent parts (animals, trials, blocks of time, units), the same for all readouts, so gains over the floor "
    "are paired; bold where the interval is above 0. *Seconds* are for one seed and all readouts of the target "
    "together, on a machine that also ran other work."
)


def benchmarks_page(results: Path) -> str:
    """Return the page in Markdown: a summary, a section for each benchmark with results, and those not yet run.

    Args:
        results: folder with a JSON Lines file for each benchmark.
    """
    lines = {name: read_results(results / f"{name}{SUFFIX}") for name in benchmark_names()}
    targets = {name: targets_of(found) for name, found in lines.items() if found}
    every = [target for found in targets.values() for target in found]
    page = MarkdownPage("Benchmarks")
    seeds = sorted({line["seed"] for found in lines.values() for line in found})
    fewer = f" --seeds '{seeds}'" if seeds and seeds != list(SEEDS) else ""
    page.code(COMMAND + fewer, "bash")
    page.say(RULE, INTERVALS)
    if every:
        page.heading("Summary")
        page.table(summary_head(every), [summary_line(target, every) for target in every])
    else:
        page.say("No benchmark has been run yet.")
    for name, found in targets.items():
        _add_benchmark(page, name, read_benchmark(name), lines[name], found)
    waiting = {name: read_benchmark(name) for name in benchmark_names() if name not in targets}
    if waiting:
        page.heading("Not yet run")
        page.say("These benchmarks are defined but have no results yet. Most need a download.")
        page.table(
            ["benchmark", "recordings", "files", "recipe", "tasks", "protocol"],
            [_waiting(name, benchmark) for name, benchmark in waiting.items()],
        )
    return page.text


def _waiting(name: str, benchmark: Benchmark) -> list[str]:
    where = benchmark.source or "simulated"
    tasks = ", ".join(task.rpartition(":")[2] for task in benchmark.tasks)
    files = f"`{benchmark.files}`" if benchmark.files else f"`{benchmark.simulate}`"
    get = f"; {how_to_get(benchmark)}" if benchmark.dandiset else ""
    return [name, f"{benchmark.title}: {where}{get}", files, benchmark.recipe, tasks, benchmark.protocol]


def _add_benchmark(
    page: MarkdownPage, name: str, benchmark: Benchmark, lines: list[dict[str, Any]], targets: list[Target]
) -> None:
    page.heading(f"{name}: {benchmark.title}")
    page.say(benchmark.protocol)
    seeds = sorted({line["seed"] for line in lines})
    of = f"Recordings from {benchmark.source}." if benchmark.source else f"Simulated by `{benchmark.simulate}`."
    page.say(f"{of} Seeds {', '.join(map(str, seeds))}. Evaluation contract {lines[0]['contract']}. {_seen(lines)}")
    for target in targets:
        _add_target(page, target)
    left_out = dict.fromkeys(text for line in lines for text in line["left_out"])
    if left_out:
        page.say(f"Left out: {'; '.join(left_out)}.")


def _seen(lines: list[dict[str, Any]]) -> str:
    """What pretraining saw of a benchmark's recordings, by checkpoint."""
    texts = []
    for checkpoint in dict.fromkeys(line["checkpoint"] for line in lines):
        line = next(line for line in lines if line["checkpoint"] == checkpoint)
        n, digest = len(line["recordings"]), line["checkpoint_digest"][:12]
        if line["seen"] is None:
            texts.append(f"`{checkpoint}` ({digest}) does not say what pretraining saw.")
        elif line["seen"]:
            texts.append(
                f"`{checkpoint}` ({digest}) saw the activity of {line['seen']} of the {n} recordings in pretraining, "
                f"including test samples, but no labels: the split is transductive."
            )
        else:
            texts.append(f"`{checkpoint}` ({digest}) saw none of the {n} recordings in pretraining.")
    return " ".join(texts)


def _add_target(page: MarkdownPage, target: Target) -> None:
    about = target.about
    page.heading(f"{about['title']} ({about['task']} {about['target']}), `{target.checkpoint}`", 3)
    metric, notes = TITLES[about["metric"]], "; ".join(about["notes"])
    page.say(f"{metric[0].upper()}{metric[1:]} of {target.samples}; {about['split']}.", notes and f"Notes: {notes}.")
    rows = []
    for name in target.names:
        figure, gain = target.figure(name), target.gain(name) if name not in (FLOOR, SHUFFLED) else None
        spread = "-" if figure.spread is None else f"{figure.spread:.3f}"
        beside = target.gain(name, over=STATISTICS) if name not in (STATISTICS, SHUFFLED) else None
        gains = [gain, *([beside] if STATISTICS in target.rows else [])]
        texts = ["-" if found is None else found.text(signed=True) for found in gains]
        rows.append([ROWS[name], figure.text(), spread, *texts, str(len(target.rows[name]))])
    more = ["gain over spike statistics"] if STATISTICS in target.rows else []
    page.table(["readout", "score", "spread", "gain over firing rates", *more, "seeds"], rows)
    _add_coverage(page, target)
    _add_seconds(page, target)
    seconds = [f"{mode} {sum(found) / len(found):.0f}" for mode, found in target.seconds.items()]
    page.say(f"Seconds a seed: {', '.join(seconds)}.")


def _add_coverage(page: MarkdownPage, target: Target) -> None:
    """Add the accuracy of each readout on the units that it is most confident of."""
    names = [name for name in target.names if target.accuracy(name, 1.0) is not None]
    if not names:
        return
    page.say(
        "Accuracy (the share of correct answers) on the units that a readout is most confident of; over several seeds "
        "the interval runs from the lowest limit to the highest."
    )
    rows = []
    for name in names:
        figures = [target.accuracy(name, share) for share in SHARES]
        rows.append([ROWS[name], *("-" if figure is None else figure.text() for figure in figures)])
    page.table(["readout", *(f"{share:.0%} of units" for share in SHARES)], rows)


def _add_seconds(page: MarkdownPage, target: Target) -> None:
    """Add the score of each readout over the seconds that were recorded."""
    if not target.by_seconds:
        return
    page.say("The same scores from only the first seconds of each recording.")
    first = next(iter(target.by_seconds.values()))
    names = [name for name in first.names if name not in (SHUFFLED, "majority", "laboratory")]
    lengths = sorted(target.by_seconds, key=float)
    rows = []
    for name in names:
        shorter = [target.by_seconds[seconds].figure(name).text() for seconds in lengths]
        rows.append([ROWS[name], *shorter, target.figure(name).text()])
    page.table(["readout", *(f"{seconds} s" for seconds in lengths), "all"], rows)
