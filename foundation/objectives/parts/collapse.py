"""Collapse metrics, logged for every objective: whether embeddings still differ."""

from __future__ import annotations

import torch
from torch.nn import functional as F

ROWS = 1 << 16


@torch.no_grad()
def rank_me(z_MD: torch.Tensor) -> torch.Tensor:
    """Return the effective rank of M embeddings: exp of the entropy of their singular values (arXiv 2210.02885, eq. 1).

    Example:
        >>> round(float(rank_me(torch.eye(4))), 2), round(float(rank_me(torch.ones(4, 4))), 2)
        (4.0, 1.0)
    """
    if not bool(z_MD.isfinite().all()):
        return z_MD.new_tensor(torch.nan)
    # Squares of singular values are eigenvalues of the products of columns: in float64 as accurate as singular values
    # in float32, and many times faster. Processed in parts, because a global batch may be large.
    tall_MD = z_MD if len(z_MD) >= z_MD.shape[1] else z_MD.T
    gram_DD = tall_MD.new_zeros(tall_MD.shape[1], tall_MD.shape[1], dtype=torch.float64)
    for part in map(torch.Tensor.double, tall_MD.split(ROWS)):
        gram_DD.addmm_(part.T, part)
    values = torch.linalg.eigvalsh(gram_DD).clamp(min=0).sqrt()
    share = values / values.sum().clamp(min=1e-12) + 1e-7
    return (-(share * share.log()).sum()).exp().to(z_MD.dtype)


@torch.no_grad()
def mean_similarity(z_MD: torch.Tensor) -> torch.Tensor:
    """Return the mean cosine similarity of two different rows; 1 if all embeddings are equal.

    Example:
        >>> float(mean_similarity(torch.eye(3))), float(mean_similarity(torch.ones(3, 2)))
        (0.0, 1.0)
    """
    count = len(z_MD)
    rows = F.normalize(z_MD, dim=1)
    alone = rows.square().sum(dtype=torch.float64)
    total = rows.sum(0, dtype=torch.float64).square().sum() - alone  # over all pairs, without each row with itself
    return (total / max(count * (count - 1), 1)).to(z_MD.dtype)


@torch.no_grad()
def collapse_figures(z_MD: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the metrics that are logged for every objective, from the embeddings of the global batch.

    Args:
        z_MD: ``(M, D)`` embeddings, one a row.

    Returns:
        ``rankme``: effective rank. ``std``: standard deviation over rows, the mean over features. ``similarity``: mean
        cosine similarity of different rows. ``rows``: M.
    """
    z_MD = z_MD.detach().float()
    return {
        "rankme": rank_me(z_MD),
        "std": z_MD.std(dim=0, correction=0).mean(),
        "similarity": mean_similarity(z_MD),
        "rows": torch.tensor(float(len(z_MD))),
    }


@torch.no_grad()
def similarity_gap(a_MD: torch.Tensor, b_MD: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the mean cosine similarity of two views of one unit, and of views of different units.

    NeurPIR's first criterion (arXiv 2502.10425): the first should be higher than the second.

    Example:
        >>> gap = similarity_gap(torch.eye(2), torch.eye(2))
        >>> float(gap["similarity_within"]), float(gap["similarity_between"])
        (1.0, 0.0)
    """
    a, b = F.normalize(a_MD.float(), dim=1), F.normalize(b_MD.float(), dim=1)
    count = len(a)
    within = (a * b).sum(1)
    between = (a.sum(0) * b.sum(0)).sum() - within.sum()
    return {"similarity_within": within.mean(), "similarity_between": between / max(count * (count - 1), 1)}
