"""Renamed settings: old keys work with a warning, and digests use the old names."""

import hashlib
import json
import logging
from dataclasses import asdict, dataclass, field

import pytest
import yaml

from foundation.common.errors import ConfigError
from foundation.common.settings.command import build_parser, parse
from foundation.common.settings.renamed_settings import former_names, renamed
from foundation.training import PretrainSettings


@dataclass(frozen=True)
class Inner:
    """Limits.

    Args:
        min_rate: Hz.
        max_size: bytes.
    """

    min_rate: float = renamed("least_rate", 0.5)
    max_size: int | None = renamed("most_size", None)


@dataclass(frozen=True)
class Outer:
    """Settings.

    Args:
        limits: limits.
        more: more of them, or none.
        max_count: how many.
    """

    limits: Inner = field(default_factory=Inner)
    more: Inner | None = None
    max_count: int = renamed("most", 3)


def settings_of(*arguments: str) -> Outer:
    return parse(build_parser("example", Outer, Outer), Outer, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "old"),
    [
        (["--limits.least_rate", "1e-3", "--most", "7"], ["limits.least_rate", "most"]),
        (["--limits.least_rate=1e-3", "--most=7"], ["limits.least_rate", "most"]),
        (["--limits", "{least_rate: 1e-3}", "--max_count", "7"], ["limits.least_rate"]),
        (["--config", "{file}"], ["limits.least_rate", "most"]),
        (["--config={file}", "--max_count=7"], ["limits.least_rate", "most"]),
    ],
)
def test_old_keys_work_on_the_command_line_and_in_yaml_with_a_warning(tmp_path, caplog, arguments, old):
    file = tmp_path / "settings.yaml"
    file.write_text("limits:\n  least_rate: 1e-3   # Hz\nmost: 7\n")
    caplog.set_level(logging.WARNING)
    assert settings_of(*(a.format(file=file) if "{file}" in a else a for a in arguments)) == Outer(Inner(1e-3), None, 7)
    output = [record.getMessage().split(" was renamed ")[0] for record in caplog.records]
    assert output == old


def test_new_keys_give_no_warning_and_later_options_win(tmp_path, caplog):
    file = tmp_path / "settings.yaml"
    file.write_text("limits: {min_rate: 2.0}\nmore: {max_size: 5}\n")
    assert settings_of("--config", str(file), "--max_count", "1") == Outer(Inner(2.0), Inner(0.5, 5), 1)
    assert not caplog.records
    file.write_text("limits: {least_rate: 2.0}\n")
    assert settings_of("--config", str(file), "--limits.min_rate", "3.0").limits.min_rate == 3.0


def test_setting_under_both_names_is_an_error(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("limits: {least_rate: 2.0, min_rate: 2.0}\n")
    with pytest.raises(ConfigError, match=r"limits\.least_rate and limits\.min_rate are both set"):
        settings_of("--config", str(file))


def test_unknown_key_beside_old_names_is_an_error(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text("limits: {least_rate: 2.0, rate: 1}\n")
    with pytest.raises(ConfigError, match="rate"):
        settings_of("--config", str(file))


def test_former_names_are_those_of_the_previous_version():
    values = asdict(Outer(more=Inner()))
    inner = {"least_rate": 0.5, "most_size": None}
    assert former_names(Outer, values) == {"limits": inner, "more": inner, "most": 3}
    assert former_names(Outer, asdict(Outer()))["more"] is None


OLD_IDENTITY = "dcf49d77cbb016439f0e40affa77758eab9a36eb9c529e488fddaa36bcc1ef20"


def test_run_identity_is_unchanged_by_renamed_settings(tmp_path):
    """Checkpoints store the identity: a run that was written under the old names must resume."""
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump({"store": "s", "output": "o", "objective": {"neurpir": {"shortest": 6}}}))
    settings = parse(
        build_parser("pretrain", PretrainSettings, PretrainSettings), PretrainSettings, ["--config", str(file)]
    )
    assert settings.objective.neurpir.min_tokens == 6
    identity = json.dumps(settings.identity(), sort_keys=True)
    assert '"shortest": 6' in identity
    assert "min_tokens" not in identity
    assert hashlib.sha256(identity.encode()).hexdigest() == OLD_IDENTITY
