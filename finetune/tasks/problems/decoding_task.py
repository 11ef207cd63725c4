"""What a task hands over to be decoded: labelled samples, how they are split, and their features."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch

from foundation.data.batch import WindowBatch
from foundation.embedding.feature_cache import FeatureCache
from foundation.embedding.population_tokens import token_features
from foundation.evaluation.metrics import CLASSES, VALUES
from foundation.evaluation.readings import Features
from foundation.evaluation.splits import Fold, Split
from foundation.models import EIT
from foundation.models.eit import EITOutput


@dataclass
class Labels:
    """The labels of one target.

    Args:
        task: ``cell_type``, ``behavior``, ...
        target: what of it, a name that a folder can have.
        title: the same for people.
        y_S: ``(S,)`` class indices, or ``(S, K)`` values.
        classes: names of the classes; empty for values.
        value_names: names of the K values with their unit; empty for classes.
        notes: what was left out, and what a reader must know.
        unit: unit of the values, as the file names it.
        circular: whether the two values are the cosine and the sine of an angle.
        parents: what each class is part of; empty where classes are part of nothing.
        defined_by: digest of what defines a task of one's own; empty for those that ship.
    """

    task: str
    target: str
    title: str
    y_S: np.ndarray
    classes: tuple[str, ...] = ()
    value_names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    unit: str = ""
    circular: bool = False
    parents: tuple[str, ...] = ()
    defined_by: str = ""

    @property
    def kind(self) -> str:
        return CLASSES if self.classes else VALUES

    @property
    def n_classes(self) -> int:
        return len(self.classes)


class Problem(ABC):
    """Labelled samples of one target. Subclasses know where the samples' activity is.

    Attributes:
        labels: of the target.
        cluster_S: ``(S,)`` the part of the data that each sample belongs to; parts are independent of each other.
        cluster_name: what such a part is: animals, trials, time blocks, units.
        subjects: animals.
        recordings: (id, digest) of each recording.
        lab_S: ``(S,)`` laboratory of each sample, or None.
        view: what else the readouts see or do not see, as the end of a sentence.
        is_state: whether labels are a state of the whole animal, which any population may show.
        cache: where features of the unchanged checkpoint are kept; None: they are computed each time.
    """

    labels: Labels
    cluster_S: np.ndarray
    cluster_name: str
    subjects: int
    recordings: list[tuple[str, str]]
    lab_S: np.ndarray | None = None
    view: str = ""
    is_state: bool = False
    cache: FeatureCache | None = None

    @abstractmethod
    def split(self, folds: int, seed: int) -> Split:
        """The outer folds, over samples."""

    @abstractmethod
    def check(self, split: Split) -> None:
        """Raise if a split has the same data on both sides.

        Raises:
            StoreError: naming what stands on both.
        """

    @abstractmethod
    def inner(self, train: np.ndarray, seed: int) -> list[Fold]:
        """Folds inside training samples, as indices into ``train``; made as the outer ones are."""

    @abstractmethod
    def shuffles(self, repeats: int, seed: int) -> tuple[list[np.ndarray], str]:
        """Return ``repeats`` shufflings of the labels (fewer if few rotations exist) and their description."""

    def relabelled(self, y_S: np.ndarray) -> Self:
        """The same samples with other labels."""
        other = copy.copy(self)
        other.labels = replace(self.labels, y_S=y_S)
        return other

    def places(self) -> dict[str, np.ndarray]:
        """Where samples are, each an array with a row a sample: ``time_S`` in seconds, or recording and unit."""
        return {}

    @abstractmethod
    def features(self, model: EIT) -> Sequence[Features]:
        """What the model makes of the samples: alternatives among which the inner folds choose.

        They share one array; the last has it as `head_rows` takes it.
        """

    @abstractmethod
    def head_rows(self, x_TF: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the head of a finetuned model sees of `features`: ``(R, F)``, and the row of each sample."""

    @abstractmethod
    def head_features(self, model: EIT, samples: np.ndarray) -> np.ndarray:
        """``(len(samples), F)`` the same of some samples, by another model."""

    @abstractmethod
    def rate_features(self) -> Sequence[Features]:
        """Plain features of firing rates: alternatives among which the inner folds choose; read as the model's are."""

    def model_inputs(self, model: EIT, batch: WindowBatch) -> dict[str, Any]:
        """What a model is given of a batch that `draw` made."""
        return batch.model_inputs()

    @abstractmethod
    def draw(self, samples: np.ndarray, tokens: int, rng: np.random.Generator) -> tuple[WindowBatch, Picked]:
        """Windows of about ``tokens`` units x tokens for one update, and which samples they show.

        The weights of the samples add up so that over many draws each class has the same share of the loss.
        """


@dataclass(frozen=True)
class Picked:
    """Where in the output for a batch some samples lie.

    Args:
        samples: ``(R,)`` indices of samples.
        how: ``unit`` (mean over tokens of one unit), ``token`` (the population at a token) or ``window`` (the
            population at all tokens).
        row: ``(R,)`` window in the batch.
        column: ``(R,)`` unit or token in the window; unused for ``window``.
        weight: ``(R,)`` weight of each in the sum that is the loss.
    """

    samples: np.ndarray
    how: str
    row: np.ndarray
    column: np.ndarray
    weight: np.ndarray

    def features(self, out: EITOutput) -> torch.Tensor:
        """``(R, F)`` in the order of `Problem.head_rows`."""
        row, column = torch.as_tensor(self.row), torch.as_tensor(self.column)
        if self.how == "unit":
            assert out.z_BND is not None  # every model gives it
            return out.z_BND[row, column] if out.h_BNTD is None else out.h_BNTD[row, column].mean(dim=1)
        x_BTF = token_features(out)
        return x_BTF[row, column] if self.how == "token" else x_BTF[row].flatten(1)
