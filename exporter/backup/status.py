"""``_backup.json``: what the last runs have saved."""

import os
from datetime import datetime
from pathlib import Path

import msgspec

from exporter.backup.directory import STATUS
from exporter.backup.safe_files import read_regular
from exporter.domain.errors import BackupUnusableError
from exporter.domain.text import printable

FORMAT = 1
STATUS_MODE = 0o644
"""All may read it: a running exporter, as another user, reports how old the backup is."""

_MOST_BYTES = 256 * 1024 * 1024
"""Hundreds of thousands of repositories, each with the longest name there is."""


class SavedRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one run has saved, or found saved.

    Attributes:
        started_at: when it began to copy.
        ended_at: when it ended.
        whole_store: whether it was to save all repositories.
        with_blobs: whether it was to save all blobs that the manifests need.
        complete: whether nothing is missing.
        repositories: how many.
        manifests: how many, each once.
        tags: how many.
        blobs: how many files, manifests included.
        bytes: their sizes added up.
        copied_bytes: those that this run has copied.
        missing: how many blobs, manifests and tags are missing.

    """

    started_at: datetime
    ended_at: datetime
    whole_store: bool
    with_blobs: bool
    complete: bool
    repositories: int
    manifests: int
    tags: int
    blobs: int
    bytes: int
    copied_bytes: int
    missing: int = 0


class BackupStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``_backup.json``.

    Attributes:
        format: version of the format of the backup.
        store: identity of the store that it is of.
        last_complete: the last run that has saved the whole store with all blobs; None before.
        last_run: the last run of any kind that has ended; None before.
        repositories: how many tags the runs have listed of each repository, also of those that the
            store no longer has. Backups of older versions do not say it.

    """

    format: int = FORMAT
    store: str
    last_complete: SavedRun | None = None
    last_run: SavedRun | None = None
    repositories: dict[str, int] = {}


def encode_status(status: BackupStatus) -> bytes:
    """Return the content of the file."""
    return msgspec.json.format(msgspec.json.encode(status), indent=2) + b"\n"


def read_status(directory: Path) -> BackupStatus | None:
    """Return the content of the file; None if there is none.

    Raises BackupUnusableError if it cannot be read or understood.
    """
    path = directory / STATUS
    name = printable(str(path))
    try:
        content = read_regular(path, _MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise BackupUnusableError(
            f"cannot read {name}: {error.strerror}; run as a user who may read it (this is uid "
            f"{os.geteuid()})"
        ) from error
    try:
        status = msgspec.json.decode(content, type=BackupStatus)
    except (ValueError, RecursionError) as error:
        raise BackupUnusableError(
            f"{name} is damaged: {printable(str(error))}; remove it, and make the backup again: "
            "what is saved is not copied again"
        ) from error
    if status.format != FORMAT:
        raise BackupUnusableError(
            f"{name} is of format {status.format}, this version reads {FORMAT}; use the version "
            "of registry-storage-exporter that has written it"
        )
    return status
