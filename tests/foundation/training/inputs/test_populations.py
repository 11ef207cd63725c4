"""A single-population objective accepts exactly one population, checked before any file is written."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from foundation.common.errors import ConfigError
from foundation.data import DataSettings
from foundation.objectives import MYOWSettings, NDTSettings, NeurPIRSettings, ObjectiveSettings, SwapVAESettings
from foundation.store import Catalog, Store, write_recording
from foundation.training import pretrain
from foundation.training.inputs.training_recordings import choose_recordings
from foundation.training.pretrain_settings import ValidationSettings

ONE = ValidationSettings(held_out="session != 'session0'")


def of(units):
    """Settings of every single-population objective, and the option with its number of units."""
    myow = MYOWSettings(encoder=[8], units=units, projector=[8], mined_projector=[8])
    ndt = NDTSettings(4, 8, hide="time", units=units)
    return [
        ("myow", ObjectiveSettings("myow", myow=myow)),
        ("myow", ObjectiveSettings("byol", myow=myow)),
        ("swap_vae", ObjectiveSettings("swap_vae", swap_vae=SwapVAESettings(units=units, content=4, style=4))),
        ("ndt", ObjectiveSettings("ndt", ndt=ndt)),
        ("ndt", ObjectiveSettings(weights={"neurpir": 1.0, "ndt": 1.0}, neurpir=NeurPIRSettings(4, 8), ndt=ndt)),
    ]


def refused(settings, what):
    with pytest.raises(ConfigError, match=what) as caught:
        pretrain(settings)
    assert not Path(settings.output).exists()
    return str(caught.value)


def test_wrong_number_of_units_is_refused_with_the_right_one(tiny):
    for key, objective in of(units=1):
        name = f"objective.{key}.units"
        refused(
            tiny(objective=objective, validation=ONE),
            rf"^{name} is 1: expected 12, the units of sub-0\.nwb; give --{name} 12$",
        )


@pytest.mark.parametrize("processes", [1, 2])
def test_populations_of_equal_size_are_not_one(tiny, processes):
    for key, objective in of(units=12):
        settings = tiny(objective=objective, processes=processes)
        message = refused(settings, rf"^objective\.{key}\.units is 12: .* found 4: sub-0\.nwb \(12 units\), sub-1")
        # Following the message works.
        chosen = ValidationSettings(held_out=re.search(r'--validation.held_out "(.*?)"', message)[1])
        training, _ = choose_recordings(replace(settings, validation=chosen), Catalog.open(Store(settings.store)))
        assert len(training) == 1


def test_matching_recording_is_named(tiny, tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    for seed, n_units in enumerate((8, 10, 12, 9, 7, 6)):
        write_recording(store, make_recording(seed, n_units=n_units))
    message = refused(tiny(store=str(tmp_path / "store"), objective=of(10)[0][1]), r"sub-4\.nwb \(7 units\), 1 more\.")
    assert "for sub-1.nwb, and give" in message


def test_windows_must_hold_all_units(tiny):
    data = DataSettings(bin_widths=[0.025], tokens_per_step=1536, max_units=11)
    for key, objective in of(units=12):
        refused(
            tiny(objective=objective, validation=ONE, data=data),
            rf"data\.max_units is 11 and objective\.{key}\.units 12: .* at least 12",
        )


def test_held_out_recordings_are_other_populations(tiny):
    validation = ValidationSettings(every=2, held_out=ONE.held_out)
    refused(
        tiny(objective=of(12)[2][1], validation=validation),
        r"validation\.every is 2: expected 0 with objective\.swap_vae",
    )


def test_refused_run_removes_nothing(tiny):
    settings = tiny(objective=of(12)[3][1], validation=ONE, steps=2)
    pretrain(settings)
    other = replace(settings, validation=ValidationSettings(), resume="never")
    for processes in (1, 2):
        with pytest.raises(ConfigError, match="expected a single recording, found 4"):
            pretrain(replace(other, processes=processes))
    assert (Path(settings.output) / "finished.json").is_file()
