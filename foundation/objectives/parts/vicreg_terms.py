"""VICReg: align two views, keep every feature spread, and decorrelate features.

Bardes, Ponce and LeCun 2022 (arXiv 2105.04906), in the released form: the distance is a mean over features where the
paper's equation has a sum, and the variance term is the mean of the two views instead of their sum.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F

from foundation.objectives.method_settings import VICRegWeights


def vicreg_terms(
    a_MD: torch.Tensor, b_MD: torch.Tensor, settings: VICRegWeights, group_M: torch.Tensor | None = None
) -> dict[str, torch.Tensor]:
    """Return the three terms, unweighted, and their weighted sum as ``loss``.

    Args:
        a_MD, b_MD: ``(M, D)`` two views of the same M items, over the whole global batch; M at least 2.
        settings: weights.
        group_M: ``(M,)`` integers; if given, each group's mean is subtracted before variance and covariance.

    Returns:
        ``invariance``: mean squared difference. ``variance``: mean hinge below the target, averaged over the views.
        ``covariance``: sum of squared off-diagonal covariances over D, summed over the views.

    Example:
        >>> a = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
        >>> terms = vicreg_terms(a, a, VICRegWeights())
        >>> float(terms["invariance"]), round(float(terms["variance"]), 3)
        (0.0, 0.495)
    """
    invariance = F.mse_loss(a_MD, b_MD)
    if group_M is not None:
        a_MD, b_MD = centred_by_group(a_MD, group_M), centred_by_group(b_MD, group_M)
    variance = (_spread(a_MD, settings) + _spread(b_MD, settings)) / 2
    covariance = _entanglement(a_MD) + _entanglement(b_MD)
    loss = settings.invariance * invariance + settings.variance * variance + settings.covariance * covariance
    return {"loss": loss, "invariance": invariance, "variance": variance, "covariance": covariance}


def centred_by_group(x_MD: torch.Tensor, group_M: torch.Tensor) -> torch.Tensor:
    """Return rows minus the mean of their group; a row alone in its group stays unchanged.

    Example:
        >>> centred_by_group(torch.tensor([[1.0], [3.0], [9.0]]), torch.tensor([7, 7, 2])).ravel().tolist()
        [-1.0, 1.0, 9.0]
    """
    _, index_M, count_G = group_M.unique(return_inverse=True, return_counts=True)
    total_GD = x_MD.new_zeros(len(count_G), x_MD.shape[1]).index_add(0, index_M, x_MD)
    mean_GD = total_GD / count_G[:, None] * (count_G[:, None] > 1)
    return x_MD - mean_GD[index_M]


def _spread(x_MD: torch.Tensor, settings: VICRegWeights) -> torch.Tensor:
    std = (x_MD.var(dim=0) + settings.eps).sqrt()
    return F.relu(settings.target - std).mean()


def _entanglement(x_MD: torch.Tensor) -> torch.Tensor:
    centred = x_MD - x_MD.mean(dim=0)
    covariance = centred.T @ centred / (len(x_MD) - 1)
    off_diagonal = covariance.pow(2).sum() - covariance.diagonal().pow(2).sum()
    return off_diagonal / x_MD.shape[1]
