"""The runs of benchmarks: which are there, which are missing, and their results as lines of JSON."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from finetune.benchmark.benchmark_data import MissingDataError, find_files, store_of
from finetune.benchmark.benchmark_page import benchmarks_page
from finetune.benchmark.benchmark_settings import Benchmark, BenchmarkSettings, read_benchmark
from finetune.benchmark.benchmark_tables import Shown, shown
from finetune.benchmark.brainwidebench import Exported, export_regions
from finetune.benchmark.lolcat_row import LOLCAT_VERSION, lolcat_row
from finetune.benchmark.seconds_curve import seconds_curve
from finetune.evaluate_target import SPIKE_STATISTICS
from finetune.finetune_job import finetune
from finetune.finetune_settings import FinetuneSettings
from finetune.reproduce.common.run_results import key_of, source_digest
from finetune.reproduce.common.stored_sums import pack_sums
from finetune.result import Result, Score, read_predictions
from finetune.task_settings import UNIT_TASKS
from foundation.common.errors import FoundationError
from foundation.common.files.jsonl_results import SUFFIX, put_result, read_results
from foundation.common.files.locks import write_whole
from foundation.evaluation import CONTRACT_VERSION
from foundation.hub.checkpoints import checkpoint_digest, read_beside
from foundation.store import Catalog, Store

log = logging.getLogger(__name__)
VERSION = 1
IDENTITY = ("checkpoint", "mode", "seed")  # fields that tell one run of a benchmark from another


def benchmark(settings: BenchmarkSettings) -> Shown | Exported:
    """Score a checkpoint on named benchmarks beside floors and controls, or write a submission to BrainWideBench.

    Raises:
        ConfigError: if recordings are missing, or heads do not fit a submission.
        FoundationError: if a result of another configuration or other data is in the way.
    """
    if settings.export is not None:
        return export_regions(settings.heads, settings.seeds, settings.data, settings.export, settings.label)
    return run_benchmarks(settings)


def run_benchmarks(settings: BenchmarkSettings) -> Shown:
    """Run named benchmarks with a checkpoint, add their results to JSON Lines files, and write the page of all results.

    A run is a benchmark with a mode and a seed; runs that are in the files are not made again. With `all`, benchmarks
    whose recordings are not in the data folder are listed with the reason.

    Returns:
        The tables of the benchmarks that were asked for, and what was not run.

    Raises:
        MissingDataError: if the recordings of a benchmark are missing that was asked for by name, or those of all.
        FoundationError: if a result of another configuration or other data is in the way.
    """
    chosen = {name: read_benchmark(name) for name in settings.chosen}
    missing: dict[str, str] = {}
    for name, benchmark in chosen.items():
        try:
            find_files(name, benchmark, settings.data)
        except MissingDataError as error:
            if not settings.all:
                raise
            missing[name] = str(error)
    with_files = [name for name, benchmark in chosen.items() if name not in missing and benchmark.files]
    if missing and not with_files:
        raise MissingDataError(next(iter(missing.values())))
    try:
        for name, benchmark in chosen.items():
            if name not in missing:
                _run(name, benchmark, settings)
    finally:
        if settings.page is not None and settings.results.is_dir():
            write_whole(Path(settings.page), benchmarks_page(settings.results))
    return shown(settings.results, settings.chosen, missing)


def _run(name: str, benchmark: Benchmark, settings: BenchmarkSettings) -> None:
    """Make the missing runs of one benchmark, seed after seed."""
    table = settings.results / f"{name}{SUFFIX}"
    store = store_of(name, benchmark, settings.data)
    digests = {r.record.path: source_digest(r) for r in Catalog.open(Store(store))}
    checkpoint = checkpoint_digest(settings.checkpoint)
    known = {tuple(line[field] for field in IDENTITY): line for line in read_results(table)}
    modes = settings.modes_of_run
    for seed in settings.seeds:
        keys = {mode: key_of(_config(benchmark, settings, checkpoint, mode, seed), digests) for mode in modes}
        left = [mode for mode in modes if not _is_there(known, settings.checkpoint, mode, seed, keys, table)]
        if not left:
            continue
        log.info("%s, seed %d: %s", name, seed, ", ".join(left))
        began = time.perf_counter()
        work = _work(settings) / name / checkpoint[:12] / f"seed-{seed}"
        finetuning = _finetuning(benchmark, settings, store, work, left, seed)
        evaluation = finetune(finetuning)
        more = lolcat_row(finetuning) if benchmark.lolcat and "probe" in left else {}
        curve = seconds_curve(finetuning, benchmark.seconds) if "probe" in left else {}
        seconds = round(time.perf_counter() - began, 1)
        for mode in left:
            results = [result for result in evaluation.results if result.mode == mode]
            line = {
                "benchmark": name,
                "checkpoint": settings.checkpoint,
                "mode": mode,
                "seed": seed,
                "key": keys[mode],
                "contract": CONTRACT_VERSION,
                "checkpoint_digest": checkpoint,
                "recordings": digests,
                "seen": _seen(settings.checkpoint, digests.values()),
                "seconds": seconds,
                "targets": [
                    _target(result, work, more if mode == "probe" else {}, curve if mode == "probe" else {})
                    for result in results
                ],
                "left_out": [f"{e.task} {e.target}: {e.reason}" for e in evaluation.left_out],
            }
            put_result(table, line, key=IDENTITY)


def _is_there(
    known: dict[tuple[Any, ...], dict[str, Any]],
    checkpoint: str,
    mode: str,
    seed: int,
    keys: dict[str, str],
    table: Path,
) -> bool:
    line = known.get((checkpoint, mode, seed))
    if line is not None and line["key"] != keys[mode]:
        raise FoundationError(
            f"{table} holds a result of {checkpoint}, mode {mode}, seed {seed}, of other settings or data: expected "
            "equal ones; move the file away, or set another output"
        )
    return line is not None


def _config(benchmark: Benchmark, settings: BenchmarkSettings, checkpoint: str, mode: str, seed: int) -> dict[str, Any]:
    """What decides the figures of a run, beside the recordings."""
    decisive = ("tasks", "recipe", "folds", "windows")
    about = {name: value for name, value in asdict(benchmark).items() if name in decisive}
    names = ("gru", "bootstrap", "control_repeats", *(() if mode in ("probe", "mlp") else ("full_steps",)))
    about |= {name: getattr(settings, name) for name in names}
    if benchmark.lolcat and mode == "probe":
        about["lolcat"] = LOLCAT_VERSION
    if set(benchmark.tasks) & set(UNIT_TASKS):
        about["spike_statistics"] = SPIKE_STATISTICS
    if benchmark.seconds and mode == "probe":
        about["seconds"] = benchmark.seconds
    return about | {"version": VERSION, "contract": CONTRACT_VERSION, "model": checkpoint, "mode": mode, "seed": seed}


def _work(settings: BenchmarkSettings) -> Path:
    if settings.work is not None:
        return Path(settings.work)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foundation" / "benchmarks"


def _finetuning(
    benchmark: Benchmark, settings: BenchmarkSettings, store: str, work: Path, modes: list[str], seed: int
) -> FinetuneSettings:
    """Return the settings for `foundation finetune`."""
    plain = FinetuneSettings(checkpoint=settings.checkpoint, store=store, output=str(work), windows=benchmark.windows)
    return replace(
        plain,
        tasks=list(benchmark.tasks),
        mode=list(modes),
        folds=benchmark.folds,
        seed=seed,
        bootstrap=settings.bootstrap,
        control_repeats=settings.control_repeats,
        heads=False,
        experiment="benchmark",
        tracking_uri=f"sqlite:///{_work(settings).resolve()}/mlflow.db",
        full=replace(plain.full, steps=settings.full_steps),
        gru=replace(plain.gru, run=settings.gru),
    )


def _target(
    result: Result, work: Path, more: dict[str, dict[str, Any]], curve: dict[str, list[Result]]
) -> dict[str, Any]:
    """Return one target of a run: what it is, and each readout with its score and its sums over independent parts."""
    folder = work / result.task / result.target
    rows = {name: _row(score, result.metric, folder / f"{name}.npz") for name, score in result.references.items()}
    rows[result.mode] = _row(result.score, result.metric, folder / f"{result.mode}.npz")
    for name, points in result.coverage.items():
        rows[name]["coverage"] = [_rounded(asdict(point)) for point in points]
    names = ("task", "target", "title", "kind", "metric", "samples", "subjects", "parts", "part_name", "split", "notes")
    about = {name: getattr(result, name) for name in names}
    by_seconds: dict[str, dict[str, Any]] = {}
    for seconds, results in curve.items():
        of_length = work / f"first-{seconds}s" / "results"
        for cut in results:
            if (cut.task, cut.target) == (result.task, result.target):
                by_seconds[seconds] = _target(cut, of_length, {}, {})["rows"]
    about |= {"by_seconds": by_seconds} if by_seconds else {}
    return about | {"seconds": result.seconds, "rows": rows | more.get(f"{result.task}/{result.target}", {})}


def _rounded(point: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in point.items()}


def _row(score: Score, metric: str, place: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"value": round(score.metrics[metric], 6), "low": score.low, "high": score.high}
    if score.detail:
        row["detail"] = score.detail
    predictions = read_predictions(place, None)
    if predictions is not None:
        row["sums"] = pack_sums(predictions)
    return row


def _seen(checkpoint: str, digests: Iterable[str]) -> int | None:
    """How many recordings pretraining read; None if the checkpoint does not say."""
    text = read_beside(checkpoint, "pretraining.json")
    if text is None:
        return None
    record = json.loads(text)
    known = {r["source"].get("digest") for r in record["recordings"]} | {r["digest"] for r in record["recordings"]}
    return sum(digest in known for digest in digests)
