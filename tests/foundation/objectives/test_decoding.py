"""Supervised decoding: the loss computed by loops, and windows without labels."""

import math

import pytest
import torch
from objective_cases import CASES, LABELS, PATCH, build, global_batch

from foundation.common.errors import ConfigError
from foundation.models import EIT, EITConfig
from foundation.objectives import Decoding, DecodingSettings, Masked, MaskedSettings, ObjectiveSettings, build_objective

CASE = CASES["decoding"]


def test_loss_is_squared_error_cross_entropy_and_likelihood():
    model, objective = build(CASE, torch.float64)
    views, context = global_batch(objective, CASE, 0, torch.float64)
    view, terms = views[0], objective(model, views, context)
    unit_BN, time_BT = objective.hidden(view, context)
    error = weights = squares = entropy = of_classes = right = 0.0
    head_SDX = objective.heads.weight.detach().unflatten(1, (9, -1))
    for b in range(len(view)):
        session, n_tokens = int(view.session_B[b]), int(view.mask_BT[b].sum()) // PATCH
        if session < 0:
            continue
        one = {name: tensor[b : b + 1] for name, tensor in view.model_inputs().items()}
        hidden = {"hidden_BN": unit_BN[b : b + 1], "hidden_BT": time_BT[b : b + 1]}
        p_TD = model(**one, **hidden, units=False).p_BTD[0, :n_tokens].detach()
        out_TX = p_TD @ head_SDX[session, :-1] + head_SDX[session, -1]
        weight_T = view.weight_BT[b, :n_tokens]
        for t in range(n_tokens):
            for k in range(LABELS.values):
                value = float(view.value_BTK[b, t, k])
                if math.isfinite(value):
                    error += float(weight_T[t] * (out_TX[t, k] - value) ** 2)
                    weights += float(weight_T[t])
                    squares += float(weight_T[t]) * value**2
        first = LABELS.values
        for column, count in enumerate(LABELS.classes):
            true = int(view.class_BTC[b, 0, column])
            if true >= 0:
                mean_M = (out_TX[:, first : first + count] * weight_T[:, None]).sum(0) / weight_T.sum()
                weight = float(weight_T.mean())
                entropy -= weight * float(mean_M.log_softmax(0)[true])
                of_classes += weight
                right += weight * (int(mean_M.argmax()) == true)
            first += count
    assert float(terms["values"]) == pytest.approx(error / weights, rel=1e-9)
    assert float(terms["classes"]) == pytest.approx(entropy / of_classes, rel=1e-9)
    assert float(terms["r2"]) == pytest.approx(1 - error / squares, rel=1e-9)
    assert float(terms["accuracy"]) == pytest.approx(right / of_classes, rel=1e-9)
    masked = Masked(MaskedSettings(2, 4), 8, model)(model, views, context)["loss"]
    assert float(terms["masked"]) == pytest.approx(float(masked.detach()), rel=1e-9)
    whole = error / weights + 0.3 * entropy / of_classes + 0.2 * float(masked.detach())
    assert float(terms["loss"].detach()) == pytest.approx(whole, rel=1e-9)


def test_class_is_that_of_the_middle_of_the_window():
    _, objective = build(CASE)
    class_BTC = torch.tensor([[[-1, -1], [1, -1], [1, -1], [2, -1]]])
    out_BTM = torch.zeros(1, 4, 6)
    out_BTM[0, 1:3, 1], out_BTM[0, 3, 2] = 8.0, 99.0
    entropy_B, weight_B, right_B = objective._class_sums(class_BTC, torch.ones(1, 4), out_BTM)
    assert entropy_B.tolist() == pytest.approx([math.log(1 + 3 * math.exp(-8))], rel=1e-3)
    assert (weight_B.tolist(), right_B.tolist()) == ([1.0], [1.0])


def test_windows_without_labels_are_masked_modelling_alone():
    model, objective = build(CASE)
    views, context = global_batch(objective, CASE, 0)
    plain = objective(model, views, context)
    views[0].value_BTK[3], views[0].class_BTC[3] = torch.nan, -1
    views[0].session_B = torch.full_like(views[0].session_B, -1)
    views[0].value_BTK[:], views[0].class_BTC[:] = torch.nan, -1
    without = objective(model, views, context)
    assert float(without["loss"].detach()) == pytest.approx(0.2 * float(plain["masked"]), rel=1e-6)
    without["loss"].backward()
    assert objective.heads.weight.grad.abs().sum() == 0


def test_heads_of_a_session_learn_only_from_its_windows():
    model, objective = build(CASE)
    views, context = global_batch(objective, CASE, 0)
    views[0].session_B[views[0].session_B == 1] = -1
    views[0].value_BTK[views[0].session_B < 0], views[0].class_BTC[views[0].session_B < 0] = torch.nan, -1
    objective(model, views, context)["loss"].backward()
    grad_SX = objective.heads.weight.grad
    assert grad_SX[0].abs().sum() > 0
    assert grad_SX[1].abs().sum() == 0


def test_invalid_settings_are_refused():
    with pytest.raises(ConfigError, match="objective decoding needs a population stream: set model"):
        build_objective(ObjectiveSettings("decoding"), 8, EIT(EITConfig(dim=8, heads=2)))
    with pytest.raises(ConfigError, match="series and classes are empty"):
        DecodingSettings(series=[], classes=[])
    with pytest.raises(ConfigError, match=r"classes has 'direction': expected table\.column"):
        DecodingSettings(classes=["direction"])
    with pytest.raises(ConfigError, match=r"interval_weights\.hold is -1"):
        DecodingSettings(interval_weights={"hold": -1})
    assert isinstance(build(CASE)[1], Decoding)
