"""Compiled loops behind `foundation.data.keyed_random`: SplitMix64 in one pass, where torch needs eleven."""

from __future__ import annotations

import numpy as np

from foundation.common.processes.compiled import compiled

# Steele, Lea and Flood, OOPSLA 2014.
GAMMA, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@compiled()
def _mix(key: np.uint64, position: np.uint64) -> np.uint64:
    x = key + (position + np.uint64(1)) * np.uint64(GAMMA)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(FIRST)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(SECOND)
    return x ^ (x >> np.uint64(31))


@compiled()
def mix(key_R: np.ndarray, position_P: np.ndarray, mixed_RP: np.ndarray) -> None:
    """Return a key for each of P positions of each of R keys.

    Args:
        key_R: ``(R,)`` uint64.
        position_P: ``(P,)`` uint64.
        mixed_RP: ``(R, P)`` uint64, written.
    """
    if len(position_P) == 1:  # the longer loop is the inner one
        for r in range(len(key_R)):
            mixed_RP[r, 0] = _mix(key_R[r], position_P[0])
        return
    for r in range(len(key_R)):
        for p in range(len(position_P)):
            mixed_RP[r, p] = _mix(key_R[r], position_P[p])


@compiled()
def mix_on(key_R: np.ndarray, position_P: np.ndarray, mixed_R: np.ndarray) -> None:
    """Return R keys, each mixed with P numbers in turn.

    Args:
        key_R: ``(R,)`` uint64.
        position_P: ``(P,)`` uint64.
        mixed_R: ``(R,)`` uint64, written.
    """
    mixed_R[:] = key_R
    for p in range(len(position_P)):
        for r in range(len(key_R)):
            mixed_R[r] = _mix(mixed_R[r], position_P[p])


@compiled()
def to_unit(key_R: np.ndarray, u_R: np.ndarray) -> None:
    """Return a number in [0, 1) of 24 bits for each key.

    Args:
        key_R: ``(R,)`` uint64.
        u_R: ``(R,)`` float32, written.
    """
    for r in range(len(key_R)):
        u_R[r] = np.float32(_mix(key_R[r], np.uint64(0)) >> np.uint64(40)) * np.float32(2.0**-24)
