"""Limits in annotations: accepted and refused values, and their messages, from Python and the command line."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Annotated

import pytest

from foundation.common.errors import ConfigError
from foundation.common.settings.command import build_parser, parse
from foundation.common.settings.setting_limits import (
    Count,
    Limited,
    Natural,
    Positive,
    Seconds,
    Share,
    above,
    at_least,
    between,
    check_limits,
    finite,
    one_of,
    whole,
)


@dataclass(frozen=True)
class Engine(Limited):
    """An engine.

    Args:
        offload: where to.
        port: TCP port.
    """

    section = "engine."
    offload: Annotated[str, one_of("none", "cpu")] = "none"
    port: Annotated[int | None, between(1, 65535)] = None


@dataclass(frozen=True)
class Training(Limited):
    """A run.

    Args:
        steps: how many.
        seed: of everything drawn.
        rate: of learning.
        clip: of gradients.
        decay: of weights.
        size: of a model.
        share: of a batch.
        wait: for others.
        resamples: of the bootstrap.
        layers: of a model.
        hidden: share of tokens.
        offset: seconds.
        engine: a section.
    """

    steps: Count = 100
    seed: Natural = 0
    rate: Annotated[float, above(0, high=1)] = 0.1
    clip: Annotated[float, above(0)] = 1.0
    decay: Annotated[float, finite()] = 0.0
    size: Positive = 1.0
    share: Share = 0.5
    wait: Seconds = 1.0
    resamples: Annotated[int, at_least(100, "for an interval of 95 %")] = 500
    layers: Annotated[int, whole(1)] = 2
    hidden: Annotated[float, finite(below=1)] = 0.5
    offset: Annotated[float, finite(-math.inf)] = 0.0
    engine: Engine = field(default_factory=Engine)


def test_values_at_their_limits_are_accepted():
    edges = {"steps": 1, "seed": 0, "rate": 0.999, "clip": math.inf, "decay": 0.0, "share": 1.0, "resamples": 100}
    assert asdict(Training(**edges)) == asdict(Training()) | edges
    assert Engine(port=65535).port == 65535
    assert Engine(port=None).port is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is 0: expected at least 1"),
        ({"steps": None}, "steps is None: expected at least 1"),
        ({"steps": "3"}, "steps is '3': expected at least 1"),
        ({"seed": -1}, "seed is -1: expected 0 or more"),
        ({"rate": 1.0}, "rate is 1.0: expected more than 0 and less than 1"),
        ({"clip": 0.0}, "clip is 0.0: expected more than 0"),
        ({"decay": math.inf}, "decay is inf: expected a finite number from 0"),
        ({"size": math.inf}, "size is inf: expected a finite number above 0"),
        ({"share": 1.5}, "share is 1.5: expected 0 to 1"),
        ({"wait": 0}, "wait is 0: expected more than 0 seconds"),
        ({"resamples": 5}, "resamples is 5: expected at least 100, for an interval of 95 %"),
        ({"layers": 2.0}, "layers is 2.0: expected a whole number, at least 1"),
        ({"layers": True}, "layers is True: expected a whole number, at least 1"),
        ({"hidden": 1.0}, "hidden is 1.0: expected a finite number from 0 to below 1"),
        ({"decay": True}, "decay is True: expected a finite number from 0"),
        ({"offset": math.inf}, "offset is inf: expected a finite number"),
        *(
            ({name: math.nan}, f"{name} is nan: ")
            for name in ("steps", "rate", "clip", "decay", "size", "share", "wait", "hidden", "offset")
        ),
    ],
)
def test_values_beyond_a_limit_are_refused_with_the_limit_in_words(settings, message):
    with pytest.raises(ConfigError) as refused:
        Training(**settings)
    assert str(refused.value).startswith(message)


@dataclass(frozen=True)
class Plain:
    steps: Count = 1
    name: str = ""


def test_limits_of_a_class_that_is_not_limited_are_checked_on_demand():
    check_limits(Plain())
    with pytest.raises(ConfigError, match=r"^the plan: steps is 0: expected at least 1$"):
        check_limits(Plain(steps=0), "the plan: ")


def test_command_line_checks_limits_and_shows_plain_types(capsys):
    parser = build_parser("train", lambda settings: None, Training)
    assert parse(parser, Training, ["--engine.port", "22"]).engine.port == 22
    with pytest.raises(ConfigError, match=r"engine\.port is 0: expected 1 to 65535"):
        parse(parser, Training, ["--engine.port", "0"])
    with pytest.raises(ConfigError, match=r"engine\.offload is 'gpu': expected one of none, cpu"):
        parse(parser, Training, ["--engine.offload", "gpu"])
    parser.print_help()
    help_text = " ".join(capsys.readouterr().out.split())
    assert "how many. (type: int, default: 100)" in help_text
    assert "TCP port. (type: int | null, default: null)" in help_text
