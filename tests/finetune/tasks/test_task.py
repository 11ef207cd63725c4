"""Names of targets: short, usable as folders, and never the same for two recordings."""

from types import SimpleNamespace

import pytest

from finetune.tasks.task import recording_name, target_names


def recording(subject, session, identity="f00dcafe"):
    return SimpleNamespace(id=identity, record=SimpleNamespace(subject=subject, session=session, id=identity))


@pytest.mark.parametrize(
    ("subject", "session", "name"),
    [
        ("mouse 1", "a", "mouse-1-a"),
        ("mouse1", "", "mouse1"),
        ("../lab/m1", "2024-01-01T10:00", "lab-m1-2024-01-01T10-00"),
        ("小鼠", "", "f00dcafe"),  # no character of the name is allowed: the id is used
        ("m" * 80, "s", "m" * 60),
    ],
)
def test_recording_names_are_valid_folder_names(subject, session, name):
    assert recording_name(recording(subject, session)) == name


def test_recordings_of_one_name_are_distinguished_by_id():
    recordings = [recording("m1", "a", "aaaaaa11"), recording("m1", "b", "bbbbbb11"), recording("m1", "a", "cccccc11")]
    assert target_names(recordings) == ["m1-a-aaaaaa", "m1-b", "m1-a-cccccc"]


def test_names_that_differ_only_in_forbidden_characters_stay_distinct():
    names = target_names([recording("m/1", "a", "aaaaaa11"), recording("m 1", "a", "bbbbbb11")])
    assert len(set(names)) == 2
    assert all(name.startswith("m-1-a-") for name in names)
