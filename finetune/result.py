"""Results as small JSON files, with the predictions behind them beside."""

from __future__ import annotations

import json
import logging
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from foundation.common.errors import FoundationError
from foundation.common.files.locks import write_whole
from foundation.evaluation.coverage import CoveragePoint
from foundation.evaluation.metrics import PRIMARY, Predictions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """Metrics of one readout, and the 95 % interval of the primary one (None without an interval).

    Args:
        metrics: name -> value.
        low, high: 95 % interval of the primary metric.
        detail: further facts, such as the chosen features.
    """

    metrics: dict[str, float]
    low: float | None = None
    high: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class Gain:
    """How much better one readout is than another, in the primary metric, with a paired 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` if the interval excludes 0, else ``equal``."""
        return _verdict(self.low, self.high)


@dataclass(frozen=True)
class CurvePoint:
    """Readouts and finetuning with few labelled trials.

    Args:
        trials: labelled trials of a fold.
        scores: of ``rate``, ``probe``, ``both``, ``full`` and, where there is one, ``scratch``.
        over_rate: what ``full`` gains over ``rate``.
        over_scratch: gain of ``full`` over ``scratch``; None without both.
    """

    trials: int
    scores: dict[str, Score]
    over_rate: Gain
    over_scratch: Gain | None = None

    @classmethod
    def of(cls, value: dict[str, Any]) -> Self:
        """Return the point that a JSON object holds."""
        scores = {name: Score(**score) for name, score in value["scores"].items()}
        scratch = value["over_scratch"]
        return cls(value["trials"], scores, Gain(**value["over_rate"]), None if scratch is None else Gain(**scratch))


@dataclass(frozen=True)
class Result:
    """How well one target is predicted in one mode, with the scores to compare it with.

    Args:
        task, target, title, mode: what was predicted, and how (``probe``, ``full``, ...).
        kind: ``classes`` or ``values``.
        score: of the model.
        references: ``rate`` (the floor: the same readout of plain firing rates), ``both`` (rates and frozen model side
            by side), ``statistics`` (rates, intervals, bursts and autocorrelograms of spikes), ``statistics_both``
            (these beside the frozen model), ``rate_own`` (rates of the own bin alone), ``random`` (random weights),
            ``gru`` and ``gru_causal`` (recurrent decoders of rates), ``profile`` and ``oracle`` (mean course of the
            named and of the true direction), ``any_population`` (averages over units), ``time`` (time in the trial
            alone),
            ``scratch`` (beside finetuned modes: the same training from random weights), ``majority`` (the commonest
            class, or the training mean), ``shuffled`` (the probe on shuffled labels), ``laboratory`` (from the
            laboratory alone); those that the target can have.
        gain, gain_low, gain_high: the model's primary metric minus that of ``rate``, with a paired 95 % interval.
        gain_both, gain_both_low, gain_both_high: the same of ``both``.
        samples, subjects: how many were predicted, and from how many animals.
        parts, part_name: how many independent parts the intervals resample, and what they are.
        classes: class -> samples; empty for values.
        value_names: names of the values; empty for classes.
        split: how train and test were parted.
        interval: how the intervals were made.
        notes: what was left out, what to bear in mind.
        choices: what inner validation chose, by fold.
        seconds: time taken.
        contract: version of the evaluation contract.
        checkpoint: digest of the pretrained model.
        settings: digest of the settings that decide the numbers.
        recordings: id -> digest of each recording.
        readout: what of the features the readouts of the model and of firing rates see.
        key: digest of everything that decides the numbers.
        gain_scratch: of finetuned modes, over ``scratch``.
        curve: of finetuned modes, with few labelled trials.
        gain_statistics: over ``statistics``; None without that row.
        coverage: readout -> its accuracy over the share of units that are classified, for classes of units.
    """

    task: str
    target: str
    title: str
    mode: str
    kind: str
    score: Score
    references: dict[str, Score]
    gain: float
    gain_low: float | None
    gain_high: float | None
    gain_both: float
    gain_both_low: float | None
    gain_both_high: float | None
    samples: int
    subjects: int
    parts: int
    part_name: str
    classes: dict[str, int]
    value_names: list[str]
    split: str
    interval: str
    notes: list[str]
    choices: dict[str, list]
    seconds: float
    contract: int
    checkpoint: str
    settings: str
    recordings: dict[str, str]
    readout: str
    key: str = field(default="")
    gain_scratch: Gain | None = None
    curve: list[CurvePoint] = field(default_factory=list)
    gain_statistics: Gain | None = None
    coverage: dict[str, list[CoveragePoint]] = field(default_factory=dict)

    @property
    def metric(self) -> str:
        """Name of the primary metric."""
        return PRIMARY[self.kind]

    @property
    def value(self) -> float:
        """The model's primary metric."""
        return self.score.metrics[self.metric]

    def reference(self, name: str) -> float | None:
        """The primary metric of a reference; None if there is no such reference."""
        return self.references[name].metrics[self.metric] if name in self.references else None

    @property
    def verdict(self) -> str:
        """Against firing rates: ``better`` or ``worse`` if the interval excludes 0, else ``equal``."""
        return _verdict(self.gain_low, self.gain_high)

    @property
    def verdict_both(self) -> str:
        """Of rates and model together, against rates alone."""
        return _verdict(self.gain_both_low, self.gain_both_high)


def _verdict(low: float | None, high: float | None) -> str:
    if low is not None and low > 0:
        return "better"
    return "worse" if high is not None and high < 0 else "equal"


@dataclass(frozen=True)
class LeftOut:
    """A target without results.

    Args:
        task, target: which.
        reason: in words.
        failed: whether something went wrong; False if there is too little data for its folds.
    """

    task: str
    target: str
    reason: str
    failed: bool = True

    @classmethod
    def failure(cls, task: str, target: str, error: Exception) -> Self:
        """Return the entry of a target that failed; the traceback goes to the log file.

        Example:
            >>> LeftOut.failure("location", "all", FoundationError("no unit fires")).reason
            'no unit fires'
            >>> LeftOut.failure("location", "all", ValueError("no unit")).reason
            'ValueError: no unit'
        """
        log.debug("%s %s", task, target, exc_info=error)
        text = str(error) if isinstance(error, FoundationError) else f"{type(error).__name__}: {error}"
        reason = " ".join(text.split())[:300] or type(error).__name__
        log.warning("%s failed: %s", f"{task} {target}".strip(), reason)
        return cls(task, target, reason)


@dataclass(frozen=True)
class Evaluation:
    """What `foundation finetune` gives.

    Args:
        results: one per task, target and mode.
        left_out: targets without results, or with some of them.
        waiting: folders whose tracking has not reached the server.
    """

    results: list[Result]
    left_out: list[LeftOut] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """False if a target failed."""
        return not any(entry.failed for entry in self.left_out)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object whole or not at all."""
    write_whole(path, (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path, key: str | None = None) -> dict[str, Any] | None:
    """A JSON object; None if it is missing, damaged, or of another key."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and (key is None or value.get("key") == key) else None


def write_predictions(path: Path, predictions: Predictions, key: str) -> None:
    """Predictions as a .npz of plain arrays, with the key of their result."""
    import io

    buffer = io.BytesIO()
    p = predictions
    names = ("y_S", "predicted_S", "mean_S", "fold_S", "cluster_S", *(["confidence_S"] if len(p.confidence_S) else []))
    arrays: dict[str, Any] = {name: getattr(p, name) for name in names}
    np.savez_compressed(buffer, **arrays, n_classes=np.array(p.n_classes), key=np.array(key))
    write_whole(path, buffer.getvalue())


def read_predictions(path: Path, key: str | None) -> Predictions | None:
    """The predictions that `write_predictions` wrote; None if they are missing, damaged, or of another key.

    A key of None takes them whatever their key is.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        if str(arrays.pop("key")) != key and key is not None:
            return None
        return Predictions(**{**arrays, "n_classes": int(arrays["n_classes"])})
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None


def to_json(result: Result) -> dict[str, Any]:
    """A result as a JSON object."""
    return asdict(result)


def from_json(value: dict[str, Any]) -> Result:
    """The result that `to_json` made.

    Raises:
        FoundationError: if a field is missing or unknown.
    """
    try:
        scores = {name: Score(**score) for name, score in value["references"].items()}
        gains = {name: value.get(name) for name in ("gain_scratch", "gain_statistics")}
        coverage = value.get("coverage", {})
        nested = {
            "score": Score(**value["score"]),
            "references": scores,
            **{name: None if gain is None else Gain(**gain) for name, gain in gains.items()},
            "curve": [CurvePoint.of(point) for point in value.get("curve", [])],
            "coverage": {name: [CoveragePoint(**point) for point in points] for name, points in coverage.items()},
        }
        return Result(**{**value, **nested})
    except (KeyError, TypeError) as error:
        raise FoundationError(f"not a result of this version ({error}): run `foundation finetune` again") from error
