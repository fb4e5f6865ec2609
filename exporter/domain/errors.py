"""Every error this program raises on purpose.

::

    ExporterError                 never raised itself
    ├── ConfigurationError        wrong flags, variables or file; exit code 2
    ├── StoreUnreadableError      the store as a whole cannot be read; exit code 1
    ├── ManifestUnreadableError   one blob is not a manifest that can be understood
    ├── ApiUnavailableError       the registry's HTTP API did not give a whole answer
    ├── PlatformUnreadableError   a platform's configuration cannot be read or understood
    ├── PlanRefusedError          too little is known to plan deletions; exit code 1
    ├── CacheUnfitError           what was kept over a restart is of no use; it is made again
    │   └── CacheDamagedError     it is not what was written
    ├── CacheUnusableError        nothing can be kept over a restart where it should be
    ├── ScanCancelledError        a scan was told to stop
    └── OutputError               no result: not written, not bound, no answer; exit code 1

Messages say what happened, where, and what to do about it. None holds a secret.
"""

import errno

_MENDS = {
    errno.ENOSPC: "free some room on that filesystem",
    errno.EDQUOT: "free some room, or raise the quota",
    errno.EMFILE: "raise this process's limit of open files (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "raise fs.file-max, or see which process of this host holds so many files",
}


def mend_of(error: OSError, otherwise: str) -> str:
    """Give what helps where there is no room, or no more files can be opened.

    In all other cases that is ``otherwise``.
    """
    return _MENDS.get(error.errno or 0, otherwise)


class ExporterError(Exception):
    """Base of all errors of this program."""


class ConfigurationError(ExporterError):
    """The configuration is wrong; carries every problem found, not only the first."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StoreUnreadableError(ExporterError):
    """The store's root or one of its main directories cannot be read."""


class ManifestUnreadableError(ExporterError):
    """The content of a blob is not a manifest that can be understood."""


class ApiUnavailableError(ExporterError):
    """The registry's HTTP API is down, refuses, or gives answers that make no sense."""


class PlatformUnreadableError(ExporterError):
    """A platform's configuration cannot be read or understood; the message quotes none of it."""


class PlanRefusedError(ExporterError):
    """Something is not known that could make a planned deletion wrong."""


class CacheUnfitError(ExporterError):
    """What was kept over a restart is damaged, or of something else; the message says which."""


class CacheDamagedError(CacheUnfitError):
    """What is in the file is not what was written."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"is damaged ({detail})")


class CacheUnusableError(ExporterError):
    """The file for it cannot be read or written, or is not this program's to write."""


class ScanCancelledError(ExporterError):
    """The scan was told to stop before it was done."""


class OutputError(ExporterError):
    """A result cannot be delivered where it was asked for."""
