"""The runs of the sorting tables: each is a line of a JSON Lines file, so a stopped campaign can resume."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foundation.common.digests import json_digest
from foundation.common.errors import FoundationError
from foundation.common.files.jsonl_results import put_result, read_results
from foundation.common.files.locks import write_whole
from ingest.sorting.campaign.campaign_page import sorting_page
from ingest.sorting.campaign.campaign_settings import KNOWN, SortingTable
from ingest.sorting.clustering.labelled import LabelledWaveforms
from ingest.sorting.clustering.mixtures import GaussianUnits
from ingest.sorting.clustering.noise_whitening import WhitenedSpikes
from ingest.sorting.clustering.recipes import TRAINED, TrainedNetwork, cluster_waveforms, train_recipe
from ingest.sorting.simulation.session_spikes import TEST_SEED, TRAIN_SEED, KnownSpikes, file_spikes, session_spikes
from ingest.sorting.sorting_score import notebook_score, score_sorting
from ingest.sorting.spikes.waveforms import Waveforms

log = logging.getLogger(__name__)
VERSION = 1
KEY = ("row", "choice", "session", "seed")
GIVEN, FOUND = "gt", "auto"
WAVE_CLUS = "wave_clus"


@dataclass(frozen=True)
class Campaign:
    """Summary of the runs."""

    folder: Path
    page: Path | None
    made: int

    def __str__(self) -> str:
        where = f"; {self.page}" if self.page else ""
        return f"{self.made} new results in {self.folder}{where}"


def reproduce_sorting(settings: SortingTable) -> Campaign:
    """Run the recipes of spike sorting and their rivals on simulated sessions and labelled spikes, and write the page.

    Existing results are kept: the command resumes a stopped campaign. Sessions are simulated again from their
    seeds.

    Raises:
        FoundationError: if a result of other settings exists.
        SourceError: if a file of labelled spikes cannot be read.
    """
    torch.set_num_threads(settings.threads)
    folder, made = Path(settings.output), 0
    for seed in settings.seeds:
        for task in settings.tasks:
            runs = _file_runs if task == "files" else _session_runs
            made += runs(settings, task, seed, folder / f"{task}.jsonl")
            _write_page(settings, folder)
    return Campaign(folder, Path(settings.page) if settings.page else None, made)


def _write_page(settings: SortingTable, folder: Path) -> None:
    if settings.page:
        Path(settings.page).parent.mkdir(parents=True, exist_ok=True)
        text = sorting_page(folder, "foundation reproduce sorting --config reproduce/sorting", settings.min_snr)
        write_whole(Path(settings.page), text.encode())


def choices_of(row: str) -> tuple[str, ...]:
    """Return the choices of a row: the true number of units (``gt``), its own estimate (``auto``), or both."""
    if row == KNOWN:
        return (GIVEN,)
    return (FOUND,) if row in ("isosplit", "spc", WAVE_CLUS) else (GIVEN, FOUND)


class _Table:
    """Results of one task."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path, self.config = path, json_digest(config)[:16]
        self.found = {tuple(r[name] for name in KEY): r["config"] for r in read_results(path)}

    def missing(self, row: str, choice: str, session: str, seed: int) -> bool:
        """Return True if the result is missing.

        Raises:
            FoundationError: if it exists with other settings.
        """
        config = self.found.get((row, choice, session, seed))
        if config is not None and config != self.config:
            raise FoundationError(
                f"{row}, {choice}, session {session}, seed {seed} of {self.path} is of other settings: expected equal "
                f"ones; move the file away, or set another output"
            )
        return config is None

    def put(self, result: dict[str, Any]) -> None:
        """Add a result."""
        put_result(self.path, {**result, "config": self.config}, KEY)


class _Training:
    """Training sessions of one seed and task, simulated on first use, and the networks they trained."""

    def __init__(self, settings: SortingTable, task: str, seed: int) -> None:
        self.settings, self.task, self.seed = settings, task, seed
        self.networks: dict[str, TrainedNetwork] = {}
        self.seconds: dict[str, float] = {}

    @cached_property
    def sessions(self) -> list[KnownSpikes]:
        """Return the training sessions; also of the task ``templates`` they are of the parametric family."""
        threshold = None if self.task == "notebook" else self.settings.threshold
        found = [
            session_spikes(self.settings.session, units, [TRAIN_SEED + self.seed], threshold)
            for units in self.settings.train_units
        ]
        return [s.above(self.settings.min_snr) for s in found] if self.task == "notebook" else found

    def network(self, recipe: str) -> TrainedNetwork | None:
        """Return what a recipe learns from the training sessions; every second one lends no labels."""
        if recipe not in TRAINED:
            return None
        if recipe not in self.networks:
            began = time.perf_counter()
            labelled = [LabelledWaveforms(s.waveforms, s.true_N) for s in self.sessions[::2]]
            free = [s.waveforms for s in self.sessions[1::2]]
            self.networks[recipe] = train_recipe(recipe, free, labelled, self.seed, self.settings.clustering)
            self.seconds[recipe] = round(time.perf_counter() - began, 1)
        return self.networks[recipe]


def _session_runs(settings: SortingTable, task: str, seed: int, path: Path) -> int:
    """Run all missing rows on the test sessions of one seed; return the number of new results."""
    session = settings.session
    if task == "templates":
        files = [file for file in settings.files if Path(file).is_file()]
        if not files:
            log.warning(
                "skipping task templates: no file of setting files (%s) exists", ", ".join(settings.files) or "empty"
            )
            return 0
        session = replace(session, templates=files)
    if task == "drift":
        session = replace(session, drift=settings.drift)
    if task == "bursts":
        session = replace(session, bursting=settings.bursting)
    config = {
        "version": VERSION,
        "session": {**asdict(session), "templates": [Path(f).name for f in session.templates]},
        "clustering": asdict(settings.clustering),
        "train_units": settings.train_units,
        "min_snr": settings.min_snr if task == "notebook" else None,
        "threshold": None if task == "notebook" else settings.threshold,
    }
    table, training, made = _Table(path, config), _Training(settings, task, seed), 0
    for units in settings.test_units:
        name = f"{units} units"
        todo = [(r, c) for r in settings.rows for c in choices_of(r) if table.missing(r, c, name, seed)]
        if not todo:
            continue
        threshold = None if task == "notebook" else settings.threshold
        spikes = session_spikes(session, units, [TEST_SEED + seed], threshold)
        spikes = spikes.above(settings.min_snr) if task == "notebook" else spikes
        # Detections hold multi-unit activity besides: one cluster more is given.
        given = len(spikes.spikes_U) + (task != "notebook")
        for row, choice in todo:
            result = _run(row, choice, spikes, given, seed, settings, training)
            table.put({"row": row, "choice": choice, "session": name, "seed": seed, "units": units, **result})
            log.info("%s, %s, %s, %s, seed %d: %s", task, row, choice, name, seed, _in_short(result))
            made += 1
    return made


def _file_runs(settings: SortingTable, task: str, seed: int, path: Path) -> int:
    """Run all rows that need no training sessions on the labelled spikes of files."""
    config = {"version": VERSION, "clustering": asdict(settings.clustering)}
    table, made = _Table(path, config), 0
    rows = [row for row in settings.rows if row not in ("v1", "contrastive", "whitened", KNOWN)]
    for file in filter(Path.is_file, map(Path, settings.files)):
        todo = [(r, c) for r in rows for c in choices_of(r) if table.missing(r, c, file.stem, seed)]
        spikes, clus_N = file_spikes(file)
        if clus_N is not None and table.missing(WAVE_CLUS, FOUND, file.stem, seed):
            todo.append((WAVE_CLUS, FOUND))
        for row, choice in todo:
            if row == WAVE_CLUS and clus_N is not None:
                result = {**_scores(spikes, np.where(clus_N > 0, clus_N, -1)), "seconds": 0.0}
            else:
                result = _run(row, choice, spikes, len(spikes.spikes_U), seed, settings, None)
            units = len(spikes.spikes_U)
            table.put({"row": row, "choice": choice, "session": file.stem, "seed": seed, "units": units, **result})
            log.info("files, %s, %s, %s, seed %d: %s", row, choice, file.stem, seed, _in_short(result))
            made += 1
    return made


def _run(
    row: str,
    choice: str,
    spikes: KnownSpikes,
    given: int,
    seed: int,
    settings: SortingTable,
    training: _Training | None,
) -> dict[str, Any]:
    network = training.network(row) if training is not None else None
    began = time.perf_counter()
    if row == KNOWN:
        label_N = known_waveforms(spikes, settings)
    else:
        n_units = given if choice == GIVEN else None
        label_N = cluster_waveforms(
            spikes.waveforms, recipe=row, n_units=n_units, trained=network, seed=seed, settings=settings.clustering
        ).label_N
    result = {**_scores(spikes, label_N), "seconds": round(time.perf_counter() - began, 2)}
    if training is not None and row in training.seconds:
        result["train_seconds"] = training.seconds[row]
    return result


def _scores(spikes: KnownSpikes, label_N: np.ndarray) -> dict[str, Any]:
    scores, real_N = score_sorting(spikes.true_N, label_N, spikes.spikes_U), spikes.true_N >= 0
    snr_U = np.where(np.isfinite(spikes.snr_U), spikes.snr_U, 1e9)
    return {
        "spikes": len(label_N),
        "clusters": len(np.unique(label_N[label_N >= 0])),
        "notebook": notebook_score(spikes.true_N[real_N], label_N[real_N]),
        "snr_U": snr_U.round(3).tolist(),
        **scores.plain(),
    }


def _in_short(result: dict[str, Any]) -> str:
    return f"ARI {result['ari']:.3f}, {result['clusters']} clusters, {result['seconds']} s"


def known_waveforms(spikes: KnownSpikes, settings: SortingTable) -> np.ndarray:
    """Return the unit of each spike by the true mean waveforms and shares: what is possible for spikes one by one.

    Spikes are whitened by the background, so each unit is a Gaussian of unit covariance; spikes without a unit have the
    covariance that they have.
    """
    w: Waveforms = spikes.waveforms
    clustering = settings.clustering
    encoder = WhitenedSpikes.fit(
        w.x_NCT, w.amplitude_N, w.background_SCT, clustering.max_features, clustering.min_variance
    )
    z_NF = encoder.encode(w.x_NCT, w.amplitude_N)
    return _gaussians(z_NF, spikes.true_N).assign(z_NF)[0]


def _gaussians(z_NF: np.ndarray, true_N: np.ndarray) -> GaussianUnits:
    def parts() -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        one_FF = np.eye(z_NF.shape[1])
        for unit in np.unique(true_N):
            mine_NF = z_NF[true_N == unit]
            factor_FF = one_FF
            if unit < 0 and len(mine_NF) > 2 * z_NF.shape[1]:
                factor_FF = np.linalg.cholesky(np.linalg.inv(np.atleast_2d(np.cov(mine_NF.T))))
            yield int(unit), len(mine_NF), np.median(mine_NF, axis=0), factor_FF

    unit_K, count_K, mean_KF, factor_KFF = zip(*parts(), strict=True)
    return GaussianUnits(
        np.array(count_K) / len(z_NF), np.stack(mean_KF), np.stack(factor_KFF), np.array(unit_K, dtype=np.int64)
    )
