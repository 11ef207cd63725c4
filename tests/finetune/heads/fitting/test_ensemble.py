"""An ensemble: networks from several seeds, whose mean predicts, and which all go with the head that is kept."""

from dataclasses import replace

import numpy as np
import pytest

from finetune.finetune_settings import FullSettings
from finetune.heads.decode import decode
from finetune.heads.fitting.fit_head import Evaluated, Scored, fit_head
from finetune.heads.fitting.head_probe import probe_with_rates
from finetune.heads.fitting.shared_trunk import SEEDS_APART, Finetuned, Learned, Network, _Training, finetune_on
from finetune.heads.head_files import load_head, save_head
from finetune.heads.head_models import head_models
from finetune.heads.mlflow_head import save_mlflow_head
from finetune.result import Score

FULL = FullSettings(steps=4, checks=2, tokens_per_step=512, ensemble=2)


@pytest.fixture
def two_networks(problems, population_model, settings, monkeypatch):
    """Finetunes two networks on all samples of a problem, and each of them alone."""

    def finetune(target, share):
        monkeypatch.setattr(_Training, "search", lambda training, seed: (3, [share]))
        problem = problems[target]
        learned = [Learned(problem, problem.features(population_model), np.arange(len(problem.labels.y_S)), None)]
        (both,) = finetune_on(learned, population_model, replace(settings, full=FULL), 3)
        one = replace(settings, full=replace(FULL, ensemble=1))
        alone = [finetune_on(learned, population_model, one, seed)[0] for seed in (3, 3 + SEEDS_APART)]
        return both, alone

    return finetune


def test_mean_of_values_predicts(two_networks, problems):
    both, alone = two_networks("velocity", 0.5)
    problem, some = problems["velocity"], np.arange(20)
    linear_S = np.random.default_rng(0).normal(size=(20, 2))
    apart = [one.predict(problem, some, linear_S) for one in alone]
    assert not np.allclose(*apart, rtol=1e-3)
    np.testing.assert_allclose(both.predict(problem, some, linear_S), np.mean(apart, axis=0), rtol=1e-6, atol=1e-6)
    assert (both.share, both.updates) == (0.5, [3, 3])


def test_mean_of_logits_predicts_classes(two_networks, problems):
    both, alone = two_networks("direction", 1.0)
    problem, everyone = problems["direction"], np.arange(len(problems["direction"].labels.y_S))
    logits = [one.weighted[0][0].outputs(problem, everyone) for one in alone]
    expected = np.mean(logits, axis=0).argmax(axis=1)
    np.testing.assert_array_equal(both.predict(problem, everyone, np.zeros(len(everyone), dtype=int)), expected)


def test_share_of_an_unhelpful_network_goes_to_the_readout(two_networks, problems):
    both, _ = two_networks("velocity", 0.5)
    first, second = both.networks
    one = replace(both, networks=(first, replace(second, tuned=None, updates=0, share=0.0)))
    problem, some, linear_S = problems["velocity"], np.arange(20), np.ones((20, 2))
    expected = 0.25 * first.tuned.predict(problem, some) + 0.75
    np.testing.assert_allclose(one.predict(problem, some, linear_S), expected, rtol=1e-6)


@pytest.mark.parametrize("n_networks", [1, 2, 3, 6, 10, 49])
def test_networks_that_all_help_leave_exactly_nothing_to_the_readout(n_networks):
    for n_classes in (0, 4):
        assert Finetuned((Network(object(), 3, 1.0),) * n_networks, n_classes).share == 1.0
    assert Finetuned((Network(None, 0, 0.0),) * n_networks, 4).share == 0.0


@pytest.mark.parametrize(("target", "share"), [("velocity", 1.0), ("velocity", 0.5), ("direction", 1.0)])
def test_head_keeps_every_network(
    target, share, two_networks, problems, population_model, checkpoint, settings, tmp_path
):
    both, alone = two_networks(target, share)
    problem, settings = problems[target], replace(settings, full=FULL)
    ours, rates = problem.features(population_model), problem.rate_features()
    probes = probe_with_rates(problem, rates, ours, problem.split(3, 0), settings, shuffled=False)
    scored = {name: Scored(probes.both.predictions, Score({})) for name in ("both", "full")}
    named = {"name": str(checkpoint), "digest": "0" * 64}

    def fit(mode, found=None):
        about = Evaluated(population_model, ours, rates, scored, "", "", named, "", lambda _: found)
        return fit_head(problem, about, replace(settings, keep=mode))

    def outputs(head, models):
        return decode(head, problem.recording, models).out_SK

    beside = outputs(fit("both")[0], {"model": population_model})
    head, models = fit("full", both)
    save_head(head, tmp_path / "head", models)
    loaded = load_head(tmp_path / "head")
    read = head_models(replace(loaded, blocks=tuple(b for b in loaded.blocks if b.source != "model")))
    assert set(read) == {"adapted", "adapted-2"}
    got = outputs(loaded, {**read, "model": population_model})
    if target == "velocity":
        expected = both.predict(problem, np.arange(len(problem.labels.y_S)), beside)
        np.testing.assert_allclose(got, expected, atol=1e-3)
        assert head.kept.readout == "mean of 2 finetuned models beside ridge regression"
    else:
        expected = both.predict(problem, np.arange(len(problem.labels.y_S)), beside.argmax(axis=1))
        np.testing.assert_array_equal(got.argmax(axis=1), expected)
        save_mlflow_head(tmp_path / "head", tmp_path / "mlflow", str(checkpoint))
        assert {path.parent.name for path in (tmp_path / "mlflow").rglob("config.json")} >= {"model", "model-2"}
    head, models = fit("full", alone[0])
    save_head(head, tmp_path / "head", models)
    assert not (tmp_path / "head" / "model-2").exists(), "the second network was of the earlier head"
