"""Bins decoded one by one give the same values as the whole recording, without waiting for later bins."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from finetune.heads.decode import decode
from finetune.heads.head import HeadError
from finetune.heads.head_files import load_head
from finetune.heads.stream import HeadStream, run_lines
from foundation.common.errors import ConfigError
from foundation.data.reading.reader import ActivityReader

TOKEN = 0.1


@pytest.fixture(scope="module")
def causal(causal_problems, causal_model, fitted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("causal")
    causal_model.save_pretrained(folder / "model")
    fitted(causal_problems["velocity"], causal_model, "both", folder / "both", folder / "model")
    fitted(causal_problems["velocity"], causal_model, "probe", folder / "probe", folder / "model")
    fitted(causal_problems["velocity"], causal_model, "rate", folder / "rate", folder / "model")
    return folder


@pytest.mark.parametrize("mode", ["rate", "probe", "both"])
def test_stream_gives_the_values_of_the_whole_recording(mode, causal, causal_model, another_day):
    head, recording = load_head(causal / mode), another_day[1]
    assert head.windows.tokens < 40 / TOKEN  # the model's context slides along
    offline = decode(head, recording, {"model": causal_model})
    stream, reader, predicted = HeadStream(head, {"model": causal_model}), ActivityReader(recording), []
    for first, last in ((0.0, 40.0), (50.0, 96.0)):
        stream.reset()
        table = reader.table([first], round((last - first) / TOKEN), TOKEN)
        counts_NT = reader.read(table, dtype=torch.float32).x_BNT[0].numpy()
        predicted += list(stream.decode(counts_NT.T))
    assert len(predicted) == len(offline) == 860
    np.testing.assert_allclose(np.array(predicted), offline.out_SK, rtol=0, atol=1e-5)


def test_decoded_values_do_not_depend_on_later_bins(causal, causal_model):
    head, rng = load_head(causal / "both"), np.random.default_rng(0)
    a_TN = rng.poisson(1.0, (30, 12))
    b_TN = np.concatenate([a_TN[:20], rng.poisson(5.0, (10, 12))])
    a, b = (np.array(list(HeadStream(head, {"model": causal_model}).decode(x))) for x in (a_TN, b_TN))
    np.testing.assert_array_equal(a[:20], b[:20])
    assert np.abs(a[20:] - b[20:]).max() > 1e-3


def test_causal_head_reads_only_past_lags(causal):
    for mode in ("rate", "both"):
        for block in load_head(causal / mode).blocks:
            assert max(block.lags) == 0
            assert min(block.lags) < -5


def test_lines_are_answered_one_by_one(causal, causal_model):
    head, out = load_head(causal / "both"), io.StringIO()
    lines = ["[1,0,0,0,2,0,0,0,0,0,0,0]\n", "\n", '{"counts": {"4": 2, "0": 1}, "reset": true}\n']
    run_lines(head, {"model": causal_model}, lines, out)
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first == second  # the same bin, after a reset
    assert (first["bin"], first["time"]) == (0, 0.05)
    assert list(first["values"]) == head.value_names
    assert list(first["uncertainty"].values()) == head.spread_K


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("[1, 2]", "line 2 of the input cannot be decoded: a bin has shape \\(2,\\): expected 12 numbers"),
        ('{"counts": {"99": 1}}', "unit 99 is not one of the 12 units"),
        ('{"bins": []}', "it has no counts"),
        ("[1,0,0,0,-2,0,0,0,0,0,0,0]", "expected finite counts"),
        ("nonsense", "line 2 of the input cannot be decoded"),
    ],
)
def test_undecodable_line_is_named(line, what, causal):
    out = io.StringIO()
    with pytest.raises(HeadError, match=what):
        run_lines(load_head(causal / "rate"), {}, ["[1,0,0,0,2,0,0,0,0,0,0,0]", line], out)
    assert len(out.getvalue().splitlines()) == 1


def test_non_causal_heads_are_rejected(fitted, problems, population_model, causal_problems, tmp_path):
    fitted(problems["velocity"], population_model, "rate", tmp_path / "all-lags")
    with pytest.raises(HeadError, match=r"reads the future of a bin: .* --windows.causal true"):
        HeadStream(load_head(tmp_path / "all-lags"))
    with pytest.raises(ConfigError, match="causal is true, and the model has causal False"):
        causal_problems["velocity"].features(population_model)


def test_causal_model_must_know_the_population(causal, causal_model):
    head = load_head(causal / "probe")
    stranger = replace(head, population=replace(head.population, recording="another"))
    with pytest.raises(HeadError, match="has no rows for recording another"):
        HeadStream(stranger, {"model": causal_model})
