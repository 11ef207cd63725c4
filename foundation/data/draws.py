"""Random numbers that belong to a place in the training run, not to a generator that is passed around.

A number is a hash of (seed, step, item, what it is for, position): the same for any number of processes and workers, on
any device, whatever else a step draws, and however far a batch is padded.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import torch

# SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), in wrapping 64-bit arithmetic.
GAMMA = 0x9E3779B97F4A7C15 - (1 << 64)
FIRST, SECOND = 0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64)


def _shifted(x: torch.Tensor, bits: int) -> torch.Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mixed(key: torch.Tensor, position: torch.Tensor | int) -> torch.Tensor:
    x = key + (torch.as_tensor(position, dtype=torch.int64, device=key.device) + 1) * GAMMA
    x = (x ^ _shifted(x, 30)) * FIRST
    x = (x ^ _shifted(x, 27)) * SECOND
    return x ^ _shifted(x, 31)


@dataclass(frozen=True)
class Draws:
    """A source of random numbers for each of B items.

    Args:
        key_B: ``(B,)`` int64, one key an item.

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
        """The draws of some items of a step."""
        zero = torch.zeros_like(item_B)
        return cls(_mixed(_mixed(_mixed(zero, seed), step), item_B))

    def child(self, purpose: str, number: int = 0) -> Draws:
        """Other draws of the same items, for a named purpose."""
        return Draws(_mixed(_mixed(self.key_B, zlib.crc32(purpose.encode())), number))

    def uniform(self, *shape: int) -> torch.Tensor:
        """``(B, *shape)`` float32 numbers, uniform in [0, 1)."""
        key = self.key_B
        for size in shape:
            key = _mixed(key[..., None], torch.arange(size, device=key.device))
        return _shifted(_mixed(key, 0), 40).float() / 2**24

    def normal(self, *shape: int) -> torch.Tensor:
        """``(B, *shape)`` float32 numbers of a standard normal distribution (Box and Muller)."""
        radius = (-2 * (1 - self.child("radius").uniform(*shape)).log()).sqrt()
        return radius * (2 * math.pi * self.child("angle").uniform(*shape)).cos()
