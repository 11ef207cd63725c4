"""Another population: the readout is fitted again to some of its minutes, and the model gets rows for it."""

import numpy as np
import pytest
import torch

from finetune.calibrate_head import calibrate_head
from finetune.heads.decode import decode
from finetune.heads.fitting.new_rows import with_new_rows
from finetune.heads.head import HeadError
from finetune.heads.head_files import load_head, save_head
from finetune.heads.head_models import head_models
from foundation.evaluation.splits import TooLittleError
from foundation.models import EIT, EITConfig
from foundation.store import Catalog, Source, Spikes, Store, Subject, Units, write_recording

OTHER = 9


def nine_units(recording, folder, until=np.inf):
    """Return a store of nine units of another animal with the same movements; the units fall silent after some time."""
    trains = [recording.spikes.train(k) for k in range(1, OTHER + 1)]
    store = Store(folder / "store", create=True)
    parts = {name: getattr(recording, name) for name in ("session", "domain", "intervals", "behavior")}
    write_recording(
        store,
        type(recording)(
            source=Source("n.nwb", "1" * 64),
            subject=Subject("n"),
            units=Units(OTHER),
            spikes=Spikes.from_trains([train[train < until] for train in trains]),
            **parts,
        ),
    )
    catalog = Catalog.refresh(store)
    return catalog, next(iter(catalog))


@pytest.fixture(scope="module")
def other(problems, tmp_path_factory):
    return nine_units(problems["velocity"].recording.load(), tmp_path_factory.mktemp("other"))


def r2(decoded, recording, after):
    late = decoded.start_S >= after
    series = recording.behavior["velocity"]
    true = np.stack([np.interp(decoded.times, series.timestamps, column) for column in series.data.T], axis=1)
    left = ((decoded.out_SK - true)[late] ** 2).sum() / ((true - true[late].mean(0))[late] ** 2).sum()
    return 1 - left


@pytest.mark.parametrize("mode", ["rate", "both"])
def test_calibrated_head_decodes_the_rest_of_the_recording(mode, fitted, problems, population_model, other, tmp_path):
    head, _ = fitted(problems["velocity"], population_model, mode, tmp_path / "velocity")
    catalog, recording = other
    models = {} if mode == "rate" else {"model": population_model}
    with pytest.raises(HeadError, match="--calibrate"):
        decode(head, recording, models)
    found = calibrate_head(head, models, catalog, recording, minutes=1.0)
    save_head(found.head, tmp_path / "calibrated", found.changed)
    loaded = load_head(tmp_path / "calibrated")
    decoded = decode(loaded, recording, head_models(loaded))
    assert r2(decoded, recording, after=60.0) > 0.3
    assert loaded.population.unit_ids == list(range(OTHER))
    assert "first 1 minutes" in loaded.kept.split
    assert loaded.kept.scores[loaded.kept.mode]["low"] is not None
    assert len(decoded) > loaded.kept.samples  # of 96 seconds


def test_too_little_voltage_is_rejected(fitted, problems, population_model, other, tmp_path):
    head, _ = fitted(problems["velocity"], population_model, "rate", tmp_path / "velocity")
    with pytest.raises(HeadError, match=r"0.05 minutes of n.nwb are too few"):
        calibrate_head(head, {}, *other, minutes=0.05)


def test_new_rows_leave_all_other_weights_unchanged(population_model, other):
    before = {name: value.clone() for name, value in population_model.state_dict().items()}
    changed = with_new_rows(population_model, other[1], token_seconds=0.1, tokens=15, updates=5)
    after = changed.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(torch.equal(population_model.state_dict()[name], value) for name, value in before.items())
    assert set(after) - set(before) == {"population.rows.table_1", "population.rows.log_rate_1"}
    assert changed.config.population_tables[-1] == {other[1].id: OTHER}
    assert population_model.config.population_tables != changed.config.population_tables


def test_new_rows_learn_the_units_activity(population_model, other):
    few, many = (with_new_rows(population_model, other[1], token_seconds=0.1, tokens=15, updates=n) for n in (1, 60))
    moved = (many.population.rows.table_1 - few.population.rows.table_1).abs().mean()
    assert moved > 0.01


def test_model_that_computes_unit_rows_needs_no_fitting_of_rows(other):
    torch.manual_seed(0)
    shape = {"dim": 16, "heads": 2, "individual_layers": 1, "interaction_layers": 0, "patch_length": 5}
    model = EIT(EITConfig(**shape, population_layers=1, made_rows=True))
    how = {"token_seconds": 0.1, "tokens": 15}
    made, fitted = (with_new_rows(model, other[1], **how, updates=updates) for updates in (0, 5))
    assert made.population.rows.table_0.abs().sum() == 0
    assert fitted.population.rows.table_0.abs().sum() > 0
    before = made.state_dict()
    assert all(torch.equal(fitted.state_dict()[name], before[name]) for name in before if not name.endswith("table_0"))


def test_new_rows_do_not_depend_on_held_out_time(population_model, problems, other, tmp_path):
    observed = other[1].observed
    start, end = float(observed.start.min()), float(observed.end.max())
    middle = (start + end) / 2
    _, silent = nine_units(problems["velocity"].recording.load(), tmp_path, until=middle)
    assert silent.firing_rates().sum() < other[1].firing_rates().sum()

    def rows(recording, held_out):
        how = {"token_seconds": 0.1, "tokens": 15, "updates": 3, "held_out": held_out}
        table = with_new_rows(population_model, recording, **how).population.rows
        return torch.cat([table.table_1.flatten(), table.log_rate_1])

    late = [[middle, end]]
    assert torch.equal(rows(other[1], late), rows(silent, late))
    assert not torch.equal(rows(other[1], []), rows(silent, []))
    with pytest.raises(TooLittleError, match="it leaves no window"):
        with_new_rows(population_model, other[1], token_seconds=0.1, tokens=15, held_out=[[start - 1, end + 1]])
