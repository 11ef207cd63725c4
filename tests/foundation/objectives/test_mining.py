import torch
from objective_cases import CASES, build, global_batch

from foundation.objectives.parts.mining import Pool, mine


def test_empty_pool_gives_no_candidate():
    anchors = Pool(torch.ones(3, 2), torch.zeros(3), torch.zeros(3))
    nothing = Pool(torch.ones(0, 2), torch.zeros(0), torch.zeros(0))
    found = mine(anchors, nothing, torch.zeros(3), neighbours=3, exclusion=1.0, across_recordings=True)
    assert found.tolist() == [-1, -1, -1]


def test_silent_candidates_are_not_mined():
    case = CASES["myow_units"]
    model, objective = build(case)
    views, context = global_batch(objective, case, step=9)
    for view in views[2:]:
        view.x_BNT.zero_()
    terms = objective(model, views, context)
    assert float(terms["mined"].detach()) == float(terms["mined_found"]) == 0
    weight = float(terms["mined_weight"])
    assert torch.allclose(terms["loss"], terms["augmented"] / (1 + weight))
    terms["loss"].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
