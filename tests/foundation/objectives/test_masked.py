"""Masked modelling of the population, compared with a likelihood computed by loops."""

import math

import numpy as np
import pytest
import torch
from objective_cases import CASES, PATCH, build, global_batch

from foundation.common.errors import ConfigError
from foundation.data import StepPlan, WindowBatch, pad_windows
from foundation.data.steps.data_settings import DataSettings
from foundation.data.steps.step import StepContext
from foundation.data.steps.views import ViewSpec, draw_cut
from foundation.models import EIT, EITConfig
from foundation.objectives import Masked, MaskedSettings, ObjectiveSettings, build_objective
from foundation.store import Catalog, Interval, Store

CASE = CASES["masked"]


@pytest.mark.parametrize("modality", [0, 1])
def test_loss_is_the_likelihood_of_hidden_bins_alone(modality):
    model, objective = build(CASE, torch.float64)
    views, context = global_batch(objective, CASE, 0, torch.float64)
    view = views[0]
    view.modality_B = torch.full_like(view.modality_B, modality)
    terms = objective(model, views, context)
    unit_BN, time_BT = objective.hidden(view, context)
    total, count, nats, events = 0.0, 0, 0.0, 0.0
    for b in range(len(view)):
        n, t = int(view.mask_BN[b].sum()), int(view.mask_BT[b].sum()) // PATCH
        one = {name: tensor[b : b + 1] for name, tensor in view.model_inputs().items()}
        out = model(**one, hidden_BN=unit_BN[b : b + 1], hidden_BT=time_BT[b : b + 1], units=False)
        for i in range(n):
            for k in range(t):
                if not (unit_BN[b, i] or time_BT[b, k]):
                    continue
                bins = view.x_BNT[b, i, k * PATCH : (k + 1) * PATCH].tolist()
                predicted, usual = float(out.expected_BNT[0, i, k].detach()), float(out.usual_BN[0, i])
                if modality:
                    loss = 0.5 * (predicted - math.asinh(sum(bins) / PATCH)) ** 2
                else:
                    loss = math.exp(predicted) - sum(bins) * predicted
                    if unit_BN[b, i]:
                        nats += math.exp(usual) - sum(bins) * usual - loss
                        events += sum(bins)
                total, count = total + loss / (1 if modality else max(math.exp(usual), 1)), count + 1
    assert float(terms["loss"].detach()) == pytest.approx(total / count, rel=1e-10)
    expected_bits = nats / max(events, 1) / math.log(2)
    assert float(terms["bits_units"]) == pytest.approx(expected_bits, rel=1e-8, abs=1e-12)


def test_predicting_usual_rates_gains_nothing():
    model, objective = build(CASE)
    with torch.no_grad():
        model.population.rows.table_0[:, 8:] = 0
    views, context = global_batch(objective, CASE, 0)
    terms = objective(model, views, context)
    assert float(terms["bits_units"]) == pytest.approx(0, abs=1e-6)
    assert float(terms["bits_time"]) == pytest.approx(0, abs=1e-6)


def test_shares_are_hidden_and_something_stays_visible():
    model, _ = build(CASE)
    views, context = global_batch(build(CASE)[1], CASE, 0)
    view = views[0]
    shares = []
    for step in range(200):
        objective = Masked(MaskedSettings(2, 4, hide_units=0.4, hide_time=0.2), 8, model)
        unit_BN, time_BT = objective.hidden(view, StepContext(context.item_B, context.recording_B, seed=1, step=step))
        assert not (unit_BN & ~view.mask_BN).any()
        assert (view.mask_BN & ~unit_BN).any(1).all()
        tokens_BT = view.mask_BT.unflatten(1, (-1, PATCH)).all(-1)
        assert (tokens_BT & ~time_BT).any(1).all()
        shares.append([float(unit_BN.sum() / view.mask_BN.sum()), float(time_BT.sum() / tokens_BT.sum())])
    assert np.mean(shares, axis=0) == pytest.approx([0.4, 0.2], abs=0.03)
    all_of_it = Masked(MaskedSettings(2, 4, hide_units=0.999, hide_time=0.0), 8, model).hidden(view, context)
    assert ((view.mask_BN & ~all_of_it[0]).sum(1) == 1).all()
    assert not all_of_it[1].any()


def test_units_without_a_row_are_neither_read_nor_predicted():
    model, objective = build(CASE)
    views, context = global_batch(objective, CASE, 0)
    plain = objective(model, views, context)
    views[0].population_row_BN[:, 0] = -1
    changed = objective(model, views, context)
    views[0].x_BNT[:, 0] = 50
    again = objective(model, views, context)
    assert float(changed["loss"]) != float(plain["loss"])
    assert float(again["loss"]) == float(changed["loss"])


def test_models_and_windows_without_rows_are_refused():
    with pytest.raises(ConfigError, match="needs a population stream: set model"):
        build_objective(ObjectiveSettings("masked"), 8, EIT(EITConfig(dim=8, heads=2)))
    model, objective = build(CASE)
    views, context = global_batch(objective, CASE, 0)
    views[0].population_row_BN = None
    with pytest.raises(ConfigError, match="has no population_row_BN"):
        objective(model, views, context)
    with pytest.raises(ConfigError, match="at least one above 0"):
        MaskedSettings(hide_units=0, hide_time=0)
    with pytest.raises(ConfigError, match="hide_time is 1"):
        MaskedSettings(hide_time=1)


def test_own_rows_are_unused_in_a_share_of_windows():
    _, objective = build(CASES["masked_made"])
    views, context = global_batch(objective, CASES["masked_made"], 0)
    drawn = [
        objective.made(views[0], StepContext(context.item_B, context.recording_B, seed=1, step=step))
        for step in range(200)
    ]
    assert float(torch.stack(drawn).float().mean()) == pytest.approx(0.5, abs=0.05)
    assert build(CASE)[1].made(views[0], context) is None
    with pytest.raises(ConfigError, match=r"made_windows is 0\.5 and model\.made_rows false"):
        build_objective(ObjectiveSettings("masked", masked=MaskedSettings(2, 4, made_windows=0.5)), 8, build(CASE)[0])
    with pytest.raises(ConfigError, match=r"made_windows is 1\.5: expected a share"):
        MaskedSettings(made_windows=1.5)


def test_short_trials_are_drawn_as_often_as_long_ones():
    rng = np.random.default_rng(0)
    trials = Interval([0.0, 2.0, 4.0, 6.0], [0.4, 3.0, 4.15, 6.8])
    drawn = [draw_cut(rng, trials, 8, 2, 0.1, 0.1) for _ in range(3000)]
    share = {start: sum(d[0] == pytest.approx(start) for d in drawn) / 3000 for start in (0.0, 2.0, 2.1, 2.2, 6.0)}
    assert list(share.values()) == pytest.approx([0.2] * 5, abs=0.03)
    assert {n for start, n in drawn if start < 1} == {4}  # cut to the trial
    assert {n for start, n in drawn if start >= 2} == {8}
    assert draw_cut(rng, Interval([0.0], [0.15]), 8, 2, 0.1, 0.1) is None


def test_windows_of_a_store_lie_within_observed_time(small_store):
    catalog = Catalog.open(Store(small_store))
    data = DataSettings(bin_widths=[0.025], tokens_per_step=4096, min_windows=4, max_units=12)
    plan = StepPlan(catalog, data, ViewSpec(1, 4, 40, cut=True), bins_per_token=2, seed=0)
    found, domains = [w for step in range(3) for w in plan(step)], {r.id: r.observed for r in catalog}
    for window in found:
        domain, view = domains[window.recording], window.views[0]
        end = view.start + view.n_bins * window.bin_width
        assert any(s - 1e-9 <= view.start and end <= e + 1e-6 for s, e in zip(domain.start, domain.end, strict=True))
        assert 8 <= view.n_bins <= 80
        assert view.n_bins % 2 == 0
    again = StepPlan(catalog, data, ViewSpec(1, 4, 40, cut=True), bins_per_token=2, seed=0)
    assert [w.views for w in again(2)] == [w.views for w in plan(2)]


def windows(n_windows: int, seed: int, shared: bool) -> WindowBatch:
    """Twelve units that follow one slow signal or, if it is not shared, separate signals."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (n_windows, 1 if shared else 12, 1))
    signal_BNT = np.sin(phase + np.arange(12) * 0.7) * np.where(np.arange(12) % 2, 1.2, -1.2)[:, None]
    counts_BNT = rng.poisson(np.exp(signal_BNT))
    batch = pad_windows(list(counts_BNT), bin_widths=[0.1] * n_windows, starts=[0.0] * n_windows,
                        modalities=[0] * n_windows, bins_per_token=1)  # fmt: skip
    batch.population_row_BN = torch.arange(12).repeat(n_windows, 1)
    return batch


@pytest.mark.parametrize("shared", [True, False])
def test_hidden_units_are_predicted_only_from_units_that_share_a_signal(shared):
    torch.manual_seed(0)
    model = EIT(EITConfig(dim=16, heads=2, interaction_layers=0, patch_length=1, population_layers=1))
    mean = float(windows(200, 9, shared).x_BNT.mean())
    model.add_populations({"a": torch.full((12,), mean * 10).log()})
    objective = Masked(MaskedSettings(12, 12), 16, model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(150):
        batch = windows(32, step, shared)
        context = StepContext(torch.arange(32), torch.zeros(32, dtype=torch.int64), step=step)
        loss = objective(model, [batch], context)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        terms = objective(model, [windows(300, 1000, shared)], StepContext(torch.arange(300), torch.zeros(300).long()))
    assert (float(terms["bits_units"]) > 0.2) == shared
    assert abs(float(terms["bits_units"])) > 0.2 or float(terms["bits_units"]) < 0.02
