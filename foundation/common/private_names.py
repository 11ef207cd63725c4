"""All uses of undocumented names of DeepSpeed and torch.

A new version of either may rename one. ``tests/foundation/common/test_private_names.py`` has a test for each name,
which explains its purpose. All other code uses documented calls, such as ``safe_get_full_fp32_param``.

ZeRO partitions the state of the optimiser. Under stages 1 and 2 the parameters of a group are laid end to end and cut
into equal pieces, one for each process. Under stage 3 every parameter is cut by itself, its last piece padded.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch
from torch.distributed import distributed_c10d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["TorchDispatchMode", "tree_leaves"]

# Torch's attention on the CPU, whose operations its FLOP counter leaves out.
CPU_ATTENTION = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
CPU_ATTENTION_BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def set_timeouts(timeout: timedelta) -> None:
    """Set the timeout of this process's process groups, including DeepSpeed's, which has no setting for it."""
    for group in distributed_c10d._world.pg_map:
        distributed_c10d._set_pg_timeout(timeout, group)


def skip_shared_memory_collectives() -> None:
    """Keep DeepSpeed from compiling its collectives over shared memory at the first start on a CPU."""
    import deepspeed.ops

    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def is_cut(parameter: torch.Tensor) -> bool:
    """Return True under ZeRO 3, where a process holds only its piece of a parameter."""
    return hasattr(parameter, "ds_id")


def is_partitioned(parameter: torch.Tensor) -> bool:
    """Return True under ZeRO 1 to 3 for a trained parameter, whose optimiser state is spread over the processes."""
    return is_cut(parameter) or hasattr(parameter, "_hp_mapping")


def whole_shape(parameter: torch.Tensor) -> tuple[int, ...]:
    """Return the shape of a parameter before it is cut."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def piece_size(parameter: Any) -> int:
    """Return the number of values in each process's piece under ZeRO 3, the padding included."""
    return int(parameter.ds_tensor.ds_numel)


def own_moment(parameter: Any, key: str) -> tuple[int, torch.Tensor] | None:
    """Return this process's piece of a moment under ZeRO 1 and 2; None if all of it lies in other processes.

    Returns:
        The index of the piece's first value in the flattened parameter, and the values.
    """
    mapping = parameter._hp_mapping
    return None if mapping is None else (mapping.lp_fragment_address.start, mapping.get_optim_state_fragment(key))


def torch_optimizer(engine: Any) -> torch.optim.Optimizer:
    """Return torch's optimiser inside DeepSpeed, which ZeRO wraps in another object."""
    optimizer: torch.optim.Optimizer = getattr(engine.optimizer, "optimizer", engine.optimizer)
    return optimizer


def flat_partitions(engine: Any) -> list[torch.Tensor]:
    """Return this process's flat fp32 weights under ZeRO 1 to 3, one tensor for each group; none under stage 0."""
    for name in ("single_partition_of_fp32_groups", "fp32_partitioned_groups_flat"):  # stages 1 and 2; stage 3
        if hasattr(engine.optimizer, name):
            return list(getattr(engine.optimizer, name))
    return []


def link_moments(engine: Any) -> None:
    """Link parameters to their moments, under ZeRO 1 and 2.

    DeepSpeed links them once, at the first step, when groups that start later have no moments yet.
    """
    from deepspeed.utils import lazy_init_hp_params_optimizer_state

    for parameters, flat in zip(_groups(engine), flat_partitions(engine), strict=False):
        lazy_init_hp_params_optimizer_state(parameters, flat, torch_optimizer(engine).state)


def _groups(engine: Any) -> Iterable[list[torch.nn.Parameter]]:
    return getattr(engine.optimizer, "bit16_groups", ())
