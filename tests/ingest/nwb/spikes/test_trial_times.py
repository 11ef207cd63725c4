"""Spike times that restart in every trial: unfolded if the file names the trials, otherwise refused."""

import h5py
import numpy as np
import pytest

from foundation.common.errors import SourceError
from ingest.nwb.read_nwb import read_nwb
from ingest.nwb.spikes.trial_times import Trials

STARTS = 10.0 * np.arange(8)
LENGTH = 4.0


def in_trials(n_units=3, seed=0):
    """Times from the start of their trial, unit after unit and trial after trial: ``[unit][trial]``."""
    rng = np.random.default_rng(seed)
    return [[np.sort(rng.uniform(0, LENGTH, 12)) for _ in STARTS] for _ in range(n_units)]


def with_trials(nwb, ids=None, **columns):
    for name in columns:
        nwb.add_trial_column(name, name)
    for k, start in enumerate(STARTS):
        extra = {name: values[k] for name, values in columns.items()}
        nwb.add_trial(start_time=start, stop_time=start + LENGTH, id=k if ids is None else ids[k], **extra)
    return nwb


def named(nwb, names, column="trials"):
    """Units with a column that names the trial of each spike."""
    nwb.add_unit_column(column, "trial of each spike", index=True)
    for unit in in_trials():
        each = np.concatenate([np.full(len(times), names[k]) for k, times in enumerate(unit)])
        nwb.add_unit(spike_times=np.concatenate(unit), **{column: each})
    return nwb


def assert_laid_out(recording):
    for unit, expected in enumerate(in_trials()):
        laid = np.concatenate([times + start for times, start in zip(expected, STARTS, strict=True)])
        np.testing.assert_array_equal(recording.spikes.train(unit), laid)
    assert recording.domain.start.tolist() == STARTS.tolist()
    assert recording.quality["spike_times_unfolded"] == 1


@pytest.mark.parametrize(
    ("ids", "names", "column"),
    [
        (None, np.arange(8), "trials"),
        (None, np.arange(1, 9), "trial_id"),
        (np.arange(100, 108), np.arange(100, 108), "spike_trials"),
    ],
    ids=["rows", "numbers from 1", "ids"],
)
def test_column_with_the_trial_of_each_spike(write, nwb_maker, ids, names, column):
    assert_laid_out(read_nwb(write(named(with_trials(nwb_maker.new(), ids), names, column)), strict=True))


def test_trial_names_from_a_column_of_their_table(write, nwb_maker):
    nwb = with_trials(nwb_maker.new(), trial_number=np.arange(50, 58))
    assert_laid_out(read_nwb(write(named(nwb, np.arange(50, 58))), strict=True))


def test_list_of_times_for_each_trial(write, nwb_maker):
    nwb = with_trials(nwb_maker.new())
    for unit in in_trials():
        nwb.add_unit(spike_times=np.concatenate(unit))
    path = write(nwb)
    with h5py.File(path, "r+") as file:
        table = file["units"]
        attributes = dict(table["spike_times_index"].attrs)
        del table["spike_times_index"]
        lists = table.create_dataset("spike_times_index", data=12 * np.arange(1, 25))
        units = table.create_dataset("spike_times_index_index", data=8 * np.arange(1, 4))
        for made in (lists, units):
            for key, value in attributes.items():
                made.attrs[key] = value
        units.attrs["target"] = lists.ref
        units.attrs["object_id"] = "00000000-0000-0000-0000-000000000001"
    assert_laid_out(read_nwb(path, strict=True))


def test_restarting_times_are_refused(write, nwb_maker):
    nwb = with_trials(nwb_maker.new())
    for unit in in_trials():
        nwb.add_unit(spike_times=np.concatenate(unit))
    with pytest.raises(SourceError, match=r"restart in every trial: .* 8 trials begin from 0 to 70 s; .*spike_times"):
        read_nwb(write(nwb))


def test_sorted_restarting_times_cause_a_warning(write, nwb_maker, caplog):
    nwb = with_trials(nwb_maker.new())
    for unit in in_trials():
        train = np.concatenate(unit)
        nwb.add_unit(spike_times=np.sort(np.repeat(train, 4) + np.tile([0, 1e-4, 2e-4, 3e-4], len(train))))
    path = write(nwb)
    assert read_nwb(path).quality == {"spike_times_suspicious": 1.0}
    assert "may restart in every trial" in caplog.text
    with pytest.raises(SourceError, match="units/spike_times: spike times may restart in every trial"):
        read_nwb(path, strict=True)


def fast(seconds, rate, seed=0):
    """A sorted train of multi-unit activity without a refractory period."""
    return np.sort(np.random.default_rng(seed).uniform(0, seconds, int(rate * seconds)))


def test_fast_units_with_trials_in_milliseconds_do_not_restart(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), [fast(80, 60, seed) for seed in range(3)])
    for start in STARTS:
        nwb.add_trial(start_time=1000 * start, stop_time=1000 * (start + LENGTH))
    assert read_nwb(write(nwb)).quality == {"other_times_suspicious": 1.0}


def test_fast_units_recorded_in_the_first_block_are_read(write, nwb_maker):
    nwb = nwb_maker.add_trains(nwb_maker.new(), [fast(30, 60, seed) for seed in range(3)])
    for start in 30.0 * np.arange(12):
        nwb.add_trial(start_time=start, stop_time=start + 30.0)
    recording = read_nwb(write(nwb))
    assert recording.n_spikes == 3 * 1800
    assert recording.quality == {"spike_times_suspicious": 1.0}


def in_region(nwb, rows, table):
    """Units whose trial of each spike is named by a region of a table."""
    for unit in in_trials(1):
        times = np.concatenate(unit)
        nwb.add_unit_column("trials", "trial of each spike", index=True, table=table)
        nwb.add_unit(spike_times=np.sort(times), trials=rows)
    return nwb


def test_region_that_names_the_trial_of_each_spike(write, nwb_maker):
    nwb = with_trials(nwb_maker.new())
    times = np.concatenate(in_trials(1)[0])
    order = np.argsort(times)
    path = write(in_region(nwb, np.repeat(np.arange(8), 12)[order].tolist(), nwb.trials))
    recording = read_nwb(path, strict=True)
    assert recording.quality["spike_times_unfolded"] == 1.0
    np.testing.assert_allclose(recording.spikes.train(0), np.sort(times + np.repeat(STARTS, 12)))


@pytest.mark.parametrize("wrong", [8, 2**31 - 1, -1])
def test_region_with_an_invalid_trial_is_ignored(write, nwb_maker, wrong):
    nwb = with_trials(nwb_maker.new())
    path = write(in_region(nwb, np.repeat(np.arange(8), 12).tolist(), nwb.trials))
    with h5py.File(path, "r+") as file:
        file["units/trials"][5] = wrong
    recording = read_nwb(path)
    assert recording.n_spikes == 96
    assert "spike_times_unfolded" not in recording.quality


def test_region_of_another_table_names_no_trials(write, nwb_maker):
    nwb = with_trials(nwb_maker.new())
    for k in range(8):
        nwb.add_epoch(start_time=float(k), stop_time=k + 1.0)
    path = write(in_region(nwb, np.repeat(np.arange(8), 12).tolist(), nwb.epochs))
    assert "spike_times_unfolded" not in read_nwb(path).quality


@pytest.mark.parametrize("absolute", [True, False], ids=["in their trials", "unsorted"])
def test_session_times_are_unchanged(write, nwb_maker, absolute):
    nwb = with_trials(nwb_maker.new())
    nwb.add_unit_column("trials", "trial of each spike", index=True)
    for unit in in_trials():
        laid = np.concatenate([times + start for times, start in zip(unit, STARTS, strict=True)])
        laid = laid if absolute else laid[::-1]
        nwb.add_unit(spike_times=laid, trials=np.repeat(np.arange(8), 12)[:: 1 if absolute else -1])
    recording = read_nwb(write(nwb))
    assert recording.spikes.train(0)[-1] > 70
    assert recording.quality == ({} if absolute else {"units_sorted": 3.0})


def test_unsorted_trains_early_in_a_session_do_not_count_as_restarting(write, nwb_maker):
    nwb = with_trials(nwb_maker.new())
    rng = np.random.default_rng(0)
    for _ in range(3):
        train = np.sort(rng.uniform(0, LENGTH, 60))
        nwb.add_unit(spike_times=np.concatenate([train[30:], train[:30]]))
    assert read_nwb(write(nwb)).quality == {"units_sorted": 3.0}


def test_numbers_that_name_no_trial():
    trials = Trials(STARTS, STARTS + LENGTH, (np.arange(8),))
    assert trials.rows(np.array([0, 9])) is None
    assert trials.rows(np.array([-1, 2])) is None
    assert trials.rows(np.array([8, 1])).tolist() == [7, 0]
