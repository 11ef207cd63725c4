"""`foundation pack`: pack the output of pretraining as a folder to share, with licence and model card."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune.current_results import read_current
from finetune.packing.pack_settings import PackSettings
from finetune.packing.packed_card import Made, packed_card
from finetune.report.score_table import rows
from foundation.common.errors import CheckpointError
from foundation.common.files.locks import whole_folder
from foundation.hub.checkpoint_files import FILES, digest_of, find_checkpoint, is_checkpoint
from foundation.hub.checkpoints import load_model
from foundation.hub.model_listing import size_text
from foundation.models.saved.checkpoint_check import read_config, weight_shapes

RECORD, METRICS, LICENCE = "pretraining.json", "metrics.jsonl", "LICENSE"


@dataclass(frozen=True)
class Packed:
    """A packed folder.

    Args:
        folder: with config.json, model.safetensors, README.md, LICENSE and pretraining.json.
        sha256: digest of the checkpoint.
        size: bytes of config and weights.
        figures: number of targets with scores in the card.
    """

    folder: Path
    sha256: str
    size: int
    figures: int

    def __str__(self) -> str:
        return f"{self.folder}: {size_text(self.size)}, sha256 {self.sha256}, figures of {self.figures} targets"


def pack(settings: PackSettings) -> Packed:
    """Write a folder to share: a checkpoint with its licence, a card, and the record of its pretraining.

    Raises:
        CheckpointError: if the checkpoint is missing, does not load, is too large or lacks the record of its
            pretraining, or the output has other content.
        FoundationError: if ``results`` has none of this checkpoint.
    """
    source = find_checkpoint(settings.checkpoint)
    load_model(source)
    made = _made(source)
    if settings.max_bytes is not None and made.size > settings.max_bytes:
        raise CheckpointError(
            f"{source} has {made.size} bytes of config and weights: expected at most {settings.max_bytes} (max_bytes); "
            "choose a smaller model"
        )
    results = [] if settings.results is None else read_current(settings.results, made.digest, None).results
    output = Path(settings.output)
    if output.exists() and any(output.iterdir()) and not is_checkpoint(output):
        raise CheckpointError(f"output is {str(output)!r}, which has other content: expected a new folder")
    table = rows(results)
    granted = f"The weights in this folder are licensed under {settings.licence} by {settings.holder}."
    licence = f"SPDX-License-Identifier: {settings.licence}\n\n{granted}\n"
    card = packed_card(settings, settings.name or output.name, made, table)
    with whole_folder(output, replace=True) as part:
        for file in (*FILES, RECORD):
            shutil.copyfile(source / file, part / file)
        (part / "README.md").write_text(card, encoding="utf-8")
        (part / LICENCE).write_text(licence, encoding="utf-8")
    return Packed(output, made.digest, made.size, len(table))


def _made(source: Path) -> Made:
    """Return a checkpoint's provenance from the files of its run.

    Raises:
        CheckpointError: if the record of its pretraining is missing.
    """
    try:
        record: dict[str, Any] = json.loads((source / RECORD).read_text(encoding="utf-8"))
        if not isinstance(record.get("recordings"), list) or record.get("format") != 1:
            raise ValueError(f"format is {record.get('format')!r}: expected 1")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{source / RECORD} cannot be read ({error}): it records the data of pretraining; `foundation pretrain` "
            "writes it beside the weights; pretrain again with this version"
        ) from error
    shapes = weight_shapes(source)
    size = sum((source / file).stat().st_size for file in FILES)
    parameters = sum(math.prod(shape) for shape in shapes.values())
    return Made(record, _seconds(source.parent / METRICS), digest_of(source), size, parameters, read_config(source))


def _seconds(metrics: Path) -> float:
    """Return the seconds of training: of each line of metrics, its mean step times the steps since the line before."""
    total, before = 0.0, 0
    if not metrics.is_file():
        return 0.0
    for line in metrics.read_text(encoding="utf-8").splitlines():
        try:
            found = json.loads(line)
            total += found.get("seconds", 0.0) * (found["step"] - before)
            before = found["step"]
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return total
