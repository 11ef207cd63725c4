"""Errors that a person caused or can mend. The command prints their one line; the traceback goes to the log file."""


class FoundationError(Exception):
    """Something the user asked for cannot be done. The message names the value, what is allowed, and what to do."""


class ConfigError(FoundationError, ValueError):
    """A setting that cannot be right. Refused before any work; the command ends with status 2."""


class StoreError(FoundationError):
    """A store that cannot be read or written."""


class SourceError(FoundationError):
    """An input file that cannot be taken: damaged, empty, or not what it says."""


class UnreachableError(SourceError):
    """The bytes of an input cannot be had at the moment: what has been read of it says nothing about its content."""


class CheckpointError(FoundationError):
    """A checkpoint that cannot be loaded, or does not fit what it is loaded into."""


class RequeueError(FoundationError):
    """A run that was told to stop before its end (preemption): it has saved what it has, and is to be started again.

    The command ends with ``status``, the code that says "for now" (EX_TEMPFAIL of sysexits.h).
    """

    status = 75
