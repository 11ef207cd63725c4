"""What a task hands over to be decoded: labelled samples, how they are split, and their features."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch

from foundation.data.batch import WindowBatch
from foundation.evaluation.metrics import CLASSES, VALUES
from foundation.evaluation.splits import Fold, Split
from foundation.models import EIT


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
    """

    task: str
    target: str
    title: str
    y_S: np.ndarray
    classes: tuple[str, ...] = ()
    value_names: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return CLASSES if self.classes else VALUES

    @property
    def n_classes(self) -> int:
        return len(self.classes)


class Problem(ABC):
    """Labelled samples of one target. Subclasses know where the samples' activity is.

    Attributes:
        labels: what is to be predicted.
        cluster_S: ``(S,)`` the part of the data that each sample belongs to; parts are independent of each other.
        cluster_name: what such a part is: animals, trials, time blocks, units.
        subjects: animals.
        recordings: (id, digest) of each recording.
        lab_S: ``(S,)`` laboratory of each sample, or None.
        view: what else the readouts see or do not see, as the end of a sentence.
    """

    labels: Labels
    cluster_S: np.ndarray
    cluster_name: str
    subjects: int
    recordings: list[tuple[str, str]]
    lab_S: np.ndarray | None = None
    view: str = ""

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
        """``repeats`` times the labels (fewer where few turns exist), dealt anew, and in words over what."""

    def relabelled(self, y_S: np.ndarray) -> Self:
        """The same samples with other labels."""
        other = copy.copy(self)
        other.labels = replace(self.labels, y_S=y_S)
        return other

    @abstractmethod
    def features(self, model: EIT, samples: np.ndarray | None = None) -> np.ndarray:
        """``(S, F)`` float32: what the model makes of the samples (of some of them)."""

    @abstractmethod
    def rate_features(self) -> Sequence[tuple[str, np.ndarray]]:
        """Plain features of firing rates: alternatives (name, ``(S, F)``) among which the inner folds choose."""

    @abstractmethod
    def draw(
        self, samples: np.ndarray, tokens: int, rng: np.random.Generator, bins_per_token: int
    ) -> tuple[WindowBatch, Picked]:
        """Windows of about ``tokens`` units x tokens for one update, and which samples they show.

        The weights of the samples add up so that over many draws each class has the same share of the loss.
        """


@dataclass(frozen=True)
class Picked:
    """Where in a batch's ``h_BNTD`` some samples lie.

    Args:
        samples: ``(R,)`` indices of samples.
        how: ``unit`` (mean over tokens of one unit), ``token`` (all units at a token) or ``window`` (all units at all
            tokens).
        row: ``(R,)`` window in the batch.
        column: ``(R,)`` unit or token in the window; unused for ``window``.
        weight: ``(R,)`` weight of each in the sum that is the loss.
    """

    samples: np.ndarray
    how: str
    row: np.ndarray
    column: np.ndarray
    weight: np.ndarray

    def features(self, h_BNTD: torch.Tensor) -> torch.Tensor:
        """``(R, F)`` in the order of `Problem.features`."""
        row = torch.as_tensor(self.row, device=h_BNTD.device)
        column = torch.as_tensor(self.column, device=h_BNTD.device)
        if self.how == "unit":
            return h_BNTD[row, column].mean(dim=1)
        if self.how == "token":
            return h_BNTD[row, :, column].flatten(1)
        return h_BNTD[row].transpose(1, 2).flatten(1)
