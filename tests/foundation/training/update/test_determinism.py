"""Training with kernels that sum in a fixed order."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from foundation.objectives import MYOWSettings, NeurPIRSettings, ObjectiveSettings
from foundation.training import Trainer, pretrain
from foundation.training.checkpoint.checkpoint import list_checkpoints
from foundation.training.update.determinism import WORKSPACE, deterministic

OBJECTIVES = {
    "neurpir": ObjectiveSettings(neurpir=NeurPIRSettings(min_tokens=4, max_tokens=12, projector=[32, 32])),
    "myow": ObjectiveSettings(
        "myow", myow=MYOWSettings(min_tokens=4, max_tokens=6, projector=[16, 8], mined_until=0.3)
    ),
}


def model_bytes(output) -> bytes:
    return (Path(output) / "model" / "model.safetensors").read_bytes()


def test_nondeterministic_operations_are_refused_only_while_training(tiny, tmp_path, monkeypatch):
    step = Trainer.step

    def with_another(self, batch):
        torch.zeros(4).put_(torch.tensor([1, 1]), torch.tensor([1.0, 2.0]))
        return step(self, batch)

    monkeypatch.setattr(Trainer, "step", with_another)
    monkeypatch.delenv(WORKSPACE, raising=False)
    pretrain(tiny(output=str(tmp_path / "free"), steps=2))
    assert WORKSPACE not in os.environ
    with pytest.raises(RuntimeError, match="put_ does not have a deterministic implementation"):
        pretrain(tiny(output=str(tmp_path / "strict"), steps=2, deterministic=True))
    assert os.environ[WORKSPACE] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()


def test_previous_setting_is_restored():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with deterministic():
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)


def test_cpu_run_is_unchanged(tiny, tmp_path):
    plain, strict = tiny(output=str(tmp_path / "a")), tiny(output=str(tmp_path / "b"), deterministic=True)
    pretrain(plain)
    pretrain(strict)
    assert model_bytes(plain.output) == model_bytes(strict.output)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA can use")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_resumed_cuda_run_ends_with_the_same_weights(tiny, tmp_path, name, precision):
    settings = tiny(
        objective=OBJECTIVES[name], precision=precision, deterministic=True, steps=20, checkpoint_every=5,
        keep_checkpoints=9,
    )  # fmt: skip
    pretrain(settings)
    expected = model_bytes(settings.output)
    for late in list_checkpoints(Path(settings.output) / "checkpoints")[:2]:
        shutil.rmtree(late)
    shutil.rmtree(Path(settings.output) / "model")
    pretrain(settings)
    assert model_bytes(settings.output) == expected
