"""Non-finite numbers are rejected, NaN included."""

import math

import pytest

from foundation.common.errors import ConfigError
from foundation.objectives import (
    MYOWSettings,
    NeurPIRSettings,
    NuCLRSettings,
    ObjectiveSettings,
    SwapVAESettings,
    VICRegSettings,
    VICRegWeights,
)


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (VICRegWeights, ["invariance", "variance", "covariance", "target", "eps"]),
        (MYOWSettings, ["mined_weight", "exclusion", "min_events"]),
        (SwapVAESettings, ["divergence", "alignment"]),
        (NeurPIRSettings, ["min_events"]),
        (VICRegSettings, ["min_events"]),
        (NuCLRSettings, ["min_events", "temperature"]),
    ],
)
def test_non_finite_numbers_are_refused(kind, names, value):
    for name in names:
        with pytest.raises(ConfigError, match=f"^{name} is {value}: expected a finite number"):
            kind(**{name: value})


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0.0])
def test_weights_of_a_sum_are_positive_numbers(value):
    with pytest.raises(ConfigError, match=rf"weights\.ndt is {value}: expected a finite number above 0, or leave"):
        ObjectiveSettings(weights={"neurpir": 1.0, "ndt": value})


def test_objective_names_the_population_it_needs():
    perceptron = MYOWSettings(encoder=[8], units=7)
    for settings, units in [
        (ObjectiveSettings("myow", myow=perceptron), {"myow.units": 7}),
        (ObjectiveSettings("byol", myow=perceptron), {"myow.units": 7}),
        (ObjectiveSettings("myow", myow=MYOWSettings(units=7)), {}),
        (ObjectiveSettings("swap_vae", swap_vae=SwapVAESettings(units=5)), {"swap_vae.units": 5}),
        (ObjectiveSettings("neurpir"), {}),
    ]:
        assert settings.own_units() == units
