"""Reading and setting the weights and optimiser state of a DeepSpeed engine by name, under any ZeRO stage."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from foundation.common.errors import CheckpointError
from foundation.common.private_names import (
    flat_partitions,
    is_cut,
    is_partitioned,
    link_moments,
    own_moment,
    piece_size,
    torch_optimizer,
    whole_shape,
)

MOMENTS = ("exp_avg", "exp_avg_sq")


def weights(engine: Any, keep: bool = True) -> dict[str, torch.Tensor]:
    """Return every parameter in fp32 on the CPU, frozen ones too, and every buffer, by name. All processes call it.

    Args:
        engine: DeepSpeed's engine.
        keep: False for a process that only takes part in gathering.
    """
    from deepspeed.runtime.zero import GatheredParameters
    from deepspeed.utils import safe_get_full_fp32_param

    found = {}
    for name, parameter in engine.module.named_parameters():
        if parameter.requires_grad and is_partitioned(parameter):
            full = safe_get_full_fp32_param(parameter)
        elif is_cut(parameter):  # frozen, so the optimiser does not have it
            with GatheredParameters([parameter]):
                full = parameter.data.clone()
        else:
            full = parameter.data
        if keep:
            found[name] = _copied(full.float())
    for name, buffer in _buffers(engine).items() if keep else ():
        found[name] = _copied(buffer)
    return found


def _copied(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def set_weights(engine: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Set parameters and buffers.

    Raises:
        CheckpointError: if names or shapes differ.
    """
    from deepspeed.runtime.zero import GatheredParameters
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_local_fp32_param

    parameters = dict(engine.module.named_parameters())
    buffers = _buffers(engine)
    _check_names({*parameters, *buffers}, set(tensors))
    for name, buffer in buffers.items():
        if tensors[name].shape != buffer.shape:
            there, here = tuple(tensors[name].shape), tuple(buffer.shape)
            raise CheckpointError(f"{name} has shape {there} in the checkpoint and {here} in the model")
        buffer.copy_(tensors[name])
    for name, parameter in parameters.items():
        value = tensors[name].to(parameter.device)
        shape = whole_shape(parameter)
        if tuple(value.shape) != shape:
            raise CheckpointError(f"{name} has shape {tuple(value.shape)} in the checkpoint and {shape} in the model")
        if parameter.requires_grad and is_cut(parameter):
            safe_set_local_fp32_param(parameter, _own_part(parameter, value))
        elif parameter.requires_grad and is_partitioned(parameter):
            safe_set_full_fp32_param(parameter, value)
        # This sets the optimiser's copy; the next forward pass uses another one.
        if is_cut(parameter):
            with GatheredParameters([parameter], modifier_rank=0):
                parameter.data.copy_(value)
        else:
            parameter.data.copy_(value)


def own_moments(engine: Any) -> dict[str, torch.Tensor]:
    """Return this process's share of Adam's moments, as flat pieces ``<parameter>/<moment>/<first element>``.

    The shares of all processes together hold everything once. Under ZeRO 0 every process holds all moments and returns
    those of every n-th parameter. The first process also returns ``updates``, the number of optimiser steps.
    """
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    _make_partitions(engine)
    link_moments(engine)
    found = {"updates": torch.tensor(updates(engine))} if rank == 0 else {}
    for number, (name, parameter) in enumerate(_trained(engine).items()):
        for key in MOMENTS:
            piece = _own_piece(engine, parameter, key, number % world == rank)
            if piece is not None and piece[1].numel():
                found[f"{name}/{key}/{piece[0]}"] = _copied(piece[1].float())
    return found


def _own_piece(engine: Any, parameter: Any, key: str, turn: bool) -> tuple[int, torch.Tensor] | None:
    """Return the first element and the values of this process's piece of a moment; None without a piece."""
    from deepspeed.utils import safe_get_local_optimizer_state

    if is_cut(parameter):
        size = piece_size(parameter)
        start = torch.distributed.get_rank() * size
        held = safe_get_local_optimizer_state(parameter, key).flatten()
        return start, held[: max(0, min(size, torch.Size(whole_shape(parameter)).numel() - start))]
    if is_partitioned(parameter):
        return own_moment(parameter, key)
    if not turn:
        return None
    value = engine.optimizer.state[parameter].get(key)
    return 0, (torch.zeros_like(parameter) if value is None else value).flatten()


def set_moments(engine: Any, shards: list[dict[str, torch.Tensor]]) -> None:
    """Set Adam's moments and the number of updates from the pieces of all processes.

    Raises:
        CheckpointError: if names differ, or pieces do not cover a moment.
    """
    from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

    parameters = _trained(engine)
    count, pieces = _sorted_out(shards)
    _check_names({f"{n}/{k}" for n in parameters for k in MOMENTS}, set(pieces))
    _make_partitions(engine)
    link_moments(engine)
    for name, parameter in parameters.items():
        shape = whole_shape(parameter)
        for key in MOMENTS:
            value = _joined(f"{name}/{key}", pieces[f"{name}/{key}"], shape).to(parameter.device)
            if is_cut(parameter):
                safe_set_local_optimizer_state(parameter, _own_part(parameter, value), key)
            elif is_partitioned(parameter):
                safe_set_full_optimizer_state(parameter, value, key)
            else:
                engine.optimizer.state[parameter][key] = value.to(parameter.dtype)
        if not is_partitioned(parameter):
            engine.optimizer.state[parameter]["step"] = count.clone()
    for state in torch_optimizer(engine).state.values():
        state["step"] = count.clone()


def _sorted_out(shards: list[dict[str, torch.Tensor]]) -> tuple[torch.Tensor, dict[str, dict[int, torch.Tensor]]]:
    """Return the number of updates, and for each moment its pieces by their first element."""
    count: torch.Tensor | None = None
    pieces: dict[str, dict[int, torch.Tensor]] = {}
    for shard in shards:
        for name, tensor in shard.items():
            if name == "updates":
                count = tensor.float()
                continue
            moment, _, start = name.rpartition("/")
            pieces.setdefault(moment, {})[int(start)] = tensor
    if count is None:
        raise CheckpointError("the checkpoint lacks updates (the number of optimiser steps)")
    return count, pieces


def _joined(name: str, pieces: dict[int, torch.Tensor], shape: tuple[int, ...]) -> torch.Tensor:
    in_order = [pieces[start] for start in sorted(pieces)]
    ends = [0, *(start + len(pieces[start]) for start in sorted(pieces))]
    if ends[:-1] != sorted(pieces) or ends[-1] != torch.Size(shape).numel():
        raise CheckpointError(f"the checkpoint's pieces of {name} do not make up {shape}")
    return torch.cat(in_order).reshape(shape)


def _own_part(parameter: Any, value: torch.Tensor) -> torch.Tensor:
    """Return this process's piece of a parameter under ZeRO 3, which cuts equal pieces and pads the last one.

    DeepSpeed's ``safe_set_full_...`` fails for pieces of unequal size (3 processes, 64 values).
    """
    flat, size = value.flatten(), piece_size(parameter)
    padded = torch.cat([flat, flat.new_zeros(size * torch.distributed.get_world_size() - len(flat))])
    return padded[torch.distributed.get_rank() * size :][:size]


def updates(engine: Any) -> int:
    """Return the number of optimiser steps."""
    for state in torch_optimizer(engine).state.values():
        if "step" in state:
            return int(state["step"])
    return 0


def _make_partitions(engine: Any) -> None:
    """Create the moments of the flat partitions of ZeRO 1 to 3, as their first step would."""
    for partition in flat_partitions(engine):
        state = torch_optimizer(engine).state[partition]
        for key in MOMENTS:
            state.setdefault(key, torch.zeros_like(partition))
        state.setdefault("step", torch.tensor(0.0))


def _trained(engine: Any) -> dict[str, nn.Parameter]:
    """Return the parameters that the optimiser updates; objectives update their target networks."""
    return {name: p for name, p in engine.module.named_parameters() if p.requires_grad}


def _buffers(engine: Any) -> dict[str, torch.Tensor]:
    """Return the persistent buffers of a module, such as the running statistics of a batch norm."""
    kept = set(engine.module.state_dict())
    return {name: buffer for name, buffer in engine.module.named_buffers() if name in kept}


def _check_names(wanted: set[str], found: set[str]) -> None:
    if wanted != found:
        missing, left = sorted(wanted - found), sorted(found - wanted)
        raise CheckpointError(
            f"the checkpoint is of another architecture: {len(missing)} tensors missing "
            f"({', '.join(missing[:3]) or '-'}), {len(left)} left over ({', '.join(left[:3]) or '-'})"
        )
