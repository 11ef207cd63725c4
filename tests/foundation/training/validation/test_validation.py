"""Validation on held-out recordings, the best checkpoint, and early stopping."""

import json
import shutil
from pathlib import Path

import pytest

from foundation.common.errors import ConfigError
from foundation.data import Loader
from foundation.store import Catalog, Store
from foundation.training import OptimizerSettings, pretrain
from foundation.training.checkpoint.checkpoint import list_checkpoints
from foundation.training.pretrain_settings import SafetySettings, SavingSettings, ValidationSettings
from foundation.training.validation.validate import split

HELD_OUT = ValidationSettings(every=3, held_out="subject == 'mouse3'", steps=2, label="cell_type", bin_width=0.025)


def lines(settings) -> list[dict]:
    return [json.loads(line) for line in (Path(settings.output) / "metrics.jsonl").read_text().splitlines()]


def test_held_out_recordings_are_measured_and_never_trained_on(tiny, tmp_path):
    settings = tiny(steps=60, checkpoint_every=60, log_every=10, validation=HELD_OUT)
    catalog = Catalog.open(Store(settings.store))
    training, held_out = split(catalog, HELD_OUT.held_out)
    assert [r.subject for r in held_out.records] == ["mouse3"]
    assert len(training) == 3
    pretrain(settings)
    found = lines(settings)
    measured = [line for line in found if "validation/loss" in line]
    assert [line["step"] for line in measured] == list(range(3, 61, 3))
    assert measured[-1]["validation/loss"] < measured[0]["validation/loss"]
    # Rates of fast and slow units differ: a probe on any embedding of activity separates them.
    assert measured[-1]["validation/cell_type"] > 0.8
    assert measured[-1]["validation/cell_type_chance"] == 0.5
    without = tiny(output=str(tmp_path / "without"), steps=60, checkpoint_every=60, log_every=10)
    other = pretrain(
        tiny(
            output=str(tmp_path / "rare"),
            steps=60,
            checkpoint_every=60,
            validation=ValidationSettings(60, HELD_OUT.held_out),
        )
    )
    assert (other / "model.safetensors").read_bytes() == (
        Path(settings.output) / "model/model.safetensors"
    ).read_bytes()
    assert pretrain(without).joinpath("model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()


@pytest.mark.parametrize("stage", [0, 3])
def test_best_checkpoint_is_kept_and_early_stopping_ends_the_run(tiny, stage, caplog):
    """The learning rate only does harm, so the first validation is the best."""
    settings = tiny(
        steps=60, checkpoint_every=2, keep_checkpoints=1, zero_stage=stage, log_every=1,
        optimizer=OptimizerSettings(learning_rate=0.0625, warmup_steps=0, final_share=1.0),
        saving=SavingSettings(best="validation/loss"),
        validation=ValidationSettings(every=1, held_out="subject == 'mouse3'", steps=1, patience=4),
    )  # fmt: skip
    with caplog.at_level("INFO"):
        pretrain(settings)
    found = lines(settings)
    values = [line["validation/loss"] for line in found]
    best = min(range(len(values)), key=values.__getitem__)
    assert len(values) == best + 1 + 4 < 60
    assert "validation/loss has not improved in 4 validations" in caplog.text
    names = [p.name for p in list_checkpoints(Path(settings.output) / "checkpoints")]
    assert names == [f"step-{len(values):08d}", f"step-{best + 1:08d}"]
    # The run is complete, and so is one that was killed before it wrote its model.
    weights = (Path(settings.output) / "model/model.safetensors").read_bytes()
    shutil.rmtree(Path(settings.output) / "model")
    pretrain(settings)
    assert (Path(settings.output) / "model/model.safetensors").read_bytes() == weights
    assert lines(settings) == found
    with caplog.at_level("INFO"):
        pretrain(settings)
    assert "is already trained" in caplog.text


def test_invalid_validation_is_refused(tiny):
    with pytest.raises(ConfigError, match=r"held_out is \"subject == 'nobody'\": it chooses 0 of 4 recordings"):
        pretrain(tiny(validation=ValidationSettings(every=1, held_out="subject == 'nobody'")))
    with pytest.raises(ConfigError, match=r"patience needs saving\.best"):
        tiny(validation=ValidationSettings(every=1, held_out="n_units > 0", patience=1))


def test_unreadable_validation_is_skipped_and_late_reads_are_not(tiny, monkeypatch, caplog):
    """Training continues in both cases."""
    whole = tiny(steps=9, validation=HELD_OUT)
    pretrain(whole)
    load, asked = Loader.load, []

    def away(self, step):
        asked.append(step)
        if len(asked) == 1 or 3 <= len(asked) <= 5:  # first once, then always
            raise TimeoutError("no answer")
        return load(self, step)

    monkeypatch.setattr(Loader, "load", away)
    settings = tiny(
        output=whole.output + "-late", steps=9, validation=HELD_OUT, safety=SafetySettings(retries=1, pause=0.01)
    )
    pretrain(settings)
    measured = [[line for line in lines(s) if "validation/loss" in line] for s in (whole, settings)]
    assert [line["step"] for line in measured[0]] == [3, 6, 9]
    assert [line["step"] for line in measured[1]] == [6, 9]
    for late in measured[1]:
        there = next(line for line in measured[0] if line["step"] == late["step"])
        assert late["validation/loss"] == there["validation/loss"]
    assert "skipping a validation: TimeoutError: no answer" in caplog.text


@pytest.mark.parametrize(
    ("best", "validation", "message"),
    [
        ("validation/los", ValidationSettings(every=3, held_out="subject == 'mouse3'", steps=1, patience=2), "n/loss"),
        ("lose", ValidationSettings(every=3, held_out="subject == 'mouse3'", steps=1, patience=2), "validation/loss"),
        ("validation/loss", ValidationSettings(), "loss, neuron_tokens"),
    ],
)
def test_unmeasured_metric_is_refused_at_the_first_comparison(tiny, best, validation, message):
    settings = tiny(steps=60, checkpoint_every=4, saving=SavingSettings(best=best), validation=validation)
    with pytest.raises(
        ConfigError, match=f"saving.best is '{best}', which is not measured: expected one of .*{message}"
    ):
        pretrain(settings)
    assert len(lines(settings)) == (3 if validation.every else 4)


def test_training_metric_is_compared_at_each_checkpoint(tiny):
    validation = ValidationSettings(every=2, held_out="subject == 'mouse3'", steps=1, patience=3)
    constant = OptimizerSettings(learning_rate=0.0625, warmup_steps=0, final_share=1.0)
    settings = tiny(
        steps=60,
        checkpoint_every=2,
        optimizer=constant,
        saving=SavingSettings(best="learning_rate"),
        validation=validation,
    )
    pretrain(settings)
    assert len(lines(settings)) == 2 + 3 * 2  # the rate is constant, so the first checkpoint is the best


BLIND = """
import os
from foundation.training.output.run_folder import RunFolder
if os.environ.get("RANK") == "1":
    RunFolder.finished_at = lambda self: -1
"""


def test_all_processes_use_the_first_one_s_values(tiny, tmp_path, ranks):
    """Only the first process knows its utilisation, and the other does not yet see that the run has ended."""
    (tmp_path / "sitecustomize.py").write_text(BLIND)
    settings = tiny(
        steps=400, checkpoint_every=1, saving=SavingSettings(best="flop_utilisation"),
        validation=ValidationSettings(patience=1), safety=SafetySettings(timeout=60.0),
    )  # fmt: skip
    for _ in range(2):
        processes = ranks(settings, PYTHONPATH=f"{tmp_path}:{Path(__file__).parents[4]}")
        assert [p.wait(200) for p in processes] == [0, 0], (tmp_path / "rank-1.err").read_text()
    assert "flop_utilisation has not improved" not in (tmp_path / "rank-0.err").read_text()
    assert "is already trained" in (tmp_path / "rank-0.err").read_text()
    assert len(lines(settings)) < 400
