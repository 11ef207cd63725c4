"""The loop of small models: what it updates, when it ends, and how the length of training is found."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from finetune.training_loop import DivergedError, LengthSearch, run_updates


def test_a_batch_is_read_after_the_update_of_the_batch_before_it():
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
def test_a_loss_that_is_not_finite_changes_no_weight(loss):
    layer = nn.Linear(1, 1)
    before = layer.weight.item()
    with pytest.raises(DivergedError, match=f"the loss became {loss} at a learning rate of 0.5: lower it"):
        run_updates([1], lambda _: layer.weight.sum() + loss, torch.optim.SGD(layer.parameters(), lr=0.5))
    assert layer.weight.item() == before


@pytest.mark.parametrize(
    ("figures", "looks", "kept"),
    [
        ([0.1, 0.2, 0.3, 0.4], 4, 40),  # never worse: all are looked at
        ([0.3, 0.2, 0.2, 0.9], 3, 10),  # two looks without a better one
        ([0.3, 0.2, 0.4, 0.3, 0.3, 0.9], 5, 30),
        ([math.nan, 0.2, math.nan, math.nan, 0.9], 4, 20),
    ],
)
def test_the_search_ends_after_its_patience_and_keeps_the_best(figures, looks, kept):
    search = LengthSearch(kept=10, patience=20)
    for k, figure in enumerate(figures):
        if search.ends(10 * (k + 1), figure):
            break
    assert (len(search.figures), search.kept) == (looks, kept)


def test_no_look_that_is_clearly_better_leaves_the_start():
    search = LengthSearch(kept=0, patience=2, best=0.5, margin=1e-6)
    assert not search.ends(1, 0.5 + 1e-7)
    assert search.ends(2, 0.5)
    assert (search.kept, search.best) == (0, 0.5)
