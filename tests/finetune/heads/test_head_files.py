"""A head predicts the same after writing and reading; damaged or hostile heads are rejected."""

import hashlib
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from finetune.heads.decode import decode
from finetune.heads.fitting.head_probe import best_readout, predict_test
from finetune.heads.head import HeadError
from finetune.heads.head_files import find_head, load_head
from finetune.heads.head_models import head_models
from foundation.evaluation.splits import Fold
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Store, Subject, write_recording

APPLY = """
import sys
import numpy as np
from finetune.heads.decode import decode
from finetune.heads.head_files import load_head
from finetune.heads.head_models import head_models
from foundation.store import Catalog, Store

(recording,) = Catalog.build(Store(sys.argv[1]))
for k, folder in enumerate(sys.argv[3:]):
    head = load_head(folder)
    np.save(f"{sys.argv[2]}/{k}.npy", decode(head, recording, head_models(head)).out_SK)
"""
CASES = [(target, mode) for target in ("velocity", "direction") for mode in ("probe", "both", "full")]
CASES += [("velocity", "rate")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("heads")


@pytest.fixture(scope="module")
def heads(folder, problems, population_model, fitted):
    return {case: fitted(problems[case[0]], population_model, case[1], folder / "-".join(case))[0] for case in CASES}


def test_heads_predict_the_same_in_a_new_process(heads, folder, problems, population_model, tmp_path):
    recording = problems["velocity"].recording
    places = [str(folder / "-".join(case)) for case in CASES]
    subprocess.run([sys.executable, "-c", APPLY, recording.store.root, tmp_path, *places], check=True, timeout=300)
    assert {source for head in heads.values() for source in head.sources} == {"rates", "model", "adapted"}
    for k, case in enumerate(CASES):
        head, loaded = heads[case], load_head(places[k])
        here = decode(loaded, recording, head_models(loaded)).out_SK
        np.testing.assert_array_equal(np.load(tmp_path / f"{k}.npy"), here)
        if "adapted" not in head.sources:  # only the changed model has its own folder
            np.testing.assert_array_equal(decode(head, recording, {"model": population_model}).out_SK, here)


def test_head_predicts_as_the_fitted_readout(problems, heads, population_model, settings):
    problem = problems["velocity"]
    everyone = np.arange(len(problem.labels.y_S))
    inner = problem.inner(everyone, settings.seed)
    best = best_readout(problem, problem.rate_features(), Fold(everyone, everyone), inner)
    expected = predict_test(problem, best.readout, Fold(everyone, everyone), best.choice)
    got = decode(heads["velocity", "rate"], problem.recording)
    assert len(got) == len(everyone)  # every bin of a trial has a velocity
    np.testing.assert_allclose(got.out_SK, expected, atol=1e-3)
    np.testing.assert_allclose(got.times[:3], [0.05, 0.15, 0.25])


def test_head_records_its_origin(heads, folder, problems):
    facts = json.loads((folder / "velocity-both" / "head.json").read_text())
    recording = problems["velocity"].recording
    assert facts["population"]["unit_ids"] == list(range(12))
    assert facts["data"] == {recording.id: recording.record.digest}
    assert (facts["mode"], facts["unit"], facts["samples"]) == ("both", "cm/s", len(problems["velocity"].labels.y_S))
    assert set(facts["scores"]) == {"rate", "probe", "both"}
    assert facts["fitted_to"].startswith("all labelled samples")
    assert len(facts["spread"]) == 2
    assert facts["bin_width"] == pytest.approx(0.02)


def test_probabilities_are_fitted_to_samples_unseen_by_the_readout(heads):
    head = heads["direction", "probe"]
    p_SK = head.probabilities(np.array([[2.0, 1.0, 0.0, 0.0]]))
    assert p_SK.sum() == pytest.approx(1)
    assert p_SK.argmax() == 0
    assert head.temperature != 1.0


def test_prefix_of_a_name_is_enough(heads, folder):
    assert find_head(folder / "velocity-both").name == "velocity-both"
    with pytest.raises(HeadError, match=r"expected one folder with head.json; name one of velocity-both, vel"):
        find_head(folder / "velocity")
    (folder / "named" / "speed-a").mkdir(parents=True)
    (folder / "named" / "speed-a" / "head.json").touch()
    assert find_head(folder / "named" / "speed").name == "speed-a"
    with pytest.raises(HeadError, match="name one of speed-a"):
        find_head(folder / "named" / "nothing")


def changed(folder, target, **facts):
    """Return a copy of a head with changed metadata."""
    for path in folder.iterdir():
        if path.is_file():
            (target / path.name).write_bytes(path.read_bytes())
    known = json.loads((target / "head.json").read_text())
    (target / "head.json").write_text(json.dumps(known | facts))
    return target


def with_tensors(folder, target, change):
    tensors = load_file(folder / "head.safetensors")
    change(tensors)
    content = save(tensors)
    changed(folder, target, tensors=hashlib.sha256(content).hexdigest())
    (target / "head.safetensors").write_bytes(content)
    return target


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        ({"schema": 99}, "schema is 99: expected 2; fit it again"),
        ({"format": "other"}, "its format is not 'foundation-head'"),
        ({"kind": "words"}, "kind is 'words'"),
        ({"value_names": ["x"]}, r"bias has shape \(2,\)"),
        ({"temperature": 0.0}, "temperature is 0.0: expected a number above 0"),
        ({"spread": [1.0]}, "spread is"),
        ({"windows": {"part": "trials"}}, "token_seconds is missing"),
        ({"population": {"recording": 3}}, "recording is 3: expected str"),
        ({"checkpoint": None}, "checkpoint is None: expected the name"),
        ({"blocks": []}, "holds"),
        ({"tensors": "0" * 64}, "has other bytes than head.json names"),
    ],
)
def test_damaged_metadata_is_rejected(facts, what, heads, folder, tmp_path):
    with pytest.raises(HeadError, match=what):
        load_head(changed(folder / "velocity-probe", tmp_path, **facts))


def test_damaged_weights_are_rejected(heads, folder, tmp_path):
    def nan(tensors):
        tensors["0.weight"][0, 0, 0] = np.nan

    def smaller(tensors):
        tensors["0.weight"] = tensors["0.weight"][:, :-1]

    def zero(tensors):
        tensors["0.scale"][0] = 0

    for change, what in ((nan, "1 non-finite values"), (smaller, "has shape"), (zero, "values of 0 or below")):
        with pytest.raises(HeadError, match=what):
            load_head(with_tensors(folder / "velocity-both", tmp_path, change))


def test_pickles_are_never_read(heads, folder, tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    content = pickle.dumps(Hostile())
    place = changed(folder / "velocity-rate", tmp_path, tensors=hashlib.sha256(content).hexdigest())
    (place / "head.safetensors").write_bytes(content)
    with pytest.raises(HeadError, match="is no safetensors file"):
        load_head(place)
    (place / "head.safetensors").rename(place / "head.pt")
    with pytest.raises(HeadError, match=r"head.pt can hold code and is not read"):
        load_head(place)
    assert not (tmp_path / "ran").exists()


def test_another_checkpoint_is_rejected(heads, folder, tmp_path):
    head = load_head(folder / "velocity-probe")
    EIT(EITConfig(dim=16, heads=2)).save_pretrained(tmp_path / "other")
    with pytest.raises(HeadError, match=r"the head was fitted to .* --checkpoint"):
        head_models(head, str(tmp_path / "other"))
    with pytest.raises(HeadError, match=r"cannot be loaded .* give the right one with --checkpoint"):
        head_models(head, str(tmp_path / "nothing"))
    assert set(head_models(head)) == {"model"}


def test_other_populations_are_rejected(heads, folder, problems, make_recording, tmp_path):
    store = Store(tmp_path / "store", create=True)
    trials = problems["velocity"].recording.intervals["trials"]
    write_recording(store, make_recording(1, n_units=12, seconds=96.0, intervals={"trials": trials}))
    write_recording(store, make_recording(2, n_units=5, seconds=96.0, subject=Subject("m")))
    write_recording(store, make_recording(3, n_units=14, seconds=96.0, subject=Subject("m")))
    found = {r.n_units: r for r in Catalog.build(store)}
    head = load_head(folder / "velocity-rate")
    with pytest.raises(HeadError, match=r"of 'mouse1', and head velocity-.* units of 'm': .* --calibrate"):
        decode(head, found[12])
    with pytest.raises(HeadError, match=r"lacks 7 of the 12 units .* \(5, 6, 7, 8, 9, ...\)"):
        decode(head, found[5])
    assert len(decode(head, found[14])) == 960  # the same units and two more; without trials, all observed time
    with pytest.raises(HeadError, match=r"has no trials, and head direction-.* reads whole trials"):
        decode(load_head(folder / "direction-probe"), found[14], head_models(load_head(folder / "direction-probe")))
