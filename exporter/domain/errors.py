"""Every error this program raises on purpose.

::

    ExporterError                 never raised itself
    ├── ConfigurationError        wrong flags, variables or file; exit code 2
    ├── StoreUnreadableError      the store as a whole cannot be read; exit code 1
    ├── ManifestUnreadableError   one blob is not a manifest that can be understood
    ├── ApiUnavailableError       the registry's HTTP API gave no complete answer
    │   └── RegistryRefusesError  it refuses this login, or this kind of request
    ├── ContentRefusedError       the registry refuses one manifest or blob
    ├── UntaggingUnsupportedError  the registry cannot remove a tag and keep its manifest
    ├── PlatformUnreadableError   a platform's configuration cannot be read or understood
    ├── NotReadYetError           a page needs a scan, and none has succeeded yet
    ├── NotReadInTimeError        the store's disk did not answer a page in time
    ├── BlobUnknownError          no blob has the digest that was asked for; exit code 1
    ├── PlanRefusedError          no deletions can be planned or carried out; exit code 1
    ├── JournalUnusableError      the journal of `apply` cannot be used; exit code 1
    ├── BackupRefusedError        no backup can be made there; exit code 1
    ├── BackupUnusableError       a backup, or a part of it, cannot be read; exit code 1
    ├── ResultFileUnusableError   the maintenance's result cannot be read; the last one stays
    ├── CacheUnfitError           the kept cache cannot be used; it is rebuilt
    │   └── CacheDamagedError     it differs from what was written
    ├── CacheUnusableError        the cache file cannot be read or written
    ├── HistoryUnusableError      the history cannot be read or written; `report --since`: code 1
    │   └── HistoryDamagedError   its file differs from what was written; a new one begins
    ├── HistoryTooShortError      the history does not reach back that far; exit code 1
    ├── ScanCancelledError        a scan was stopped
    └── OutputError               a result cannot be delivered; exit code 1

Messages say what happened, where, and what to do about it. None holds a secret.
"""

import errno

_REMEDIES = {
    errno.ENOSPC: "free some room on that filesystem",
    errno.EDQUOT: "free some room, or raise the quota",
    errno.EMFILE: "raise this process's limit of open files (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "raise fs.file-max, or find the process of this host that has so many files open",
}


def remedy_for(error: OSError, otherwise: str) -> str:
    """Return advice for a full disk or too many open files; ``otherwise`` for other errors."""
    return _REMEDIES.get(error.errno or 0, otherwise)


class ExporterError(Exception):
    """Base of all errors of this program."""


class ConfigurationError(ExporterError):
    """The configuration is wrong; carries every problem found, not only the first."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class StoreUnreadableError(ExporterError):
    """The store's root or one of its main directories cannot be read."""


class NotReadYetError(ExporterError):
    """No scan of the store has succeeded yet."""


class NotReadInTimeError(ExporterError):
    """Something in the store was not read within the time that a page may take."""


class ManifestUnreadableError(ExporterError):
    """The content of a blob is not a manifest that can be understood."""


class ApiUnavailableError(ExporterError):
    """The registry's HTTP API is down, refuses requests, or gives invalid answers."""


class RegistryRefusesError(ApiUnavailableError):
    """The registry refuses this login or this kind of request; a repetition changes nothing."""


class ContentRefusedError(ExporterError):
    """The registry refuses one manifest or blob; others may be accepted.

    ``code`` is the registry's own, such as ``MANIFEST_BLOB_UNKNOWN``; empty if it gave none.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class UntaggingUnsupportedError(ExporterError):
    """The registry cannot remove a tag without its manifest: version 2 of distribution."""


class PlatformUnreadableError(ExporterError):
    """A platform's configuration cannot be read or understood; the message quotes none of it."""


class BlobUnknownError(ExporterError):
    """Nothing in the store has the digest that was asked for, and nothing references it."""


class PlanRefusedError(ExporterError):
    """Something unknown could make a planned deletion wrong, or the registry refuses them all."""


class BackupRefusedError(ExporterError):
    """A backup cannot be made in that directory: no room, another store's, or in the store."""


class BackupUnusableError(ExporterError):
    """A backup, or a part of it, is missing, damaged or cannot be read."""


class ResultFileUnusableError(ExporterError):
    """The file in which the maintenance says that it succeeded is malformed or cannot be read."""


class JournalUnusableError(ExporterError):
    """The journal of ``apply`` is of something else, in use, or cannot be read."""


class CacheUnfitError(ExporterError):
    """The cache is damaged, or belongs to something else; the message says which."""


class CacheDamagedError(CacheUnfitError):
    """The cache file's content differs from what was written."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"is damaged ({detail})")


class CacheUnusableError(ExporterError):
    """The cache file cannot be read or written, or belongs to another program."""


class HistoryUnusableError(ExporterError):
    """The history's file cannot be read or written, or belongs to something else."""


class HistoryDamagedError(HistoryUnusableError):
    """The content of the history's file differs from what was written."""

    def __init__(self, detail: str) -> None:
        super().__init__(f"is damaged ({detail})")


class HistoryTooShortError(ExporterError):
    """Nothing is recorded of the time that was asked for."""


class ScanCancelledError(ExporterError):
    """The scan was stopped before it was done."""


class OutputError(ExporterError):
    """A result cannot be delivered: a file not written, an address not bound, no answer."""
