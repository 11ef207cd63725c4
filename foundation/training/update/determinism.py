"""Training with bitwise reproducible weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """Make torch use only kernels that sum in a fixed order inside the block.

    An operation without such a kernel raises a RuntimeError that names it. cuBLAS needs a workspace setting for this,
    which it reads from the environment on first use: in a process that has multiplied matrices on a GPU before, set
    ``CUBLAS_WORKSPACE_CONFIG=:4096:8`` yourself
    (https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html).

    Args:
        wanted: False: change nothing.

    Example:
        >>> with deterministic():
        ...     torch.are_deterministic_algorithms_enabled()
        True
        >>> torch.are_deterministic_algorithms_enabled()
        False
    """
    if not wanted:
        yield
        return
    os.environ.setdefault(WORKSPACE, ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    measured = torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.backends.cudnn.benchmark = measured
