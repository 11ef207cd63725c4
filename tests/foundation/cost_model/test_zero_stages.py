import gc

import pytest
import torch

from foundation.cost_model.zero_stages import MAX_LIVE, sent, states
from foundation.data import DataSettings
from foundation.objectives import NeurPIRSettings, ObjectiveSettings
from foundation.store import Catalog, Store
from foundation.training import ModelSettings, PretrainSettings
from foundation.training.distributed.engine import BUCKET
from foundation.training.trainer import Trainer

P = 10_000_000
GB = 1e9


@pytest.mark.parametrize("world", [1, 2, 8, 1024])
def test_memory_is_that_of_the_paper_with_everything_in_fp32(world):
    """Rajbhandari et al. 2020, figure 1: 4 bytes each of weights, gradients, and both moments; the stages cut them."""
    for stage in range(4):
        found = states(P, stage, world)
        assert found.weights == 4 * P / (world if stage == 3 else 1)
        assert found.gradients == 4 * P / (world if stage >= 2 else 1)
        assert found.optimizer == (12 * P / world if stage else 8 * P)
        assert found.host == 0
        assert found.device == found.weights + found.gradients + found.optimizer + found.buffers


def test_offloaded_optimiser_is_in_the_memory_of_the_node():
    here, there = states(P, 2, 4), states(P, 2, 4, offload=True)
    assert there.optimizer == 0
    assert there.host == here.optimizer + 4 * P / 4
    assert there.weights == here.weights


def test_target_network_has_only_weights():
    assert states(P, 0, 4, frozen=P).device - states(P, 0, 4).device == 4 * P
    assert states(P, 3, 4, frozen=P).frozen == P


@pytest.mark.parametrize("stage", range(4))
def test_one_process_sends_nothing(stage):
    assert sent(P, stage, 1) == 0


@pytest.mark.parametrize("world", [2, 3, 1000])
def test_network_bytes_are_those_of_rings(world):
    once = (world - 1) / world * 4 * P  # gathering or scattering P numbers
    assert sent(P, 0, world) == pytest.approx(2 * once)  # all-reduce
    assert sent(P, 1, world) == sent(P, 2, world) == pytest.approx(3 * once)  # all-reduce, and gathering the weights
    assert sent(P, 3, world) == pytest.approx(2 * once)  # gathering once, reduce-scatter
    assert sent(P, 3, world, gloo=True) == pytest.approx(3 * once)  # gathering once, all-reduce in its place
    assert sent(P, 1, world, gloo=True) == sent(P, 1, world)
    large = 2 * MAX_LIVE
    assert sent(large, 3, world) == pytest.approx(3 * (world - 1) / world * 4 * large)


def test_gradient_buffer_is_allocated_whole():
    assert states(P, 0, 4).buffers == 0
    assert states(P, 1, 4).buffers == states(P, 2, 4).buffers == 4 * BUCKET
    assert states(P, 3, 4).buffers == 4 * BUCKET + 4 * P


def held() -> int:
    """Bytes of all existing tensors, without the empty ones that torch.compile leaves behind."""
    gc.collect()
    tensors = [t for t in gc.get_objects() if type(t) in (torch.Tensor, torch.nn.Parameter)]
    tensors = [t for t in tensors if not torch._is_functional_tensor(t) and t.device.type != "meta"]
    tensors += [t.grad for t in tensors if t.is_leaf and t.grad is not None]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stage", range(4))
def test_engine_holds_the_predicted_bytes_between_two_steps(small_store, tmp_path, stage):
    settings = PretrainSettings(
        store=str(small_store),
        output=str(tmp_path / "run"),
        zero_stage=stage,
        model=ModelSettings(dim=128, heads=2),
        data=DataSettings(bin_widths=[0.025], tokens_per_step=768, min_windows=4, max_units=12),
        objective=ObjectiveSettings(neurpir=NeurPIRSettings(min_tokens=4, max_tokens=8, projector=[32])),
    )
    before = held()
    trainer = Trainer(settings, Catalog.open(Store(settings.store)))
    batch = trainer.loader.load(0)
    trainer.step([batch])
    count = sum(getattr(p, "ds_numel", p.numel()) for p in trainer.engine.module.parameters())
    found = held() - before - sum(view.x_BNT.nbytes for view in batch.views)
    estimate = states(count, stage, 1)
    # Gradients are released after a step, and so is the buffer, except in stage 3.
    kept = estimate.weights + estimate.optimizer + (estimate.buffers if stage == 3 else 0)
    trainer.engine.destroy()
    assert found - (4 * BUCKET if stage == 3 else 0) == pytest.approx(
        kept - (4 * BUCKET if stage == 3 else 0), rel=0.06
    )
