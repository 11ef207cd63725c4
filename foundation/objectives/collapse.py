"""Figures that tell whether embeddings still tell units apart."""

from __future__ import annotations

import torch
from torch.nn import functional as F


@torch.no_grad()
def rank_me(z_MD: torch.Tensor) -> torch.Tensor:
    """Effective rank of M embeddings: exponential of the entropy of their singular values (arXiv 2210.02885, eq. 1).

    Example:
        >>> round(float(rank_me(torch.eye(4))), 2), round(float(rank_me(torch.ones(4, 4))), 2)
        (4.0, 1.0)
    """
    values = torch.linalg.svdvals(z_MD.float())
    share = values / values.sum().clamp(min=1e-12) + 1e-7
    return (-(share * share.log()).sum()).exp()


@torch.no_grad()
def similarity_gap(a_MD: torch.Tensor, b_MD: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean cosine similarity of two views of one unit, and of views of different units.

    NeurPIR's first criterion (arXiv 2502.10425): the first is to be higher than the second.

    Example:
        >>> gap = similarity_gap(torch.eye(2), torch.eye(2))
        >>> float(gap["similarity_within"]), float(gap["similarity_between"])
        (1.0, 0.0)
    """
    cosine_MM = F.normalize(a_MD.float(), dim=1) @ F.normalize(b_MD.float(), dim=1).T
    count = len(cosine_MM)
    within = cosine_MM.diagonal().mean()
    between = (cosine_MM.sum() - cosine_MM.diagonal().sum()) / max(count * (count - 1), 1)
    return {"similarity_within": within, "similarity_between": between}
