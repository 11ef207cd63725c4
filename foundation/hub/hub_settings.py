"""Settings of `foundation models`, `foundation pull` and `foundation push`; imports quickly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foundation.common.settings.setting_checks import check_local
from foundation.common.settings.setting_limits import Limit, Limited

Name = Annotated[str, Limit(lambda text: bool(str.strip(text)), "a name, a folder or a URL")]


@dataclass(frozen=True)
class ModelsSettings(Limited):
    """Settings of `foundation models`.

    Args:
        registry: your own registry file, in addition to $FOUNDATION_REGISTRY and the shipped one.

    Raises:
        ConfigError: if a value is invalid.
    """

    registry: str | None = None


@dataclass(frozen=True)
class PullSettings(Limited):
    """Settings of `foundation pull`.

    Args:
        name: a known name of a checkpoint, hf://org/name@revision, models:/name@alias, or any fsspec URL.
        output: a local folder to copy the checkpoint into; null: it stays in the cache.
        registry: your own registry file, in addition to $FOUNDATION_REGISTRY and the shipped one.

    Raises:
        ConfigError: if a value is invalid.
    """

    name: Name
    output: str | None = None
    registry: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_local(output=self.output)


@dataclass(frozen=True)
class PushSettings(Limited):
    """Settings of `foundation push`.

    Args:
        checkpoint: the folder of a model, the output of `foundation pretrain`, or any other name of a checkpoint.
        target: hf://org/name[@branch], models:/name[@alias], an fsspec URL such as s3://bucket/folder, or a folder.
        replace: overwrite another checkpoint at an fsspec URL or in a folder.
        private: only its owners can read a repository that is created on a hub.

    Raises:
        ConfigError: if a value is invalid.
    """

    checkpoint: Name
    target: Name
    replace: bool = False
    private: bool = True
