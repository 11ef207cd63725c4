"""All processes fit surrounding information together, and none times out while another works."""

import threading
import time
from dataclasses import dataclass, field

import pytest

from foundation.common.errors import FoundationError
from foundation.data.covariate_settings import SurroundSettings
from foundation.data.covariates import Surroundings
from foundation.store import Catalog, Store
from foundation.training.distributed.process_messages import do_own_part
from foundation.training.inputs.surround_fitting import fit_surroundings

PATIENCE = 2.0  # seconds for which a process waits for a message of the other one


@dataclass
class Two:
    """Two processes, as threads, with short timeouts."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(2, timeout=PATIENCE))
    values: list = field(default_factory=lambda: [None, None])

    def run(self, action) -> list:
        """Return the result of ``action(control)`` in each process: a value or an exception."""
        found = [None, None]

        def own(rank):
            try:
                found[rank] = action(Side(self, rank))
            except Exception as error:
                found[rank] = error

        threads = [threading.Thread(target=own, args=[rank]) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


@dataclass
class Side:
    """Replaces `Control` for one of them."""

    both: Two
    rank: int
    world: int = 2

    def of_all(self, value):
        self.both.values[self.rank] = value
        self.both.barrier.wait()
        found = list(self.both.values)
        self.both.barrier.wait()
        return found

    def of_first(self, value):
        return self.of_all(value)[0]

    def any(self, *flags):
        return [any(flag) for flag in zip(*self.of_all(flags), strict=True)]


@pytest.fixture
def surrounded(tmp_path, make_recording):
    """A store of five recordings without surrounding information."""
    from foundation.store import write_recording

    store = Store(tmp_path / "store", create=True)
    for seed in range(5):
        write_recording(store, make_recording(seed))
    return Catalog.build(store)


def surroundings_of(catalog: Catalog) -> Surroundings:
    return Surroundings(catalog.store, catalog.records, SurroundSettings(kind="raw", dim=2))


def test_each_process_fits_its_recordings_and_all_are_fitted_at_the_end(surrounded, monkeypatch):
    fitted, fit = [], Surroundings.fit
    first = surroundings_of(surrounded)
    done_before = first.missing()[0]
    first.fit(done_before)

    def noted(self, name):
        fitted.append((threading.current_thread(), name))
        time.sleep(0.2)
        fit(self, name)

    monkeypatch.setattr(Surroundings, "fit", noted)

    def prepare(control):
        surroundings = surroundings_of(surrounded)
        fit_surroundings(surroundings, control)
        return surroundings.missing()

    assert Two().run(prepare) == [[], []]
    by_thread = {thread: [n for t, n in fitted if t is thread] for thread, _ in fitted}
    assert sorted(len(names) for names in by_thread.values()) == [2, 2]
    names = {record.id for record in surrounded.records} - {done_before}
    assert sorted(name for _, name in fitted) == sorted(names)


def test_wait_for_long_work_exceeds_the_message_timeout():
    def work(control):
        do_own_part(lambda: time.sleep(2.5 * PATIENCE * control.rank), control, every=0.05)
        return time.monotonic()

    ended = Two().run(work)
    assert all(isinstance(at, float) for at in ended), ended
    assert abs(ended[0] - ended[1]) < 1.0


def test_failing_work_ends_the_wait_of_all():
    stop = threading.Event()

    def work(control):
        def part():
            if control.rank == 1:
                raise FoundationError("no space left")
            stop.wait(30)

        do_own_part(part, control, every=0.05)

    first, second = Two().run(work)
    stop.set()
    assert str(second) == "no space left"
    assert "another process failed" in str(first)
