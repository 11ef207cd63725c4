"""Atom loss: spikes repel each other; a centroid attracts spikes from afar and repels them from very near.

Of point i it is ``sum_{j != i} 1 / d(i, j)^3 + sum_k (1 / d(i, k)^3 - 1 / d(i, k)^2)``, d Euclidean, j over the other
points and k over the centroids (CS482/682 report of group 25). It diverges where two points meet. Here every d is
``sqrt(distance^2 + softening^2)``, as in simulations of gravity (Plummer), so that loss and gradient are finite
everywhere: a pair adds at most softening^-3, and at distance 0 its gradient is 0.
"""

from __future__ import annotations

import torch

SOFTENING = 0.5
MAX_PAIRS = 262_144  # 512 points, all with all


def atom_loss(
    z_BF: torch.Tensor,
    centroid_KF: torch.Tensor,
    softening: float = SOFTENING,
    max_pairs: int = MAX_PAIRS,
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Return the mean of Atom loss over points.

    Pairs of B points are all taken as long as there are at most ``max_pairs``; from then on each point meets
    ``max_pairs // B`` others, drawn with replacement, and the sum is scaled to all of them. So cost grows with B, not
    with its square: B x K distances and at most ``max_pairs``.

    Args:
        z_BF: latents of spikes.
        centroid_KF: centroids; no gradient flows into them unless they ask for it.
        softening: in units of the latents, above 0.
        max_pairs: bound of pairs of points.
        generator: draws the pairs.

    Example:
        >>> z = torch.tensor([[0.0], [2.0]])
        >>> round(float(atom_loss(z, torch.tensor([[1.0]]), softening=1e-6)), 4)  # 1 / 8 + 1 - 1
        0.125
    """
    points = len(z_BF)
    to_centroid_BK = _squared(z_BF, centroid_KF) + softening**2
    loss_B = (to_centroid_BK**-1.5 - to_centroid_BK**-1.0).sum(dim=1)
    if points < 2:
        return loss_B.mean()
    if points * points <= max_pairs:
        itself_BB = torch.eye(points, dtype=torch.bool)
        to_point_BB = (_squared(z_BF, z_BF) + softening**2).masked_fill(itself_BB, torch.inf)
        return (loss_B + (to_point_BB**-1.5).sum(dim=1)).mean()
    each = max(1, max_pairs // points)
    shift_BE = torch.randint(1, points, (points, each), generator=generator)
    other_BE = (torch.arange(points)[:, None] + shift_BE) % points
    distance_BE = (z_BF[:, None] - z_BF[other_BE]).pow(2).sum(dim=2) + softening**2
    return (loss_B + (distance_BE**-1.5).sum(dim=1) * ((points - 1) / each)).mean()


def _squared(a_BF: torch.Tensor, b_KF: torch.Tensor) -> torch.Tensor:
    """Return squared distances ``(B, K)``, from differences: exact 0 for equal points, and with a gradient there."""
    return (a_BF[:, None] - b_KF).pow(2).sum(dim=2)
