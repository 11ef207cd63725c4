"""Atom loss: its formula, its gradient, and finite values where points coincide."""

import pytest
import torch

from ingest.sorting.clustering.atom_loss import atom_loss


def by_hand(z, centroids, softening):
    total = 0.0
    for i, a in enumerate(z):
        for j, b in enumerate(z):
            if i != j:
                total += (float(((a - b) ** 2).sum()) + softening**2) ** -1.5
        for c in centroids:
            d2 = float(((a - c) ** 2).sum()) + softening**2
            total += d2**-1.5 - 1 / d2
    return total / len(z)


@pytest.fixture
def points():
    draw = torch.Generator().manual_seed(0)
    return torch.randn(7, 3, generator=draw, dtype=torch.double), torch.randn(2, 3, generator=draw, dtype=torch.double)


def test_atom_loss_equals_the_sum_over_all_pairs(points):
    z, centroids = points
    assert float(atom_loss(z, centroids, 0.5)) == pytest.approx(by_hand(z, centroids, 0.5), rel=1e-9)


def test_atom_loss_gradient(points):
    z, centroids = points
    assert torch.autograd.gradcheck(lambda x: atom_loss(x, centroids, 0.5), (z.requires_grad_(),))


def test_atom_loss_is_finite_where_points_and_centroids_meet():
    z = torch.zeros(5, 3, requires_grad=True)
    loss = atom_loss(z, torch.zeros(2, 3), softening=0.5)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(4 * 8 + 2 * (8 - 4))
    assert torch.equal(z.grad, torch.zeros(5, 3))


def test_sampled_pairs_are_unbiased_and_follow_the_seed():
    z = torch.randn(64, 3, generator=torch.Generator().manual_seed(1))
    centroids = torch.zeros(1, 3)
    whole = float(atom_loss(z, centroids))
    draw = torch.Generator().manual_seed(2)
    sampled = torch.tensor([float(atom_loss(z, centroids, max_pairs=64 * 8, generator=draw)) for _ in range(300)])
    assert float(sampled.std()) > 0
    assert float(sampled.mean()) == pytest.approx(whole, abs=4 * float(sampled.std()) / 300**0.5)
    again = float(atom_loss(z, centroids, max_pairs=64 * 8, generator=torch.Generator().manual_seed(2)))
    assert again == float(sampled[0])
