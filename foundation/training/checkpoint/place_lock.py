"""Locks and leases, so that only one run at a time writes checkpoints to a place.

On a local disk the run holds a lock, which the system releases with the process. Object stores and file systems without
locks get a lease: a small file that its holder rewrites every few seconds. A lease that stays unchanged for a while is
abandoned, and the next run takes it over; this works without synchronised clocks.
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

from filelock import Timeout

from foundation.common.credentials import without_secrets_in_url
from foundation.common.errors import FoundationError
from foundation.common.files.locks import file_lock
from foundation.store.commit.atomic_files import Files

log = logging.getLogger(__name__)
PLACE_LOCK, LEASE = ".checkpoints.lock", "lease.json"
RENEWED_EVERY = 15.0  # seconds
PATIENCE = 60.0  # seconds: processes of a run that has just ended may hold its lock a little longer
PARTING = 10.0  # seconds to wait for the release of a lease, which otherwise expires
LEFT_AFTER = 3 * RENEWED_EVERY  # seconds after which an unchanged lease is abandoned


@contextmanager
def place_lock(place: Files, refusal: str, patience: float | None = None) -> Iterator[bool]:
    """Hold the lock on a local folder, if its file system has locks.

    Args:
        place: a folder, or a URL.
        refusal: the message of the error if another process holds the lock.
        patience: seconds to wait for the lock; None: `PATIENCE`.

    Yields:
        False for a URL and for a file system without locks, which need a `Lease`.

    Raises:
        FoundationError: if another process still holds the lock after ``patience`` seconds.
    """
    with ExitStack() as stack:
        is_held = False
        if place.is_local:
            folder = Path(place.root)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                lock = file_lock(folder / PLACE_LOCK, PATIENCE if patience is None else patience)
                is_held = stack.enter_context(lock)
            except Timeout:
                raise FoundationError(refusal) from None
            except OSError as error:  # not writable; saving reports this if it persists
                log.debug("%s cannot be locked: %s", place.name, error)
                is_held = True
        yield is_held


class Lease:
    """A file that names the run writing to a place while the context is active.

    Args:
        place: a folder, or a URL.
        holder: name of the run that takes the lease.
        refusal: the message of the error if another run holds it.
        every: seconds between two renewals; a lease unchanged for three times as long is abandoned.
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
            if now and now != version:  # the holder is alive
                raise FoundationError(self.refusal)
            version = now
        if not self._write(version):
            raise FoundationError(self.refusal)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(PARTING)  # a request to an unreachable place may take minutes
        if self._thread.is_alive():
            log.debug("the lease of %s is not released yet: the place does not answer", self.place.name)

    def _holder(self) -> str:
        found = self.place.read_json(LEASE)
        return "" if found is None else str(found.get("holder", ""))

    def _write(self, version: str) -> bool:
        self._turn += 1
        content = json.dumps({"holder": self.holder, "run": self._own, "turn": self._turn}).encode()
        if not self.place.is_local:
            return self.place.swap(LEASE, content, version)
        if self.place.version(LEASE) != version:  # without locks, comparing and writing are two steps
            return False
        self.place.write_bytes(LEASE, content)
        return True

    def _own_version(self) -> str:
        """Return the version of this run's lease; ``''`` if another run holds it."""
        version = self.place.version(LEASE)  # read before the content, so that it cannot be another run's version
        found = self.place.read_json(LEASE)
        return version if found is not None and found.get("run") == self._own else ""

    def _renew(self) -> bool:
        """Rewrite the lease; return False if another run holds it.

        The version is read each time, since a write may succeed although its answer is lost.
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
            except Exception as error:  # the place is unreachable; saving reports this
                log.debug("the lease of %s was not renewed: %s", self.place.name, error)
        with suppress(Exception):  # a lease that stays behind expires
            if self._own_version():
                self.place.remove(LEASE)
