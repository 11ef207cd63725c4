"""A sweep from start to end: Ray runs the trials that have no result yet, and the law is fitted to all."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

from foundation.common.errors import FoundationError
from foundation.common.extensions.search_folders import inherited
from foundation.common.output.progress import Progress
from foundation.common.processes.ray_cluster import ray_cluster
from foundation.sweep.power_law import fit_with_intervals
from foundation.sweep.sweep_outcome import Outcome
from foundation.sweep.sweep_page import write_page
from foundation.sweep.sweep_settings import SweepSettings
from foundation.sweep.sweep_trial import Measured, Trial, digest_of, measure_in_worker, prepare, read, trials, write


def sweep(settings: SweepSettings) -> Outcome:
    """Pretrain small models of several sizes on several amounts of data, and fit how the held-out loss falls with both.

    Args:
        settings: see `SweepSettings`.

    Returns:
        The trials, and the law if there are enough of them.

    Raises:
        ConfigError: if there are too few recordings, or ``output`` holds trials of another sweep.
        KeyboardInterrupt: if it was interrupted; finished trials are kept.
        FoundationError: if trials failed; the other trials are kept, and the same command resumes.
    """
    folder = Path(settings.output)
    wanted = trials(settings)
    prepared = {trial: prepare(settings, trial) for trial in wanted}  # invalid trials raise before any work
    done = {t: read(folder, t, digest_of(run, catalog)) for t, (run, catalog, _) in prepared.items()}
    left = [trial for trial in wanted if done[trial] is None]
    if left:
        _take(settings, left, folder)
        done = {t: read(folder, t, digest_of(run, catalog)) for t, (run, catalog, _) in prepared.items()}
    measured = [found for found in done.values() if found is not None]
    law = fit_with_intervals(measured, resamples=settings.resamples, seed=settings.seeds[0])
    outcome = Outcome(settings, measured, law)
    write_page(outcome)
    return outcome


def _take(settings: SweepSettings, left: list[Trial], folder: Path) -> None:
    """Run trials on Ray, one process each, and write each result as it arrives."""
    with (
        ray_cluster(settings.workers, settings.address) as ray,
        Progress(len(left), "sweep", unit="trial") as progress,
    ):
        remote = ray.remote(num_cpus=1, num_gpus=settings.gpus, max_retries=0)(measure_in_worker)
        waiting, failed = deque(left), []
        running: dict[Any, Trial] = {}
        try:
            while waiting or running:
                while waiting and len(running) < (settings.workers or len(left)):
                    trial = waiting.popleft()
                    running[remote.remote(settings, trial, inherited())] = trial
                [done], _ = ray.wait(list(running), num_returns=1)
                trial = running.pop(done)
                try:
                    measured: Measured = ray.get(done)
                except ray.exceptions.RayError as error:
                    failed.append(f"{trial.name} ({_why(error)})")
                    continue
                write(folder, measured)
                progress.step(note=f"{trial.name}: loss {measured.loss:.4f}")
        finally:
            for task in running:
                ray.cancel(task, force=True)
    if failed:
        raise FoundationError(
            f"{len(failed)} of {len(left)} trials failed: {'; '.join(failed[:3])}; the others are in {folder}, and the "
            "same command resumes"
        )


def _why(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
