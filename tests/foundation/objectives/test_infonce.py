"""InfoNCE against its formula, row by row."""

import math

import pytest
import torch

from foundation.common.errors import ConfigError
from foundation.objectives import NeurPIRSettings
from foundation.objectives.parts.infonce_terms import infonce_terms, no_negatives


def by_loops(a_MD, b_MD, temperature, same_MM) -> float:
    unit = [[[v / math.sqrt(sum(w * w for w in row)) for v in row] for row in x.tolist()] for x in (a_MD, b_MD)]
    losses = []
    for x, y in (unit, unit[::-1]):
        for i, row in enumerate(x):
            terms = {
                j: math.exp(sum(p * q for p, q in zip(row, other, strict=True)) / temperature)
                for j, other in enumerate(y)
                if j == i or not same_MM[i][j]
            }
            losses.append(-math.log(terms[i] / sum(terms.values())))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("within", [False, True])
def test_loss_equals_the_formula(within):
    torch.manual_seed(0)
    a_MD, b_MD = torch.randn(2, 5, 3, dtype=torch.float64)
    same_MM = no_negatives(torch.tensor([0, 0, 1, 1, 1]), torch.zeros(5), torch.tensor([0, 1, 1, 2, 3]), within)
    assert same_MM[1, 2]  # the same unit in two windows
    assert bool(same_MM[0, 2]) == within
    found = infonce_terms(a_MD, b_MD, 0.3, same_MM)
    assert float(found["loss"]) == pytest.approx(by_loops(a_MD, b_MD, 0.3, same_MM.tolist()), rel=1e-12)
    assert math.isfinite(float(infonce_terms(a_MD, b_MD, 0.3)["loss"]))


def test_golden_value():
    a_MD = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    b_MD = torch.tensor([[3.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    assert float(infonce_terms(a_MD, b_MD, 0.1)["loss"]) == pytest.approx(math.log1p(math.exp(-10)))
    assert float(infonce_terms(a_MD, b_MD.flip(0), 0.1)["loss"]) == pytest.approx(10 + math.log1p(math.exp(-10)))


def test_invalid_settings_are_refused():
    with pytest.raises(ConfigError, match="loss is 'nce': expected one of vicreg, infonce"):
        NeurPIRSettings(loss="nce")
    with pytest.raises(ConfigError, match="temperature"):
        NeurPIRSettings(temperature=0.0)
