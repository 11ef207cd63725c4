"""Summed objectives with separate windows: units in tokens of seconds, populations in short ones."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from foundation.common.errors import ConfigError
from foundation.data import DataSettings, Loader
from foundation.data.steps.data_settings import OwnWindows
from foundation.data.steps.plans_in_turn import PlansInTurn
from foundation.models import EIT, EITConfig
from foundation.objectives import MaskedSettings, NeurPIRSettings, ObjectiveSettings
from foundation.store import Catalog, Store, write_recording
from foundation.training import ModelSettings, pretrain
from foundation.training.distributed.engine import build_module
from foundation.training.inputs.run_plan import run_plan
from foundation.training.pretrain_settings import ValidationSettings

MODEL = ModelSettings(
    dim=16,
    heads=2,
    individual_layers=1,
    interaction_layers=0,
    population_layers=1,
    patch_length=1000,
    population_patch_length=20,
    tokens="intervals",
)
OBJECTIVE = ObjectiveSettings(
    weights={"neurpir": 1.0, "masked": 0.5},
    neurpir=NeurPIRSettings(min_tokens=2, max_tokens=4, loss="infonce", projector=[16]),
    masked=MaskedSettings(min_tokens=8, max_tokens=16),
)
DATA = DataSettings(
    bin_widths=[0.001],
    tokens_per_step=256,
    min_windows=2,
    max_units=12,
    own_windows={"masked": OwnWindows(bin_widths=[0.005], tokens_per_step=1024)},
)


@pytest.fixture
def two_scales(tiny):
    """Build settings of a run over two kinds of windows."""
    return lambda **changes: tiny(**({"model": MODEL, "objective": OBJECTIVE, "data": DATA} | changes))


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_each_objective_reads_its_own_windows(two_scales):
    settings = two_scales()
    module = build_module(settings)
    catalog = Catalog.open(Store(settings.store))
    plan = run_plan(catalog, DATA, module.objective, module.model.config, seed=3)
    assert isinstance(plan, PlansInTurn)
    units, population = (Loader(catalog, plan, prefetch=0).load(2 + k) for k in range(2))
    assert (units.step, population.step) == (1, 1)
    assert (len(units.views), len(population.views)) == (2, 1)
    assert units.dt_B.unique().tolist() == pytest.approx([0.001])
    assert population.dt_B.unique().tolist() == pytest.approx([0.005])
    assert units.x_BNT.shape[2] % 1000 == 0
    assert population.x_BNT.shape[2] % 20 == 0
    assert population.x_BNT.shape[2] <= 16 * 20
    assert (units.context.bins_per_token, population.context.bins_per_token) == (1000, 20)


def test_workers_read_the_same_windows(two_scales):
    settings = two_scales()
    module = build_module(settings)
    catalog = Catalog.open(Store(settings.store))
    plan = run_plan(catalog, DATA, module.objective, module.model.config, seed=3)
    here = list(Loader(catalog, plan, prefetch=0).steps(0, 4))
    there = list(Loader(catalog, plan, workers=1).steps(0, 4))
    for a, b in zip(here, there, strict=True):
        assert a.context.bins_per_token == b.context.bins_per_token
        assert all(torch.equal(x.x_BNT, y.x_BNT) for x, y in zip(a.views, b.views, strict=True))


def test_run_trains_both_streams_and_resumes(two_scales, tmp_path):
    whole = pretrain(two_scales(output=tmp_path / "whole"))
    last = metrics(tmp_path / "whole")[-1]
    assert last["loss"] == pytest.approx(last["neurpir/loss"] + 0.5 * last["masked/loss"], rel=1e-5)
    start = build_module(two_scales()).model.state_dict()
    trained = load_file(whole / "model.safetensors")
    for part in ("individual.", "population.trunk."):
        assert any(not torch.equal(trained[name], start[name]) for name in start if name.startswith(part)), part

    late_ones = list((tmp_path / "whole" / "checkpoints").glob("step-0000000[46]"))
    assert late_ones
    for late in late_ones:
        shutil.rmtree(late)
    shutil.rmtree(whole)
    again = load_file(pretrain(two_scales(output=tmp_path / "whole")) / "model.safetensors")
    assert all(torch.equal(trained[name], again[name]) for name in trained)


def test_validation_measures_both(two_scales, tmp_path):
    held = ValidationSettings(held_out="session == 'session0'", every=3, steps=2)
    pretrain(two_scales(validation=held, steps=3))
    assert metrics(tmp_path / "run")[-1]["validation/loss"] > 0


@pytest.mark.parametrize(
    ("weights", "own"),
    [
        (None, {"masked": OwnWindows()}),
        ({"neurpir": 1.0, "masked": 1.0}, {"vicreg": OwnWindows()}),
        ({"neurpir": 1.0, "masked": 1.0}, {"masked": OwnWindows(), "neurpir": OwnWindows()}),
    ],
)
def test_own_windows_are_of_summed_objectives_and_leave_one(two_scales, weights, own):
    with pytest.raises(ConfigError, match=r"^data\.own_windows names "):
        two_scales(objective=replace(OBJECTIVE, weights=weights), data=replace(DATA, own_windows=own))


def test_more_processes_than_windows_of_any_objective_are_refused(two_scales):
    own = {"masked": OwnWindows(bin_widths=[0.005], tokens_per_step=1024, min_windows=1)}
    with pytest.raises(ConfigError, match=r"at most data.min_windows=1 in all"):
        two_scales(processes=2, data=replace(DATA, own_windows=own))


def test_population_tokens_are_shorter_than_those_of_units():
    torch.manual_seed(0)
    config = EITConfig(
        dim=16, heads=2, interaction_layers=0, population_layers=1, patch_length=40, population_patch_length=10
    )
    model = EIT(config).eval()
    model.add_populations({"a": torch.zeros(3)})
    x_BNT, mask_BN, mask_BT = torch.rand(2, 3, 80).round(), torch.ones(2, 3).bool(), torch.ones(2, 80).bool()
    about = torch.tensor([0.005, 0.005]), torch.tensor([0, 0])
    row_BN = torch.arange(3).repeat(2, 1)
    both = model(x_BNT, mask_BN, mask_BT, *about, population_row_BN=row_BN)
    assert both.h_BNTD.shape == (2, 3, 2, 16)
    assert both.p_BTD.shape == (2, 8, 16)
    assert both.expected_BNT.shape == (2, 3, 8)
    alone = model(x_BNT, mask_BN, mask_BT, *about, population_row_BN=row_BN, units=False)
    assert torch.equal(alone.p_BTD, both.p_BTD)
    short = model(x_BNT[..., :30], mask_BN, mask_BT[:, :30], *about, population_row_BN=row_BN, units=False)
    assert short.p_BTD.shape == (2, 3, 16)
    with pytest.raises(ValueError, match="expected a multiple of patch_length, 40"):
        model(x_BNT[..., :30], mask_BN, mask_BT[:, :30], *about)
    # A stream of the same weights whose tokens are as long as a unit's.
    same = EIT(EITConfig(dim=16, heads=2, interaction_layers=0, population_layers=1, patch_length=10)).eval()
    same.add_populations({"a": torch.zeros(3)})
    same.population.load_state_dict(model.population.state_dict())
    plain = same(x_BNT, mask_BN, mask_BT, *about, population_row_BN=row_BN, units=False)
    assert torch.equal(plain.p_BTD, both.p_BTD)


def test_population_patch_length_must_divide_the_unit_patch_length():
    with pytest.raises(ConfigError, match=r"^population_patch_length is 3 and patch_length 20"):
        EITConfig(patch_length=20, population_patch_length=3)


def test_recordings_without_fine_spike_times_serve_only_the_population(two_scales, tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    write_recording(store, make_recording(0))
    write_recording(store, make_recording(1, resolution=0.1))
    catalog = Catalog.build(store)
    catalog.save()
    settings = two_scales(store=str(store.url))
    module = build_module(settings)
    plan = run_plan(catalog, settings.data, module.objective, module.model.config, seed=0)
    units, population = plan.plans
    assert (units.left_out, population.left_out) == (["sub-1.nwb"], [])
