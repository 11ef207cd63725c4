"""A model's record of its windows, for objectives with one kind of window and with several."""

import pytest

from foundation.common.settings.command import build_parser, parse
from foundation.store import Catalog, Store
from foundation.training import PretrainSettings, pretrain
from foundation.training.distributed.engine import build_module
from foundation.training.output.pretraining_record import name_windows


@pytest.mark.parametrize(
    ("config", "own"),
    [
        ("pretrain/demo", {"bin_widths": [0.005, 0.2], "tokens": 32, "min_tokens": 6}),
        ("pretrain/identity", {"bin_widths": [0.001], "tokens": 10, "min_tokens": 3}),
        ("pretrain/population", {"bin_widths": [0.1], "tokens": 24, "min_tokens": 2, "units_trained": False}),
        ("pretrain/eit-tiny", {"bin_widths": [0.001], "tokens": 10, "min_tokens": 3}),
    ],
)
def test_windows_are_those_of_units_if_an_objective_reads_units(config, own, small_store):
    words = ["--config", config, "--store", str(small_store), "--output", "out"]
    settings = parse(build_parser("pretrain", pretrain, PretrainSettings), PretrainSettings, words)
    module = build_module(settings)
    name_windows(module.model.config, settings, module.objective, Catalog.open(Store(small_store)))
    assert module.model.config.preprocessing == own | {"kinds": ["spikes"]}
