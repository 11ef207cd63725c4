"""Bits a spike and Poisson D², against scikit-learn and the packages of two benchmarks in environments of their own."""

import json
import math
import os
import subprocess

import numpy as np
import pytest
from sklearn.metrics import d2_tweedie_score

from finetune.reproduce.decoding.co_smoothing import bits_per_spike
from foundation.evaluation.count_metrics import co_smoothing_bits, poisson_d2


@pytest.fixture(scope="module")
def counts():
    """Expected counts and counts of 12 units in 300 bins; one unit is silent."""
    rng = np.random.default_rng(0)
    rate_TN = np.exp(rng.normal(-1, 0.7, (300, 12)))
    count_TN = rng.poisson(rate_TN).astype(float)
    count_TN[:, 3] = 0
    return rate_TN * np.exp(rng.normal(0, 0.3, (300, 12))), count_TN


def by_another(variable, code, counts, tmp_path):
    """Run code in another Python, which reads ``expected`` and ``counts`` and prints a JSON object last."""
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} is not set: it names a Python with the benchmark's package")
    np.savez(tmp_path / "counts.npz", expected=counts[0], counts=counts[1])
    load = (
        f"import json, numpy as np; z = np.load({str(tmp_path / 'counts.npz')!r}); e, c = z['expected'], z['counts'];"
    )
    done = subprocess.run([python, "-c", load + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_d2_is_that_of_scikit_learn(counts):
    expected_TN, count_TN = counts
    fires = count_TN.sum(axis=0) > 0
    theirs = [d2_tweedie_score(c, e, power=1) for c, e in zip(count_TN.T[fires], expected_TN.T[fires], strict=True)]
    assert poisson_d2(expected_TN, count_TN) == pytest.approx(np.mean(theirs), abs=1e-9)


def test_bits_follow_the_published_formula(counts):
    expected_TN, count_TN = counts
    nats = 0.0
    for expected_T, count_T in zip(expected_TN.T, count_TN.T, strict=True):
        mean = count_T.mean()
        for e, c in zip(expected_T, count_T, strict=True):
            usual = c * math.log(mean) - mean if c else -mean
            nats += c * math.log(e) - e - usual
    assert co_smoothing_bits(expected_TN, count_TN) == pytest.approx(nats / count_TN.sum() / math.log(2))


def test_bits_of_training_means_are_those_of_the_decoding_tables(counts):
    expected_TN, count_TN = counts
    usual_N = np.linspace(0.2, 0.6, 12)
    nats = (usual_N - expected_TN + count_TN * np.log(expected_TN / usual_N)).sum(axis=1)
    sums_G2 = np.stack([nats, count_TN.sum(axis=1)], axis=1)
    assert co_smoothing_bits(expected_TN, count_TN, usual_N) == pytest.approx(bits_per_spike(sums_G2))


def test_bits_are_those_of_the_neural_latents_benchmark(counts, tmp_path):
    code = "from nlb_tools.evaluation import bits_per_spike as b; print(json.dumps(float(b(e[None], c[None]))))"
    theirs = by_another("NLB_TOOLS_PYTHON", code, counts, tmp_path)
    assert co_smoothing_bits(*counts) == pytest.approx(theirs, rel=1e-9)


def test_both_are_those_of_brainwidebench(counts, tmp_path):
    code = (
        "import torch; from ibl_bwb_eval.metrics import BPS, PoissonD2Score as D;"
        "found = [];"
        "given = torch.tensor(e).log().double(), torch.tensor(c).double();"
        "[(m.set_dtype(torch.float64), m.update(*given), found.append(float(m.compute()))) for m in (D(12), BPS(12))];"
        "print(json.dumps(found))"
    )
    expected_TN, count_TN = counts
    d2, bits = by_another("BWB_EVAL_PYTHON", code, counts, tmp_path)
    assert poisson_d2(expected_TN, count_TN) == pytest.approx(d2, rel=1e-5)  # theirs sums in float32
    fires = count_TN.sum(axis=0) > 0  # theirs leaves silent units out
    assert co_smoothing_bits(expected_TN[:, fires], count_TN[:, fires]) == pytest.approx(bits, rel=1e-5)


@pytest.mark.parametrize("metric", [co_smoothing_bits, poisson_d2])
def test_counts_without_events_are_refused(metric):
    with pytest.raises(ValueError, match="expected"):
        metric(np.ones((4, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"shape \(4, 2\) and counts \(4, 3\)"):
        metric(np.ones((4, 2)), np.ones((4, 3)))
