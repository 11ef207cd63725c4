"""Keep the head of a target: fit it to all labelled samples and write it, unless it is there."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from finetune.finetune_settings import FinetuneSettings
from finetune.heads.fitting.any_population import fit_any_population
from finetune.heads.fitting.fit_head import Evaluated, fit_head, read_from
from finetune.heads.head import ANY_POPULATION, MODEL, SCHEMA, head_name
from finetune.heads.head_files import read_key, save_head
from finetune.tasks.problems.decoding_task import Problem
from finetune.tasks.problems.window_task import WindowProblem
from foundation.common.credentials import without_secrets_in_url
from foundation.common.digests import json_digest
from foundation.models import EIT

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptHead:
    """The head of a target, in ``<output>/<target>``.

    Args:
        problem: the target.
        settings: of the evaluation.
        keys: mode -> digest of what decides its numbers.
    """

    problem: Problem
    settings: FinetuneSettings
    keys: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """Where it lies."""
        labels = self.problem.labels
        return Path(self.settings.output) / head_name(labels.task, labels.target)

    @property
    def key(self) -> str:
        """Digest of everything that decides its numbers."""
        return json_digest([SCHEMA, self.settings.keep, *self.keys.values()])

    @cached_property
    def is_kept(self) -> bool:
        """Whether the head was written with these settings before, or none is wanted."""
        return not self.settings.heads or read_key(self.folder) == self.key

    def keep(self, about: Evaluated, grown: EIT | None = None) -> None:
        """Fit it to all labelled samples, and write it.

        Args:
            about: what was evaluated.
            grown: the model, where it got rows for the recording; it is written with the head.
        """
        began = time.perf_counter()
        head, adapted = fit_head(self.problem, about, self.settings)
        frozen = None
        if grown is not None and not adapted:
            head, adapted = read_from(head, grown)
        elif grown is not None and MODEL in head.sources:
            frozen = grown  # the finetuned model stands beside a readout of it
        save_head(head, self.folder, adapted, frozen)
        log.info("%s: head (%s) in %s, %.1f s", head.name, head.kept.mode, self.folder, time.perf_counter() - began)


def keep_any_population(problem: WindowProblem, about: Evaluated, settings: FinetuneSettings) -> None:
    """Fit the head of a state that reads any population, and write it to ``<output>/any_population/<head>``.

    Args:
        problem: the state.
        about: what was evaluated, with averages over units as features.
        settings: of the evaluation.
    """
    head = fit_any_population(problem, about, settings)
    folder = Path(settings.output) / ANY_POPULATION / head.name
    save_head(head, folder)
    log.info("%s: head of any population (%s) in %s", head.name, head.kept.mode, folder)


def lasting_name(checkpoint: str) -> str:
    """Return the name under which a checkpoint is found again: the whole path of a local folder.

    Example:
        >>> lasting_name("s3://lab/model")
        's3://lab/model'
    """
    local = Path(checkpoint)
    return str(local.resolve()) if local.is_dir() else without_secrets_in_url(checkpoint)
