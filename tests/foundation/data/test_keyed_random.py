"""Random numbers keyed by a place in the run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foundation.data.keyed_random import Draws, _mixed, _mixed_on, _split_mix, _unit

MASK = (1 << 64) - 1


def split_mix(key: int, position: int) -> int:
    """SplitMix64 in Python integers."""
    x = (key + (position + 1) * 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def signed(x: int) -> int:
    return x - (1 << 64) if x >> 63 else x


@pytest.mark.parametrize("position", [0, 1, 7, 2**31, 2**62])
def test_keys_equal_split_mix_compiled_and_in_torch(position):
    keys = [0, 1, 5, 2**40, MASK, 0x123456789ABCDEF0]
    key_R = torch.tensor([signed(k) for k in keys])
    expected = [signed(split_mix(k, position)) for k in keys]
    assert _split_mix(key_R, position).tolist() == expected
    assert _mixed_on(key_R, position).tolist() == expected
    assert _mixed(key_R, torch.tensor([position, 3]))[:, 0].tolist() == expected
    assert _mixed(key_R, torch.tensor([position]))[:, 0].tolist() == expected
    twice = [signed(split_mix(split_mix(k, position), 9)) for k in keys]
    assert _mixed_on(key_R, position, 9).tolist() == twice


def test_numbers_are_the_first_24_bits_of_a_key():
    key_R = torch.tensor([0, -1, 77])
    expected = [(split_mix(int(k) & MASK, 0) >> 40) / 2**24 for k in key_R]
    assert _unit(key_R).tolist() == expected


@pytest.mark.parametrize("shape", [(), (3,), (4, 5), (2, 3, 4), (0,), (3, 1)])
def test_draws_of_any_shape_depend_only_on_the_item(shape):
    draws = Draws.of(seed=3, step=9, item_B=torch.arange(11))
    u = draws.child("a", 2).uniform(*shape)
    assert u.shape == (11, *shape)
    assert u.dtype == torch.float32
    assert bool(((u >= 0) & (u < 1)).all())
    some = Draws.of(seed=3, step=9, item_B=torch.tensor([7, 2])).child("a", 2).uniform(*shape)
    assert torch.equal(some, u[[7, 2]])


def test_draws_are_uniform_and_differ_by_seed_step_purpose_and_number():
    item_B = torch.arange(500)
    u = Draws.of(seed=0, step=0, item_B=item_B).uniform(40, 5).numpy().ravel()
    counts, _ = np.histogram(u, bins=20, range=(0, 1))
    assert (np.abs(counts - len(u) / 20) < 5 * np.sqrt(len(u) / 20)).all()
    first = Draws.of(seed=0, step=0, item_B=item_B)
    others = [Draws.of(seed=1, step=0, item_B=item_B), Draws.of(seed=0, step=1, item_B=item_B)]
    others += [first.child("a"), first.child("b"), first.child("a", 1)]
    seen = [tuple(first.key_B.tolist()), *(tuple(d.key_B.tolist()) for d in others)]
    assert len(set(seen)) == len(seen)


def test_non_contiguous_view_gives_the_same_keys():
    key_B = torch.arange(20)[::2]
    assert torch.equal(_mixed_on(key_B, 4), _mixed_on(key_B.clone(), 4))
    assert torch.equal(Draws(key_B).uniform(3), Draws(key_B.clone()).uniform(3))
