"""A run under ZeRO stage 3 leaves torch as it found it."""

import pytest
import torch

from foundation.training import pretrain
from foundation.training.distributed import engine


@pytest.mark.parametrize("kept", [True, False])
def test_linear_layers_are_restored_after_a_run(tiny, monkeypatch, kept):
    # As in a new process: an earlier test may have built an engine. Restored after the test.
    monkeypatch.setattr(torch.nn.functional, "linear", torch._C._nn.linear)
    before, build = torch.nn.functional.linear, engine.build_engine
    seen = []

    def build_engine(*given):
        made = build(*given)
        seen.append(torch.nn.functional.linear)
        return made

    monkeypatch.setattr("foundation.training.trainer.build_engine", build_engine)
    if not kept:
        from contextlib import nullcontext

        monkeypatch.setattr("foundation.training.pretrain_job.linear_kept", nullcontext)
    pretrain(tiny(steps=1, zero_stage=3))
    assert seen[0] is not before, "DeepSpeed replaces it no more: linear_kept can go"
    assert (torch.nn.functional.linear is before) == kept
