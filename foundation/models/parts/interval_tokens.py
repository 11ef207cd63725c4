"""Tokens of a unit's spike train that describe the intervals between its spikes, successive intervals, and lags.

A patch of a few bins of 5 ms shows when a unit fired, but hardly its firing pattern: firing modes and cell types differ
in intervals, in pairs of successive intervals, and in the lags at which a unit fires again. These tokens are seconds
long and computed from bins so narrow (1 ms) that hardly any holds two spikes. Work grows with bins and with pairs of
spikes that are less than `LAGS` apart; there is no loop over units.
"""

from __future__ import annotations

import torch
from torch import nn

from foundation.models.config import EITConfig
from foundation.models.parts.attention import Hidden
from foundation.models.parts.tokens import ReadIn, WindowContext

SHORTEST, DECADES = 1e-3, 4  # intervals from 1 ms to 10 s; shorter and longer ones count in the first and last class
INTERVALS, SUCCESSIVE = 40, 12  # classes of intervals; classes of two successive intervals
# Borders of lags in seconds: 10 of 2 ms, 12 of 5 ms, 16 of 20 ms.
LAGS = (*(0.002 * k for k in range(10)), *(0.02 + 0.005 * k for k in range(12)), *(0.08 + 0.02 * k for k in range(17)))
FEATURES = 1 + INTERVALS + SUCCESSIVE**2 + len(LAGS) - 1
PAIRS = 1 << 22  # pairs of events that are held at a time
# A length equal to a border, such as 10 ms of 1 ms bins, counts above it regardless of rounding.
ROUNDING = 1e-3


class IntervalTokens(nn.Module):
    """Patches of fine bins as tokens, from the intervals between events, by a perceptron with one hidden layer.

    Args:
        config: of the model; ``patch_length`` bins make a token.
    """

    def __init__(self, config: EITConfig) -> None:
        super().__init__()
        self.patch_length = config.patch_length
        inner = int(config.dim * config.mlp_ratio)
        self.read_in = ReadIn(FEATURES, inner)
        self.down = Hidden(inner, config.dim)
        self.about = WindowContext(config.dim)

    def forward(
        self,
        x_BNT: torch.Tensor,
        dt_B: torch.Tensor,
        modality_B: torch.Tensor,
        mask_BN: torch.Tensor | None = None,
        mask_BT: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Map ``(B, N, T * patch_length)`` bins, anything where masked, to ``(B, N, T, D)`` tokens."""
        features_BNTF = interval_features(x_BNT, dt_B, self.patch_length, mask_BN, mask_BT)
        features_BNTF = features_BNTF.to(self.read_in.weight.dtype)
        h_BNTD: torch.Tensor = self.down(nn.functional.gelu(self.read_in(features_BNTF)))
        return h_BNTD + self.about(dt_B * self.patch_length, modality_B)[:, None, None, :]


@torch.no_grad()
def interval_features(
    x_BNT: torch.Tensor,
    dt_B: torch.Tensor,
    patch_length: int,
    mask_BN: torch.Tensor | None = None,
    mask_BT: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return features of the intervals between the events of each unit in each token.

    An interval belongs to the token in which it ends; it may have begun in an earlier token of the window. Intervals
    and lags that span masked bins are not counted.

    Args:
        x_BNT: ``(B, N, T * patch_length)`` events in each bin, rounded to whole numbers; anything where masked.
        dt_B: ``(B,)`` seconds, the width of a bin.
        patch_length: bins of a token.
        mask_BN: ``(B, N)`` bool, valid units; None: all.
        mask_BT: ``(B, T * patch_length)`` bool, valid bins; None: all.

    Returns:
        ``(B, N, T, 223)`` float32: a quarter of the logarithm of 1 + events, on the scale of the others; square roots
        of the shares of 40 interval lengths, evenly spaced in the logarithm from 1 ms to 10 s; of the shares of
        12 x 12 lengths of two successive intervals, the earlier one first; and of the shares of 38 lags between any
        two events, up to 400 ms.

    Example:
        >>> x_BNT = torch.zeros(1, 1, 1000)
        >>> x_BNT[0, 0, [100, 150, 200]] = 1
        >>> token_F = interval_features(x_BNT, torch.tensor([0.001]), 1000)[0, 0, 0]
        >>> round(float((4 * token_F[0]).exp())), token_F[1:41].nonzero().tolist(), token_F[41:185].nonzero().tolist()
        (4, [[16]], [[65]])
        >>> [round(float(share), 2) for share in token_F[185:].square() if share]
        [0.67, 0.33]
    """
    n_windows, n_units, n_bins = x_BNT.shape
    n_tokens = n_windows * n_units * (n_bins // patch_length)
    flat = x_BNT.reshape(-1)
    place_E = flat.nonzero()[:, 0]
    if mask_BN is not None:
        place_E = place_E[mask_BN.reshape(-1)[place_E // n_bins]]
    if mask_BT is not None:
        place_E = place_E[mask_BT[place_E // (n_bins * n_units), place_E % n_bins]]
    place_E = place_E.repeat_interleave(flat[place_E].float().round().clamp(min=0).long())
    row_E, token_E = place_E // n_bins, place_E // patch_length
    window_E = row_E // n_units
    dt_E = dt_B.float()[window_E]
    # Events with the same number lie in one unbroken run of bins of one unit.
    stretch_E = row_E
    if mask_BT is not None:
        stretch_E = row_E * (n_bins + 1) + (~mask_BT).cumsum(1)[window_E, place_E - row_E * n_bins]

    follows_E = stretch_E[1:] == stretch_E[:-1]
    seconds_E = (place_E[1:] - place_E[:-1]) * dt_E[1:]
    fine_E, coarse_E = (_length(seconds_E, number) for number in (INTERVALS, SUCCESSIVE))
    two_E = follows_E[1:] & follows_E[:-1]
    pair_E = coarse_E[:-1] * SUCCESSIVE + coarse_E[1:]
    parts = [
        torch.log1p(_counts(token_E, torch.zeros_like(token_E), n_tokens, 1)) / 4,
        _root_shares(_counts(token_E[1:][follows_E], fine_E[follows_E], n_tokens, INTERVALS)),
        _root_shares(_counts(token_E[2:][two_E], pair_E[two_E], n_tokens, SUCCESSIVE**2)),
        _root_shares(_lag_counts(place_E, stretch_E, token_E, dt_E, n_tokens)),
    ]
    return torch.cat(parts, dim=1).view(n_windows, n_units, -1, FEATURES)


def _length(seconds: torch.Tensor, number: int) -> torch.Tensor:
    """Return the class of each interval among ``number`` classes of length."""
    steps = (seconds.clamp(min=SHORTEST / 2) / SHORTEST).log10() * (number / DECADES)
    return (steps + ROUNDING).floor().long().clamp(0, number - 1)


def _counts(token: torch.Tensor, kind: torch.Tensor, n_tokens: int, n_kinds: int) -> torch.Tensor:
    """Return ``(n_tokens, n_kinds)`` float32, how often each kind occurs in each token."""
    return torch.bincount(token * n_kinds + kind, minlength=n_tokens * n_kinds).view(n_tokens, n_kinds).float()


def _root_shares(counts: torch.Tensor) -> torch.Tensor:
    """Return square roots of the shares of each row, whose spread does not depend on the share; 0 for an empty row."""
    return (counts / counts.sum(1, keepdim=True).clamp(min=1)).sqrt()


def _lag_counts(
    place_E: torch.Tensor, stretch_E: torch.Tensor, token_E: torch.Tensor, dt_E: torch.Tensor, n_tokens: int
) -> torch.Tensor:
    """Count ``(n_tokens, 38)`` lags from each event to earlier ones, in the token of the later event.

    First between neighbours, then second neighbours, and so on, keeping only events with an earlier one near enough.
    """
    n_lags = len(LAGS) - 1
    borders = torch.tensor(LAGS, device=place_E.device)
    counts = place_E.new_zeros(n_tokens * n_lags)
    later = torch.arange(1, max(len(place_E), 1), device=place_E.device)  # empty if there are no events
    found: list[torch.Tensor] = []
    waiting = 0
    for order in range(1, len(place_E)):
        earlier = later - order
        seconds = (place_E[later] - place_E[earlier]) * dt_E[later] * (1 + 1e-5)
        near = (stretch_E[later] == stretch_E[earlier]) & (seconds < LAGS[-1])
        later = later[near]
        if not len(later):
            break
        found.append(token_E[later] * n_lags + torch.bucketize(seconds[near], borders, right=True) - 1)
        waiting += len(later)
        if waiting > PAIRS:
            counts += torch.bincount(torch.cat(found), minlength=len(counts))
            found, waiting = [], 0
        later = later[later > order]
    if found:
        counts += torch.bincount(torch.cat(found), minlength=len(counts))
    return counts.view(n_tokens, n_lags).float()
