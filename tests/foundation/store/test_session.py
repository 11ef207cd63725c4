"""A session spread over several assets is one session."""

import pytest

from foundation.catalog.catalog_table import catalog_table
from foundation.store import Catalog, Source, Store, Subject, write_recording


@pytest.fixture
def catalog(tmp_path, make_recording):
    """Two probes of one session, the animal's next session, and an animal with the same name in another dandiset."""
    store = Store(tmp_path / "store", create=True)
    for k, (namespace, session, probe) in enumerate(
        [
            ("dandi/1", "s1", "probe-B"),
            ("dandi/1", "s1", "probe-A"),
            ("dandi/1", "s2", "probe-A"),
            ("dandi/2", "s1", "x"),
        ]
    ):
        source = Source(path=f"{namespace}/{session}_{probe}.nwb", digest=f"{k}")
        subject = Subject("mouse", namespace=namespace)
        write_recording(store, make_recording(k, n_units=3 + k, source=source, subject=subject, session=session))
    return Catalog.build(store)


def test_probes_of_a_session_are_joined_by_session_and_subject(catalog):
    sessions = catalog.sessions()
    assert [(s.subject, s.session, s.n_units) for s in sessions] == [
        ("dandi/1/mouse", "s1", 7),
        ("dandi/1/mouse", "s2", 5),
        ("dandi/2/mouse", "s1", 6),
    ]
    assert [r.path for r in sessions[0].records] == ["dandi/1/s1_probe-A.nwb", "dandi/1/s1_probe-B.nwb"]
    assert sorted(i for s in sessions for i in s.ids) == sorted(r.id for r in catalog.records)


def test_table_shows_the_part_of_a_session(catalog):
    lines = catalog_table(catalog.records).splitlines()
    part = lines[0].index("part")
    assert [line[part : part + 6].strip() for line in lines[1:5]].count("1 of 2") == 1
    assert [line[part : part + 6].strip() for line in lines[1:5]].count("1 of 1") == 2
    assert lines[-1] == "4 recordings of 2 subjects, 3 sessions, 18 units"
    assert "part" not in catalog_table(catalog.where("session == 's2'").records)


def test_recordings_without_a_session_stay_alone(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    for k in range(2):
        write_recording(store, make_recording(k, subject=Subject("m"), session=""))
    assert len(Catalog.build(store).sessions()) == 2
