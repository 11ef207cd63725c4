"""Twenty steps of every objective in float64, pinned: a change of any number must be a decision, written down here.

Write the file anew with ``python tests/foundation/objectives/test_golden.py`` and say in the commit why numbers moved.
"""

import json
from pathlib import Path

import pytest
import torch

from foundation.data import Loader, StepPlan
from foundation.data.steps.step_plan import DataSettings
from foundation.models import EIT, EITConfig
from foundation.objectives import NeurPIRSettings, ObjectiveSettings, build_objective

GOLDEN = Path(__file__).with_name("golden_losses.json")
DATA = DataSettings(bin_widths=[0.005, 0.025], tokens_per_step=1536, min_windows=4, max_units=12)
OBJECTIVE = ObjectiveSettings(neurpir=NeurPIRSettings(min_tokens=4, max_tokens=12, projector=[32, 32]))


def losses(catalog, dtype: torch.dtype, steps: int) -> list[float]:
    torch.manual_seed(0)
    model = EIT(EITConfig(dim=16, heads=2, individual_layers=1, interaction_layers=1)).to(dtype)
    objective = build_objective(OBJECTIVE, 16).to(dtype)
    plan = StepPlan(catalog, DATA, objective.view_spec, bins_per_token=4, seed=0)
    optimizer = torch.optim.AdamW([*model.parameters(), *objective.parameters()], lr=1e-3)
    found = []
    for batch in Loader(catalog, plan).steps(0, steps):
        for view in batch.views:
            view.x_BNT = view.x_BNT.to(dtype)
        terms = objective(model, batch.views)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        found.append(float(terms["loss"].detach()))
    return found


@pytest.fixture(scope="module")
def catalog(small_store):
    from foundation.store import Catalog, Store

    return Catalog.open(Store(small_store))


def test_neurpir_in_float64(catalog):
    golden, found = json.loads(GOLDEN.read_text())["neurpir"], losses(catalog, torch.float64, 20)
    assert found == pytest.approx(golden, rel=1e-8)
    assert sum(found[-5:]) < 0.9 * sum(found[:5])  # it learns


def test_neurpir_in_float32_at_the_first_step(catalog):
    golden = json.loads(GOLDEN.read_text())["neurpir"]
    assert losses(catalog, torch.float32, 1)[0] == pytest.approx(golden[0], rel=1e-5)


def write_golden(folder: Path) -> None:
    """Pin the current losses, on the same store as the fixture `small_store`."""
    import importlib.util

    from foundation.store import Catalog, Store, write_recording

    place = Path(__file__).parents[2] / "conftest.py"
    spec = importlib.util.spec_from_file_location("conftest", place)
    conftest = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conftest)
    store = Store(folder / "store", create=True)
    for seed in range(4):
        write_recording(store, conftest.poisson_recording(seed))
    pinned = {"neurpir": losses(Catalog.build(store), torch.float64, 20)}
    GOLDEN.write_text(json.dumps(pinned, indent=1) + "\n")


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write_golden(Path(folder))
