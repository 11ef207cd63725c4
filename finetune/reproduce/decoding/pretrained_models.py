"""Models that a table of decoding reads: pretrained on all activity, or without the time of a test block."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from foundation.common.digests import json_digest
from foundation.common.settings.command import parse_mapping
from foundation.common.settings.resources import find_config
from foundation.hub.checkpoints import load_model
from foundation.models import EIT
from foundation.store import Catalog
from foundation.training.inputs.training_recordings import recordings_digest
from foundation.training.pretrain_job import pretrain
from foundation.training.pretrain_settings import PretrainSettings

log = logging.getLogger(__name__)
Spans = list[list[float]]


@dataclass(frozen=True)
class PretrainedModels:
    """Pretrains models as they are asked for, and keeps them.

    Args:
        config: of `foundation pretrain`, a file or the name of a shipped one.
        catalog: recordings to pretrain on, all of the store or some.
        everything: all recordings of the store.
        folder: of kept models, a run of `foundation pretrain` each.
        held_out: for each test block, recording id -> ``[start, end]`` seconds of the block.
        changes: settings that differ from the config's, by dotted key.
    """

    config: str
    catalog: Catalog
    everything: Catalog
    folder: Path
    held_out: Sequence[Mapping[str, Spans]]
    changes: Mapping[str, Any] = field(default_factory=dict)

    def without(self, recording_id: str) -> PretrainedModels:
        """Return models that are pretrained on all recordings of the store but one."""
        others = self.everything.select([name for name in self.everything.ids if name != recording_id])
        return replace(self, catalog=others, held_out=[])

    def settings(self, seed: int, block: int | None = None) -> PretrainSettings:
        """Return the settings of a run that sees all time, or all but a test block with a gap around it."""
        given = yaml.safe_load(find_config(self.config).read_text(encoding="utf-8"))
        for key, value in self.changes.items():
            *rooms, last = key.split(".")
            room = given
            for name in rooms:
                room = room.setdefault(name, {})
            room[last] = value
        plain: PretrainSettings = parse_mapping(
            PretrainSettings, {**given, "store": self.catalog.store.url, "output": str(self.folder), "seed": seed}
        )
        held_out = {} if block is None else dict(self.held_out[block])
        others = [f"id != '{name}'" for name in self.catalog.ids] if len(self.catalog) < len(self.everything) else []
        settings = replace(
            plain,
            data=replace(plain.data, held_out_time=held_out),
            validation=replace(plain.validation, held_out=" and ".join(others)),
        )
        what = "all" if block is None else f"without-block{block}"
        digest = json_digest([settings.identity(), recordings_digest(self.catalog)])[:16]
        return replace(settings, output=str(self.folder / f"decoding-seed{seed}-{what}-{digest}"))

    def about(self, seed: int, *blocks: int | None) -> dict[str, Any]:
        """Return what decides the weights of some models, for the configuration of a run."""
        identities = [self.settings(seed, block).identity() for block in blocks]
        return {"config": self.config, "steps": identities[0]["steps"], "digest": json_digest(identities)[:16]}

    def __call__(self, seed: int, block: int | None = None) -> EIT:
        """Return a model; it is pretrained, or pretraining goes on, where it is not kept yet."""
        settings = self.settings(seed, block)
        if (Path(settings.output) / "finished.json").is_file():
            return load_model(Path(settings.output) / "model")
        log.info("pretraining with seed %d, %s", seed, "all activity" if block is None else f"without block {block}")
        return load_model(pretrain(settings))
