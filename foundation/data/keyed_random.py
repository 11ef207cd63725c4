"""Random numbers keyed by their place in the training run, without a generator that is passed around.

A number is a hash of (seed, step, item, purpose, position): the same for any number of processes and workers, on
any device, independent of other draws in the step and of the batch's padding.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np
import torch

from foundation.data import keyed_hashing as hashing

# SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), in wrapping 64-bit arithmetic: compiled on a CPU, by torch
# elsewhere, with the same bits.
GAMMA, FIRST, SECOND = (
    constant - (1 << 64 if constant >> 63 else 0) for constant in (hashing.GAMMA, hashing.FIRST, hashing.SECOND)
)


def _shifted(x: torch.Tensor, bits: int) -> torch.Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mixed(key: torch.Tensor, position_P: torch.Tensor) -> torch.Tensor:
    """Return ``(..., P)`` keys of P positions of each key."""
    if key.device.type == "cpu":
        mixed = torch.empty(*key.shape, len(position_P), dtype=torch.int64)
        hashing.mix(_bits(key), _bits(position_P), _bits(mixed).reshape(key.numel(), len(position_P)))
        return mixed
    return _split_mix(key[..., None], position_P)


def _mixed_on(key: torch.Tensor, *positions: int) -> torch.Tensor:
    """Return keys of the same shape, mixed with numbers in turn."""
    if key.device.type == "cpu":
        mixed = torch.empty(key.shape, dtype=torch.int64)
        hashing.mix_on(_bits(key), np.array(positions, dtype=np.int64).view(np.uint64), _bits(mixed))
        return mixed
    for position in positions:
        key = _split_mix(key, position)
    return key


def _split_mix(key: torch.Tensor, position: torch.Tensor | int) -> torch.Tensor:
    x = key + (torch.as_tensor(position, dtype=torch.int64, device=key.device) + 1) * GAMMA
    x = (x ^ _shifted(x, 30)) * FIRST
    x = (x ^ _shifted(x, 27)) * SECOND
    return x ^ _shifted(x, 31)


def _unit(key: torch.Tensor) -> torch.Tensor:
    """Return float32 numbers in [0, 1)."""
    if key.device.type == "cpu":
        u = torch.empty(key.shape)
        hashing.to_unit(_bits(key), u.view(-1).numpy())
        return u
    return _shifted(_split_mix(key, 0), 40).float() / 2**24


def _bits(key: torch.Tensor) -> np.ndarray:
    """Return the memory of a CPU tensor as a flat array of uint64."""
    return key.contiguous().view(-1).numpy().view(np.uint64)


@dataclass(frozen=True)
class Draws:
    """A source of random numbers for each of B items.

    Args:
        key_B: ``(B,)`` int64, one key per item.

    Example:
        >>> draws = Draws.of(seed=0, step=3, item_B=torch.tensor([5, 6]))
        >>> wide, narrow = draws.child("noise").uniform(4, 9), draws.child("noise").uniform(4, 2)
        >>> bool((wide[:, :, :2] == narrow).all())  # padding changes nothing
        True
        >>> again = Draws.of(seed=0, step=3, item_B=torch.tensor([6])).child("noise").uniform(4, 9)
        >>> bool((again[0] == wide[1]).all())  # nor does who else is in the batch
        True
    """

    key_B: torch.Tensor

    @classmethod
    def of(cls, *, seed: int, step: int, item_B: torch.Tensor) -> Draws:
        """Return the random numbers of some items of a step."""
        run = _mixed_on(torch.zeros((), dtype=torch.int64, device=item_B.device), seed, step)
        return cls(_mixed(run, item_B))

    def child(self, purpose: str, number: int = 0) -> Draws:
        """Return independent random numbers of the same items, for a named purpose."""
        return Draws(_mixed_on(self.key_B, zlib.crc32(purpose.encode()), number))

    def uniform(self, *shape: int) -> torch.Tensor:
        """Return ``(B, *shape)`` float32 numbers, uniform in [0, 1)."""
        key = self.key_B
        for size in shape:
            key = _mixed(key, torch.arange(size, device=key.device))
        return _unit(key)

    def normal(self, *shape: int) -> torch.Tensor:
        """Return ``(B, *shape)`` float32 numbers of a standard normal distribution (Box and Muller)."""
        radius = (-2 * (1 - self.child("radius").uniform(*shape)).log()).sqrt()
        return radius * (2 * math.pi * self.child("angle").uniform(*shape)).cos()
