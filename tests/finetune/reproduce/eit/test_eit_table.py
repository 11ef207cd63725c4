"""The EIT table: its windows, its floor, resuming, and its page."""

from dataclasses import replace

import numpy as np
import pytest

from finetune.reproduce import ReproduceSettings, reproduce
from finetune.reproduce.common.run_results import RunResult, find_recording, read_all
from finetune.reproduce.eit.decoding import Rule
from finetune.reproduce.eit.eit_page import eit_page
from finetune.reproduce.eit.eit_runs import floor, right_by_trial
from finetune.reproduce.eit.reaching_trials import Trials, cut, read_trials, split
from foundation.common.errors import ConfigError, FoundationError
from foundation.common.files.jsonl_results import put_result
from foundation.common.settings.command import build_parser, parse
from foundation.common.settings.resources import config_names
from foundation.store import Catalog, Source, Store, write_recording

N_TRIALS, N_UNITS = 40, 9
QUICK = Rule(max_epochs=4, patience=2, smooth=2, learning_rate=3e-3)


def test_trials_are_cut_as_in_the_paper(reaching):
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
    with pytest.raises(ConfigError, match="bins is 9: expected at most 8"):
        cut(test, 9)


def test_floor_decodes_directions_but_not_shuffled_ones(reaching):
    train, test = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    predicted_WT, _ = floor(train, test, 6)
    assert right_by_trial(predicted_WT, cut(test, 6)).mean() > 0.8
    mixed = Trials(train.rate_RNT, np.random.default_rng(0).permutation(train.label_R))
    predicted_WT, _ = floor(mixed, test, 6)
    assert right_by_trial(predicted_WT, cut(test, 6)).mean() < 0.5


@pytest.mark.parametrize("name", ["mlp", "gru", "ndt", "ndt-sup", "eit-t", "eit"])
def test_every_model_runs_and_saves_its_result(table, tmp_path, name):
    settings = table(tmp_path, models=[name], seeds=[3], rule=Rule(max_epochs=2, patience=1))
    folder = reproduce(settings)
    [result] = read_all(folder)[name]
    assert len(result.right_R) == 8
    assert result.accuracy == pytest.approx(np.mean(result.right_R))
    assert result.detail["epochs"] in (1, 2)
    assert (tmp_path / "page.md").read_text().count("| 1 |") >= 1


def test_table_resumes_and_never_mixes_settings(table, tmp_path, forget):
    settings = table(tmp_path)
    folder = reproduce(settings)
    first = read_all(folder)
    assert {name: [result.seed for result in rows] for name, rows in first.items()} == {"linear": [0], "mlp": [1, 2]}
    forget(folder, "mlp", 2)
    kept, again = read_all(reproduce(settings))["mlp"]
    assert kept.detail["seconds"] == 987.5 != again.detail["seconds"]
    assert again.right_R == first["mlp"][1].right_R  # the same seed, the same figures
    assert kept.detail["validation"] != again.detail["validation"]
    whole = folder.read_bytes()
    with pytest.raises(FoundationError, match="was made with other settings or data"):
        reproduce(table(tmp_path, rule=Rule(max_epochs=3, patience=2, smooth=2)))
    assert folder.read_bytes() == whole
    folder.write_text("{")
    with pytest.raises(FoundationError, match="not a result"):
        reproduce(settings)


def test_controls_are_the_first_seed_with_shuffled_directions(table, reaching, tmp_path):
    plain = read_all(reproduce(table(tmp_path / "plain", models=["linear", "eit"], transfer_from="Mihi")))
    asked = table(tmp_path / "both", models=["linear", "eit"], transfer_from="Mihi", controls=1)
    both = read_all(reproduce(asked))
    assert set(both) - set(plain) == {"linear-shuffled", "eit-shuffled", "transfer-Mihi-shuffled"}
    for name, found in plain.items():  # a control changes neither its row nor earlier results
        assert [(r.key, r.right_R) for r in both[name]] == [(r.key, r.right_R) for r in found]
        [control] = both[f"{name}-shuffled"]
        assert control.seed == found[0].seed
        assert control.config == found[0].config | {"directions": "dealt anew"}
        assert control.accuracy < found[0].accuracy - 0.2
    assert len(list((tmp_path / "both/weights").iterdir())) == 4  # two seeds of two animals, none of a control
    page = (tmp_path / "both/page.md").read_text()
    [row] = [line for line in page.splitlines() if line.startswith("| EIT |")]
    assert row.split(" | ")[4] == f"{100 * both['eit-shuffled'][0].accuracy:.1f}"
    assert "eit-shuffled" not in page
    train, _ = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    dealt = train.dealt(1)
    assert sorted(dealt.label_R) == sorted(train.label_R)
    assert (dealt.label_R != train.label_R).any()
    assert (dealt.label_R == train.dealt(1).label_R).all()
    with pytest.raises(ConfigError, match="controls is -1: expected a whole number, at least 0"):
        table(tmp_path, controls=-1)


def test_page_lists_finished_and_missing_runs(table, tmp_path):
    reproduce(table(tmp_path))
    page = (tmp_path / "page.md").read_text()
    assert "32 training and 8 test trials" in page
    assert "Not run yet: GRU, NDT (self-supervised), NDT-Sup, EIT (T), EIT." in page
    assert "means of 2 epochs; 2 epochs without a better one end the search, 4 at most." in page
    assert "| MLP |" in page
    assert "74.22" in page
    assert "Not above the floor: MLP." in page
    assert str(tmp_path) not in page


def test_page_reports_shortfalls_and_attempts(tmp_path):
    from dataclasses import asdict

    config = {"subject": "Chewie", "bins": 2, "rule": Rule(epochs=400).config()}
    detail = {"train": 127, "test": 32, "epochs": 400, "seconds": 1.0}
    one = RunResult("eit", 15, "k", config, {"Chewie": "0" * 64}, 0.5, [0.0, 1.0] * 16, detail)
    two = replace(one, seed=16, config=config | {"rule": Rule().config()})
    enough = replace(one, name="mlp", accuracy=0.75, right_R=[0.75] * 32)
    for result in (one, two, enough, replace(one, name="gru", accuracy=0.75, right_R=[0.5, 1.0] * 16)):
        put_result(tmp_path / "t.jsonl", asdict(result), key=("name", "seed"))
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


def test_windows_in_order_are_compared_over_shared_seeds(tmp_path):
    from dataclasses import asdict

    config = {"subject": "Chewie", "bins": 6, "rule": Rule().config()}
    detail = {"train": 127, "test": 32, "epochs": 9, "seconds": 1.0}
    shuffled = RunResult("eit", 15, "k", config, {"Chewie": "0" * 64}, 0.5, [0.0, 1.0] * 16, detail)
    in_order = replace(shuffled, accuracy=0.75, right_R=[0.5, 1.0] * 16)
    other_seed = replace(shuffled, seed=16, accuracy=0.0, right_R=[0.0] * 32)
    for table, runs in (("t", (shuffled, other_seed)), ("t-in-order", (in_order,)), ("u-by-start", (in_order,))):
        for result in runs:
            put_result(tmp_path / f"{table}.jsonl", asdict(result), key=("name", "seed"))
    page = eit_page(tmp_path, "")
    assert page.count("Against shuffled windows") == 1, "there is no table u"
    line = page.split("Against shuffled windows with the same seeds, paired over test trials: ")[1].split("\n")[0]
    assert line.startswith("EIT +25.0 (+")
    assert line.endswith(") over 1 seed.")


@pytest.mark.parametrize("name", [n for n in config_names("reproduce") if n.startswith("reproduce/eit-")])
def test_shipped_tables_are_valid_settings(name):
    given = ["--config", name, "--store", "s"]
    settings = parse(build_parser("reproduce", reproduce, ReproduceSettings), ReproduceSettings, given)
    assert f"reproduce/{settings.name}" == name
    kept = {"-in-order": "trial", "-by-start": "start"}
    order = next((order for end, order in kept.items() if name.endswith(end)), None)
    epochs = 400 if name.endswith("-400") else None
    assert settings.eit.rule == Rule(epochs=epochs, shuffle=order is None, order=order or "trial")


@pytest.mark.real_data
def test_chewie_has_the_published_trials_units_and_floor(real_data, tmp_path):
    pytest.importorskip("pynwb")
    from ingest.nwb.read_nwb import read_nwb
    from ingest.recipe.recipes import load_recipe

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
