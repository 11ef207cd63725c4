import pytest
import torch

from foundation.common.errors import ConfigError
from foundation.common.settings.command import build_parser, parse
from foundation.models import EIT, EITConfig
from foundation.training import PretrainSettings, pretrain


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("eit-tiny", 0.3),
        ("eit-tiny-population", 0.21),
        ("eit-tiny-intervals", 0.58),
        ("eit-small", 5.0),
        ("eit-base", 40.0),
        ("eit-large", 300.0),
    ],
)
def test_sizes_have_the_documented_parameters(name, millions):
    with torch.device("meta"):
        model = EIT(EITConfig.named(name))
    found = sum(p.numel() for p in model.parameters()) / 1e6
    assert found == pytest.approx(millions, rel=0.1)


@pytest.mark.parametrize("name", ["eit-tiny", "eit-tiny-population", "eit-tiny-intervals", "eit-small", "nuclr"])
def test_run_takes_its_size_from_a_shipped_config(name):
    given = ["--store", "s", "--output", "o", "--config", "pretrain/demo", "--config", f"model/{name}"]
    settings = parse(build_parser("pretrain", pretrain, PretrainSettings), PretrainSettings, given)
    shape = EITConfig.named(name, **({} if "intervals" in name else {"patch_length": settings.model.patch_length}))
    assert settings.model.config().to_dict() == shape.to_dict()
    assert settings.steps == 300  # settings outside the size stay


def test_small_sizes_run():
    for name in ("eit-tiny", "nuclr"):
        model = EIT(EITConfig.named(name)).eval()
        n_bins = 2 * model.config.patch_length
        out = model(
            torch.ones(1, 3, n_bins),
            torch.ones(1, 3, dtype=torch.bool),
            torch.ones(1, n_bins, dtype=torch.bool),
            torch.tensor([0.02]),
            torch.tensor([0]),
        )
        assert out.z_BND.isfinite().all()


def test_unknown_size_is_refused_by_name():
    with pytest.raises(ConfigError, match="no model 'eit-huge': expected one of eit-base, eit-large"):
        EITConfig.named("eit-huge")
