"""The training loop of small models: its updates, its end, and the choice of the training length."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from finetune.training_loop import DivergedError, LengthSearch, run_updates


def test_batch_is_read_after_the_previous_update():
    layer, seen = nn.Linear(1, 1, bias=False), []

    def batches():
        for _ in range(3):
            seen.append(layer.weight.item())
            yield torch.ones(1)

    run_updates(batches(), lambda x: layer(x).sum(), torch.optim.SGD(layer.parameters(), lr=1.0))
    assert [round(a - b, 5) for a, b in pairwise(seen)] == [1.0, 1.0]


def test_gradients_are_clipped_together():
    layer = nn.Linear(4, 1, bias=False)
    before = layer.weight.detach().clone()
    clip = list(layer.parameters()), 0.5
    run_updates([torch.ones(4)], lambda x: 100 * layer(x).sum(), torch.optim.SGD(layer.parameters(), lr=1.0), clip=clip)
    assert (layer.weight - before).norm().item() == pytest.approx(0.5, rel=1e-4)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_non_finite_loss_changes_no_weight(loss):
    layer = nn.Linear(1, 1)
    before = layer.weight.item()
    with pytest.raises(DivergedError, match=f"the loss became {loss} at a learning rate of 0.5: lower it"):
        run_updates([1], lambda _: layer.weight.sum() + loss, torch.optim.SGD(layer.parameters(), lr=0.5))
    assert layer.weight.item() == before


@pytest.mark.parametrize(
    ("figures", "looks", "kept"),
    [
        ([0.1, 0.2, 0.3, 0.4], 4, 40),  # never worse: all evaluations are made
        ([0.3, 0.2, 0.2, 0.9], 3, 10),  # two evaluations without improvement
        ([0.3, 0.2, 0.4, 0.3, 0.3, 0.9], 5, 30),
        ([math.nan, 0.2, math.nan, math.nan, 0.9], 4, 20),
    ],
)
def test_search_ends_after_its_patience_and_keeps_the_best(figures, looks, kept):
    search = LengthSearch(kept=10, patience=20)
    for k, figure in enumerate(figures):
        if search.ends(10 * (k + 1), figure):
            break
    assert (len(search.figures), search.kept) == (looks, kept)


def test_training_stays_at_the_start_unless_an_evaluation_is_clearly_better():
    search = LengthSearch(kept=0, patience=2, best=0.5, margin=1e-6)
    assert not search.ends(1, 0.5 + 1e-7)
    assert search.ends(2, 0.5)
    assert (search.kept, search.best) == (0, 0.5)
