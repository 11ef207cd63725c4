"""Requests to stop, also during compiled code."""

import os
import signal

import pytest

from foundation.common.processes.interrupts import Stopped, StopRequests


def compiled_loop():
    """Numba's answer to a signal that arrives while it unpacks a compiled function: two errors around the interrupt."""
    try:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt as stop:
            raise SystemError("<function _numba_unpickle> returned a result with an exception set") from stop
    except SystemError as error:
        raise SystemError("CPUDispatcher(<function _run>) returned a result with an exception set") from error


def test_interrupt_in_compiled_code_is_a_request_to_stop():
    with pytest.raises(Stopped), StopRequests() as requests:
        compiled_loop()
    assert (requests.asked, requests.status) == ("SIGTERM", 143)


def test_ctrl_c_in_compiled_code_stays_an_interrupt():
    with pytest.raises(KeyboardInterrupt), StopRequests() as requests:
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()
    assert (requests.asked, requests.status) == ("", 130)


def test_other_errors_of_compiled_code_stay_as_they_are():
    with pytest.raises(SystemError, match="bad argument"), StopRequests():
        raise SystemError("bad argument to internal function") from ValueError("3")
