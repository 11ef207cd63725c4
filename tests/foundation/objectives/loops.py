"""Pieces of a loss as plain loops over float64 numbers, and gradient checks by central differences."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

STEP = 1e-6


def perceptron(layers: nn.Sequential, rows: list[list[float]]) -> list[list[float]]:
    """A projector as loops: linear layers, batch norm over the rows, layer norm, ReLU."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            w, b = layer.weight.detach().tolist(), layer.bias.detach().tolist()
            rows = [[sum(wj * xj for wj, xj in zip(wi, row, strict=True)) + bi for wi, bi in zip(w, b, strict=True)] for row in rows]  # noqa: E501  # fmt: skip
        elif isinstance(layer, nn.ReLU):
            rows = [[max(0.0, v) for v in row] for row in rows]
        elif isinstance(layer, nn.LayerNorm):
            rows = [standardised(row, layer) for row in rows]
        else:  # batch norm, ours or torch's
            columns = [standardised(list(c), layer, k) for k, c in enumerate(zip(*rows, strict=True))]
            rows = [list(row) for row in zip(*columns, strict=True)]
    return rows


def standardised(values: list[float], layer: nn.Module, feature: int | None = None) -> list[float]:
    mean = sum(values) / len(values)
    variance = sum((v - mean) ** 2 for v in values) / len(values)
    w, b = layer.weight.detach().tolist(), layer.bias.detach().tolist()
    out = []
    for k, v in enumerate(values):
        at = k if feature is None else feature
        out.append((v - mean) / math.sqrt(variance + layer.eps) * w[at] + b[at])
    return out


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def slopes_agree(loss_of, x: torch.Tensor, grad: torch.Tensor, n: int = 6, seed: int = 0) -> None:
    """Compare central differences of ``loss_of`` at some places with a gradient."""
    rng = np.random.default_rng(seed)
    for flat in rng.choice(x.numel(), min(n, x.numel()), replace=False):
        place = np.unravel_index(flat, x.shape)
        up, down = x.detach().clone(), x.detach().clone()
        up[place] += STEP
        down[place] -= STEP
        slope = (loss_of(up) - loss_of(down)) / (2 * STEP)
        assert float(grad[place]) == pytest.approx(slope, rel=2e-5, abs=1e-7)


def weights_agree(loss_of, module: nn.Module, n: int = 8, seed: int = 0) -> None:
    """Compare central differences of the loops, which read the module's weights again, with the weights' gradients."""
    rng = np.random.default_rng(seed)
    learned = [p for p in module.parameters() if p.requires_grad and p.grad is not None]
    assert learned
    for p in [learned[k] for k in rng.permutation(len(learned))[:n]]:
        place = np.unravel_index(int(rng.integers(p.numel())), p.shape)
        kept, losses = float(p.data[place]), []
        for step in (STEP, -STEP):
            p.data[place] = kept + step
            losses.append(loss_of())
        p.data[place] = kept
        assert float(p.grad[place]) == pytest.approx((losses[0] - losses[1]) / (2 * STEP), rel=2e-5, abs=1e-7)


class Given(nn.Module):
    """An encoder whose embeddings are its input, so that gradients arrive at the input."""

    def __init__(self, **outputs):
        super().__init__()
        self.outputs = outputs
        self.calls = 0

    def forward(self, x_BNT, **_):
        view = self.outputs["views"][self.calls % len(self.outputs["views"])]
        self.calls += 1
        return SimpleNamespace(**view)


def perceptron_softplus(layers, rows):
    assert isinstance(layers[-1], nn.Softplus)
    return [[math.log1p(math.exp(-abs(v))) + max(v, 0.0) for v in row] for row in perceptron(layers[:-1], rows)]


def vicreg_by_loops(a, b, s, groups=None) -> float:
    m, d = len(a), len(a[0])
    total = s.invariance * sum((a[i][j] - b[i][j]) ** 2 for i in range(m) for j in range(d)) / (m * d)
    for x in (a, b):
        if groups is not None:
            fresh = []
            for i in range(m):
                mates = [x[j] for j in range(m) if groups[j] == groups[i]]
                mean = [sum(c) / len(mates) for c in zip(*mates, strict=True)]
                fresh.append([v - g for v, g in zip(x[i], mean, strict=True)] if len(mates) > 1 else x[i])
            x = fresh
        mean = [sum(row[j] for row in x) / m for j in range(d)]
        for j in range(d):
            for k in range(d):
                cov = sum((row[j] - mean[j]) * (row[k] - mean[k]) for row in x) / (m - 1)
                if j == k:
                    total += s.variance * max(0.0, s.target - math.sqrt(cov + s.eps)) / d / 2
                else:
                    total += s.covariance * cov**2 / d
    return total
