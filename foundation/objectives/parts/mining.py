"""Mining: a window's nearest neighbours in a pool of candidates, by their representations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class Pool:
    """P representations with their recordings and times.

    Args:
        y_PD: representations.
        recording_P: number of each one's recording.
        start_P: seconds from the session's start.
    """

    y_PD: torch.Tensor
    recording_P: torch.Tensor
    start_P: torch.Tensor

    @classmethod
    def joined(cls, pools: list[Pool]) -> Pool:
        """Join several pools into one."""
        return cls(
            torch.cat([p.y_PD for p in pools]),
            torch.cat([p.recording_P for p in pools]),
            torch.cat([p.start_P for p in pools]),
        )


@torch.no_grad()
def mine(
    anchors: Pool,
    pool: Pool,
    u_M: torch.Tensor,
    *,
    neighbours: int,
    exclusion: float,
    across_recordings: bool,
) -> torch.Tensor:
    """Return for each anchor one of its nearest candidates by cosine similarity.

    Args:
        anchors: M of them.
        pool: P candidates.
        u_M: numbers in [0, 1) that choose among the nearest candidates.
        neighbours: number of nearest candidates to choose from.
        exclusion: seconds; a candidate from the anchor's recording that starts less than this away is excluded.
        across_recordings: also use candidates from other recordings.

    Returns:
        ``(M,)`` index into the pool, -1 for an anchor without candidates.

    Example:
        >>> anchor = Pool(torch.tensor([[1.0, 0.0]]), torch.tensor([0]), torch.tensor([5.0]))
        >>> y_PD, start_P = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]]), torch.tensor([5.0, 9.0, 0.0])
        >>> pool = Pool(y_PD, torch.zeros(3), start_P)
        >>> int(mine(anchor, pool, torch.zeros(1), neighbours=1, exclusion=1.0, across_recordings=False))
        1
    """
    if not len(pool.y_PD):  # empty in every process, because the pool is global
        return torch.full((len(anchors.y_PD),), -1, device=pool.y_PD.device)
    cosine_MP = F.normalize(anchors.y_PD, dim=1) @ F.normalize(pool.y_PD, dim=1).T
    same_MP = anchors.recording_P[:, None] == pool.recording_P[None, :]
    near_MP = (anchors.start_P[:, None] - pool.start_P[None, :]).abs() < exclusion
    allowed_MP = ~(same_MP & near_MP) & (same_MP | across_recordings)
    k = min(neighbours, cosine_MP.shape[1])
    best_MK = cosine_MP.masked_fill(~allowed_MP, -torch.inf).topk(k, dim=1).indices
    count_M = allowed_MP.sum(1).clamp(max=k)
    which_M = (u_M.to(torch.float64) * count_M).long().clamp(max=k - 1)
    return best_MK.gather(1, which_M[:, None])[:, 0].masked_fill(count_M == 0, -1)
