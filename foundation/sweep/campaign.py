"""A sweep from start to end: Ray Tune takes the trials that are not there yet, and the law is fitted to all."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray import tune

from foundation.common.errors import FoundationError
from foundation.common.progress import Progress
from foundation.common.ray_cluster import ray_cluster
from foundation.sweep.power_law import fit_with_intervals
from foundation.sweep.sweep_outcome import Outcome
from foundation.sweep.sweep_page import write_page
from foundation.sweep.sweep_settings import SweepSettings
from foundation.sweep.sweep_trial import Measured, Trial, digest_of, measure, prepare, read, trials, write

log = logging.getLogger(__name__)
MEASURED = "measured"


def sweep(settings: SweepSettings) -> Outcome:
    """Pretrain small models of several sizes on several amounts of data, and fit how the held-out loss falls with both.

    Args:
        settings: see `SweepSettings`.

    Returns:
        The trials, and the law if there are enough of them.

    Raises:
        ConfigError: if there are too few recordings, or ``output`` holds trials of another sweep.
        KeyboardInterrupt: if it was interrupted; trials that are done are kept.
        FoundationError: if trials failed; those that did not are kept, and the same command goes on.
    """
    folder = Path(settings.output)
    wanted = trials(settings)
    prepared = {trial: prepare(settings, trial) for trial in wanted}  # whatever is impossible is said before any work
    done = {t: read(folder, t, digest_of(run, catalog)) for t, (run, catalog, _) in prepared.items()}
    left = [trial for trial in wanted if done[trial] is None]
    if left:
        _take(settings, left, folder)
        done = {t: read(folder, t, digest_of(run, catalog)) for t, (run, catalog, _) in prepared.items()}
    measured = [found for found in done.values() if found is not None]
    if len(measured) < len(wanted):
        raise KeyboardInterrupt  # Tune ends in good order when it is interrupted, and says nothing
    law = fit_with_intervals(measured, resamples=settings.resamples, seed=settings.seeds[0])
    outcome = Outcome(settings, measured, law)
    write_page(outcome)
    return outcome


class Run(tune.Trainable):
    """A trial as Ray Tune runs it: one step, from start to end, in a process that takes one trial after another."""

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.settings, self.trial = new_config["settings"], Trial(**new_config["trial"])
        return True

    def step(self) -> dict[str, Any]:
        return {MEASURED: asdict(measure(self.settings, self.trial)), "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        """Nothing: a run has checkpoints of its own. Tune asks for one when the process goes on to another trial."""
        return {}


class Collect(tune.Callback):
    """Writes what trials came to as it comes in, and tells how far they are.

    Args:
        folder: of the results.
        progress: counts trials.
    """

    def __init__(self, folder: Path, progress: Progress) -> None:
        self.folder, self.progress = folder, progress

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial is at its end."""
        found = result[MEASURED]
        measured = Measured(**(found | {"trial": Trial(**found["trial"])}))
        write(self.folder, measured)
        self.progress.step(note=f"{measured.trial.name}: loss {measured.loss:.4f}")


def _take(settings: SweepSettings, left: list[Trial], folder: Path) -> None:
    """Run trials and write what they came to."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # its tables come whatever its verbosity
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what failed is told below
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")  # stores and outputs may be named from where the command is
    with (
        ray_cluster(settings.workers, settings.address),
        tempfile.TemporaryDirectory() as notes,
        Progress(len(left), "sweep", unit="trial") as progress,
    ):
        tuner = tune.Tuner(
            tune.with_resources(Run, {"cpu": 1, "gpu": settings.gpus}),
            param_space={"settings": settings, "trial": tune.grid_search([asdict(trial) for trial in left])},
            tune_config=tune.TuneConfig(max_concurrent_trials=settings.workers, reuse_actors=True),
            run_config=tune.RunConfig(
                name="sweep", storage_path=notes, callbacks=[Collect(folder, progress)], verbose=0
            ),
        )
        failed = [(Trial(**r.config["trial"]).name, r.error) for r in tuner.fit() if r.error is not None]
    if failed:
        said = [f"{name} ({_why(error)})" for name, error in failed[:3]]
        raise FoundationError(
            f"{len(failed)} of {len(left)} trials failed: {'; '.join(said)}; the others are in {folder}, and the same "
            "command goes on"
        )


def _why(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    return f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}"
