"""Small stores of two animals that reach and of simulated networks, and the EIT table over the former."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from finetune.reproduce import EITTable, ReproduceSettings
from finetune.reproduce.eit.decoding import Rule
from foundation.common.files.jsonl_results import read_results
from foundation.store import Catalog, Interval, Source, Spikes, Store, Subject, Units, write_recording
from ingest.simulate import SimulateSettings
from ingest.simulate.simulated_network import make_network
from ingest.simulate.simulated_session import integrate, make_session

N_TRIALS, N_UNITS = 40, 9


@pytest.fixture(scope="session")
def reaching_recording(make_recording):
    """Trials 4 s apart of 9 bins of 0.1 s; a unit prefers each of 8 directions, the last is silent in training."""

    def make(subject: str, seed: int):
        rng = np.random.default_rng(seed)
        start = 1.0 + 4.0 * np.arange(N_TRIALS)
        label = np.concatenate([rng.permutation(8) for _ in range(N_TRIALS // 8)])  # each direction once in eight
        rate = 3 + 40 * (label[:, None] == np.arange(8))
        trains = []
        for unit in range(8):
            counts = rng.poisson(rate[:, unit, None] * 0.1, (N_TRIALS, 9))
            trial, place = np.nonzero(counts)
            repeats = counts[trial, place]
            at = start[trial] + 0.1 * place
            times = np.concatenate([t + 0.1 * (np.arange(n) + 0.5) / n for t, n in zip(at, repeats, strict=True)])
            trains.append(np.sort(times))
        trains.append(np.array([start[-1] + 0.05]))
        return make_recording(
            0,
            source=Source(path=f"sub-{subject}.nwb", digest=f"{seed:064x}"),
            subject=Subject(subject, species="Macaca mulatta"),
            units=Units(N_UNITS),
            domain=Interval(start, start + 0.9),
            spikes=Spikes.from_trains(trains),
            intervals={"trials": Interval(start, start + 0.9, {"target_id": label})},
        ), label

    return make


@pytest.fixture(scope="session")
def reaching(reaching_recording, tmp_path_factory) -> tuple[Path, dict[str, np.ndarray]]:
    """The store, and every animal's directions; tests only read it."""
    path = tmp_path_factory.mktemp("reaching") / "store"
    store = Store(path, create=True)
    labels = {}
    for seed, subject in enumerate(("Chewie", "Mihi")):
        recording, labels[subject] = reaching_recording(subject, seed)
        write_recording(store, recording)
    Catalog.build(store).save()
    return path, labels


def _simulated(make_recording, name, number, jitter):
    settings = SimulateSettings("x", neurons=20, seconds=24.0, jitter=jitter, states=False, reaches=False)
    rng = np.random.default_rng([number, round(100 * jitter)])
    network, session = make_network(settings, rng), make_session(settings, rng)
    trains = integrate(network, session, rng)
    columns = dict(zip("abcd", network.abcd_N4.T, strict=True))
    return make_recording(
        number,
        source=Source(path=f"{name}{number}.nwb", digest=f"{number + round(1000 * jitter):064x}"),
        subject=Subject(f"{name}{number:02d}"),
        session=f"{name}{number}",
        units=Units(20, {"cell_type": np.array(network.cell_types), **columns}),
        domain=Interval.single(0.0, 24.0),
        spikes=Spikes.from_trains(trains),
    )


@pytest.fixture(scope="session")
def networks_store(make_recording, tmp_path_factory) -> Path:
    """Two levels of six networks of 20 neurons and 24 s each; tests only read it."""
    path = tmp_path_factory.mktemp("firing") / "store"
    store = Store(path, create=True)
    for name, jitter in (("plainnet", 0.0), ("hardnet", 0.2)):
        for number in range(1, 7):
            write_recording(store, _simulated(make_recording, name, number, jitter))
    Catalog.build(store).save()
    return path


@pytest.fixture(scope="session")
def forget():
    """Remove a run from a table, and mark the runs that stay: a repeated run loses the mark."""

    def forget(table: Path, name: str, seed: int) -> None:
        stay = [line for line in read_results(table) if (line["name"], line["seed"]) != (name, seed)]
        marked = [line | {"detail": line["detail"] | {"seconds": 987.5}} for line in stay]
        table.write_text("".join(json.dumps(line) + "\n" for line in marked))

    return forget


@pytest.fixture(scope="session")
def quick() -> Rule:
    """Return a rule that ends soon."""
    return Rule(max_epochs=4, patience=2, smooth=2, learning_rate=3e-3)


@pytest.fixture(scope="session")
def table(reaching, quick):
    """Settings of a table of two models whose runs, weights and page lie in a folder of the test's."""

    def settings(folder: Path, **changes) -> ReproduceSettings:
        base = EITTable(models=["linear", "mlp"], seeds=[1, 2], rule=quick, weights=str(folder / "weights"), controls=0)
        given = {f.name: getattr(base, f.name) for f in fields(base)} | changes
        return ReproduceSettings(
            store=str(reaching[0]), output=str(folder / "runs"), name="t", page=str(folder / "page.md"),
            eit=EITTable(**given),
        )  # fmt: skip

    return settings
