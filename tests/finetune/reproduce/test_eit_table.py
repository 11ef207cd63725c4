"""The EIT table: its windows, its rule, its runs that go on, and its page."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from finetune.reproduce import EITTable, ReproduceSettings, reproduce
from finetune.reproduce.decoding import Rule, fit, predict, validate
from finetune.reproduce.eit import find_recording, floor, right_by_trial
from finetune.reproduce.frozen import FrozenHead, seen_through
from finetune.reproduce.kept import weights_folder
from finetune.reproduce.page import eit_page
from finetune.reproduce.reaching import Trials, cut, read_trials, split
from finetune.reproduce.runs import RunResult, read_all
from foundation.command import build_parser, parse
from foundation.errors import ConfigError, FoundationError
from foundation.models.baselines import EITPublished, EITPublishedConfig, MLPDecoder, MLPDecoderConfig
from foundation.resources import config_names
from foundation.store import Catalog, Interval, Source, Spikes, Store, Subject, Units, write_recording

N_TRIALS, N_UNITS = 40, 9
QUICK = Rule(most_epochs=4, patience=2, smooth=2, learning_rate=3e-3)


def reaching_recording(make_recording, subject, seed):
    """Trials 4 s apart of 9 bins of 0.1 s; a unit prefers each of 8 directions, the last is silent in training."""
    rng = np.random.default_rng(seed)
    start = 1.0 + 4.0 * np.arange(N_TRIALS)
    label = np.concatenate([rng.permutation(8) for _ in range(N_TRIALS // 8)])  # each direction once in eight
    rate = 3 + 40 * (label[:, None] == np.arange(8))
    trains = []
    for unit in range(8):
        counts = rng.poisson(rate[:, unit, None] * 0.1, (N_TRIALS, 9))
        trial, place = np.nonzero(counts)
        repeats = counts[trial, place]
        at = start[trial] + 0.1 * place
        times = np.concatenate([t + 0.1 * (np.arange(n) + 0.5) / n for t, n in zip(at, repeats, strict=True)])
        trains.append(np.sort(times))
    trains.append(np.array([start[-1] + 0.05]))
    return make_recording(
        0,
        source=Source(path=f"sub-{subject}.nwb", digest=f"{seed:064x}"),
        subject=Subject(subject, species="Macaca mulatta"),
        units=Units(N_UNITS),
        domain=Interval(start, start + 0.9),
        spikes=Spikes.from_trains(trains),
        intervals={"trials": Interval(start, start + 0.9, {"target_id": label})},
    ), label


@pytest.fixture(scope="module")
def reaching(make_recording, tmp_path_factory):
    path = tmp_path_factory.mktemp("reaching") / "store"
    store = Store(path, create=True)
    labels = {}
    for seed, subject in enumerate(("Chewie", "Mihi")):
        recording, labels[subject] = reaching_recording(make_recording, subject, seed)
        write_recording(store, recording)
    Catalog.build(store).save()
    return path, labels


def table(reaching, tmp_path, **changes):
    settings = EITTable(models=["linear", "mlp"], seeds=[1, 2], rule=QUICK, weights=str(tmp_path / "weights"))
    settings = EITTable(**({f: getattr(settings, f) for f in settings.__dataclass_fields__} | changes))
    return ReproduceSettings(
        store=str(reaching[0]), output=str(tmp_path / "runs"), name="t", page=str(tmp_path / "page.md"), eit=settings
    )


def test_trials_are_cut_as_the_paper_says(reaching):
    path, labels = reaching
    trials = read_trials(find_recording(Catalog.open(Store(path)), "Chewie"))
    assert trials.rate_RNT.shape == (40, 9, 9)
    assert trials.label_R.tolist() == labels["Chewie"].tolist()
    assert set(np.unique(np.rint(trials.rate_RNT * 0.1 * 1e4) / 1e4 % 1)) == {0.0}  # whole events in each bin
    train, test = split(trials)
    assert train.rate_RNT.shape == (32, 8, 8)  # in order; without the unit that is silent in training; 8 bins
    assert test.label_R.tolist() == labels["Chewie"][32:].tolist()
    windows = cut(test, 2)
    assert len(windows) == 8 * 6
    assert windows.trial_W.tolist() == np.repeat(np.arange(8), 6).tolist()
    by_hand = test.rate_RNT - test.rate_RNT.mean((0, 2))[None, :, None]
    np.testing.assert_allclose(windows.x_WNT[6 * 3 + 5], by_hand[3, :, 5:7], rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(windows.count_WNT[6 * 3 + 5], np.rint(test.rate_RNT[3, :, 5:7] * 0.1))
    assert len(cut(test, 6)) == 8 * 3
    with pytest.raises(ConfigError, match="bins is 9: at most 8"):
        cut(test, 9)


def test_a_trace_changes_nothing_and_is_kept_beside_the_last_figure(reaching, tmp_path):
    store = reaching[0]
    found = {}
    for trace in (False, True):
        settings = ReproduceSettings(
            store=str(store), output=str(tmp_path / str(trace)), name="t", page=str(tmp_path / f"{trace}.md"),
            eit=EITTable(models=["mlp", "ndt"], seeds=[1], rule=Rule(epochs=11, learning_rate=3e-3), trace=trace),
        )  # fmt: skip
        found[trace] = read_all(reproduce(settings))
    plain, traced = found[False]["mlp"][0], found[True]["mlp"][0]
    assert traced.right_R == plain.right_R
    assert "traced" not in plain.detail
    assert list(traced.detail["traced"]) == ["5", "10"]
    assert all(0 <= value <= 1 for value in traced.detail["traced"].values())
    assert traced.key != plain.key
    assert "traced" not in found[True]["ndt"][0].detail  # it has no classes of its own
    said = f"chosen on the test trials: MLP {100 * max(traced.detail['traced'].values()):.2f} (epoch "
    assert said in (tmp_path / "True.md").read_text()
    assert "chosen on the test trials" not in (tmp_path / "False.md").read_text()


def test_windows_in_order_are_those_of_the_trials_one_after_another(reaching, tmp_path):
    train, _ = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    cuts = cut(train, 6)

    class Watched(MLPDecoder):
        def forward(self, x_BNT, **more):
            seen.append(x_BNT)
            return super().forward(x_BNT, **more)

    windows = {}
    for shuffle in (False, True):
        seen = []
        rule = Rule(epochs=2, shuffle=shuffle)
        fit(lambda: Watched(MLPDecoderConfig(n_units=8, n_bins=6)), train, 6, rule, 0)
        windows[shuffle] = torch.cat(seen).numpy().reshape(2, *cuts.x_WNT.shape)  # fewer than two are left of no epoch
    np.testing.assert_array_equal(windows[False], np.stack([cuts.x_WNT, cuts.x_WNT]))
    assert (windows[True][0] != windows[True][1]).any()
    np.testing.assert_array_equal(np.sort(windows[True][0], axis=0), np.sort(cuts.x_WNT, axis=0))


def test_a_rule_is_said_as_it_was_before_it_could_keep_the_order(reaching, tmp_path):
    assert "shuffle" not in Rule().config()  # keys of earlier results stay
    assert Rule(shuffle=False).config() == Rule().config() | {"shuffle": False}
    settings = ReproduceSettings(
        store=str(reaching[0]), output=str(tmp_path / "o"), name="t", page=str(tmp_path / "page.md"),
        eit=EITTable(models=["mlp"], seeds=[1], rule=Rule(epochs=1, shuffle=False)),
    )  # fmt: skip
    assert read_all(reproduce(settings))["mlp"][0].config["rule"]["shuffle"] is False
    page = (tmp_path / "page.md").read_text()
    assert "1 epochs for every model. Windows come in the order in which they were recorded, unshuffled." in page
    assert "Not run yet" not in page


def test_the_floor_tells_directions_and_shuffled_ones_not(reaching):
    train, test = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    predicted_WT, _ = floor(train, test, 6)
    assert right_by_trial(predicted_WT, cut(test, 6)).mean() > 0.8
    mixed = Trials(train.rate_RNT, np.random.default_rng(0).permutation(train.label_R))
    predicted_WT, _ = floor(mixed, test, 6)
    assert right_by_trial(predicted_WT, cut(test, 6)).mean() < 0.5


def test_how_long_a_model_trains_is_found_without_the_test_trials(reaching, monkeypatch):
    from finetune.reproduce import decoding

    train, _ = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    seen = []
    figures = iter([0.1, 0.3, 0.5, 0.4, 0.2, 0.2, 0.2, 0.2])

    def figure(model, cuts):
        seen.append(len(cuts))
        return next(figures)

    monkeypatch.setattr(decoding, "validate", figure)
    trained = []
    epoch = decoding._Training.epoch
    monkeypatch.setattr(decoding._Training, "epoch", lambda self: (trained.append(len(self.x)), epoch(self))[1])
    rule = Rule(most_epochs=10, patience=3, smooth=2)
    _, detail = fit(lambda: MLPDecoder(MLPDecoderConfig(n_units=8)), train, 2, rule, 0)
    # means of two: 0.2, 0.4, 0.45, 0.3, ...: the fourth epoch is the best, and three more pass without a better one
    assert detail["epochs"] == 4
    assert seen == [6 * 6] * 7
    assert trained == [26 * 6] * 7 + [32 * 6] * 4
    _, detail = fit(lambda: MLPDecoder(MLPDecoderConfig(n_units=8)), train, 2, Rule(epochs=2), 0)
    assert detail == {"epochs": 2, "validation": []}


@pytest.mark.parametrize("name", ["mlp", "gru", "ndt", "ndt-sup", "eit-t", "eit"])
def test_every_model_runs_and_its_result_is_kept(reaching, tmp_path, name):
    settings = table(reaching, tmp_path, models=[name], seeds=[3], rule=Rule(most_epochs=2, patience=1))
    folder = reproduce(settings)
    [result] = read_all(folder)[name]
    assert len(result.right_R) == 8
    assert result.accuracy == pytest.approx(np.mean(result.right_R))
    assert result.detail["epochs"] in (1, 2)
    assert (tmp_path / "page.md").read_text().count("| 1 |") >= 1


def test_a_table_goes_on_where_it_was_and_never_mixes(reaching, tmp_path):
    settings = table(reaching, tmp_path)
    folder = reproduce(settings)
    files = {p.name: p.read_bytes() for p in folder.glob("*.json")}
    assert sorted(files) == ["linear-seed0.json", "mlp-seed1.json", "mlp-seed2.json"]
    (folder / "mlp-seed2.json").unlink()
    before = (folder / "mlp-seed1.json").stat().st_mtime_ns
    reproduce(settings)
    assert (folder / "mlp-seed1.json").stat().st_mtime_ns == before
    again, first = (json.loads(b) for b in ((folder / "mlp-seed2.json").read_bytes(), files["mlp-seed2.json"]))
    assert again["right_R"] == first["right_R"]  # the same seed, the same figures
    assert json.loads(files["mlp-seed1.json"])["detail"]["validation"] != first["detail"]["validation"]
    with pytest.raises(FoundationError, match="another configuration"):
        reproduce(table(reaching, tmp_path, rule=Rule(most_epochs=3, patience=2, smooth=2)))
    assert {p.name for p in folder.iterdir()} == set(files)
    (folder / "mlp-seed1.json").write_text("{")
    with pytest.raises(FoundationError, match="not a result"):
        reproduce(settings)


def test_the_page_says_what_is_there_and_what_is_not(reaching, tmp_path):
    reproduce(table(reaching, tmp_path))
    page = (tmp_path / "page.md").read_text()
    assert "32 training and 8 test trials" in page
    assert "Not run yet: GRU, NDT (self-supervised), NDT-Sup, EIT (T), EIT." in page
    assert "means of 2 epochs; 2 epochs without a better one end the search, 4 at most." in page
    assert "| MLP |" in page
    assert "74.22" in page
    assert "Not above the floor: MLP." in page
    assert str(tmp_path) not in page


def test_the_page_says_how_far_a_row_falls_short_and_what_was_tried(tmp_path):
    from dataclasses import asdict

    config = {"subject": "Chewie", "bins": 2, "rule": Rule(epochs=400).config()}
    detail = {"train": 127, "test": 32, "epochs": 400, "seconds": 1.0}
    one = RunResult("eit", 15, "k", config, {"Chewie": "0" * 64}, 0.5, [0.0, 1.0] * 16, detail)
    two = replace(one, seed=16, config=config | {"rule": Rule().config()})
    enough = replace(one, name="mlp", accuracy=0.75, right_R=[0.75] * 32)
    (tmp_path / "t").mkdir()
    for result in (one, two, enough, replace(one, name="gru", accuracy=0.75, right_R=[0.5, 1.0] * 16)):
        (tmp_path / f"t/{result.name}-seed{result.seed}.json").write_text(json.dumps(asdict(result)))
    page = eit_page(tmp_path, "")
    assert "a test trial is 3.1 points" in page
    assert (
        "- EIT by 29.69. Tried: 400 epochs, a rate of 0.0001, 16 windows a batch and the rule of the held-out trials "
        "for epochs, a rate of 0.0001, 16 windows a batch, seeds 15, 16. The published figure lies outside the interval"
    ) in page
    assert (
        "- GRU by 0.78. Tried: 400 epochs, a rate of 0.0001, 16 windows a batch, seed 15. The published figure " in page
    )
    assert "lies within" in page.split("- GRU by")[1].split("\n")[0]
    assert "- MLP by" not in page


def test_a_frozen_module_of_another_animal_gets_a_head(reaching, tmp_path):
    settings = table(reaching, tmp_path, models=["linear"], seeds=[0], transfer_from="Mihi")
    folder = reproduce(settings)
    [result] = read_all(folder)["transfer-Mihi"]
    assert set(result.digests) == {"Chewie", "Mihi"}
    assert result.detail["source_epochs"] >= 1
    page = (tmp_path / "page.md").read_text()
    assert "individual module frozen, trained on Mihi" in page
    assert "Not run yet" not in page
    assert "transfer-Mihi" not in page


def test_a_transfer_takes_the_weights_of_the_run_that_trained_its_source(reaching, tmp_path, monkeypatch):
    from finetune.reproduce import eit

    short = {"seeds": [0], "rule": Rule(most_epochs=2, patience=1)}
    apart = table(reaching, tmp_path / "apart", models=["linear"], transfer_from="Mihi", **short)
    [wanted] = read_all(reproduce(apart))["transfer-Mihi"]
    [source] = read_all(reproduce(table(reaching, tmp_path / "mihi", subject="Mihi", models=["eit"], **short)))["eit"]
    [kept] = (tmp_path / "mihi/weights").iterdir()
    assert kept.name == f"eit-{source.key}"
    assert {p.name for p in kept.iterdir()} == {"config.json", "model.safetensors", "run.json"}

    trained = []
    fit = eit.fit
    monkeypatch.setattr(
        eit, "fit", lambda build, *rest, **more: (trained.append(build()), fit(build, *rest, **more))[1]
    )
    weights = str(tmp_path / "mihi/weights")
    again = table(reaching, tmp_path / "again", models=["linear"], transfer_from="Mihi", weights=weights, **short)
    [found] = read_all(reproduce(again))["transfer-Mihi"]
    assert [type(model) for model in trained] == [FrozenHead]  # the head alone
    assert (found.right_R, found.key) == (wanted.right_R, wanted.key)
    assert found.detail["source_epochs"] == wanted.detail["source_epochs"] == source.detail["epochs"]
    # another rule, other weights
    other = short | {"rule": Rule(epochs=1), "transfer_from": "Mihi", "weights": weights, "models": ["linear"]}
    reproduce(table(reaching, tmp_path / "other", **other))
    assert len(list((tmp_path / "mihi/weights").iterdir())) == 2
    (kept / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(FoundationError, match=r"not a kept EIT.*remove it to train it again"):
        reproduce(table(reaching, tmp_path / "torn", **(other | short)))
    assert not list((tmp_path / "torn").glob("runs/**/transfer-*"))


def test_a_source_whose_weights_are_gone_is_trained_for_the_epochs_its_result_says(reaching, tmp_path, monkeypatch):
    from finetune.reproduce import eit

    short = {"seeds": [0], "rule": Rule(most_epochs=3, patience=1, smooth=1, learning_rate=3e-3)}
    mihi = replace(table(reaching, tmp_path, subject="Mihi", models=["eit"], **short), name="mihi")
    [source] = read_all(reproduce(mihi))["eit"]
    [kept] = (tmp_path / "weights").iterdir()
    wanted = load_file(kept / "model.safetensors")
    shutil.rmtree(kept)
    rules = []
    fit = eit.fit
    monkeypatch.setattr(eit, "fit", lambda *given, **more: (rules.append(given[3].epochs), fit(*given, **more))[1])
    [found] = read_all(reproduce(table(reaching, tmp_path, models=["linear"], transfer_from="Mihi", **short)))[
        "transfer-Mihi"
    ]
    assert rules == [source.detail["epochs"], None]  # nothing is searched anew but the head's own epochs
    assert found.detail["source_epochs"] == source.detail["epochs"]
    again = load_file(kept / "model.safetensors")
    assert all(torch.equal(again[name], wanted[name]) for name in wanted)


def test_a_head_on_what_was_seen_once_is_that_on_the_frozen_module(reaching):
    train, _ = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    torch.manual_seed(0)
    there = EITPublished(EITPublishedConfig(n_units=5, n_bins=2)).eval()
    rule = Rule(most_epochs=3, patience=3, smooth=1, learning_rate=3e-3)
    whole, one = fit(lambda: there.transfer(8), train, 2, rule, 1)
    see = partial(seen_through, there.transfer(8))
    head, two = fit(lambda: FrozenHead(there.transfer(8)), train, 2, rule, 1, see=see)
    assert one == two
    torch.testing.assert_close(head.head[1].weight, whole.individual_head[1].weight, rtol=1e-4, atol=1e-5)
    windows = cut(train, 2)
    np.testing.assert_array_equal(predict(head, see(windows)), predict(whole, windows))


@pytest.mark.parametrize("model", ["mlp", "ndt"])
def test_a_model_that_diverges_is_no_result(reaching, tmp_path, model):
    settings = ReproduceSettings(
        store=str(reaching[0]), output=str(tmp_path / "o"), name="t", page=str(tmp_path / "page.md"),
        eit=EITTable(models=[model], seeds=[1], rule=Rule(most_epochs=3, learning_rate=1e30)),
    )  # fmt: skip
    with pytest.raises(FoundationError, match=r"the loss became (nan|inf) at a learning rate of 1e\+30: lower it"):
        reproduce(settings)
    assert not list(tmp_path.rglob("*.json"))


def test_tables_of_another_experiment_are_refused_before_anything_runs(reaching, tmp_path):
    base = ReproduceSettings(
        store=str(reaching[0]), output=str(tmp_path / "o"), name="t", page=str(tmp_path / "page.md"),
        eit=EITTable(models=["linear"]),
    )  # fmt: skip
    reproduce(base)
    page = (tmp_path / "page.md").read_text()
    for other in ("neurpir", "myow"):
        with pytest.raises(ConfigError, match=rf"t there is of another experiment than '{other}'"):
            reproduce(replace(base, experiment=other, name="u"))
    assert (tmp_path / "page.md").read_text() == page
    assert not (tmp_path / "o/u").exists()


def test_what_ended_the_runs_is_told_though_the_page_fails_too(reaching, tmp_path):
    (tmp_path / "page.md").mkdir()  # cannot be written over
    settings = ReproduceSettings(
        store=str(reaching[0]), output=str(tmp_path / "o"), name="t", page=str(tmp_path / "page.md"),
        eit=EITTable(models=["linear"]),
    )  # fmt: skip
    with pytest.raises(OSError, match="page"):
        reproduce(settings)
    with pytest.raises(ConfigError, match="0 recordings of subject 'Nobody'"):
        reproduce(replace(settings, eit=EITTable(subject="Nobody", models=["linear"])))


def test_trials_too_few_or_of_no_direction_are_named(reaching, make_recording, tmp_path):
    train, _ = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    with pytest.raises(ConfigError, match="4 training trials: at least 5"):
        fit(lambda: MLPDecoder(MLPDecoderConfig(n_units=8)), train.where(slice(4)), 2, QUICK, 0)
    recording, label = reaching_recording(make_recording, "Chewie", 3)
    trials = recording.intervals["trials"]
    wrong = Interval(trials.start, trials.end, {"target_id": np.where(label == 7, 9, label)})
    store = Store(tmp_path / "store", create=True)
    write_recording(store, replace(recording, intervals={"trials": wrong}))
    Catalog.build(store).save()
    with pytest.raises(ConfigError, match="has target_id 9: from 0 to 7"):
        read_trials(find_recording(Catalog.open(store), "Chewie"))


def test_tables_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="bins is 1 and models has 'ndt'"):
        EITTable(bins=1)
    assert EITTable(bins=1, models=["mlp"]).bins == 1
    with pytest.raises(ConfigError, match="transfer_from is 'Chewie': another animal than subject"):
        EITTable(transfer_from="Chewie")
    with pytest.raises(ConfigError, match="learning_rate is inf: above 0, and finite"):
        Rule(learning_rate=float("inf"))


def test_weights_are_kept_in_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights_folder(None) == tmp_path / "foundation/weights"
    assert weights_folder("here") == Path("here")


def test_validation_of_masked_bins_does_not_depend_on_draws(reaching):
    from finetune.reproduce.decoding import MODELS

    train, _ = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    model, windows = MODELS["ndt"](8, 2), cut(train, 2)
    state = torch.get_rng_state()
    assert validate(model, windows) == validate(model, windows)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_missing_is_named(reaching, tmp_path):
    with pytest.raises(ConfigError, match="0 recordings of subject 'Jenkins'"):
        reproduce(table(reaching, tmp_path, subject="Jenkins"))
    with pytest.raises(ConfigError, match="models has 'resnet'"):
        EITTable(models=["resnet"])
    with pytest.raises(ConfigError, match=r"name is '\.\./x'"):
        ReproduceSettings(store="s", output="o", name="../x")


@pytest.mark.parametrize("name", [n for n in config_names("reproduce") if n.startswith("reproduce/eit-")])
def test_shipped_tables_are_settings(name):
    given = ["--config", name, "--store", "s"]
    settings = parse(build_parser("reproduce", reproduce, ReproduceSettings), ReproduceSettings, given)
    assert f"reproduce/{settings.name}" == name
    assert settings.eit.rule == Rule(epochs=400 if name.endswith("-400") else None, shuffle=not name.endswith("-order"))


@pytest.mark.real_data
def test_chewie_has_the_published_trials_units_and_floor(real_data, tmp_path):
    pytest.importorskip("pynwb")
    from ingest.nwb import read_nwb
    from ingest.recipes import load_recipe

    store = Store(tmp_path / "store", create=True)
    recording = read_nwb(
        real_data / "nwb/reach/sub-Chewie/sub-Chewie_ses-20131003_ecephys.nwb",
        load_recipe("default"),
        strict=False,
        source=Source(path="sub-Chewie.nwb", digest="0" * 64),
        namespace="",
    )
    write_recording(store, recording)
    Catalog.build(store).save()
    train, test = split(read_trials(find_recording(Catalog.open(store), "Chewie")))
    assert train.rate_RNT.shape == (127, 163, 8)
    assert len(test) == 32
    for n_bins, low, high in ((2, 0.68, 0.75), (6, 0.75, 0.83)):
        predicted_WT, _ = floor(train, test, n_bins)
        assert low <= right_by_trial(predicted_WT, cut(test, n_bins)).mean() <= high
