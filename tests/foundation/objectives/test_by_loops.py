"""Every loss against a second way of computing it: the paper's equations in plain loops over float64 numbers.

The loops see the objective's own weights and the encoder's outputs, nothing else of its code. Gradients are checked by
central differences of the loops with respect to what the encoder is given.
"""

import math

import numpy as np
import pytest
import torch
from loops import Given, cosine, perceptron, perceptron_softplus, slopes_agree, vicreg_by_loops, weights_agree
from objective_cases import CASES, Case, build, global_batch

from foundation.data.augmentations import augment
from foundation.objectives import MYOWSettings, NuCLRSettings, ObjectiveSettings, SwapVAESettings, VICRegSettings
from foundation.objectives.masked_settings import NDTSettings
from foundation.objectives.ndt import NDT
from foundation.objectives.nuclr import NuCLR, decoupled_terms
from foundation.objectives.parts.mining import Pool, mine


def equal_windows(case: Case, objective, step=0):
    """The cases' batch with windows of one size, so that the encoder runs once per view."""
    return global_batch(objective, Case(case.settings, "mlp"), step, torch.float64)


@pytest.mark.parametrize("released", [False, True])
def test_nuclr(released):
    rng = np.random.default_rng(0)
    b, n, d, tau = 3, 5, 4, 0.2
    a, c = (torch.tensor(rng.normal(size=(b, n, d)), requires_grad=k == 0) for k in range(2))
    in_a, in_b = (torch.tensor(rng.random((b, n)) < 0.8) for _ in range(2))
    in_a[2], in_b[2] = (
        torch.tensor([True, False, False, False, False]),
        torch.tensor([True, False, False, False, False]),
    )

    def by_loops(x: torch.Tensor) -> float:
        total, count = 0.0, 0
        for w in range(b):
            for u, v, in_u, in_v in ((x[w], c[w], in_a[w], in_b[w]), (c[w], x[w], in_b[w], in_a[w])):
                u, v = u.tolist(), v.tolist()
                for i in range(n):
                    if not (in_a[w, i] and in_b[w, i]):
                        continue
                    cross = [math.exp(cosine(u[i], v[j]) / tau) for j in range(n) if j != i and in_v[j]]
                    inside = [math.exp(cosine(u[i], u[j]) / (1.0 if released else tau)) for j in range(n) if j != i and in_u[j]]  # noqa: E501  # fmt: skip
                    if not cross + inside:
                        continue
                    total += -cosine(u[i], v[i]) / tau + math.log(sum(cross + inside))
                    count += 1
        return total / count

    sums, counts = decoupled_terms(a, c, in_a, in_b, temperature=tau, released_form=released)
    loss = sums.sum() / counts.sum()
    assert float(loss.detach()) == pytest.approx(by_loops(a.detach()), rel=1e-12)
    assert float(counts[2]) == 0  # one unit alone has no negatives
    loss.backward()
    assert a.grad is not None
    assert a.grad.isfinite().all()
    slopes_agree(by_loops, a, a.grad)


def test_nuclr_objective_equals_that_of_its_projections():
    settings = ObjectiveSettings("nuclr", nuclr=NuCLRSettings(2, 2, hidden=6, out=5, augmentations=[]))
    torch.manual_seed(0)
    objective = NuCLR(settings.nuclr, 4).double()
    views, context = equal_windows(Case(settings), objective)
    for view in views:
        view.x_BNT += 1  # every unit is active
    z = torch.randn(2, 7, 6, 4, dtype=torch.float64)
    loss = objective(Given(views=[{"z_BND": z[0]}, {"z_BND": z[1]}]), views, context)["loss"]
    a, b = ([perceptron(objective.projector, rows) for rows in view.tolist()] for view in z)
    total = 0.0
    for u, v in ((a, b), (b, a)):
        for w in range(7):
            for i in range(6):
                others = [x[w][j] for x in (v, u) for j in range(6) if j != i]
                total += -cosine(u[w][i], v[w][i]) / 0.2
                total += math.log(sum(math.exp(cosine(u[w][i], o) / 0.2) for o in others))
    assert float(loss.detach()) == pytest.approx(total / (2 * 7 * 6), rel=1e-10)


def byol_by_loops(objective, y, t) -> float:
    """BYOL's symmetric loss from online and target representations of two views."""
    z = [perceptron(objective.projector, rows) for rows in y]
    guess = [perceptron(objective.predictor, rows) for rows in z]
    aim = [perceptron(objective.target_projector, rows) for rows in t]
    count = len(y[0])
    return sum(
        2 - 2 * cosine(guess[k][i], aim[1 - k][i]) for k in range(2) for i in range(count)
    ) / (2 * count)  # fmt: skip


def test_byol_and_myow():
    """Two views, a pool, and the target's own representations; loops also find each row's candidate."""
    myow = MYOWSettings(
        projector=[6, 4], predictor=5, mined_projector=[5, 3], mined_predictor=4, mined_weight=0.5, mined_from=0.0,
        mined_until=0.0, candidates=2, neighbours=2, exclusion=5.0,
    )  # fmt: skip
    for name in ("byol", "myow"):
        case = Case(ObjectiveSettings(name, myow=myow), "mlp")
        torch.manual_seed(0)
        _, objective = build(case, torch.float64)
        with torch.no_grad():  # targets that are not the online networks
            for p in objective.parameters():
                if not p.requires_grad:
                    p.add_(0.1 * torch.randn_like(p))
        views, context = equal_windows(case, objective)
        y = torch.randn(2, 7, 8, dtype=torch.float64, requires_grad=True)
        anchors = y[0].tolist()
        t, pool = torch.randn(2, 7, 8, dtype=torch.float64), torch.randn(2, 7, 8, dtype=torch.float64)
        objective.target_model = Given(views=[{"p_BTD": v[:, None]} for v in (*t, *pool)])
        u = context.draws("mined neighbour").uniform().tolist()

        def by_loops(
            online, objective=objective, name=name, views=views, context=context, t=t, pool=pool, u=u, anchors=anchors
        ) -> float:
            augmented = byol_by_loops(objective, online.tolist(), t.tolist())
            if name == "byol":
                return augmented
            entries = [(pool[k, i].tolist(), int(context.recording_B[i]), float(views[2 + k].start_B[i])) for k in range(2) for i in range(7)]  # noqa: E501  # fmt: skip
            chosen = []
            for i in range(7):
                here, at = int(context.recording_B[i]), float(views[0].start_B[i])
                allowed = [e for e in entries if e[1] == here and abs(e[2] - at) >= 5.0]
                best = sorted(allowed, key=lambda e, i=i: -cosine(anchors[i], e[0]))[:2]
                chosen.append(best[int(u[i] * len(best))][0])
            z = perceptron(objective.projector, online[0].tolist())
            guess = perceptron(objective.mined_predictor, perceptron(objective.mined_projector, z))
            aim = perceptron(objective.target_mined_projector, perceptron(objective.target_projector, chosen))
            mined = sum(2 - 2 * cosine(g, a) for g, a in zip(guess, aim, strict=True)) / 7
            return augmented / 1.5 + mined * 0.5 / 1.5

        loss = objective(Given(views=[{"p_BTD": v[:, None]} for v in y]), views, context)["loss"]
        assert float(loss.detach()) == pytest.approx(by_loops(y.detach()), rel=1e-10)
        loss.backward()
        slopes_agree(by_loops, y, y.grad, n=5)
        weights_agree(lambda by_loops=by_loops, y=y: by_loops(y.detach()), objective)


def test_mined_weight_rises_between_two_shares_of_the_run():
    rising = MYOWSettings(mined_weight=0.4, mined_from=0.2, mined_until=0.6)
    assert [rising.weight_at(p) for p in (0.0, 0.2, 0.3, 0.5, 0.6, 1.0)] == pytest.approx([0, 0, 0.1, 0.3, 0.4, 0.4])
    at_once = MYOWSettings(mined_weight=0.4, mined_from=0.5, mined_until=0.5)
    assert [at_once.weight_at(p) for p in (0.0, 0.49, 0.5, 0.9)] == [0, 0, 0.4, 0.4]


def test_mining_excludes_nearby_times_and_other_recordings():
    rng = np.random.default_rng(0)
    y, c = torch.tensor(rng.normal(size=(20, 3))), torch.tensor(rng.normal(size=(40, 3)))
    anchors = Pool(y, torch.tensor(rng.integers(0, 3, 20)), torch.tensor(rng.uniform(0, 60, 20)))
    pool = Pool(c, torch.tensor(rng.integers(0, 2, 40)), torch.tensor(rng.uniform(0, 60, 40)))
    for across in (False, True):
        taken = {
            u: mine(anchors, pool, torch.full((20,), u), neighbours=3, exclusion=10.0, across_recordings=across)
            for u in (0.0, 0.4, 0.99)
        }
        for i in range(20):
            allowed = []
            for j in range(40):
                same = bool(anchors.recording_P[i] == pool.recording_P[j])
                near = abs(float(anchors.start_P[i] - pool.start_P[j])) < 10.0
                if (same and not near) or (across and not same):
                    allowed.append(j)
            best = sorted(allowed, key=lambda j, i=i: -cosine(y[i].tolist(), c[j].tolist()))[:3]
            wanted = [best[int(u * len(best))] if best else -1 for u in taken]
            assert [int(t[i]) for t in taken.values()] == wanted
        assert not across or all((t >= 0).all() for t in taken.values())
        assert across or (taken[0.0][anchors.recording_P == 2] == -1).all()  # the pool has no such candidate


@pytest.mark.parametrize(("hide", "modality"), [("tokens", 0), ("time", 0), ("units", 0), ("tokens", 1)])
def test_ndt(hide, modality):
    case = Case(ObjectiveSettings("ndt", ndt=NDTSettings(4, 4, hide=hide)))
    _, objective = build(case, torch.float64)
    views, context = equal_windows(case, objective)
    view = views[0]
    view.modality_B[:] = modality
    hidden = objective.hidden(view, context)
    h = torch.randn(7, 6, 4, 8, dtype=torch.float64, requires_grad=True)

    def by_loops(tokens) -> float:
        w, b = objective.readout.weight.detach().tolist(), objective.readout.bias.detach().tolist()
        total, count = 0.0, 0
        for i in range(7):
            for n in range(6):
                for t in range(4):
                    features = tokens[i, n, t].tolist()
                    for k in range(2):
                        if not hidden[i, n, 2 * t + k]:
                            continue
                        guess = sum(wj * fj for wj, fj in zip(w[k], features, strict=True)) + b[k]
                        true = float(view.x_BNT[i, n, 2 * t + k])
                        total += (guess - true) ** 2 if modality else math.exp(guess) - true * guess
                        count += 1
        return total / count

    seen = []

    class Spy(Given):
        def forward(self, x_BNT, **rest):
            seen.append(x_BNT)
            return super().forward(x_BNT, **rest)

    loss = objective(Spy(views=[{"h_BNTD": h, "p_BTD": h.mean(1)}]), views, context)["loss"]
    assert not seen[0][hidden].any()  # the encoder never sees hidden tokens
    assert torch.equal(seen[0][~hidden], view.x_BNT[~hidden])
    assert float(loss.detach()) == pytest.approx(by_loops(h.detach()), rel=1e-12)
    loss.backward()
    slopes_agree(by_loops, h, h.grad)
    weights_agree(lambda: by_loops(h.detach()), objective)


def test_ndt_hides_its_share_of_whole_tokens():
    for hide, axis in (("tokens", None), ("time", 1), ("units", 2)):
        objective = NDT(NDTSettings(8, 8, hide=hide, share=0.25), 8, build(CASES["ndt"])[0])
        case = Case(ObjectiveSettings("ndt", ndt=objective.settings))
        shares = []
        for step in range(40):
            views, context = equal_windows(case, objective, step)
            hidden = objective.hidden(views[0], context)
            assert hidden.any(-1).any(-1).all()
            assert torch.equal(hidden[..., ::2], hidden[..., 1::2])  # both bins of a token
            if axis is not None:
                assert torch.equal(hidden.any(axis), hidden.all(axis))
            shares.append(float(hidden.float().mean()))
        assert np.mean(shares) == pytest.approx(0.25, abs=0.035)


def test_swap_vae():
    settings = SwapVAESettings(units=6, content=2, style=3, hidden=5, hertz=True, divergence=10.0, alignment=1.0)
    case = Case(ObjectiveSettings("swap_vae", swap_vae=settings))
    model, objective = build(case, torch.float64)
    views, context = equal_windows(case, objective)
    noise = [context.draws("style", k).normal(3).double().tolist() for k in range(2)]

    def by_loops(x_first) -> float:
        x = [x_first, views[1].x_BNT]
        true = [[[sum(unit) / (2 * float(views[0].dt_B[0])) for unit in window] for window in v.tolist()] for v in x]
        encoded = [perceptron(model.encoder, rows) for rows in true]
        content = [[row[:2] for row in rows] for rows in encoded]
        mean, log_var = ([[row[a:b] for row in rows] for rows in encoded] for a, b in ((2, 5), (5, 8)))
        style = [
            [[m + math.exp(0.5 * v) * e for m, v, e in zip(*three, strict=True)] for three in zip(mean[k], log_var[k], noise[k], strict=True)]  # noqa: E501
            for k in range(2)
        ]  # fmt: skip

        def nll(contents, styles, aims):
            decoded = perceptron_softplus(model.decoder, [c + s for c, s in zip(contents, styles, strict=True)])
            return sum(r - a * math.log(r + 1e-8) for rr, aa in zip(decoded, aims, strict=True) for r, a in zip(rr, aa, strict=True)) / 7  # noqa: E501  # fmt: skip

        loss = sum(nll(content[k], style[k], true[k]) + nll(content[1 - k], style[k], true[k]) for k in range(2)) / 2
        for k in range(2):
            loss += 10.0 / 2 * sum(0.5 * (m * m + math.exp(v) - 1 - v) for mm, vv in zip(mean[k], log_var[k], strict=True) for m, v in zip(mm, vv, strict=True)) / 7  # noqa: E501  # fmt: skip
        return loss + sum(2 - 2 * cosine(a, b) for a, b in zip(*content, strict=True)) / 7

    x = views[0].x_BNT.clone().requires_grad_()
    views[0].x_BNT = x
    loss = objective(model, views, context)["loss"]
    assert float(loss.detach()) == pytest.approx(by_loops(x.detach()), rel=1e-9)
    loss.backward()
    slopes_agree(by_loops, x, x.grad)
    weights_agree(lambda: by_loops(x.detach()), model)


@pytest.mark.parametrize("name", ["neurpir", "neurpir_surround", "vicreg_units", "vicreg_population"])
def test_vicreg_and_neurpir(name):
    """Which units count, the projector's extra inputs, and VICReg's terms of its outputs."""
    case = CASES[name]
    _, objective = build(case, torch.float64)
    views, context = equal_windows(case, objective)
    settings = getattr(case.settings, case.settings.name)
    for k, view in enumerate(views):
        view.x_BNT[2 + k, 3] = 0  # a unit that is silent in one view
    level = getattr(settings, "level", "units")
    e = torch.randn(2, *((7, 6, 8) if level == "units" else (7, 1, 8)), dtype=torch.float64, requires_grad=True)
    pair = [augment(v, settings.augmentations, context, k, 2) for k, v in enumerate((views[0], views[-1]))]
    counted = [
        (i, n) for i in range(7) for n in range(6)
        if all(float(v.x_BNT[i, n].sum()) >= 1 for v in views) and all(v.mask_BN[i, n] for v in pair)
    ]  # fmt: skip

    def by_loops(z) -> float:
        if level == "units":
            rows = [[v[i, n].tolist() for i, n in counted] for v in z]
            groups = [i for i, _ in counted]
        else:
            rows, groups = [[v[i, 0].tolist() for i in range(7)] for v in z], list(range(7))
        if context.surround_VBS is not None:
            beside = context.surround_VBS.double().tolist()
            rows = [[r + beside[k][i] for r, (i, _) in zip(rows[k], counted, strict=True)] for k in range(2)]
        layers = objective.projector if case.settings.name == "neurpir" else objective.expander
        weights = settings.vicreg if case.settings.name == "neurpir" else settings.weights
        within = getattr(settings, "statistics", "across") == "within"
        return vicreg_by_loops(*(perceptron(layers, r) for r in rows), weights, groups if within else None)

    given = Given(views=[{"z_BND": v, "p_BTD": v} for v in e])
    loss = objective(given, views, context)["loss"]
    assert level == "population" or len(counted) < 7 * 6
    assert float(loss.detach()) == pytest.approx(by_loops(e.detach()), rel=1e-10)
    loss.backward()
    slopes_agree(by_loops, e, e.grad, n=4)
    weights_agree(lambda: by_loops(e.detach()), objective, n=4)


def test_weighted_sum_equals_its_parts():
    """Loss and gradient equal those of the separate parts: first views for all, candidates for parts that mine."""
    weights = {"ndt": 0.5, "myow": 2.0, "vicreg": 0.1}
    myow = CASES["myow_units"].settings.myow
    vicreg = VICRegSettings(min_tokens=2, max_tokens=4, expander=[8], max_distance=myow.max_distance)
    case = Case(ObjectiveSettings(weights=weights, ndt=NDTSettings(2, 4), myow=myow, vicreg=vicreg))
    model, objective = build(case, torch.float64)
    views, context = global_batch(objective, case, 0, torch.float64)
    assert len(views) == 4
    seen = {"ndt": views[:1], "myow": views, "vicreg": views[:2]}
    loss = objective(model, views, context)["loss"]
    loss.backward()
    parts = objective.parts.named_children()
    total, slopes = 0.0, {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for name, part in parts:
        mine = part(model, seen[name], context)["loss"]
        found = torch.autograd.grad(mine, list(model.parameters()))
        for place, slope in zip(slopes, found, strict=True):
            slopes[place] += weights[name] * slope
        total += weights[name] * float(mine.detach())
    assert float(loss.detach()) == pytest.approx(total, rel=1e-12)
    for name, p in model.named_parameters():
        torch.testing.assert_close(p.grad, slopes[name], rtol=1e-10, atol=1e-12)
