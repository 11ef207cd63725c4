import pytest
import torch

from foundation.common.errors import ConfigError
from foundation.data import pad_windows
from foundation.models import EIT, EITConfig
from foundation.objectives import NeurPIR, NeurPIRSettings, ObjectiveSettings
from foundation.objectives.parts.rows import TooFewRowsError


def views(x_a, x_b):
    def batch(x_BNT):
        n = len(x_BNT)
        return pad_windows(
            [x.numpy() for x in x_BNT], bin_widths=[0.02] * n, starts=[0.0] * n, modalities=[0] * n, bins_per_token=4
        )

    return [batch(x_a), batch(x_b)]


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return EIT(EITConfig(dim=16, heads=2)), NeurPIR(NeurPIRSettings(projector=[8, 8]), dim=16)


def test_units_silent_in_one_segment_do_not_count(pair):
    model, objective = pair
    x = torch.poisson(torch.full((3, 4, 16), 1.0))
    quiet = x.clone()
    quiet[0, 1] = 0
    assert float(objective(model, views(x, x))["units"]) == 12
    assert float(objective(model, views(x, quiet))["units"]) == 11
    with pytest.raises(TooFewRowsError, match="only 0 units were active"):
        objective(model, views(x, torch.zeros_like(x)))


def test_equal_segments_have_no_invariance_term_and_full_similarity(pair):
    model, objective = pair
    x = torch.poisson(torch.full((3, 4, 16), 1.0))
    terms = objective(model, views(x, x))
    assert float(terms["invariance"].detach()) == 0
    assert float(terms["similarity_within"]) == pytest.approx(1.0, abs=1e-5)


def test_gradients_reach_encoder_and_projector(pair):
    model, objective = pair
    x, y = torch.poisson(torch.full((2, 3, 4, 16), 1.0))
    objective(model, views(x, y))["loss"].backward()
    for module in (model, objective):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters() if p.ndim > 1)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"projector": []}, "projector is"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens is 9"),
        ({"min_events": -1.0}, "-1"),
    ],
)
def test_invalid_settings_are_refused(change, what):
    with pytest.raises(ConfigError, match=what):
        NeurPIRSettings(**change)


def test_unknown_objective_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="'neurpear': expected one of byol, decoding, masked, myow"):
        ObjectiveSettings(name="neurpear")
