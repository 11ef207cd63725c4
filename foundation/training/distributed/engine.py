"""The DeepSpeed engine, set up the same way for a laptop's CPU and for many GPUs."""

from __future__ import annotations

import atexit
import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from torch import nn

from foundation.common.errors import ConfigError, FoundationError
from foundation.common.private_names import set_timeouts, skip_shared_memory_collectives
from foundation.data.batch import WindowBatch
from foundation.data.labels import LabelShape
from foundation.data.steps.step import StepContext
from foundation.models import EIT
from foundation.models.batch_norm import GlobalBatchNorm
from foundation.models.learning_rates import param_groups
from foundation.objectives import Objective, build_objective, own_model
from foundation.objectives.combined import OwnWindowsSum, Share
from foundation.objectives.decoding import Decoding
from foundation.objectives.parts.rows import TooFewRowsError
from foundation.training.distributed.rendezvous import Joining, free_port, leave_store_of_torchrun
from foundation.training.pretrain_settings import PretrainSettings
from foundation.training.update.gradient_accumulation import InParts

# Gradients sent together from stage 1 on; DeepSpeed's buffer for them is 2 GB by default.
BUCKET = 50_000_000


class PretrainModule(nn.Module):
    """Encoder and objective in one module for DeepSpeed.

    Args:
        model: the encoder.
        objective: the objective.
        precision: ``fp32`` or ``bf16``; with bf16 the encoder's products are bf16 and everything else stays fp32.
        parts: number of parts in which the encoder processes a batch; see `InParts`.

    Attributes:
        quiet: why the last batch had too little to compare; empty if it had enough.
    """

    def __init__(self, model: nn.Module, objective: Objective, precision: str = "fp32", parts: int = 1) -> None:
        super().__init__()
        self.model, self.objective, self.precision, self.parts = model, objective, precision, parts
        self.quiet = ""

    def forward(
        self, views: list[WindowBatch], context: StepContext | None = None, others: Sequence[Share] = ()
    ) -> dict[str, torch.Tensor]:
        """Return the objective's terms; for a batch with too little to compare, only a NaN ``loss`` without gradient.

        Args:
            views: windows of the step.
            context: context of the windows.
            others: windows and contexts of the objectives that read separate windows.
        """
        terms: dict[str, torch.Tensor]
        kind = next(self.parameters()).device.type
        cast = torch.autocast(kind, dtype=torch.bfloat16) if self.precision == "bf16" else nullcontext()
        with cast:
            model: Any = self.model if self.parts == 1 else InParts(self.model, self.parts)
            try:
                if isinstance(self.objective, OwnWindowsSum):
                    assert context is not None
                    terms = self.objective.over(model, [(views, context), *others])
                else:
                    terms = self.objective(model, views, context)
                self.quiet = ""
            except TooFewRowsError as error:  # DeepSpeed's hooks need every forward pass to end
                self.quiet = str(error)
                terms = {"loss": torch.tensor(math.nan)}
        return terms


def build_module(
    settings: PretrainSettings,
    log_rates: Mapping[str, torch.Tensor] | None = None,
    identities: Mapping[str, torch.Tensor] | None = None,
    labels: LabelShape | None = None,
) -> PretrainModule:
    """Return encoder and objective of a run, with weights drawn from its seed.

    Args:
        settings: settings of the run.
        log_rates: recording id -> log rates of its units, which get rows in a model with a population stream.
        identities: recording id -> identities of its units, from which a model with ``made_rows`` makes rows.
        labels: sizes of the labels that the objective ``decoding`` needs heads for.
    """
    torch.manual_seed(settings.seed)
    model: Any = own_model(settings.objective) or settings.model.build()
    if log_rates and isinstance(model, EIT):
        model.add_populations(log_rates, identities)
    dim = getattr(model.config, "dim", settings.model.dim)
    objective = build_objective(settings.objective, dim, model, settings.data.own_windows)
    if labels is not None:
        for part in objective.modules():
            if isinstance(part, Decoding):
                part.add_sessions(labels)
    if settings.engine.activation_checkpointing:
        if not getattr(model, "supports_gradient_checkpointing", False):
            raise ConfigError(
                f"engine.activation_checkpointing: {type(model).__name__} does not support it; set it to false"
            )
        enable: Any = model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    if settings.engine.accumulate > 1 and any(isinstance(part, GlobalBatchNorm) for part in model.modules()):
        raise ConfigError(
            f"engine.accumulate is {settings.engine.accumulate}: expected 1 for {type(model).__name__}, whose batch "
            "norm takes its statistics over the whole step"
        )
    return PretrainModule(model, objective, settings.precision, settings.engine.accumulate)


def deepspeed_config(settings: PretrainSettings) -> dict[str, Any]:
    """Return the DeepSpeed configuration of a run."""
    optimizer = settings.optimizer
    zero: dict[str, Any] = {"stage": settings.zero_stage, "reduce_bucket_size": BUCKET}
    if settings.engine.offload == "cpu":
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        # A batch is a list of windows under a token budget; DeepSpeed only needs a batch size of 1.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        # Under ZeRO 0 `take_step` clips, because it needs the norm before the update.
        "gradient_clipping": optimizer.clip if settings.zero_stage else 0.0,
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": optimizer.learning_rate,
                "betas": [optimizer.beta1, optimizer.beta2],
                "eps": 1e-8,
                "weight_decay": optimizer.weight_decay,
                "torch_adam": True,  # DeepSpeed's Adam would be compiled at the first start
                "fused": torch.cuda.is_available() and settings.engine.offload == "none",
            },
        },
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 1_000_000_000,
        "wall_clock_breakdown": False,
    }


ALONE = "FOUNDATION_ALONE"


def is_launched() -> bool:
    """Return True if a launcher (deepspeed, torchrun) started this process as one of a group."""
    return "RANK" in os.environ and ALONE not in os.environ


def start_distributed(timeout: float = 1800.0, joining: float = 300.0) -> tuple[int, int]:
    """Join the process group, or create one of a single process. Return (rank, world).

    Args:
        timeout: seconds after which processes give up waiting for one that does not answer.
        joining: seconds after which this process ends if the others have not all joined.

    Raises:
        FoundationError: if DeepSpeed is not installed.
    """
    try:
        import deepspeed
    except ImportError as error:
        raise FoundationError(
            f"pretraining needs DeepSpeed ({error}): pip install 'neural-foundation[train]'"
        ) from error
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    if not torch.cuda.is_available():
        skip_shared_memory_collectives()  # training does not use them
    inherited = ALONE in os.environ and not torch.distributed.is_initialized()  # also from a process that was alone
    if "RANK" not in os.environ or inherited:
        alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", ALONE: "1"}
        os.environ.update(alone | {"MASTER_PORT": str(free_port())})
    if not torch.distributed.is_initialized():
        with Joining(joining):
            leave_store_of_torchrun()
            deepspeed.init_distributed(verbose=False, timeout=timedelta(seconds=timeout))
        atexit.register(leave_group)  # an open group can abort the process at its end
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def leave_group() -> None:
    """Leave the process group, if this process is in one."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def linear_kept() -> Iterator[None]:
    """Allow engines to be built inside the block, and restore torch's linear layers afterwards.

    An engine of ZeRO stage 3 replaces ``torch.nn.functional.linear`` for the whole process permanently.
    """
    linear = torch.nn.functional.linear
    try:
        yield
    finally:
        torch.nn.functional.linear = linear


def build_engine(module: PretrainModule, settings: PretrainSettings) -> Any:
    """Return the DeepSpeed engine of a module. The process group must exist (`start_distributed`)."""
    import deepspeed

    groups = param_groups(module, settings.optimizer.learning_rate, settings.optimizer.weight_decay)
    engine, *_ = deepspeed.initialize(model=module, model_parameters=groups, config=deepspeed_config(settings))
    # DeepSpeed creates its own groups, in which torch would wait for half an hour.
    set_timeouts(timedelta(seconds=settings.safety.timeout))
    return engine


def set_learning_rate(engine: Any, rate: float) -> None:
    """Set the nominal rate for the next step; each group keeps its share of it (`param_groups`)."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def take_step(engine: Any, clip: float) -> tuple[float, bool]:
    """Update the weights with the current gradients; change nothing if the gradients are not finite.

    The norm covers the whole gradient, so all processes make the same decision.

    Args:
        engine: DeepSpeed's engine, after its backward pass.
        clip: maximum of the global gradient norm.

    Returns:
        The gradient's norm, and whether the weights were updated.
    """
    if engine.zero_optimization_stage() == 0:
        parameters = [p for p in engine.module.parameters() if p.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(parameters, clip))
        if not math.isfinite(norm):
            for parameter in parameters:
                parameter.grad = None  # AdamW skips parameters without a gradient
        engine.step()
        return norm, math.isfinite(norm)
    engine.step()
    return float(engine.get_global_grad_norm()), not engine.optimizer.overflow
