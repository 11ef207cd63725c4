"""Verification of a store against its digests: damaged, missing and stray files."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

from foundation.common.errors import StoreError
from foundation.common.files.locks import is_part
from foundation.common.output.progress import progress
from foundation.store.commit.commit_record import Held, differences, recording_id
from foundation.store.commit.garbage_collection import left_parts
from foundation.store.commit.group_files import stray_files, what_is_wrong
from foundation.store.commit.snapshot import read_records
from foundation.store.derived import derived_names, made_by_digest
from foundation.store.format.encode import group_digest
from foundation.store.format.zarr_arrays import GROUP_FILE, read_array
from foundation.store.recording import Source
from foundation.store.storage import MARKER, Store

THREADS = 4
FILES = (MARKER, "catalog.parquet", "ingest-report.json")
FOLDERS = ("recordings", "commits", "current", "superseded", "retired", "versions", "derived")


@dataclass(frozen=True)
class Finding:
    """A problem: its place (a recording's path, or a file of the store) and a description."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"damaged: {self.where}: {self.what}"


@dataclass(frozen=True)
class Verification:
    """Result of `verify_store`.

    Args:
        recordings, arrays, bytes: numbers that were checked; bytes are decoded bytes.
        findings: data that a reader would miss or misread.
        left: files left behind by killed processes, and other files that do not belong to a store; readers ignore them.
    """

    recordings: int
    arrays: int
    bytes: int
    findings: list[Finding] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings]
        lines += [f"left behind, harmless, no reader sees it: {name}" for name in self.left]
        checked = f"{self.recordings} recordings, {self.arrays} arrays, {self.bytes / 1e6:,.1f} MB"
        summary = f"every array has its digest: {checked}" if self.ok else f"{len(self.findings)} damaged; {checked}"
        return "\n".join([*lines, summary])


def verify_store(store: Store, threads: int = THREADS) -> Verification:
    """Read the arrays, attributes, commits and catalog of a store, and compare them with their digests.

    Args:
        store: the store.
        threads: recordings read at the same time.

    Example:
        >>> import tempfile
        >>> print(verify_store(Store(tempfile.mkdtemp() + "/store", create=True)))
        every array has its digest: 0 recordings, 0 arrays, 0.0 MB
    """
    groups = [name for name in store.names("recordings") if not is_part(name)]
    derived = derived_names(store)
    findings, records = _read_commits(store)
    arrays, size, left = 0, 0, _stray_names(store)
    with ThreadPoolExecutor(threads) as pool:
        checks = pool.map(partial(_check_recording, store), records)
        others = pool.map(partial(_check_derived, store), derived)
        total = len(records) + len(derived)
        for checked in progress(chain(checks, others), "verifying", unit="recording", total=total):
            findings += checked.findings
            arrays, size, left = arrays + checked.arrays, size + checked.bytes, left + checked.left
    findings += _check_catalog(store, records)
    findings += _check_pointers(store, {record["id"] for record in records})
    named = {record["digest"] for record in records}
    left += [f"recordings/{digest}" for digest in groups if digest not in named]
    return Verification(len(records), arrays, size, findings, [*left, *left_parts(store)])


@dataclass(frozen=True)
class _Group:
    """A Zarr group as read: attributes, digests of its arrays, decoded bytes, damaged and stray files."""

    attributes: dict[str, Any]
    digests: dict[str, str]
    bytes: int
    damaged: list[str]
    held: Held = field(default_factory=Held)
    stray: list[str] = field(default_factory=list)


def _read_group(store: Store, folder: str) -> _Group:
    """Read every array of a group and compare it with its digest."""
    try:
        about = store.read_json(f"{folder}/{GROUP_FILE}")
        if about is None:
            return _Group({}, {}, 0, ["its group is missing"])
        attributes, members = about["attributes"], about["consolidated_metadata"]["metadata"]
        group = store.open_folder(folder)
    except Exception as error:  # damaged metadata can raise anything; report it as a finding
        return _Group({}, {}, 0, [f"{GROUP_FILE} cannot be read ({type(error).__name__})"])
    damaged, digests, size, held = [], {}, 0, Held()
    for path, copy in sorted(members.items()):
        if not _says(store, f"{folder}/{path}/{GROUP_FILE}", copy):
            damaged.append(f"{path}/{GROUP_FILE}")
            continue  # the array's size is unknown, so do not read it
        if copy["node_type"] != "array":
            continue
        try:
            array = read_array(group, path)
            digests[path], size = array.digest, size + array.data.nbytes
            held.see(path, array)
        except Exception:  # as above
            digests[path] = ""
        if digests[path] != copy["attributes"].get("sha256"):
            damaged.append(what_is_wrong(store, folder, group, path))
    return _Group(attributes, digests, size, damaged, held, stray_files(store, folder, members, group))


def _says(store: Store, name: str, copy: dict[str, Any]) -> bool:
    """Return True if a member's own metadata file equals the copy in the group."""
    try:
        own = store.read_json(name)
    except (StoreError, UnicodeDecodeError):
        return False
    parts = copy.keys() - {"consolidated_metadata"}
    return own is not None and all(own.get(part) == copy[part] for part in parts)


def _read_commits(store: Store) -> tuple[list[Finding], list[dict[str, Any]]]:
    findings, records = [], []
    for identity in store.commit_ids():
        name = f"commits/{identity}.json"
        try:
            record = store.read_json(name)
            if record is None:
                continue
            expected = recording_id(Source(**record["source"]), record["recipe"])
            if not identity == record["id"] == expected:
                raise StoreError("its id does not match its source and recipe")
            records.append(record)
        except StoreError as error:
            findings.append(Finding(name, str(error)))
        except (KeyError, TypeError, UnicodeDecodeError) as error:
            findings.append(Finding(name, f"{type(error).__name__}: {error}"))
    return findings, records


def _stray_names(store: Store) -> list[str]:
    """Return the files and folders that do not belong to a store."""
    stray = [name for name in store.names(".") if name not in (*FILES, *FOLDERS) and not is_part(name)]
    for folder in ("commits", "current", "superseded", "retired", "versions"):
        names = [name for name in store.names(folder) if not name.endswith(".json") and not is_part(name)]
        stray += [f"{folder}/{name}" for name in names]
    return stray


def _check_recording(store: Store, record: dict[str, Any]) -> Verification:
    digest, where = record["digest"], record["path"]
    group = _read_group(store, f"recordings/{digest}")
    damaged = list(group.damaged)
    if not damaged and group_digest(group.digests, group.attributes) != digest:
        damaged.append("its attributes, or its list of arrays")
    if not damaged:
        differ = differences(record, group.attributes, group.held)
        damaged += [f"its commit record has a different {name} from its group" for name in differ]
    findings = [Finding(where, what) for what in damaged]
    return Verification(1, len(group.digests), group.bytes, findings, group.stray)


def _check_derived(store: Store, digest: str) -> Verification:
    group = _read_group(store, f"derived/{digest}")
    damaged = list(group.damaged)
    if not damaged and made_by_digest(group.attributes["made_by"]) != digest:
        damaged.append("its attributes")
    findings = [Finding(f"derived/{digest}", what) for what in damaged]
    return Verification(0, len(group.digests), group.bytes, findings, group.stray)


def _check_catalog(store: Store, records: list[dict[str, Any]]) -> list[Finding]:
    try:
        found = read_records(store)
    except StoreError as error:
        return [Finding("catalog.parquet", str(error))]
    if found is None:
        return []
    rows = {record["id"]: record for part in found for record in part}
    commits = {record["id"]: record for record in records}
    mend = "run `foundation catalog --refresh`"
    findings = [
        Finding("catalog.parquet", f"lacks {commits[i]['path']}: {mend}") for i in sorted(commits.keys() - rows)
    ]
    findings += [
        Finding("catalog.parquet", f"lists {rows[i]['path']}, which has no commit: {mend}")
        for i in sorted(rows.keys() - commits)
    ]
    findings += [
        Finding("catalog.parquet", f"describes {rows[i]['path']} differently from its commit: {mend}")
        for i in sorted(rows.keys() & commits)
        if rows[i] != commits[i]
    ]
    return findings


def _check_pointers(store: Store, identities: set[str]) -> list[Finding]:
    folders = ("current", "superseded", "retired")
    names = [f"{folder}/{name}" for folder in folders for name in store.names(folder) if name.endswith(".json")]
    findings = []
    for name in names:
        try:
            pointer = store.read_json(name)
        except (StoreError, UnicodeDecodeError) as error:
            findings.append(Finding(name, str(error)))
            continue
        if pointer is not None and pointer.get("id") not in identities:
            findings.append(Finding(name, f"names {pointer.get('id')!r}, which has no commit"))
    return findings
