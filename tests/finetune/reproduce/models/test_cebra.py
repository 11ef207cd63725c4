import numpy as np
import pytest

from finetune.reproduce.models import CEBRAEncoder, CEBRASettings
from foundation.common.errors import CheckpointError, ConfigError

pytest.importorskip("cebra")
QUICK = CEBRASettings(architecture="offset5-model", dim=3, hidden=16, steps=150, batch_size=128)


@pytest.fixture(scope="module")
def wandering():
    """Return a population that encodes a slowly rotating angle."""
    rng = np.random.default_rng(0)
    angle_T = np.cumsum(rng.normal(0.05, 0.05, 800))
    preferred_N = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    rate_TN = np.exp(2 * np.cos(angle_T[:, None] - preferred_N))
    return rng.poisson(rate_TN).astype(np.float32), np.stack([np.cos(angle_T), np.sin(angle_T)], 1)


def readout(z_TD, y_TK):
    x = np.c_[z_TD, np.ones(len(z_TD))]
    weights = np.linalg.lstsq(x[:600], y_TK[:600], rcond=None)[0]
    return 1 - ((x[600:] @ weights - y_TK[600:]) ** 2).sum() / ((y_TK[600:] - y_TK[:600].mean(0)) ** 2).sum()


def test_cebra_finds_the_encoded_variable_and_saves_without_a_pickle(wandering, tmp_path):
    x_TN, y_TK = wandering
    encoder = CEBRAEncoder(QUICK).fit(x_TN[:600], y_TK[:600])
    z_TD = encoder.transform(x_TN)
    assert z_TD.shape == (800, 3)
    np.testing.assert_allclose(np.linalg.norm(z_TD, axis=1), 1, atol=1e-5)
    assert readout(z_TD, y_TK) > 0.6
    encoder.save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert np.array_equal(CEBRAEncoder.from_pretrained(tmp_path).transform(x_TN), z_TD)
    assert np.array_equal(CEBRAEncoder(QUICK).fit(x_TN[:600], y_TK[:600]).transform(x_TN), z_TD)
    with pytest.raises(ValueError, match="fitted to 20 units, not 19"):
        encoder.transform(x_TN[:, 1:])
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="cannot load a CEBRA"):
        CEBRAEncoder.from_pretrained(tmp_path)


def test_invalid_settings_are_rejected():
    with pytest.raises(ConfigError, match="architecture is 'offset2-model'"):
        CEBRASettings(architecture="offset2-model")
    with pytest.raises(ConfigError, match="steps is 0"):
        CEBRASettings(steps=0)
