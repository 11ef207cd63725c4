"""Training whose weights come out the same bit for bit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def deterministic(wanted: bool = True) -> Iterator[None]:
    """While it is entered, torch takes no kernel whose sums come in an order that varies.

    An operation that has no other kernel raises a RuntimeError that names it. cuBLAS needs a workspace of its own for
    this, which it takes from the environment when it is first used: in a process that has multiplied matrices on a GPU
    before, set ``CUBLAS_WORKSPACE_CONFIG=:4096:8`` yourself
    (https://docs.pytorch.org/docs/stable/generated/torch.use_deterministic_algorithms.html).

    Args:
        wanted: False: nothing is changed.

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
