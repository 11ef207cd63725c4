"""A head as an MLflow model: complete in its folder, without a pickle, with the head's predictions."""

import mlflow
import numpy as np
import pytest
import torch

from finetune.heads.decode import decode
from finetune.heads.head import HeadError
from finetune.heads.head_files import load_head
from finetune.heads.mlflow_head import _load_pyfunc, save_mlflow_head

pd = pytest.importorskip("pandas")


@pytest.fixture(scope="module")
def saved(problems, population_model, fitted, checkpoint, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlflow")
    fitted(problems["velocity"], population_model, "probe", folder / "velocity")
    save_mlflow_head(folder / "velocity", folder / "model", str(checkpoint))
    return folder


def test_model_decodes_spikes_as_the_head_decodes_their_recording(saved, population_model, another_day):
    spikes, recording = another_day[1].load().spikes, another_day[1]
    table = pd.DataFrame(
        {"unit": np.repeat(np.arange(12), spikes.counts), "time": np.concatenate([spikes.train(k) for k in range(12)])}
    )
    model = mlflow.pyfunc.load_model(str(saved / "model"))
    predicted = model.predict(table, params={"end": 40.0})
    whole = decode(load_head(saved / "velocity"), recording, {"model": population_model})
    first = whole.start_S < 40.0  # the first observed interval
    np.testing.assert_allclose(predicted[["velocity x (cm/s)", "velocity y (cm/s)"]], whole.out_SK[first], atol=1e-5)
    np.testing.assert_allclose(predicted["start"], whole.start_S[first])
    assert len(predicted) == 400


def test_mlflow_head_folder_is_complete_and_has_no_pickle(saved):
    names = {path.name for path in (saved / "model").rglob("*") if path.is_file()}
    assert {"head.json", "head.safetensors", "config.json", "model.safetensors", "MLmodel"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".bin"))]
    about = (saved / "model" / "MLmodel").read_text()
    assert "loader_module: finetune.heads.mlflow_head" in about
    assert "python_model" not in about
    assert "signature" in about
    assert "saved_input_example_info" in about


def test_mismatched_table_is_rejected(saved):
    model = _load_pyfunc(str(next((saved / "model").rglob("head.json")).parent))
    with pytest.raises(HeadError, match="expected 'unit' among them"):
        model.predict(pd.DataFrame({"time": [0.5]}))
    with pytest.raises(HeadError, match="unit 99 is not one of the 12 units"):
        model.predict(pd.DataFrame({"unit": [99], "time": [0.5]}))
    assert torch.is_grad_enabled()
