"""Every shipped objective config parses, matches its name, and builds."""

from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from foundation.common.settings.command import build_parser, parse
from foundation.common.settings.resources import config_folder
from foundation.objectives import NeurPIRSettings, build_objective, own_model
from foundation.training import PretrainSettings, pretrain

NAMES = sorted(path.stem for path in (Path(config_folder()) / "objective").glob("*.yaml"))


def settings_of(*configs: str, **more: str) -> PretrainSettings:
    arguments = ["--store", "s", "--output", "o"]
    for config in configs:
        arguments += ["--config", config]
    for key, value in more.items():
        arguments += [f"--{key}", value]
    return parse(build_parser("foundation pretrain", pretrain, PretrainSettings), PretrainSettings, arguments)


@pytest.mark.parametrize("name", NAMES)
def test_config_parses_beside_a_run_builds_and_survives_writing(name, tmp_path):
    settings = settings_of("pretrain/demo", f"objective/{name}")
    assert settings.steps == 300  # the run's own settings stay
    model = own_model(settings.objective)
    if model is None:
        from foundation.models import EIT, EITConfig

        model = EIT(EITConfig(dim=8, heads=2, population_layers=settings.model.population_layers))
    objective = build_objective(settings.objective, getattr(model.config, "dim", 8), model)
    assert objective.view_spec.tokens >= 1
    written = tmp_path / "launch.yaml"  # what launched processes read
    written.write_text(yaml.safe_dump(asdict(settings)))
    assert settings_of(str(written)) == settings


def test_ablations_differ_from_neurpir_in_one_setting():
    def flat(name: str) -> dict:
        whole = asdict(settings_of("pretrain/demo", f"objective/{name}").objective.neurpir)
        weights = whole.pop("vicreg")
        return whole | {f"vicreg.{key}": value for key, value in weights.items()}

    base = flat("neurpir")
    changed = {
        "neurpir-no-cebra": {"surround"},
        "neurpir-no-surround": {"surround"},
        "neurpir-no-variance": {"vicreg.variance"},
        "neurpir-no-covariance": {"vicreg.covariance"},
        "neurpir-fixed-length": {"min_tokens"},
    }
    assert {n for n in NAMES if n.startswith("neurpir-")} == {*changed, "neurpir-ndt"}
    for name, keys in changed.items():
        other = flat(name)
        assert {key for key in base if base[key] != other[key]} == keys, name
    assert flat("neurpir-no-cebra")["surround"]["kind"] == "raw"
    assert flat("neurpir-no-surround")["surround"] is None
    assert flat("neurpir-no-variance")["vicreg.variance"] == flat("neurpir-no-covariance")["vicreg.covariance"] == 0
    fixed = settings_of("pretrain/demo", "objective/neurpir-fixed-length").objective.neurpir
    assert fixed.min_tokens == fixed.max_tokens
    assert isinstance(fixed, NeurPIRSettings)


def test_settings_can_be_changed_on_the_command_line():
    settings = settings_of("objective/neurpir-ndt", **{"objective.weights": '{"ndt": 2.0}'})
    assert settings.objective.weights == {"ndt": 2.0}
    more = {"objective.name": "nuclr", "objective.nuclr.augmentations": '[{"name": "noise", "size": 0.5}]'}
    noisy = settings_of("pretrain/demo", **more)
    assert noisy.objective.nuclr.augmentations[0].size == 0.5
