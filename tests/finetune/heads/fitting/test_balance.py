"""Classes have equal shares of the loss of full finetuning, at 18 samples to 2 and with any spread over recordings."""

import numpy as np
import pytest

from finetune.tasks.problems.decoding_task import Labels
from finetune.tasks.problems.trial_windows import Windows
from finetune.tasks.problems.unit_task import UnitProblem
from finetune.tasks.problems.window_task import WindowProblem
from foundation.data.reading.reader import ReaderCache
from foundation.store import Catalog, Store, write_recording

WINDOWS = 300


@pytest.fixture(scope="module")
def catalog(tmp_path_factory, make_recording):
    """Recordings of 18, 2 and 20 units."""
    store = Store(tmp_path_factory.mktemp("balance") / "store", create=True)
    for seed, n_units in enumerate((18, 2, 20)):
        write_recording(store, make_recording(seed, n_units=n_units, seconds=20.0))
    return Catalog.build(store)


def unit_problem(catalog, sizes, y_S):
    recordings = [next(r for r in catalog if r.record.n_units == n) for n in sizes]
    return UnitProblem(
        Labels("cell_type", "all", "Cell type", np.array(y_S), classes=("common", "rare")),
        recordings,
        np.repeat(np.arange(len(sizes)), sizes),
        np.concatenate([np.arange(n) for n in sizes]),
        readers=ReaderCache(catalog),
        bin_width=0.05,
        n_bins=40,
        bins_per_token=4,
        windows=8,
        seed=0,
    )


def rare_share(problem, tokens):
    """Return the rare class's share of all loss weights over many updates."""
    rng, total = np.random.default_rng(0), np.zeros(2)
    drawn = 0
    while drawn < WINDOWS:
        batch, picked = problem.draw(np.arange(20), tokens, rng)
        drawn += len(batch.x_BNT)
        total += np.bincount(problem.labels.y_S[picked.samples], picked.weight, minlength=2)
    return total[1] / total.sum()


@pytest.mark.parametrize("tokens", [1, 1000])
@pytest.mark.parametrize("sizes", [(18, 2), (20,)])
def test_units_of_a_rare_class_carry_half_of_the_loss(catalog, sizes, tokens):
    problem = unit_problem(catalog, sizes, [0] * 18 + [1] * 2)
    assert rare_share(problem, tokens) == pytest.approx(0.5, abs=0.08)


def test_windows_of_a_rare_class_carry_half_of_the_loss(catalog):
    recording = next(iter(catalog))
    windows = Windows(np.arange(20) * 0.9, np.full(20, 4), np.arange(20), "trials")
    problem = WindowProblem(
        Labels("behavior", "direction", "Direction", np.array([0] * 18 + [1] * 2), classes=("common", "rare")),
        recording,
        windows,
        np.arange(20),
        None,
        token_seconds=0.2,
        readers=ReaderCache(catalog),
        bins_per_token=4,
    )
    assert rare_share(problem, tokens=200) == pytest.approx(0.5, abs=0.08)
