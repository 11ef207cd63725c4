"""A data folder with small files for two benchmarks, and an untrained checkpoint."""

import shutil
from dataclasses import replace

import pytest
import torch

from finetune.benchmark import BenchmarkSettings, run_benchmarks
from foundation.models import EIT, EITConfig
from ingest.simulate import SimulateSettings
from ingest.simulate.simulate_job import simulate_izhikevich


@pytest.fixture(scope="package")
def data(tmp_path_factory):
    """Write four animals with units of five types, in the folder of the opto-tagged recordings."""
    folder = tmp_path_factory.mktemp("data")
    settings = SimulateSettings(str(folder / "nwb" / "optotagged"), networks=4, neurons=20, seconds=60.0, reaches=False)
    simulate_izhikevich(replace(settings, synapses=4, states=False))
    return folder


@pytest.fixture(scope="package")
def benchmark_settings(data, tmp_path_factory, empty_runs):
    folder = tmp_path_factory.mktemp("benchmark")
    torch.manual_seed(0)
    EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=0)).save_pretrained(folder / "model")
    (folder / "work").mkdir()
    shutil.copy(empty_runs, folder / "work" / "mlflow.db")
    return BenchmarkSettings(
        names=["cell-type-optotagged"],
        data=str(data),
        checkpoint=str(folder / "model"),
        seeds=[43, 44],
        output=str(folder / "results"),
        page=str(folder / "page.md"),
        work=str(folder / "work"),
        bootstrap=100,
        control_repeats=2,
    )


@pytest.fixture(scope="package")
def benchmarked(benchmark_settings, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("finetune.benchmark.lolcat_row.STEPS", 10)
        patch.setattr("finetune.benchmark.lolcat_row.EVERY", 5)
        yield run_benchmarks(benchmark_settings)
