"""Results of quality control are stored with a recording."""

import dataclasses

from foundation.store import Store, StoredRecording, write_recording
from foundation.store.format.encode import decode, encode

CONTROL = {
    "duration": 60.0,
    "dropped": [{"unit": 3, "id": 17, "rule": "least_rate", "value": 0.003, "limit": 0.05}],
    "gaps": {"count": 1, "seconds": 2.5, "spans": [[10.0, 12.5]]},
    "not_applied": {"least_snr": "no column of the file holds it"},
}


def test_control_round_trips_through_the_store(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    recording = make_recording(0, control=CONTROL)
    stored = StoredRecording(store, write_recording(store, recording))
    assert stored.load().control == CONTROL
    assert stored.attributes["control"] == CONTROL


def test_recording_without_control_is_stored_as_before(make_recording):
    recording = make_recording(0)
    encoded = encode(recording)
    assert "control" not in encoded.attributes
    assert decode(encoded).control == {}
    assert encode(dataclasses.replace(recording, control=CONTROL)).digest != encoded.digest


def test_catalog_has_counts_and_labels(tmp_path, make_recording):
    store = Store(tmp_path / "store", create=True)
    identity = write_recording(store, make_recording(0, control={**CONTROL, "counts": {"units_dropped": 1, "gaps": 1}}))
    record = store.commit(identity)
    assert record["control"] == {"units_dropped": 1, "gaps": 1}
    assert record["labels"] == make_recording(0).labels == ["cell_type"]
