"""A head: a fitted readout that can be kept, and applied to activity that it has not seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from foundation.common.errors import FoundationError
from foundation.evaluation.metrics import CLASSES

SCHEMA = 2
RATES, MODEL, ADAPTED = "rates", "model", "adapted"
UNIT, LAGS, MEAN, WINDOW = "unit", "lags", "mean", "window"
READINGS = (UNIT, LAGS, MEAN, WINDOW)
PART_BYTES = 1 << 25
ANY_POPULATION = "any_population"  # folder of heads that read averages over units


class HeadError(FoundationError):
    """A head that is damaged, or does not fit what it is applied to."""


@dataclass(frozen=True)
class Population:
    """The units that a head was fitted to, in the order of its weights.

    Args:
        recording: id of their recording.
        subject: key of the animal.
        session: its session.
        unit_ids: ids as in the file; places in the table of units where the file has no ids.
    """

    recording: str
    subject: str
    session: str
    unit_ids: list[int]


@dataclass(frozen=True)
class HeadWindows:
    """The windows that a head reads.

    Args:
        part: ``units`` (the mean of a unit over windows), ``trials`` or ``time blocks``.
        token_seconds: length of a token, the step in which is decoded.
        bins_per_token: bins of the model in it.
        tokens: of a window, at most; of a whole trial where ``whole`` is set.
        activity: ``spikes``, ``counts`` or ``values``.
        whole: whether one label is read from all of a window.
        causal: whether nothing of the future is read.
        max_windows: windows that a unit is averaged over; 0 for labels over time.
        seed: of the choice of windows.
    """

    part: str
    token_seconds: float
    bins_per_token: int
    tokens: int
    activity: str
    whole: bool = False
    causal: bool = False
    max_windows: int = 0
    seed: int = 0

    @property
    def bin_width(self) -> float:
        """Seconds of a bin of the model."""
        return self.token_seconds / self.bins_per_token


@dataclass(frozen=True)
class Kept:
    """Where a head comes from, and how good it is.

    Args:
        mode: ``rate``, ``probe``, ``both`` or ``full``: which of the scored readouts this is.
        readout: in words.
        choices: what inner validation chose.
        samples: number of labelled samples that it was fitted to: all of them.
        scores: readout -> metrics and 95 % interval, by cross-validation and before the head was fitted.
        split: how train and test were parted for the scores.
        interval: how the intervals were made.
        data: recording id -> digest of what it was fitted to.
        checkpoint: name and digest of the frozen model; None if nothing of it is read.
        adapted: digest of each changed model beside the head.
        contract: version of the evaluation contract.
        version: of this software.
        key: digest of everything that decides the numbers.
    """

    mode: str
    readout: str
    choices: dict[str, Any]
    samples: int
    scores: dict[str, dict[str, Any]]
    split: str
    interval: str
    data: dict[str, str]
    checkpoint: dict[str, str] | None
    adapted: list[str]
    contract: int
    version: str
    key: str
    fitted_to: str = "all labelled samples, after cross-validation had made the scores"


@dataclass(frozen=True)
class HeadBlock:
    """Weights on one kind of features; the head is the sum of its blocks and of a bias.

    Args:
        source: ``rates``, ``model`` (the frozen checkpoint) or ``adapted`` (changed weights; those of further networks
            are ``adapted-2``, ``adapted-3``, ...).
        features: what they are, in words; for rates also how they are made.
        reading: ``unit`` (a row for each), ``lags`` (bins around the sample's), ``mean`` (over its window) or
            ``window`` (all bins of its window side by side).
        lags: bins relative to the sample's own that ``lags`` reads.
        clip: standard deviations at which standardised features are cut; None: nowhere.
        mean_F, scale_F: ``(F,)`` float32 of the samples of the fit.
        weight_LFK: ``(L, F, K)`` float32.
    """

    source: str
    features: str
    reading: str
    lags: tuple[int, ...]
    clip: float | None
    mean_F: np.ndarray
    scale_F: np.ndarray
    weight_LFK: np.ndarray

    def standardised(self, x_TF: np.ndarray) -> np.ndarray:
        """Return ``(T, F)`` features as the weights take them."""
        z_TF = (x_TF.astype(np.float32, copy=False) - self.mean_F) / self.scale_F
        return z_TF if self.clip is None else np.clip(z_TF, -self.clip, self.clip, out=z_TF)

    def outputs(self, x_TF: np.ndarray, rows_SL: np.ndarray) -> np.ndarray:
        """Return ``(S, K)`` float64 what this block adds for each sample.

        Args:
            x_TF: ``(T, F)`` features of bins, windows or units.
            rows_SL: ``(S, L)`` the rows that each sample reads, -1 outside its window, where features count as 0.

        Raises:
            HeadError: if there are not F features.
        """
        if x_TF.shape[1] != len(self.mean_F):
            raise HeadError(
                f"{self.features} has {x_TF.shape[1]} features: expected {len(self.mean_F)}, as the head was fitted "
                "to; the units or the checkpoint are others"
            )
        n_lags, n_features, n_out = self.weight_LFK.shape
        mean = self.reading == MEAN
        out_TLK = np.empty((len(x_TF), n_lags, n_out))
        weight_FLK = self.weight_LFK.transpose(1, 0, 2).reshape(n_features, -1).astype(np.float64)
        step = max(1, PART_BYTES // (8 * max(1, n_features)))
        for first in range(0, len(x_TF), step):
            part = slice(first, first + step)
            products = self.standardised(x_TF[part]).astype(np.float64) @ weight_FLK
            out_TLK[part] = products.reshape(-1, n_lags, n_out)
        out_SK = np.zeros((len(rows_SL), n_out))
        for lag in range(rows_SL.shape[1]):
            there = rows_SL[:, lag] >= 0
            out_SK[there] += out_TLK[rows_SL[there, lag], 0 if mean else lag]
        return out_SK / np.maximum((rows_SL >= 0).sum(axis=1), 1)[:, None] if mean else out_SK


@dataclass(frozen=True)
class Head:
    """A fitted readout of one target; `finetune.heads.head_files` writes and reads it.

    Args:
        task, target, title: what it predicts.
        kind: ``classes`` or ``values``.
        classes: names of the classes; empty for values.
        value_names: names of the values, with their unit; empty for classes.
        unit: unit of the values, ``''`` if the file names none.
        blocks: weights on each kind of features.
        bias_K: ``(K,)`` float64.
        windows: what it reads.
        population: the units that it was fitted to; None if it reads any: single units, or averages over all units.
        kept: where it comes from, and how good it is.
        spread_K: of values: root mean squared error in cross-validation; empty for classes.
        temperature: what logits are divided by, so that probabilities fit the inner folds of the fit.
        folder: where it was loaded from; None if it was just fitted.
    """

    task: str
    target: str
    title: str
    kind: str
    classes: list[str]
    value_names: list[str]
    unit: str
    blocks: tuple[HeadBlock, ...]
    bias_K: np.ndarray
    windows: HeadWindows
    population: Population | None
    kept: Kept
    spread_K: list[float] = field(default_factory=list)
    temperature: float = 1.0
    folder: Path | None = None

    @property
    def name(self) -> str:
        """Name of its folder."""
        return head_name(self.task, self.target)

    @property
    def of_units(self) -> bool:
        """Whether it labels units; otherwise it labels time."""
        return self.windows.part == "units"

    @property
    def columns(self) -> list[str]:
        """What each output is: a class or a value."""
        return self.classes if self.kind == CLASSES else self.value_names

    @property
    def sources(self) -> set[str]:
        """Where its features come from."""
        return {block.source for block in self.blocks}

    def outputs(self, features: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
        """Return ``(S, K)`` float64 logits or values.

        Args:
            features: for each block the features and the rows of each sample; see `HeadBlock.outputs`.
        """
        parts = [block.outputs(*given) for block, given in zip(self.blocks, features, strict=True)]
        return np.sum(parts, axis=0) + self.bias_K

    def probabilities(self, logits_SK: np.ndarray) -> np.ndarray:
        """Return ``(S, K)`` probabilities, as if all classes were equally frequent."""
        scaled_SK = logits_SK / self.temperature
        power_SK = np.exp(scaled_SK - scaled_SK.max(axis=1, keepdims=True))
        return np.asarray(power_SK / power_SK.sum(axis=1, keepdims=True))

    def facts(self) -> dict[str, Any]:
        """Return all but the weights, as JSON can hold it."""
        return {
            "format": "foundation-head",
            "schema": SCHEMA,
            "task": self.task,
            "target": self.target,
            "title": self.title,
            "kind": self.kind,
            "classes": self.classes,
            "value_names": self.value_names,
            "unit": self.unit,
            "windows": asdict(self.windows),
            "bin_width": self.windows.bin_width,
            "population": None if self.population is None else asdict(self.population),
            "spread": self.spread_K,
            "temperature": self.temperature,
            "blocks": [
                {"source": b.source, "features": b.features, "reading": b.reading, "lags": list(b.lags), "clip": b.clip}
                for b in self.blocks
            ],
            **asdict(self.kept),
        }


def adapted_source(place: int) -> str:
    """Return how blocks name the changed model with a place among those of a head.

    Example:
        >>> adapted_source(0), adapted_source(1)
        ('adapted', 'adapted-2')
    """
    return ADAPTED if place == 0 else f"{ADAPTED}-{place + 1}"


def head_name(task: str, target: str) -> str:
    """Return the name of a head's folder.

    Example:
        >>> head_name("behavior", "velocity-mouse1"), head_name("cell_type", "all"), head_name("sleep_state", "mouse1")
        ('velocity-mouse1', 'cell_type', 'sleep_state-mouse1')
    """
    if target == "all":
        return task
    return target if task == "behavior" else f"{task}-{target}"
