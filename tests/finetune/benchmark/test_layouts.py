"""Benchmarks that need a download, on small files in the publicly described layout of their dandisets.

The tests check that the benchmark finds the files, the recipe reads them, and the task has labels.
"""

from datetime import UTC, datetime

import numpy as np
import pytest
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries
from pynwb.file import Subject

from finetune.benchmark import read_benchmark
from finetune.benchmark.benchmark_data import find_files, store_of
from finetune.tasks import Sources
from finetune.tasks.task_names import load_tasks
from foundation.data.reading.reader import ReaderCache
from foundation.store import Catalog, Store

SECONDS, UNITS, RATE = 60.0, 6, 100.0
TIMES = np.arange(0.0, SECONDS, 1 / RATE)
PLACE = np.stack([np.sin(TIMES), np.cos(TIMES)], axis=1)


def new_file(animal, regions, electrode_columns=()):
    """Return a file of an animal with six units, each on its own electrode, with the electrodes' regions."""
    nwb = NWBFile("a test", f"id-{animal}", datetime(2020, 1, 2, tzinfo=UTC), session_id=f"s-{animal}")
    nwb.subject = Subject(subject_id=animal, species="Mus musculus")
    device = nwb.create_device("probe")
    group = nwb.create_electrode_group("group", "electrodes", "brain", device)
    for name in electrode_columns:
        nwb.add_electrode_column(name, name)
    for k in range(UNITS):
        extra = {name: float(k) for name in electrode_columns}
        nwb.add_electrode(location=regions[k % len(regions)], group=group, x=float(k), y=0.0, z=0.0, **extra)
    return nwb


def add_units(nwb, seed, columns=(), electrodes=True):
    """Add units that fire at random; ``columns`` maps names to a value for each unit."""
    rng = np.random.default_rng(seed)
    for name, _ in columns:
        nwb.add_unit_column(name, name)
    for k in range(UNITS):
        train = np.sort(rng.uniform(0.0, SECONDS, 600))
        extra = {name: values[k] for name, values in columns}
        nwb.add_unit(spike_times=train, **({"electrodes": [k]} if electrodes else {}), **extra)


def add_trials(nwb, **columns):
    for name in columns:
        nwb.add_trial_column(name, name)
    for k in range(40):
        nwb.add_trial(start_time=1.5 * k, stop_time=1.5 * k + 1.2, **{name: of(k) for name, of in columns.items()})


def velocity(name, unit):
    return TimeSeries(name=name, data=PLACE, timestamps=TIMES, unit=unit)


def spatial(name, unit):
    return SpatialSeries(name=name, data=PLACE, timestamps=TIMES, unit=unit, reference_frame="?")


def mc_maze(animal, seed):
    nwb = new_file(animal, ["M1", "PMd"])
    add_units(nwb, seed, [("heldout", [False] * UNITS)])
    add_trials(nwb, split=lambda k: "train", move_onset_time=lambda k: 1.5 * k + 0.3)
    nwb.create_processing_module("behavior", "behaviour").add([spatial("hand_pos", "mm"), velocity("hand_vel", "mm/s")])
    return nwb


def mc_rtt(animal, seed):
    nwb = new_file(animal, ["M1"])
    add_units(nwb, seed, [("heldout", [False] * UNITS)])
    add_trials(nwb, split=lambda k: "train")
    nwb.create_processing_module("behavior", "behaviour").add(
        [spatial("cursor_pos", "mm"), velocity("finger_vel", "mm/s")]
    )
    return nwb


def perich_miller(animal, seed):
    nwb = new_file(animal, ["M1", "PMd"])
    add_units(nwb, seed)
    add_trials(nwb, result=lambda k: "R", target_dir=lambda k: np.pi / 2 * (k % 4), go_cue_time=lambda k: 1.5 * k + 0.2)
    nwb.create_processing_module("behavior", "behaviour").add(
        [
            Position(spatial_series=spatial("cursor_pos", "cm")),
            BehavioralTimeSeries(name="Velocity", time_series=velocity("cursor_vel", "cm/s")),
        ]
    )
    return nwb


def steinmetz(animal, seed):
    nwb = new_file(animal, ["VISp", "CA1"], ["ccf_ap"])
    add_units(nwb, seed, [("phy_annotations", [2] * UNITS)])
    return nwb


def ibl(animal, seed):
    nwb = new_file(animal, ["VISp", "CA1"], ["ibl_x"])
    add_units(nwb, seed, [("max_electrode", list(range(UNITS))), ("kilosort2_label", ["good"] * UNITS)])
    return nwb


def allen(animal, seed):
    nwb = new_file(animal, ["VISp", "CA1"])
    types = [("cell_type", ["PV", "SST"] * (UNITS // 2)), ("quality", ["good"] * UNITS)]
    add_units(nwb, seed, [("peak_channel_id", list(range(UNITS))), *types], electrodes=False)
    return nwb


def falcon(animal, seed):
    nwb = new_file(animal, ["M1"])
    add_units(nwb, seed)
    muscles = [TimeSeries(name=name, data=PLACE[:, k], timestamps=TIMES, unit="V") for k, name in enumerate("AB")]
    nwb.add_acquisition(BehavioralTimeSeries(name="preprocessed_emg", time_series=muscles))
    nwb.add_acquisition(TimeSeries(name="eval_mask", data=np.ones(len(TIMES)), timestamps=TIMES, unit="1"))
    return nwb


# benchmark -> layout of a file, names of files under the data folder, and the prefix of its targets
LAYOUTS = {
    "mc-maze": (mc_maze, ["000128/sub-Jenkins/sub-Jenkins_ses-full_desc-train_behavior+ecephys.nwb"], {"velocity"}),
    "mc-rtt": (mc_rtt, ["000129/sub-Indy/sub-Indy_desc-train_behavior+ecephys.nwb"], {"velocity"}),
    "perich-miller": (
        perich_miller,
        ["000688/sub-C/sub-C_ses-CO-20131003_behavior+ecephys.nwb"],
        {"velocity", "position", "direction"},
    ),
    "steinmetz-location": (steinmetz, [f"000017/sub-{k}/sub-{k}_ses-a.nwb" for k in "ab"], {"all"}),
    "ibl-location": (ibl, [f"000409/sub-{k}/sub-{k}_ses-a_desc-processed_behavior.nwb" for k in "ab"], {"all"}),
    "allen-cell-type": (allen, [f"000021/sub-{k}/sub-{k}_ses-75{k}.nwb" for k in "12"], {"all"}),
    "falcon-m1": (
        falcon,
        ["000941/sub-MonkeyL-held-in-calib/sub-MonkeyL-held-in-calib_ses-20120924_behavior+ecephys.nwb"],
        {"animal0"},
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_are_found_read_and_labelled(name, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    layout, files, targets = LAYOUTS[name]
    for seed, file in enumerate(files):
        path = tmp_path / "data" / file
        path.parent.mkdir(parents=True)
        with NWBHDF5IO(str(path), "w") as io:
            io.write(layout(f"animal{seed}", seed))
    benchmark, data = read_benchmark(name), str(tmp_path / "data")
    assert benchmark.download
    assert find_files(name, benchmark, data) is not None
    catalog = Catalog.open(Store(store_of(name, benchmark, data)))
    assert len(catalog) == len(files)
    sources = Sources(catalog, ReaderCache(catalog), benchmark.windows, 4, 4, benchmark.folds, 0)
    (find,) = load_tasks(benchmark.tasks).values()
    found = find(sources)
    assert found.failed == []
    assert targets <= {problem.labels.target.split("-")[0] for problem in found.problems}, found.skipped
    if name == "falcon-m1":
        assert found.problems[0].labels.y_S.shape[1] == 2  # a column for each muscle, none for the mask
