"""Reports of a run in training: metrics.jsonl, MLflow, and the note beside the progress bar."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from foundation.common.errors import RequeueError
from foundation.common.tracking.mlflow_run import default_tracking_uri
from foundation.common.tracking.mlflow_tracker import Tracker
from foundation.training.distributed.process_messages import Control
from foundation.training.monitor.throughput import System, Throughput
from foundation.training.output.run_folder import RunFolder
from foundation.training.pretrain_settings import PretrainSettings


class Reports:
    """Collects figures in every process and writes them in the first one, after `open`.

    Args:
        folder: folder of the run.
        control: messages to the other processes.
    """

    def __init__(self, folder: RunFolder, control: Control) -> None:
        self.folder, self.control = folder, control
        self.throughput = Throughput()
        self.latest: dict[str, float] = {}
        self._known: str | None = None
        self._tracker: Tracker | None = None

    @property
    def run_id(self) -> str | None:
        """Id of the MLflow run, if known."""
        return self._tracker.id if self._tracker is not None else self._known

    def load(self, latest: dict[str, float], run_id: str | None) -> None:
        """Set the state from a checkpoint."""
        self.latest, self._known = latest, run_id

    def open(self, settings: PretrainSettings) -> None:
        """Write the settings and open the MLflow run, in the first process only."""
        self.folder.write_settings(settings)
        self._tracker = open_tracker(settings, self.folder.path, self._known, self.control.world)
        self._system = System(self.folder.path)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Log the metrics after ``step`` steps, with the figures since the last line. All processes call it."""
        self.latest = metrics | self.throughput.figures(self.control)
        if self._tracker is not None:
            self.folder.add_metrics(step, self.latest)
            self._tracker.metrics(self.latest | self._system.figures(), step)

    def note(self, metrics: dict[str, float]) -> str:
        """Return the note beside the progress bar."""
        rate = self.latest.get("neuron_tokens_per_second")
        return f"loss {metrics['loss']:.3f}" + (f", {rate:,.0f} tokens/s" if rate else "")

    def close(self, error: BaseException | None = None) -> None:
        """End the MLflow run; log the settings and the model if training is complete."""
        if self._tracker is None:
            return
        if error is not None:
            stopped = isinstance(error, KeyboardInterrupt | RequeueError)
            self._tracker.close("KILLED" if stopped else "FAILED")
            return
        for name in ("settings.yaml", "deepspeed.json"):
            self._tracker.files(self.folder.path / name)
        self._tracker.files(self.folder.model, "model")
        self._tracker.close()


def open_tracker(settings: PretrainSettings, folder: Path, known: str | None, world: int) -> Tracker:
    """Open the MLflow run of a pretraining run and log its settings; ``known`` is the run's id in a checkpoint."""
    uri = settings.tracking_uri or default_tracking_uri(folder.resolve().parent)
    tracker = Tracker(folder, uri, settings.experiment, folder.name, known)
    tracker.params({**asdict(settings), "world": world})
    return tracker
