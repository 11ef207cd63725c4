"""How much of a Ray cluster a run may use beside other runs of this package.

Ray lets a run keep a worker for its next task as long as it has one in its queue: whoever came first would keep all of
them. So a run puts no more into Ray's queue than its share, and shares follow what each run still has to do.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Any

log = logging.getLogger(__name__)
PREFIX = b"foundation-run:"


def fair_share(processors: int, wanted: int, others: Sequence[int] = ()) -> int:
    """Return how many processors a run gets beside others: equal parts, and what some do not want goes to the rest.

    Args:
        processors: of the cluster.
        wanted: tasks that this run has left.
        others: those that the others have left.

    Example:
        >>> fair_share(16, 500), fair_share(16, 500, [500]), fair_share(16, 500, [1]), fair_share(2, 9, [9, 9])
        (16, 8, 15, 1)
    """
    left, runs = processors, len(others) + 1
    for small in sorted(others):
        if small * runs >= left or small >= wanted:
            break
        left, runs = left - small, runs - 1
    return max(1, min(wanted, left // runs))


class ClusterShare:
    """A run's entry in the list that all runs on a cluster see, for as long as it is entered.

    Args:
        ray: the connected module.
    """

    def __init__(self, ray: Any) -> None:
        from ray.experimental import internal_kv

        self._ray, self._table = ray, internal_kv
        self._job = ray.get_runtime_context().get_job_id()

    def processors(self) -> int:
        """All processors that the cluster has now."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def tasks(self, wanted: int) -> int:
        """Return how many tasks may be in flight now, where this run has ``wanted`` left.

        A run that is alone puts a quarter more into the queue than there are processors, so that a free worker finds
        its next task and a cluster that grows by demand sees that there is some.
        """
        processors = self.processors()
        others = self._others(wanted)
        return fair_share(processors, wanted, others) if others else processors + max(1, processors // 4)

    def _others(self, wanted: int) -> list[int]:
        """What the other runs that live have left."""
        from ray._private import state

        try:
            self._table._internal_kv_put(PREFIX + self._job.encode(), str(wanted).encode(), overwrite=True)
            living = {job["JobID"] for job in state.jobs() if not job["IsDead"]} - {self._job}
            keys = [key for key in self._table._internal_kv_list(PREFIX) if key[len(PREFIX) :].decode() in living]
            return [int(value) for key in keys if (value := self._table._internal_kv_get(key))]
        except Exception:  # neither the table nor the list of jobs is a promise of Ray's
            log.debug("the other runs on the cluster are not known", exc_info=True)
            return []

    def __enter__(self) -> ClusterShare:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._table._internal_kv_del(PREFIX + self._job.encode())
        except Exception:  # as above; the entry of a job that has ended counts for nothing
            log.debug("the entry of this run was not removed", exc_info=True)
