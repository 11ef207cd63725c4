"""Pictures of results with unusual names and numbers."""

from dataclasses import replace

import numpy as np
import pytest

from finetune.report.result_pictures import (
    confusion,
    coverage_figure,
    predicted_against_true,
    scales,
    training_curves,
    unit_map,
)
from foundation.evaluation.coverage import CoveragePoint
from foundation.evaluation.linear_readout import fit, make_basis
from foundation.evaluation.metrics import Predictions

PNG = b"\x89PNG"
FORMULA = r"$\foo{$"


def predictions(y_S, n_classes):
    none = np.zeros(len(y_S))
    return Predictions(y_S, y_S, np.zeros((len(y_S), 1)), none, none, n_classes)


def test_name_like_a_formula_is_drawn_literally():
    assert confusion(predictions(np.array([0, 1, 1]), 2), [FORMULA, "b"], FORMULA).startswith(PNG)
    values = np.random.default_rng(0).normal(size=(9, 1))
    assert predicted_against_true(predictions(values, 0), [FORMULA], FORMULA).startswith(PNG)
    assert unit_map(np.eye(4), np.array([FORMULA, "b"] * 2), FORMULA)[0].startswith(PNG)


@pytest.mark.filterwarnings("error")
def test_accuracy_over_coverage_is_drawn_with_and_without_intervals():
    points = [CoveragePoint(share / 10, share, 2, 1 - share / 40, 0.5, 1.0, 0.7) for share in range(1, 11)]
    without = [replace(point, low=None, high=None) for point in points]
    assert coverage_figure({"firing rates": points, FORMULA: without}, FORMULA).startswith(PNG)


@pytest.mark.filterwarnings("error")
def test_units_at_one_position_are_drawn():
    picture, share = unit_map(np.ones((4, 3)), np.array(["a", "b"] * 2), "Cell type")
    assert picture.startswith(PNG)
    assert share == 0.0


def test_each_scale_has_a_panel():
    steps = np.arange(10.0)
    columns = {name: np.stack([steps, np.full(10, size)], axis=1) for name, size in
               {"loss": 1.0, "reconstruction": 0.9, "rows": 500.0, "contrast": 1.4, "zero": 0.0}.items()}  # fmt: skip
    groups = scales(columns)
    assert ["rows"] in groups
    assert ["zero", "reconstruction", "contrast"] in groups
    assert sorted(name for group in groups for name in group) == ["contrast", "reconstruction", "rows", "zero"]
    assert training_curves(columns).startswith(PNG)
    assert training_curves({"loss": columns["loss"]}).startswith(PNG)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("samples", [12, 60])
@pytest.mark.parametrize("components", [4, 40])
def test_constant_features_give_a_readout_at_chance(components, samples):
    x_SF = np.full((samples, 20), 3.0, dtype=np.float32)
    basis = make_basis(x_SF, components, seed=0)
    y_S = np.arange(samples) % 2
    predicted = fit(basis(x_SF), y_S, 1.0, 2).predict(basis(x_SF))
    assert len(set(predicted.tolist())) == 1
