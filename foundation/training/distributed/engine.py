"""DeepSpeed, set up the same way for a laptop's CPU and for many GPUs."""

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
from foundation.data.steps.step import StepContext
from foundation.models import EIT
from foundation.models.batch_norm import GlobalBatchNorm
from foundation.models.learning_rates import param_groups
from foundation.objectives import Objective, build_objective, own_model
from foundation.objectives.combined import OwnWindowsSum, Share
from foundation.objectives.parts.rows import TooFewRowsError
from foundation.training.distributed.rendezvous import Joining, free_port, leave_store_of_torchrun
from foundation.training.pretrain_settings import PretrainSettings
from foundation.training.update.gradient_accumulation import InParts

# Gradients that go out together from stage 1 on, where DeepSpeed keeps a buffer for as many: 2 GB if left to itself.
BUCKET = 50_000_000


class PretrainModule(nn.Module):
    """Encoder and objective in one module, as DeepSpeed wants them.

    Args:
        model: the encoder.
        objective: what is learned.
        precision: ``fp32`` or ``bf16``; with bf16 the encoder's products are bf16 and everything else stays fp32.
        parts: the encoder goes through a batch in so many parts; see `InParts`.

    Attributes:
        quiet: why the last batch could not be compared; empty: it could.
    """

    def __init__(self, model: nn.Module, objective: Objective, precision: str = "fp32", parts: int = 1) -> None:
        super().__init__()
        self.model, self.objective, self.precision, self.parts = model, objective, precision, parts
        self.quiet = ""

    def forward(
        self, views: list[WindowBatch], context: StepContext | None = None, others: Sequence[Share] = ()
    ) -> dict[str, torch.Tensor]:
        """The objective's terms; of a batch with too little to compare a ``loss`` alone, NaN and without a gradient.

        Args:
            views: windows of the step.
            context: whose windows these are.
            others: windows that some of several objectives read alone, and whose they are.
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
            except TooFewRowsError as error:  # DeepSpeed's hooks want to see the end of every forward pass
                self.quiet = str(error)
                terms = {"loss": torch.tensor(math.nan)}
        return terms


def build_module(settings: PretrainSettings, log_rates: Mapping[str, torch.Tensor] | None = None) -> PretrainModule:
    """Encoder and objective of a run, with the weights that its seed gives.

    Args:
        settings: of the run.
        log_rates: recording id -> log rates of its units, which get rows in a model with a population stream.
    """
    torch.manual_seed(settings.seed)
    model: Any = own_model(settings.objective) or settings.model.build()
    if log_rates and isinstance(model, EIT):
        model.add_populations(log_rates)
    dim = getattr(model.config, "dim", settings.model.dim)
    objective = build_objective(settings.objective, dim, model, settings.data.own_windows)
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
    """The DeepSpeed JSON of a run."""
    optimizer = settings.optimizer
    zero: dict[str, Any] = {"stage": settings.zero_stage, "reduce_bucket_size": BUCKET}
    if settings.engine.offload == "cpu":
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        # A batch is a list of windows under a budget of tokens; DeepSpeed only needs to know that it is one.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        # Under ZeRO 0 `take_step` clips, which tells the norm before the weights are touched.
        "gradient_clipping": optimizer.clip if settings.zero_stage else 0.0,
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": optimizer.learning_rate,
                "betas": [optimizer.beta1, optimizer.beta2],
                "eps": 1e-8,
                "weight_decay": optimizer.weight_decay,
                "torch_adam": True,  # DeepSpeed's own would be compiled at the first start
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
    """Whether a launcher (deepspeed, torchrun) started this process as one of a group."""
    return "RANK" in os.environ and ALONE not in os.environ


def start_distributed(timeout: float = 1800.0, joining: float = 300.0) -> tuple[int, int]:
    """Join the process group, or make one of one process. Returns (rank, world).

    Args:
        timeout: seconds after which processes give up waiting for one that does not answer.
        joining: seconds after which this process ends if the others are not all there.

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
    inherited = ALONE in os.environ and not torch.distributed.is_initialized()  # from a process that was alone, too
    if "RANK" not in os.environ or inherited:
        alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", ALONE: "1"}
        os.environ.update(alone | {"MASTER_PORT": str(free_port())})
    if not torch.distributed.is_initialized():
        with Joining(joining):
            leave_store_of_torchrun()
            deepspeed.init_distributed(verbose=False, timeout=timedelta(seconds=timeout))
        atexit.register(leave_group)  # a group that is left open can abort the process at its end
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def leave_group() -> None:
    """Leave the process group, if this process is in one."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@contextmanager
def linear_kept() -> Iterator[None]:
    """While it is entered engines may be built; afterwards torch's linear layers are what they were before.

    An engine of ZeRO stage 3 replaces ``torch.nn.functional.linear`` for the whole process and leaves it so.
    """
    linear = torch.nn.functional.linear
    try:
        yield
    finally:
        torch.nn.functional.linear = linear


def build_engine(module: PretrainModule, settings: PretrainSettings) -> Any:
    """The DeepSpeed engine around a module. The process group must be there (`start_distributed`)."""
    import deepspeed

    groups = param_groups(module, settings.optimizer.learning_rate, settings.optimizer.weight_decay)
    engine, *_ = deepspeed.initialize(model=module, model_parameters=groups, config=deepspeed_config(settings))
    # DeepSpeed makes groups of its own, in which torch would wait for half an hour.
    set_timeouts(timedelta(seconds=settings.safety.timeout))
    return engine


def set_learning_rate(engine: Any, rate: float) -> None:
    """Set the nominal rate for the coming step; each group keeps its share of it (`param_groups`)."""
    for group in engine.optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


def take_step(engine: Any, clip: float) -> tuple[float, bool]:
    """Move the weights along the gradients that lie ready, unless these are not finite: then nothing changes.

    The norm is that of the whole gradient, so all processes decide alike.

    Args:
        engine: after its backward pass.
        clip: the global gradient norm is cut to this.

    Returns:
        The gradient's norm, and whether the weights were moved.
    """
    if engine.zero_optimization_stage() == 0:
        parameters = [p for p in engine.module.parameters() if p.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(parameters, clip))
        if not math.isfinite(norm):
            for parameter in parameters:
                parameter.grad = None  # AdamW leaves alone what has none
        engine.step()
        return norm, math.isfinite(norm)
    engine.step()
    return float(engine.get_global_grad_norm()), not engine.optimizer.overflow
