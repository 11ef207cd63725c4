"""Settings of `foundation pack`. Quick to import."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated

from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import Limit, Limited, above

SPDX = re.compile(r"[A-Za-z0-9.+-]+")
Spdx = Annotated[str, Limit(lambda text: SPDX.fullmatch(text) is not None, "an SPDX name such as Apache-2.0")]


def _is_pattern(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return bool(text)


Pattern = Annotated[str, Limit(_is_pattern, "a regular expression")]


@dataclass(frozen=True)
class SourceRule(Limited):
    """Source and licence of some animals' recordings, if their files do not state them.

    Args:
        subjects: regular expression that matches the whole name of a subject, without its namespace.
        source: source as text.
        licence: of the recordings.

    Raises:
        ConfigError: if a value is invalid.
    """

    section = "sources."
    subjects: Pattern
    source: str
    licence: str


@dataclass(frozen=True)
class PackSettings(Limited):
    """Input and output of `foundation pack`: a folder with a checkpoint, its licence and its card.

    Args:
        checkpoint: the output folder of `foundation pretrain`.
        output: the folder to write; an existing checkpoint is replaced.
        name: of the model, for its card; null: the folder's name.
        results: the output folder of `foundation finetune` with this checkpoint, for the scores; null: none.
        licence: of the weights, as SPDX names it.
        holder: name of the licensor.
        sources: sources of recordings whose files do not state them; the first matching rule counts.
        commands: the commands that made the checkpoint, for its card.
        limits: further limitations for users, one sentence each.
        watts: power of the machine while it trained, for an estimate of the energy; null: no estimate.
        max_bytes: maximum bytes of weights and config.

    Raises:
        ConfigError: if a value is invalid.
    """

    checkpoint: str
    output: str
    name: str | None = None
    results: str | None = None
    licence: Spdx = "Apache-2.0"
    holder: str = "the authors of neural-foundation"
    sources: list[SourceRule] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    limits: list[str] = field(default_factory=list)
    watts: Annotated[float | None, above(0, "watts")] = None
    max_bytes: Annotated[int | None, above(0, "bytes")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(output=self.output, results=self.results)
