"""One trunk trained on several recordings: shared weights, separate heads or one, unseen test blocks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.finetune_job import finetune
from finetune.finetune_settings import FullSettings
from finetune.heads.fitting.shared_trunk import Learned, finetune_on
from finetune.heads.head_files import load_head
from finetune.shared_sessions import SharedSessions, family, shared_sessions
from finetune.tasks.labels import behavior
from finetune.tasks.task import Sources
from foundation.common.errors import ConfigError
from foundation.data.reading.reader import ReaderCache
from foundation.models import EIT, EITConfig
from foundation.models.parts.population_stream import population_places
from foundation.store import Catalog, Interval, Source, Spikes, Store, Units, write_recording

FULL = FullSettings(steps=4, checks=2, tokens_per_step=512, from_scratch=False)


@pytest.fixture(scope="module")
def two_sessions(problems, tmp_path_factory):
    """Return a store of two sessions of one animal: the second has two units fewer, and other noise."""
    first = problems["velocity"].recording.load()
    trials = first.intervals["trials"]
    first = replace(first, intervals={"trials": Interval(trials.start, trials.end)})  # velocities are the only labels
    rng = np.random.default_rng(3)
    trains = [np.sort(first.spikes.train(unit) + rng.normal(0, 0.01, first.spikes.counts[unit])) for unit in range(10)]
    inside = [train[(train > 0) & (train < first.domain.end[0])] for train in trains]
    second = replace(
        first, source=Source("b.nwb", "1" * 64), session="t", units=Units(10), spikes=Spikes.from_trains(inside)
    )
    store = Store(str(tmp_path_factory.mktemp("two") / "store"), create=True)
    for recording in (first, second):
        write_recording(store, recording)
    catalog = Catalog.build(store)
    catalog.save()
    return catalog


@pytest.fixture(scope="module")
def model(two_sessions):
    """A small model with a population stream that knows both sessions."""
    torch.manual_seed(0)
    shape = {"dim": 16, "heads": 2, "individual_layers": 1, "interaction_layers": 1, "patch_length": 5}
    made = EIT(EITConfig(**shape, population_layers=1))
    made.add_populations({recording.id: torch.zeros(recording.n_units) for recording in two_sessions})
    return made


@pytest.fixture(scope="module")
def velocities(two_sessions, sources):
    found = behavior.find(
        Sources(two_sessions, ReaderCache(two_sessions), sources.windows, 5, 5, folds=3, seed=0)
    ).problems
    return [problem for problem in found if problem.labels.target.startswith("velocity")]


def learned(problems, model, train=None):
    """Return training data of all or some samples of each problem; the linear readout predicts zeros."""
    made = []
    for k, problem in enumerate(problems):
        rows = np.arange(len(problem.labels.y_S)) if train is None else train[k]
        held = problem.inner(rows, 0)[0].test
        made.append(Learned(problem, problem.features(model), rows, np.zeros((len(held), 2))))
    return made


def only(found):
    """The single network of what was finetuned."""
    ((tuned, _),) = found.weighted
    return tuned


@pytest.fixture(scope="module")
def tuned(velocities, model, settings):
    settings = replace(settings, full=FULL)
    return {one: finetune_on(learned(velocities, model), model, settings, 0, "full", one) for one in (False, True)}


def test_trunk_is_shared_and_every_session_has_its_head(tuned):
    first, second = (only(found) for found in tuned[False])
    assert tuned[False][0].updates == tuned[False][1].updates > 0
    assert first.model is second.model
    assert not torch.equal(first.head.linear.weight, second.head.linear.weight)
    one, other = (only(found) for found in tuned[True])
    assert one.head is other.head
    assert one.model is other.model


def test_trunk_learns_from_every_session(velocities, model, settings, tuned):
    alone = finetune_on(learned(velocities[:1], model), model, replace(settings, full=FULL), 0, "full", False)
    ours = dict(only(tuned[False][0]).model.named_parameters())
    theirs = dict(only(alone[0]).model.named_parameters())
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours if "trunk" in name)


def test_test_blocks_of_all_sessions_are_unseen(velocities, model, settings):
    settings = replace(settings, full=FULL)
    folds = [problem.split(3, 0).folds[1] for problem in velocities]
    found = []
    for spoil in (False, True):
        problems = []
        for problem, fold in zip(velocities, folds, strict=True):
            y_SK = problem.labels.y_S.copy()
            if spoil:
                y_SK[fold.test] = 1e6
            problems.append(problem.relabelled(y_SK))
        train = [fold.train for fold in folds]
        made = finetune_on(learned(problems, model, train), model, settings, 0, "full", False)
        found.append([only(one).predict(p, f.test) for one, p, f in zip(made, problems, folds, strict=True)])
    for clean, spoilt in zip(*found, strict=True):
        np.testing.assert_array_equal(clean, spoilt)


def test_low_rank_weights_are_shared_too(velocities, model, settings):
    found = finetune_on(learned(velocities, model), model, replace(settings, full=FULL), 0, "lora", False)
    assert only(found[0]).model is only(found[1]).model
    assert not any("lora_" in name for name, _ in only(found[0]).model.named_parameters())


def test_one_head_needs_equal_features(velocities, unit_model, settings):
    with pytest.raises(
        ConfigError, match=r"full\.sessions is 'head' and velocity-.* features where .*: expected a model"
    ):
        finetune_on(learned(velocities, unit_model), unit_model, replace(settings, full=FULL), 0, "full", True)


def test_labels_of_the_same_name_form_a_group(velocities, model, settings):
    together = replace(settings, full=replace(FULL, sessions="heads"))
    groups = shared_sessions(velocities, model, together)
    assert set(groups) == {problem.labels.target for problem in velocities}
    assert len({id(group) for group in groups.values()}) == 1
    assert {family(problem) for problem in velocities} == {("behavior", "velocity-", "values")}
    assert shared_sessions(velocities, model, settings) == {}
    assert shared_sessions(velocities[:1], model, together) == {}


def test_group_predicts_every_sample_and_then_fits_one_model(velocities, model, settings):
    settings = replace(settings, folds=2, full=replace(FULL, sessions="heads", steps=2, checks=1))
    group = shared_sessions(velocities, model, settings)[velocities[0].labels.target]
    assert group.model is model  # the model has rows for both recordings
    assert group.note == "finetuned on 2 recordings at once: one trunk, a head each"
    for problem in velocities:
        fitted = group.fitted(problem, "full")
        assert len(fitted.predictions.y_S) == sum(len(fold.test) for fold in problem.split(2, 0).folds)
        assert len(fitted.choices["updates"]) == 2
        assert group.final(problem, "full").updates == group.final(velocities[0], "full").updates


def test_sessions_that_are_new_to_the_model_get_rows_first(two_sessions, velocities, settings):
    known, new = (problem.recording for problem in velocities)
    torch.manual_seed(0)
    shape = {"dim": 16, "heads": 2, "individual_layers": 1, "interaction_layers": 1, "patch_length": 5}
    model = EIT(EITConfig(**shape, population_layers=1))
    model.add_populations({known.id: torch.zeros(known.n_units)})
    settings = replace(settings, folds=2, full=replace(FULL, sessions="head", steps=2, checks=1))
    group = shared_sessions(velocities, model, settings)[velocities[0].labels.target]
    assert set(population_places(group.model.config)) == {known.id, new.id}
    assert set(population_places(model.config)) == {known.id}, "the checkpoint itself stays as it is"
    before = model.state_dict()
    assert all(torch.equal(group.model.state_dict()[name], value) for name, value in before.items())
    for problem in velocities:
        fitted = group.fitted(problem, "full")
        assert len(fitted.predictions.y_S) == sum(len(fold.test) for fold in problem.split(2, 0).folds)


@pytest.mark.long
def test_command_scores_and_keeps_a_head_of_each_session(two_sessions, model, settings, tmp_path, monkeypatch):
    """Both heads come with the same trunk."""
    model.save_pretrained(tmp_path / "model")
    everything = SharedSessions._everything

    def beside_a_bad_readout(self, session):
        one = everything(self, session)
        return replace(one, held_S=one.held_S + 100)

    monkeypatch.setattr(SharedSessions, "_everything", beside_a_bad_readout)  # make the network always help
    monkeypatch.setattr("finetune.finetune_job.log_task", lambda *_, **__: None)  # tested elsewhere
    run = replace(
        settings,
        checkpoint=str(tmp_path / "model"),
        store=two_sessions.store.name,
        output=str(tmp_path / "out"),
        tasks=["behavior"],
        mode=["full"],
        random_weights=False,
        bootstrap=100,
        control_repeats=2,
        keep="full",
        gru=replace(settings.gru, run=False),
        full=replace(FULL, sessions="heads", steps=2, checks=1),
    )
    results = {result.target: result for result in finetune(run).results}
    assert {name.split("-")[0] for name in results} == {"velocity"}
    note = "finetuned on 2 recordings at once: one trunk, a head each"
    assert all(note in result.notes for result in results.values())
    heads = [load_head(str(tmp_path / "out" / name)) for name in results]
    assert len(heads) == 2
    assert heads[0].kept.adapted == heads[1].kept.adapted
    assert len(heads[0].kept.adapted) == 1
    apart = replace(run, full=replace(run.full, sessions="apart"))
    assert run.identity("full") != apart.identity("full")
    assert "sessions" not in apart.identity("full")["full"]
