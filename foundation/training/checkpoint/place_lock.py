"""One run at a time writes to a folder or to the place of its checkpoints.

On a local disk the run holds a lock (flock), which the system drops with the process. Object stores and file systems
without locks get a lease: a small file that its holder writes anew again and again. A lease that has not changed for a
while has lost its holder, and the next run takes it over; clocks of different machines need not agree for that.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from foundation.common.credentials import without_secrets_in_url
from foundation.common.errors import FoundationError
from foundation.store.commit.atomic_files import Files
from foundation.training.checkpoint.checkpoint import Checkpoints

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)
LOCK, PLACE_LOCK, LEASE = ".lock", ".checkpoints.lock", "lease.json"  # two locks: a run's output may be its place
RENEWED_EVERY = 15.0  # seconds
PATIENCE = 60.0  # seconds: processes of a run that has just ended may hold its lock a while longer
PARTING = 10.0  # seconds in which a lease is given back; one that is not counts as left after a while
LEFT_AFTER = 3 * RENEWED_EVERY  # a lease that is so old has lost its holder


@contextmanager
def locked_file(path: Path, refusal: str, patience: float) -> Iterator[bool]:
    """Hold a lock on a file, which is made if it is not there. Yields whether the file system has locks at all.

    Raises:
        FoundationError: with ``refusal``, if another process still holds it after ``patience`` seconds.
    """
    with open(path, "a") as file:
        end = time.monotonic() + patience
        has_locks = fcntl is not None
        while has_locks:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise FoundationError(refusal) from None
                time.sleep(0.1)
            except OSError:  # a file system without locks
                has_locks = False
        yield has_locks


@contextmanager
def held_place(place: Checkpoints, holder: str, patience: float | None = None) -> Iterator[None]:
    """Hold the place of a run's checkpoints; nothing in it is touched before.

    Args:
        place: where they lie. While a lease is held, `Checkpoints.lease` is it.
        holder: who holds it: the run's output. A lease of the same holder on the same machine is taken over at once.
        patience: seconds for which a lock is waited for; None: `PATIENCE`.

    Raises:
        FoundationError: if another run holds it.
    """
    name = place.files.name
    refusal = f"another run is writing its checkpoints to {name}: wait for it, stop it, or name another saving.place"
    with ExitStack() as stack:
        is_held = False
        if place.files.is_local:
            folder = Path(place.files.root)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                is_held = stack.enter_context(
                    locked_file(folder / PLACE_LOCK, refusal, PATIENCE if patience is None else patience)
                )
            except OSError as error:  # nothing can be written there: saving will say so, or find it mended
                log.debug("%s cannot be locked: %s", name, error)
                is_held = True
        if not is_held:
            place.lease = place.sure(
                lambda: stack.enter_context(Lease(place.files, holder, refusal)), f"taking the lease of {name}"
            )
        yield


class Lease:
    """A file that says who writes to a place, for as long as it is entered.

    Args:
        place: a folder, or a URL.
        holder: who takes it.
        refusal: what the error says if another one holds it.
        every: seconds after which it is written anew; after three times as many without a change it counts as left.
    """

    def __init__(self, place: Files, holder: str, refusal: str, every: float = RENEWED_EVERY) -> None:
        self.place, self.refusal, self.every = place, refusal, every
        self.holder = f"{socket.gethostname()}:{without_secrets_in_url(os.path.abspath(holder))}"
        self.lost = False
        self._own, self._turn = uuid.uuid4().hex, 0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> Lease:
        end = time.monotonic() + 3 * self.every
        version = self.place.version(LEASE)
        while version and self._holder() != self.holder and time.monotonic() < end:
            time.sleep(self.every / 10)
            now = self.place.version(LEASE)
            if now and now != version:  # its holder is alive
                raise FoundationError(self.refusal)
            version = now
        if not self._write(version):
            raise FoundationError(self.refusal)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(PARTING)  # a request to a place that is away may take minutes
        if self._thread.is_alive():
            log.debug("the lease of %s is not given back yet: the place does not answer", self.place.name)

    def _holder(self) -> str:
        found = self.place.read_json(LEASE)
        return "" if found is None else str(found.get("holder", ""))

    def _write(self, version: str) -> bool:
        self._turn += 1
        content = json.dumps({"holder": self.holder, "run": self._own, "turn": self._turn}).encode()
        if not self.place.is_local:
            return self.place.swap(LEASE, content, version)
        if self.place.version(LEASE) != version:  # where nothing can be locked: comparing and writing are two steps
            return False
        self.place.write_bytes(LEASE, content)
        return True

    def _own_version(self) -> str:
        """The version of the lease; ``''`` if it is no longer this run's."""
        version = self.place.version(LEASE)  # before the content: another run's version is never taken for our own
        found = self.place.read_json(LEASE)
        return version if found is not None and found.get("run") == self._own else ""

    def _renew(self) -> bool:
        """Write the lease anew; return False if it is no longer this run's.

        Its version is read each time, since a write may go through and yet fail: the answer was lost.
        """
        version = self._own_version()
        return bool(version) and (self._write(version) or bool(self._own_version()))

    def _keep(self) -> None:
        while not self._ending.wait(self.every):
            try:
                if not self._renew():
                    self.lost = True
                    log.error("%s was taken over by another run while this one did not answer", self.place.name)
                    return
            except Exception as error:  # a place that is away; saving tells the person
                log.debug("the lease of %s was not renewed: %s", self.place.name, error)
        with suppress(Exception):  # what is left of it counts for a while only
            if self._own_version():
                self.place.remove(LEASE)
