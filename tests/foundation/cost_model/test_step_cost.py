"""A whole step of each objective on a store: estimated FLOPs, parameters and time against measured ones."""

import tracemalloc
from dataclasses import replace

import pyarrow as pa
import pytest
from torch.utils.flop_counter import FlopCounterMode

from foundation.common.errors import ConfigError
from foundation.cost_model.reading_cost import RECORD_BYTES, ArchiveSettings, Reading, reading
from foundation.cost_model.step_cost import Windows, step_cost
from foundation.cost_model.step_shapes import drawn, planned, slowest
from foundation.data import DataSettings, Loader, StepPlan
from foundation.data.buckets import buckets
from foundation.data.steps.views import ViewSpec
from foundation.objectives import (
    MYOWSettings,
    NDTSettings,
    NeurPIRSettings,
    NuCLRSettings,
    ObjectiveSettings,
    SwapVAESettings,
    VICRegSettings,
)
from foundation.store import Catalog, CatalogRows, Store
from foundation.training import ModelSettings, PretrainSettings
from foundation.training.distributed.engine import build_module
from foundation.training.monitor.throughput import ATTENTION
from foundation.training.pretrain_settings import EngineSettings

WIDE = {"projector": [2048, 512], "predictor": 2048}
OBJECTIVES = {
    "neurpir": ObjectiveSettings(neurpir=NeurPIRSettings(min_tokens=4, max_tokens=12, projector=[512, 384])),
    "vicreg units": ObjectiveSettings(
        "vicreg", vicreg=VICRegSettings(min_tokens=4, max_tokens=12, expander=[512, 384])
    ),
    "vicreg population": ObjectiveSettings(
        "vicreg",
        vicreg=VICRegSettings(level="population", min_tokens=4, max_tokens=12, batch_norm=False, expander=[2048, 1024]),
    ),
    "nuclr": ObjectiveSettings("nuclr", nuclr=NuCLRSettings(hidden=1024, out=768)),
    "ndt": ObjectiveSettings("ndt", ndt=NDTSettings(min_tokens=4, max_tokens=12)),
    "byol": ObjectiveSettings("byol", myow=MYOWSettings(min_tokens=4, max_tokens=4, max_distance=None, **WIDE)),
    "myow": ObjectiveSettings(
        "myow", myow=MYOWSettings(min_tokens=4, max_tokens=4, max_distance=None, mined_from=0.0, **WIDE)
    ),
    "sum": ObjectiveSettings(
        weights={"neurpir": 1.0, "ndt": 0.5},
        neurpir=NeurPIRSettings(min_tokens=4, max_tokens=12, projector=[512, 384]),
        ndt=NDTSettings(min_tokens=4, max_tokens=12),
    ),
}
SPEC = ViewSpec(2, 4, 12)
NOTHING = Reading()


def run_of(store, objective: ObjectiveSettings, **changes) -> PretrainSettings:
    base = {
        "model": ModelSettings(dim=32, heads=2, individual_layers=1, interaction_layers=1),
        "data": DataSettings(bin_widths=[0.025], tokens_per_step=3000, min_windows=4, max_units=12),
        "objective": objective,
        "steps": 10,
    }
    return PretrainSettings(str(store), "unused", **(base | changes))


def step_of(settings: PretrainSettings):
    """The module, and a function that runs a step's forward pass."""
    module = build_module(settings).train()
    catalog = Catalog.open(Store(settings.store))
    plan = StepPlan(catalog, settings.data, module.objective.view_spec, bins_per_token=4, seed=0)
    batch = Loader(catalog, plan, prefetch=0, total_steps=settings.steps).load(3)
    views, context = [view.cast() for view in batch.views], batch.context
    return module, plan, lambda: module(views, context)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_flops_and_parameters_of_a_step_equal_torch_s_count(small_store, name, accumulate):
    settings = run_of(small_store, OBJECTIVES[name], engine=EngineSettings(accumulate=accumulate))
    module, plan, forward = step_of(settings)
    shape = planned(plan, 3)
    with FlopCounterMode(display=False, custom_mapping=ATTENTION) as counter:
        terms = forward()
        terms["loss"].backward()
    # Units without events have no row; the cost model does not know this.
    rows = int(terms["rows"]) if name in ("neurpir", "vicreg units", "sum") else shape.rows
    cost = step_cost(settings, [Windows(settings.objective, shape, rows, 4)], 1, NOTHING)
    trained = [p for p in module.parameters() if p.requires_grad]
    assert cost.parameters == sum(p.numel() for p in trained)
    assert cost.states.frozen == 4 * (sum(p.numel() for p in module.parameters()) - cost.parameters)
    assert cost.flops == pytest.approx(counter.get_total_flops(), rel=0.02)
    assert cost.objective.work.flops > 0.25 * cost.flops or name == "ndt"  # which shows that it is counted
    if accumulate == 2:
        assert cost.recomputed.flops > 0.2 * cost.forward.flops


def test_cost_of_an_objective_with_its_own_encoder_is_unknown(small_store):
    settings = run_of(small_store, ObjectiveSettings("swap_vae", swap_vae=SwapVAESettings()))
    shape = drawn(settings.data, SPEC, units=12, bins_per_token=4, seed=0)
    with pytest.raises(ConfigError, match="swap_vae"):
        step_cost(settings, [Windows(settings.objective, shape, shape.rows, 4)], 1, NOTHING)


def test_step_shape_equals_its_batch(small_store):
    settings = run_of(small_store, OBJECTIVES["neurpir"])
    catalog = Catalog.open(Store(settings.store))
    module = build_module(settings)
    plan = StepPlan(catalog, settings.data, module.objective.view_spec, bins_per_token=4, seed=0)
    for step in range(3):
        shape = planned(plan, step)
        batch = Loader(catalog, plan, prefetch=0).load(step)
        for k, view in enumerate(batch.views):
            sizes = [part.windows.x_BNT.shape for part in buckets(view)]
            assert shape.parts(k) == [(b, n, t // 4) for b, n, t in sizes]
        assert shape.neuron_tokens == sum(int((v.mask_BN.sum(1) * v.mask_BT.sum(1)).sum()) // 4 for v in batch.views)


def test_drawn_step_resembles_one_of_a_store(small_store):
    settings = run_of(small_store, OBJECTIVES["neurpir"])
    catalog = Catalog.open(Store(settings.store))
    plan = StepPlan(catalog, settings.data, SPEC, bins_per_token=4, seed=0)
    theirs = [planned(plan, step) for step in range(40)]
    ours = [drawn(settings.data, SPEC, units=12, bins_per_token=4, seed=seed) for seed in range(40)]
    for figure in (len, lambda shape: shape.neuron_tokens, lambda shape: float(shape.seconds_BV.mean())):
        mine, other = (sum(map(figure, shapes)) / 40 for shapes in (ours, theirs))
        assert mine == pytest.approx(other, rel=0.08)
    assert all(shape.neuron_tokens <= 3000 for shape in ours)


def test_windows_are_dealt_as_in_training(small_store):
    shape = drawn(DataSettings(tokens_per_step=40_000), SPEC, units=64, bins_per_token=4, seed=1)
    shares = [shape.share(rank, 3) for rank in range(3)]
    assert sum(len(share) for share in shares) == len(shape)
    rank, more = slowest(shape, 3)
    tokens = [share.neuron_tokens for share in shares]
    assert tokens[rank] == max(tokens)
    assert more == pytest.approx(max(tokens) * 3 / sum(tokens))


def test_every_process_outlines_a_step_and_one_draws_and_reads_each_window():
    archive, data = ArchiveSettings(recordings=100_000, units=50, seconds=100.0), DataSettings(cache_bytes=1)
    shape = drawn(data, SPEC, units=50, bins_per_token=4, seed=0)
    few, many = (reading(archive, shape, windows, data) for windows in (len(shape), 8 * len(shape)))
    assert many.outlined == 8 * few.outlined
    assert (many.drawn, many.blocks, many.opened, many.stored) == (few.drawn, few.blocks, few.opened, few.stored)
    assert few.blocks > 1.99 * len(shape)  # at least one block for each view of each window
    warm = reading(archive, shape, len(shape), replace(data, cache_bytes=1 << 40))
    assert (warm.blocks, warm.opened, warm.stored) == (0, 0, 0)
    alone, helped = few.catalog, reading(archive, shape, 1, replace(data, workers=3)).catalog
    assert helped == 4 * alone


def test_catalog_in_memory_has_the_assumed_size(small_store):
    """Rows that differ, like those of an archive, and their plan."""
    catalog = Catalog.open(Store(small_store))
    row, count = catalog.records[0], 5000

    def plan_of(n_rows):
        rows = CatalogRows.of(
            [replace(row, id=f"{k:020x}", digest=f"{k:064x}", path=f"{k:020x}/{row.path}") for k in range(n_rows)]
        )
        many = Catalog(catalog.store, rows)
        return StepPlan(many, DataSettings(bin_widths=[0.025], max_units=12), SPEC, bins_per_token=4, seed=0)

    plan_of(10)  # imports what it needs
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes()
        plan = plan_of(count)
        held = tracemalloc.get_traced_memory()[0] + pa.total_allocated_bytes() - before
    finally:
        tracemalloc.stop()
    assert len(plan.recordings) == count
    assert held / count == pytest.approx(RECORD_BYTES, rel=0.25)
