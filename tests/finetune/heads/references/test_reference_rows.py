"""Reference rows: recurrent decoders, profiles of directions, time in trial, random weights, rates and model."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.finetune_settings import GRUSettings, WindowSettings
from finetune.heads.fitting.full_finetuning import full
from finetune.heads.references.gru_decoder import RecurrentDecoder, _Sequences
from finetune.heads.references.reference_rows import probe_and_references, random_weights
from finetune.heads.references.trial_profile import beyond_profile, bins_of_trial
from finetune.tasks.labels import behavior
from foundation.evaluation.metrics import primary

TRIALS, UNITS = 48, 12  # of the store of reaches


@pytest.fixture(scope="module")
def referred(problems, unit_model, settings):
    problem, model = problems["velocity"], unit_model
    split = problem.split(3, 0)
    return problem, split, *probe_and_references(problem, model, problem.features(model), split, settings)


def test_trial_of_any_length_is_one_window(problems, sources):
    problem = problems["velocity"]
    assert len(problem.windows) == TRIALS
    assert set(problem.windows.tokens_W.tolist()) == set(range(8, 16))
    assert problem.readings[0].rows_SL.shape == (len(problem.labels.y_S), 2 * 15 - 1)
    assert problem.what == "trials"
    bounded = replace(sources, windows=WindowSettings(max_trial_tokens=10))
    cut = next(p for p in behavior.find(bounded).problems if p.labels.target.startswith("velocity"))
    assert cut.windows.tokens_W.max() <= 10
    assert any("longer than 1 s" in note for note in cut.labels.notes)
    np.testing.assert_array_equal(bins_of_trial(cut), bins_of_trial(problem))


def test_every_row_predicts_the_same_samples(referred):
    problem, _, probes, references = referred
    names = {"rate", "both", "rate_own", "time", "profile", "oracle", "gru", "gru_causal", "random", "majority"}
    assert set(references.rows) == names
    for row in references.rows.values():
        np.testing.assert_array_equal(row.predictions.y_S, probes.model.predictions.y_S)
        np.testing.assert_array_equal(row.predictions.cluster_S, probes.model.predictions.cluster_S)
        assert row.predictions.predicted_S.shape == (len(problem.labels.y_S), 2)
    assert references.rows["both"].detail.startswith("weight of the model by fold ")


def test_rows_with_more_information_score_higher(referred):
    _, _, _, references = referred
    value = {name: primary(row.predictions) for name, row in references.rows.items()}
    assert value["rate"] > value["rate_own"] + 0.02
    assert value["rate"] > 0.5
    assert abs(value["time"]) < 0.2  # the mean over directions is zero
    assert value["majority"] == pytest.approx(0.0, abs=1e-9)
    assert value["oracle"] >= value["profile"] - 0.02
    assert value["profile"] > 0.4
    assert value["gru"] > 0.4
    assert value["gru_causal"] > 0.3
    assert max(references.control) < 0.2


def test_true_profile_does_not_explain_its_residual(referred):
    _, _, _, references = referred
    oracle = references.rows["oracle"].predictions
    assert beyond_profile(oracle, oracle) == pytest.approx(0.0, abs=1e-12)
    perfect = replace(oracle, predicted_S=oracle.y_S)
    assert beyond_profile(perfect, oracle) == pytest.approx(1.0)
    assert beyond_profile(references.rows["majority"].predictions, oracle) < -0.5


def test_profile_is_the_mean_of_training_trials_of_the_direction(referred):
    problem, split, _, references = referred
    fold, bins = split.folds[0], bins_of_trial(problem)
    sample = fold.test[5]
    same = problem.direction_W[problem.window_S[fold.train]] == problem.direction_W[problem.window_S[sample]]
    same &= bins[fold.train] == bins[sample]
    expected = problem.labels.y_S[fold.train[same]].mean(axis=0)
    np.testing.assert_allclose(references.rows["oracle"].predictions.predicted_S[5], expected)


def test_causal_decoder_sees_no_later_bin_and_no_other_window():
    torch.manual_seed(0)
    x_BTN, length_B = torch.randn(2, 9, 4), torch.tensor([9, 6])
    changed = x_BTN.clone()
    changed[0, 5:] += 3.0
    changed[1, 6:] += 3.0  # after its end
    for causal in (True, False):
        net = RecurrentDecoder(4, 2, 8, 0.0, causal).eval()
        with torch.no_grad():
            a, b = net(x_BTN, length_B), net(changed, length_B)
        assert torch.equal(a[0, :5], b[0, :5]) == causal
        assert not torch.equal(a[0, 5:], b[0, 5:])
        assert torch.equal(a[1, :6], b[1, :6])


def test_no_test_label_reaches_a_decoder(problems):
    problem = problems["velocity"]
    fold = problem.split(3, 0).folds[0]
    y_SK = np.full(problem.labels.y_S.shape, np.nan, np.float32)
    y_SK[fold.train] = 1.0
    data = _Sequences.of(problem, problem.counts(), y_SK, fold.train)
    trained = np.unique(problem.window_S[fold.train])
    for window, y_TK in enumerate(data.y):
        assert bool(y_TK.isfinite().all()) == (window in trained)


def test_random_weights_follow_the_seed_and_leave_the_model_unchanged(unit_model):
    model = unit_model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    a, b, c = (random_weights(model, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("stream", ["units", "population"])
@pytest.mark.parametrize("target", ["velocity", "direction"])
def test_models_of_units_and_of_the_population_are_read_and_finetuned(
    problems, target, stream, unit_model, population_model, settings
):
    problem = problems[target]
    model = unit_model if stream == "units" else population_model
    split = problem.split(3, 0)
    features = problem.features(model)
    width = 16 * (UNITS if stream == "units" else 1)
    assert features[-1].x_TF.shape == (int(problem.windows.tokens_W.sum()), width)
    settings = replace(settings, random_weights=False, gru=GRUSettings(run=False))
    probes, references = probe_and_references(problem, model, features, split, settings)
    assert set(references.rows) >= {"rate", "both", "majority"}
    tuned = full(problem, lambda _: (model, features), probes.both, split, settings)
    beside = probes.both.predictions
    assert len(tuned.choices["updates"]) == 3
    np.testing.assert_array_equal(tuned.predictions.y_S, beside.y_S)
    for k, (updates, share) in enumerate(zip(tuned.choices["updates"], tuned.choices["share"], strict=True)):
        here = tuned.predictions.fold_S == k
        same = np.array_equal(tuned.predictions.predicted_S[here], beside.predicted_S[here])
        assert bool(updates) == bool(share)
        assert updates or same


def test_heads_get_the_samples_that_they_request(problems, unit_model):
    for problem in problems.values():
        model = unit_model
        x_RF, row_S = problem.head_rows(problem.features(model)[-1].x_TF)
        some = np.arange(3, len(problem.labels.y_S), 7)
        np.testing.assert_allclose(problem.head_features(model, some), x_RF[row_S[some]], atol=1e-5)
