"""Errors that a user caused or can fix. The command prints one line; the traceback goes to the log file."""


class FoundationError(Exception):
    """Base of errors that users can fix. The message names the value, the allowed values and what to do."""


class ConfigError(FoundationError, ValueError):
    """An invalid setting. Raised before any work starts; the command exits with status 2."""


class StoreError(FoundationError):
    """A store that cannot be read or written."""


class SourceError(FoundationError):
    """An input file that cannot be used: damaged, empty, or of another format than it claims."""


class UnreachableError(SourceError):
    """An input that is temporarily unreachable, so its content is unknown."""


class CheckpointError(FoundationError):
    """A checkpoint that cannot be loaded, or does not fit what it is loaded into."""


class RequeueError(FoundationError):
    """A run that was stopped early (preemption) after saving its state; start it again to continue.

    The command exits with ``status``, EX_TEMPFAIL of sysexits.h (a temporary failure).
    """

    status = 75
