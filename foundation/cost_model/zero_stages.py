"""Memory of DeepSpeed's ZeRO stages on a device and messages between devices, with training's settings.

P parameters in fp32 (4 bytes), like gradients and both of Adam's moments; only products are in bf16. N processes.

====== ============================ ================================================= =============================
stage  weights and gradients        optimiser                                          sent by each process a step
====== ============================ ================================================= =============================
0      4 P + 4 P                    8 P                                                2 (N - 1) / N 4 P
1      4 P + 4 P                    (4 + 8) P / N                                      3 (N - 1) / N 4 P
2      4 P + 4 P / N                (4 + 8) P / N                                      3 (N - 1) / N 4 P
3      4 P / N + 4 P / N            (4 + 8) P / N                                      2 or 3 (N - 1) / N 4 P
====== ============================ ================================================= =============================

Rajbhandari et al. 2020 (arXiv 1910.02054), sections 5 and 7, have 2 (N - 1) / N for the stages 1 and 2: gradients
reduced to their owners, weights gathered. DeepSpeed 0.19 reduces gradients to all processes first
(``use_multi_rank_bucket_allreduce``), which is half as much again. A model below ``MAX_LIVE`` parameters stays gathered
from the forward to the backward pass under stage 3, so that its weights are sent once instead of twice. From stage 1 on
there is a buffer of ``BUCKET`` numbers for gradients in transit; memory that a CPU has not touched yet costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from foundation.training.distributed.engine import BUCKET

FULL = 4
MAX_LIVE = 1_000_000_000  # parameters that may stay gathered; `stage3_max_live_parameters`


@dataclass(frozen=True)
class States:
    """Bytes that remain allocated between steps, on the device and in the memory of its node.

    Args:
        weights, gradients, optimizer: on the device.
        frozen: target networks, on the device.
        buffers: of gradients in transit, and of weights that are gathered for the moment.
        host: bytes of the node's memory, if the optimiser is offloaded.
    """

    weights: float
    gradients: float
    optimizer: float
    frozen: float
    buffers: float
    host: float

    @property
    def device(self) -> float:
        """Return the bytes of the device."""
        return self.weights + self.gradients + self.optimizer + self.frozen + self.buffers


def states(parameters: int, stage: int, world: int, *, frozen: int = 0, offload: bool = False) -> States:
    """Return the memory of weights, gradients and optimiser.

    Args:
        parameters: number of trained parameters.
        stage: ZeRO stage, 0 to 3.
        world: number of processes.
        frozen: number of frozen parameters (target networks).
        offload: the optimiser's state lies in the node's memory.

    Example:
        >>> one, eight = states(10**9, 1, 1), states(10**9, 1, 8)
        >>> one.optimizer / eight.optimizer
        8.0
    """
    whole = float(FULL * parameters)
    moments, master = 2 * whole, 0.0
    weights = gradients = whole
    buffers = 0.0
    if stage:
        moments, master = moments / world, whole / world
        buffers = float(FULL * BUCKET)  # allocated whole, even for a small model
    if stage >= 2:
        gradients = whole / world
    if stage == 3:
        weights = whole / world
        buffers += FULL * min(parameters, MAX_LIVE)
    host = 0.0
    if offload:
        host = moments + master + whole / world  # and gradients for the update
        moments = master = 0.0
    return States(
        weights, gradients, moments + master, float(FULL * frozen / (world if stage == 3 else 1)), buffers, host
    )


def sent(parameters: int, stage: int, world: int, frozen: int = 0, gloo: bool = False) -> float:
    """Return the bytes that each process sends (and receives) in a step for weights and gradients.

    With ``gloo``, which CPUs use, stage 3 sends gradients twice: it reduces them for all processes, then scatters them.

    Example:
        >>> [sent(1000, stage, 2) / 4000 for stage in (0, 1, 2, 3)]
        [1.0, 1.5, 1.5, 1.0]
    """
    one_way = (world - 1) / world * FULL
    if stage < 3:
        return one_way * parameters * (2 if stage == 0 else 3)
    gathered = 1 if parameters + frozen <= MAX_LIVE else 2
    return one_way * (parameters * (gathered + 1 + gloo) + frozen)
