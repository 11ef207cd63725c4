"""What `foundation pack` is told. Light to import."""

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
    """Where the recordings of some animals come from, for those whose files do not say.

    Args:
        subjects: regular expression that matches a whole subject's name, without its namespace.
        source: in words.
        licence: of the recordings.

    Raises:
        ConfigError: if a value is impossible.
    """

    section = "sources."
    subjects: Pattern
    source: str
    licence: str


@dataclass(frozen=True)
class PackSettings(Limited):
    """What `foundation pack` writes: a folder with a checkpoint, its licence and its card.

    Args:
        checkpoint: the output folder of `foundation pretrain`.
        output: the folder to write; a checkpoint that is there is replaced.
        name: of the model, for its card; null: that of the folder.
        results: the output folder of `foundation finetune` with this checkpoint, for the figures; null: none.
        licence: of the weights, as SPDX names it.
        holder: who grants the licence.
        sources: where recordings come from whose files do not say; the first rule that fits counts.
        commands: the commands that made the checkpoint, for its card.
        limits: what a user has to know besides, sentence after sentence.
        watts: power of the machine while it trained, for an estimate of the energy; null: none is made.
        max_bytes: the weights and config may have at most.

    Raises:
        ConfigError: if a value is impossible.
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
