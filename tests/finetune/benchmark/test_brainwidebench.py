"""A submission to BrainWideBench: its files, rejected input, and its score by the official package."""

import json
import os
import shutil
import subprocess
import uuid
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from finetune.benchmark import BenchmarkSettings
from finetune.benchmark.benchmark_runs import benchmark
from finetune.benchmark.brainwidebench import REGIONS, TASK, entity_ids
from finetune.finetune_job import finetune
from finetune.finetune_settings import FinetuneSettings, WindowSettings
from foundation.common.errors import ConfigError, SourceError
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Store, Units, write_recording

N_UNITS, SESSION = 12, "5ec72172-3901-4771-8777-6e9490ca51fc"


def session(make_recording, seed, session_id):
    ids = [str(uuid.UUID(int=100 * seed + n)) for n in range(N_UNITS)]
    regions = np.array(["TH", "Isocortex"])[np.arange(N_UNITS) % 2]
    units = Units(N_UNITS, {"id": np.arange(N_UNITS), "cosmos_location": regions, "cluster_uuid": np.array(ids)})
    return make_recording(seed, n_units=N_UNITS, seconds=60.0, units=units, session=session_id)


@pytest.fixture(scope="module")
def place(tmp_path_factory, make_recording, empty_runs):
    """Return heads of two seeds, fitted to four animals; the held-out animal has its own store."""
    folder = tmp_path_factory.mktemp("brainwidebench")
    for name, seeds in (("known", range(4)), ("held-out", [7])):
        store = Store(folder / name, create=True)
        for seed in seeds:
            write_recording(store, session(make_recording, seed, SESSION if seed == 7 else str(uuid.UUID(int=seed))))
        Catalog.build(store).save()
    torch.manual_seed(0)
    EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=0)).save_pretrained(folder / "model")
    (folder / "cosmos.yaml").write_text("task: cosmos\nlabel: units.cosmos_location\nkind: classes\n")
    settings = FinetuneSettings(
        checkpoint=str(folder / "model"), store=str(folder / "known"), output=str(folder / "out"), mode="probe",
        tasks=[str(folder / "cosmos.yaml")], folds=2, bootstrap=100, control_repeats=2, random_weights=False,
        windows=WindowSettings(unit_token=0.1, unit_tokens=16, unit_windows=4), tracking_uri=f"sqlite:///{empty_runs}",
    )  # fmt: skip
    for seed in (43, 44):
        finetune(replace(settings, output=str(folder / f"seed-{seed}"), seed=seed))
    return folder


@pytest.fixture(scope="module")
def settings(place):
    heads = [str(place / f"seed-{seed}" / "cosmos") for seed in (43, 44)]
    return BenchmarkSettings(
        ["brainwidebench"], data=str(place / "held-out"), export=str(place / "predictions"), heads=heads, seeds=[43, 44]
    )


@pytest.fixture(scope="module")
def exported(settings):
    return benchmark(settings)


def test_submission_has_probabilities_of_all_regions_for_every_unit(exported, place):
    assert [path.relative_to(place).as_posix() for path in exported.files] == [
        f"predictions/foundation/{TASK}/seed_{seed}.safetensors" for seed in (43, 44)
    ]
    found = load_file(exported.files[0])
    assert (found["pred_proba"].shape, found["pred_proba"].dtype) == ((N_UNITS, 10), np.float32)
    assert found["pred_proba"].sum(axis=1) == pytest.approx(np.ones(N_UNITS), abs=1e-5)
    assert (found["pred_proba"] > 0).any(axis=0).nonzero()[0].tolist() == [REGIONS.index("Isocortex"), 9]
    assert (found["entity_ids"].shape, found["entity_ids"].dtype) == ((N_UNITS, 73), np.uint8)
    assert found["entity_ids"][1].tobytes().decode() == f"{SESSION}/{uuid.UUID(int=701)}"
    with safe_open(exported.files[1], framework="np") as file:
        about = file.metadata()
    assert about["label_names"] == ",".join(REGIONS)
    assert {name: about[name] for name in ("label", "task", "seed", "ibl_bwb_eval_version")} == {
        "label": "foundation", "task": TASK, "seed": "44", "ibl_bwb_eval_version": "0.1.0"
    }  # fmt: skip


def test_head_fitted_to_the_recordings_is_rejected(settings, place):
    with pytest.raises(
        ConfigError, match=r"which was fitted to .* \(4 of 4 recordings\): BrainWideBench scores animals"
    ):
        benchmark(replace(settings, data=str(place / "known")))


def test_head_with_other_labels_is_rejected(settings, place, tmp_path):
    other = tmp_path / "cosmos"
    shutil.copytree(settings.heads[0], other)
    about = json.loads((other / "head.json").read_text())
    (other / "head.json").write_text(json.dumps(about | {"classes": ["Isocortex", "VISp"]}))
    with pytest.raises(ConfigError, match="which predicts classes VISp: expected regions among CB, CNU"):
        benchmark(replace(settings, heads=[str(other), str(other)]))


def test_recording_without_ids_is_rejected(make_recording, tmp_path):
    store = Store(tmp_path / "store", create=True)
    write_recording(store, session(make_recording, 1, "monday"))
    write_recording(store, make_recording(2, n_units=3, session=SESSION, units=Units(3, {"id": np.arange(3)})))
    monday, bare = sorted(Catalog.build(store), key=lambda recording: -len(recording.units))
    with pytest.raises(SourceError, match="has the session id 'monday': expected a UUID"):
        entity_ids(monday)
    with pytest.raises(SourceError, match="has no column cluster_uuid or uuid of units"):
        entity_ids(bare)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"export": None}, "expected brainwidebench alone with --export FOLDER"),
        ({"names": ["sleep-mouse"]}, "expected brainwidebench alone with --export FOLDER"),
        ({"seeds": [43]}, "expected a head for each seed"),
        ({"label": "../up"}, "label is '../up': expected letters"),
    ],
)
def test_invalid_settings_are_rejected(changes, message):
    plain = {"names": ["brainwidebench"], "data": "d", "export": "e", "heads": ["a", "b"], "seeds": [43, 44]}
    with pytest.raises(ConfigError, match=message):
        BenchmarkSettings(**(plain | changes))


def test_official_package_scores_the_files(exported, place):
    python = os.environ.get("BWB_EVAL_PYTHON")
    if not python:
        pytest.skip("BWB_EVAL_PYTHON is not set: it names a Python that has ibl-bwb-eval 0.1.0")
    targets = np.array([9, 6] * (N_UNITS // 2))
    truth = place / "truth" / TASK / "ground_truth.safetensors"
    truth.parent.mkdir(parents=True)
    ids = load_file(exported.files[0])["entity_ids"]
    save_file({"targets": targets, "entity_ids": ids}, truth, metadata={"label_names": ",".join(REGIONS)})
    code = (
        "import json, sys; from ibl_bwb_eval.tasks import COSMOS_LABELS;"
        "from ibl_bwb_eval.scoring.ts3 import score_dir;"
        "scores = {f'{k[0]} {k[1]}': v['macro/f1-score'] for k, v in score_dir(sys.argv[1], sys.argv[2]).items()};"
        "print(json.dumps({'labels': COSMOS_LABELS} | scores))"
    )
    command = [python, "-c", code, str(place / "predictions"), str(place / "truth")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    scores = json.loads(done.stdout.splitlines()[-1])
    assert tuple(scores.pop("labels")) == REGIONS
    right = [load_file(path)["pred_proba"].argmax(axis=1) == targets for path in exported.files]
    for (name, score), hits in zip(sorted(scores.items()), right, strict=True):
        assert name.startswith("foundation 4")
        assert (score == 1.0) == bool(hits.all())
        assert 0.0 <= score <= 1.0
