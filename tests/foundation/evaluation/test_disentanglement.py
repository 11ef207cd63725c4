import numpy as np
import pytest
import torch

from foundation.data import pad_windows
from foundation.data.steps.step import StepContext
from foundation.evaluation.disentanglement import parting
from foundation.models import SwapVAEModel
from foundation.objectives import SwapVAE, SwapVAESettings


def reaches(seed=0, trials=80, bins=12, units=20):
    """Trials of a population whose rates encode the target of a reach and its progress."""
    rng = np.random.default_rng(seed)
    trial = np.repeat(np.arange(trials), bins)
    target = rng.integers(0, 4, trials)[trial]
    phase = np.tile(np.linspace(0, 1, bins), trials)
    tuning, ramp = rng.normal(size=(4, units)), rng.normal(size=units)
    counts = rng.poisson(np.exp(1.0 + 0.7 * tuning[target] + 1.5 * phase[:, None] * ramp))
    return counts, trial, target, phase[:, None]


def test_information_is_found_only_in_the_part_that_holds_it():
    _, trial, target, phase = reaches()
    rng = np.random.default_rng(1)
    content = np.eye(4)[target] + 0.1 * rng.normal(size=(len(trial), 4))
    style = phase + 0.1 * rng.normal(size=(len(trial), 3))
    found = parting(content, style, target, phase, trial)
    assert found["content_target"] > 0.99
    assert found["style_target"] == pytest.approx(found["chance"], abs=0.12)
    assert found["style_dynamics"] > 0.9
    assert found["content_dynamics"] < 0.05
    assert found["parting"] == pytest.approx(0.75 + 0.95, abs=0.2)
    turned = parting(style, content, target, phase, trial)
    assert turned["parting"] == pytest.approx(-found["parting"])
    with pytest.raises(ValueError, match="cannot be cut"):
        parting(content, style, target, phase, np.zeros(len(trial)))
    for value in (0.1, np.nan):
        still = np.where(trial[:, None] >= 64, value, phase)
        with pytest.raises(ValueError, match="on the last 16 of 80 trials: expected finite dynamics"):
            parting(content, style, target, np.hstack([phase, still]), trial)


def test_trained_swap_vae_separates_target_and_dynamics():
    """Two bins of one trial share the reach's target, not its progress. The weights are the published ones."""
    counts, trial, target, phase = reaches()
    torch.manual_seed(0)
    settings = SwapVAESettings(units=20, content=8, style=4, hidden=32, hertz=True)
    model, objective = SwapVAEModel(settings.own_config()), SwapVAE(settings)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    rng = np.random.default_rng(0)

    def windows(rows):
        n = len(rows)
        return pad_windows(
            [counts[r][:, None] for r in rows],
            bin_widths=[0.1] * n,
            starts=[0.0] * n,
            modalities=[0] * n,
            bins_per_token=1,
        )

    for step in range(250):
        rows = rng.integers(0, len(trial), 128)
        mates = trial[rows] * 12 + rng.integers(0, 12, 128)
        item_B = torch.arange(128)
        context = StepContext(item_B, torch.zeros_like(item_B), step=step)
        loss = objective(model, [windows(rows), windows(mates)], context)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        out = model.eval()(**windows(np.arange(len(trial))).model_inputs())
    found = parting(out.content_BC.numpy(), out.mean_BS.numpy(), target, phase, trial)
    assert found["content_target"] > 0.8
    assert found["content_target"] > found["style_target"] + 0.2
    assert found["style_dynamics"] > max(found["content_dynamics"], 0.6)  # at these weights the style has not collapsed
    assert found["parting"] > 0.4
