"""InfoNCE: contrast each row's second view with the second views of all other rows, and vice versa.

Van den Oord et al. 2018 (arXiv 1807.03748), in the symmetric form with cosine similarities of SimCLR and CLIP.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F


def infonce_terms(
    a_MD: torch.Tensor,
    b_MD: torch.Tensor,
    temperature: float,
    same_MM: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """Return the mean over rows of ``-a_i.b_i / tau + log sum_j exp(a_i.b_j / tau)``, also with the views exchanged.

    Args:
        a_MD, b_MD: two views of the same M items, over the whole global batch.
        temperature: tau.
        same_MM: bool, pairs that are not negatives of each other; the diagonal does not matter. None: all others are.

    Returns:
        ``loss``, and ``accuracy``: the share of rows whose own second view is the nearest of all candidates.

    Example:
        >>> terms = infonce_terms(torch.eye(2), torch.eye(2), temperature=1.0)
        >>> round(float(terms["loss"]), 4), float(terms["accuracy"])  # log(1 + exp(-1))
        (0.3133, 1.0)
    """
    logits_MM = F.normalize(a_MD, dim=1) @ F.normalize(b_MD, dim=1).T / temperature
    own_M = torch.arange(len(logits_MM), device=logits_MM.device)
    if same_MM is not None:
        hidden_MM = same_MM.clone()
        hidden_MM[own_M, own_M] = False
        logits_MM = logits_MM.masked_fill(hidden_MM, -torch.inf)
    loss = (F.cross_entropy(logits_MM, own_M) + F.cross_entropy(logits_MM.T, own_M)) / 2
    accuracy = (logits_MM.detach().argmax(1) == own_M).float().mean()
    return {"loss": loss, "accuracy": accuracy}


def no_negatives(
    item_M: torch.Tensor, recording_M: torch.Tensor, unit_M: torch.Tensor | None, within: bool
) -> torch.Tensor:
    """Return the pairs of rows that are not contrasted.

    Args:
        item_M: number of each row's window.
        recording_M: number of each row's recording.
        unit_M: index of each row's unit in its recording; None: unknown, and all rows count as different units.
        within: also exclude rows of different windows.

    Returns:
        ``(M, M)`` bool.

    Example:
        >>> recording, unit = torch.tensor([0, 0, 1]), torch.tensor([4, 4, 4])
        >>> no_negatives(torch.arange(3), recording, unit, within=False).int().tolist()
        [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    same_MM = torch.zeros(len(item_M), len(item_M), dtype=torch.bool, device=item_M.device)
    if unit_M is not None:
        same_MM = (unit_M[:, None] == unit_M) & (recording_M[:, None] == recording_M)
    return same_MM | (item_M[:, None] != item_M) if within else same_MM
