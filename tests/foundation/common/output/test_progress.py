import io
import logging
import os
import pty
import re
import sys
import termios

from foundation.common.output.progress import Progress, progress


def test_log_gets_plain_lines_with_count_and_time_left(caplog, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO), Progress(3, "reading", "file", every=0.0) as shown:
        for name in ("a.nwb", "b.nwb", "c.nwb"):
            shown.step(note=name)
    lines = [r.getMessage() for r in caplog.records]
    assert [line.split(",")[0] for line in lines] == ["reading: 1/3 file", "reading: 2/3 file", "reading: 3/3 file"]
    assert lines[-1].endswith("0 s left, c.nwb")


def test_log_is_not_flooded_and_the_last_step_is_logged(caplog, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO):
        assert list(progress(range(5000), "counting")) == list(range(5000))
    assert [r.getMessage().split(" item")[0] for r in caplog.records] == ["counting: 5000/5000"]


def test_terminal_gets_a_bar(monkeypatch, caplog):
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with caplog.at_level(logging.INFO), Progress(2, "pretraining", "steps") as shown:
            shown.step(note="loss 1.5")
            shown.step(note="loss 1.2")
        terminal.flush()
        drawn = ""
        while "loss 1.2" not in drawn:  # a terminal returns output in pieces
            drawn += os.read(leader, 65536).decode()
    os.close(leader)
    assert "pretraining: 100%" in drawn
    assert "loss 1.2" in drawn
    assert not caplog.records


def test_resumed_work_starts_at_its_position(caplog, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO), Progress(10, "pretraining", "steps", every=0.0, start=8) as shown:
        shown.step()
    assert caplog.records[0].getMessage().startswith("pretraining: 9/10 steps")


def test_no_time_left_is_shown_before_the_first_step(caplog, monkeypatch):
    """None of 400 MB is done after 2 s: a pace of 2 s a byte would take years."""
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO), Progress(400_000_000, "ingesting", "B", every=0.0, scale=True) as shown:
        shown.began -= 2.0
        shown.step(0, note="a.nwb for 2 s")
        shown.skip(100_000_000)  # skipped steps do not count towards the pace
        shown.step(0)
        shown.step(100_000_000)
    before, skipped, after = (r.getMessage() for r in caplog.records)
    assert before == "ingesting: 0.00/400M B, 2 s spent, a.nwb for 2 s"
    assert skipped == "ingesting: 100M/400M B, 2 s spent"
    assert re.fullmatch(r"ingesting: 200M/400M B at (50\.0|49\.\d)MB/s, 2 s spent, 4 s left", after)


def test_completed_work_has_no_time_left(caplog, monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO), Progress(3, "reading", "file", start=3) as shown:
        shown.step(0)
    assert [r.getMessage() for r in caplog.records] == ["reading: 3/3 file, 0 s spent, 0 s left"]
