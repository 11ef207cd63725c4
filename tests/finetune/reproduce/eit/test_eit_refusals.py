"""Input that the EIT table rejects without leaving files."""

from dataclasses import replace

import numpy as np
import pytest

from finetune.reproduce import EITTable, ReproduceSettings, reproduce
from finetune.reproduce.common.run_results import find_recording
from finetune.reproduce.eit.decoding import Rule, fit
from finetune.reproduce.eit.reaching_trials import read_trials, split
from finetune.reproduce.models import MLPDecoder, MLPDecoderConfig
from foundation.common.errors import ConfigError, FoundationError
from foundation.store import Catalog, Interval, Store, write_recording

N_TRIALS, N_UNITS = 40, 9
QUICK = Rule(max_epochs=4, patience=2, smooth=2, learning_rate=3e-3)


@pytest.mark.parametrize("model", ["mlp", "ndt"])
def test_diverged_model_gives_no_result(reaching, tmp_path, model):
    settings = ReproduceSettings(
        store=str(reaching[0]), output=str(tmp_path / "o"), name="t", page=str(tmp_path / "page.md"),
        eit=EITTable(models=[model], seeds=[1], rule=Rule(max_epochs=3, learning_rate=1e30)),
    )  # fmt: skip
    with pytest.raises(FoundationError, match=r"the loss became (nan|inf) at a learning rate of 1e\+30: lower it"):
        reproduce(settings)
    assert not list(tmp_path.rglob("*.jsonl"))


def test_tables_of_another_experiment_are_rejected_before_any_run(reaching, tmp_path):
    base = ReproduceSettings(
        store=str(reaching[0]), output=str(tmp_path / "o"), name="t", page=str(tmp_path / "page.md"),
        eit=EITTable(models=["linear"]),
    )  # fmt: skip
    reproduce(base)
    page = (tmp_path / "page.md").read_text()
    for other in ("neurpir", "myow"):
        with pytest.raises(ConfigError, match=rf"table t there belongs to another experiment than '{other}'"):
            reproduce(replace(base, experiment=other, name="u"))
    assert (tmp_path / "page.md").read_text() == page
    assert not list((tmp_path / "o").glob("u*"))


def test_error_of_a_run_is_raised_even_if_the_page_fails(reaching, tmp_path):
    (tmp_path / "page.md").mkdir()  # cannot be written over
    settings = ReproduceSettings(
        store=str(reaching[0]), output=str(tmp_path / "o"), name="t", page=str(tmp_path / "page.md"),
        eit=EITTable(models=["linear"]),
    )  # fmt: skip
    with pytest.raises(OSError, match="page"):
        reproduce(settings)
    with pytest.raises(ConfigError, match="0 recordings of subject 'Nobody'"):
        reproduce(replace(settings, eit=EITTable(subject="Nobody", models=["linear"])))


def test_too_few_trials_or_missing_directions_are_named(reaching, reaching_recording, tmp_path, quick):
    train, _ = split(read_trials(find_recording(Catalog.open(Store(reaching[0])), "Chewie")))
    with pytest.raises(ConfigError, match="4 training trials: expected at least 5"):
        fit(lambda: MLPDecoder(MLPDecoderConfig(n_units=8)), train.where(slice(4)), 2, quick, 0)
    recording, label = reaching_recording("Chewie", 3)
    trials = recording.intervals["trials"]
    wrong = Interval(trials.start, trials.end, {"target_id": np.where(label == 7, 9, label)})
    store = Store(tmp_path / "store", create=True)
    write_recording(store, replace(recording, intervals={"trials": wrong}))
    Catalog.build(store).save()
    with pytest.raises(ConfigError, match="has target_id 9: expected 0 to 7"):
        read_trials(find_recording(Catalog.open(store), "Chewie"))


def test_invalid_tables_are_rejected():
    with pytest.raises(ConfigError, match="bins is 1 and models has 'ndt'"):
        EITTable(bins=1)
    assert EITTable(bins=1, models=["mlp"]).bins == 1
    with pytest.raises(ConfigError, match="transfer_from is 'Chewie': expected another animal than subject"):
        EITTable(transfer_from="Chewie")
    with pytest.raises(ConfigError, match="learning_rate is inf: expected a finite number above 0"):
        Rule(learning_rate=float("inf"))


def test_missing_recordings_are_named(table, tmp_path):
    with pytest.raises(ConfigError, match="0 recordings of subject 'Jenkins'"):
        reproduce(table(tmp_path, subject="Jenkins"))
    with pytest.raises(ConfigError, match="models has 'resnet'"):
        EITTable(models=["resnet"])
    with pytest.raises(ConfigError, match=r"name is '\.\./x'"):
        ReproduceSettings(store="s", output="o", name="../x")
