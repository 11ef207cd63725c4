"""Undocumented names of DeepSpeed and torch: the use of each, and what to do if one disappears."""

import json
import os
import subprocess
import sys

import pytest

from foundation.training.distributed.rendezvous import free_port

# An engine of one process for each ZeRO stage; prints the result of each check.
CHECKS = """
import json
from datetime import timedelta
import torch
from torch import nn
from foundation.common import private_names as names
from foundation.training import PretrainSettings
from foundation.training.distributed.engine import deepspeed_config, start_distributed
import deepspeed

start_distributed()
found = {}
for stage in (0, 1, 2, 3):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2, bias=False))
    shapes = [tuple(p.shape) for p in module.parameters()]
    groups = [{"params": [p]} for p in module.parameters()]
    config = deepspeed_config(PretrainSettings(store="s", output="o", zero_stage=stage))
    engine, *_ = deepspeed.initialize(model=module, model_parameters=groups, config=config)
    engine.backward(engine(torch.ones(4, 3)).square().sum())
    engine.step()
    parameters = list(engine.module.parameters())
    state = names.torch_optimizer(engine).state
    partitions = names.flat_partitions(engine)
    names.link_moments(engine)
    own = [names.own_moment(p, "exp_avg") for p in parameters] if stage in (1, 2) else []
    found[stage] = {
        "cut": [names.is_cut(p) for p in parameters],
        "partitioned": [names.is_partitioned(p) for p in parameters],
        "shapes": [names.whole_shape(p) for p in parameters] == shapes,
        "torch": isinstance(names.torch_optimizer(engine), torch.optim.AdamW),
        "partitions": [all(key in state[p] for key in ("exp_avg", "exp_avg_sq")) for p in partitions],
        "moments": [start == 0 and values.numel() == p.numel() and bool(values.any()) for (start, values), p in
                    zip(own, parameters)],
        "pieces": [names.piece_size(p) for p in parameters] if stage == 3 else [],
    }
names.set_timeouts(timedelta(seconds=77))
from torch.distributed import distributed_c10d
cpu = torch.device("cpu")
backends = [group._get_backend(cpu) for group in distributed_c10d._world.pg_map]
found["timeouts"] = sorted({backend.options._timeout.total_seconds() for backend in backends})
found["shared memory"] = deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Values of these names on an engine of each stage; in a separate process, because each joins a process group."""
    place = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    environment = os.environ | place | {"MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHECKS], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize("stage", ["0", "1", "2", "3"])
def test_ds_id_and_hp_mapping_show_how_a_parameter_is_partitioned(found, stage):
    """`is_cut`, `is_partitioned`: they choose DeepSpeed's calls for weights and moments of a parameter."""
    assert found[stage]["cut"] == [stage == "3"] * 3, "ds_id no longer marks the parameters of ZeRO 3"
    assert found[stage]["partitioned"] == [stage != "0"] * 3, "_hp_mapping no longer marks those of ZeRO 1 and 2"


@pytest.mark.parametrize("stage", ["0", "1", "2", "3"])
def test_ds_shape_is_the_shape_before_cutting(found, stage):
    """`whole_shape`: the shape under which a checkpoint holds a parameter."""
    assert found[stage]["shapes"], "ds_shape is gone: a checkpoint cannot be loaded under ZeRO 3"


def test_ds_tensor_has_the_size_of_a_piece(found):
    """`piece_size`: the bounds of a process's piece of a parameter."""
    assert found["3"]["pieces"] == [15, 5, 10], "ds_tensor.ds_numel no longer is the size of a process's piece"


@pytest.mark.parametrize("stage", ["0", "1", "2", "3"])
def test_torch_optimizer_is_inside_the_zero_optimizer(found, stage):
    """`torch_optimizer`: it counts the updates."""
    assert found[stage]["torch"], "engine.optimizer.optimizer is no longer torch's AdamW"


@pytest.mark.parametrize(("stage", "groups"), [("0", 0), ("1", 3), ("2", 3), ("3", 3)])
def test_flat_partitions_are_the_parameters_of_the_optimizer(found, stage, groups):
    """`flat_partitions`: they must have moments before moments are loaded."""
    assert found[stage]["partitions"] == [True] * groups, "the list of flat fp32 partitions has another name"


@pytest.mark.parametrize("stage", ["1", "2"])
def test_hp_mapping_holds_this_process_s_moments_after_linking(found, stage):
    """`own_moment` and `link_moments`: the data that a process writes into a checkpoint."""
    assert found[stage]["moments"] == [True] * 3, "_hp_mapping or lazy_init_hp_params_optimizer_state has changed"


def test_timeout_of_all_groups_can_be_set(found):
    """`set_timeouts`: otherwise a lost process is noticed after half an hour."""
    assert found["timeouts"] == [77.0], "distributed_c10d._world.pg_map or _set_pg_timeout has changed"


def test_collectives_over_shared_memory_can_be_left_out(found):
    """`skip_shared_memory_collectives`: otherwise DeepSpeed compiles them at every first start on a CPU."""
    assert found["shared memory"] is False, "deepspeed.ops.__compatible_ops__ has changed"


def test_cpu_attention_uses_the_counted_operations():
    """`CPU_ATTENTION`: otherwise FLOPs of attention are missing in the throughput of CPU runs."""
    import torch

    from foundation.common.private_names import CPU_ATTENTION, CPU_ATTENTION_BACKWARD, TorchDispatchMode, tree_leaves

    seen = set()

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            seen.add(function.overloadpacket)
            return function(*args, **(kwargs or {}))

    q_BHSD = torch.randn(1, 2, 4, 8, requires_grad=True)
    with Seen():
        torch.nn.functional.scaled_dot_product_attention(q_BHSD, q_BHSD, q_BHSD).sum().backward()
    assert {CPU_ATTENTION, CPU_ATTENTION_BACKWARD} <= seen
    assert tree_leaves(({"a": 1}, [2])) == [1, 2]
