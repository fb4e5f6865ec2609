"""Where everything is in a backup directory, and the lock on it.

::

    DIR/_blobs/<algorithm>/<hex>                          each blob and manifest once
    DIR/<repository>/_layout/{oci-layout,index.json}      an OCI image layout
    DIR/<repository>/_layout/blobs                        a symbolic link to DIR/_blobs
    DIR/_backup.json                                      what the last runs have saved
    DIR/_temporary/                                       only while something is written
    DIR/_lock                                             empty, locked by the run that writes

A part of a repository's name begins with a letter or a digit, so that none of these directories
can be mistaken for a repository.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from exporter.backup.safe_files import open_lock
from exporter.domain.errors import BackupRefusedError, OutputError, remedy_for
from exporter.domain.text import printable
from exporter.store.format.layout import is_repository_name

BLOBS = "_blobs"
LAYOUT = "_layout"
INDEX = "index.json"
STATUS = "_backup.json"
TEMPORARY = "_temporary"
LOCK = "_lock"
_OWN = frozenset({BLOBS, STATUS, TEMPORARY, LOCK})
_MAY_BE_THERE = frozenset({"lost+found"})
_NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
"""Errors of filesystems that have no locks, such as some network mounts."""


def blob_path(directory: Path, digest: str) -> Path:
    """Return the file of a blob from ``<algorithm>:<hex>``."""
    algorithm, _, hexadecimal = digest.partition(":")
    return directory / BLOBS / algorithm / hexadecimal


def layout_path(directory: Path, repository: str) -> Path:
    """Return the OCI image layout of a repository."""
    return directory / repository / LAYOUT


def blobs_link(repository: str) -> str:
    """Return what the link ``blobs`` in the layout of a repository points to."""
    return f"{'../' * (repository.count('/') + 2)}{BLOBS}"


def is_backup(directory: Path) -> bool:
    """Return whether a directory holds a backup, complete or not. Raises OSError."""
    return bool(_OWN & set(os.listdir(directory)))  # noqa: PTH208 - names are enough


def repositories_in(directory: Path) -> list[str]:
    """Return the names of the repositories in a backup, sorted. Raises OSError."""
    found = []
    pending = [""]
    while pending:
        name = pending.pop()
        with os.scandir(directory / name) as entries:
            for entry in entries:
                if entry.name == LAYOUT and is_repository_name(name):
                    found.append(name)
                elif not entry.name.startswith("_") and entry.is_dir(follow_symlinks=False):
                    pending.append(f"{name}/{entry.name}" if name else entry.name)
    return sorted(found)


def refuse_other_content(directory: Path) -> None:
    """Raise BackupRefusedError if a directory holds something else than a backup."""
    try:
        names = set(os.listdir(directory))  # noqa: PTH208 - names are enough
    except FileNotFoundError:
        return
    except OSError as error:
        raise BackupRefusedError(
            f"cannot read {printable(str(directory))}: {error.strerror}; give a directory that "
            f"uid {os.geteuid()} may read and write"
        ) from error
    if not names & _OWN and names - _MAY_BE_THERE:
        raise BackupRefusedError(
            f"{printable(str(directory))} is not empty and holds no backup; give an empty "
            "directory, or one that does not exist yet"
        )


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Create a backup directory if it is not there, and keep other runs out of it.

    Raises BackupRefusedError if another run writes to it or something else than a lock is there,
    OutputError if it cannot be written to.
    """
    name = printable(str(directory))
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock(directory / LOCK)
    except OSError as error:
        remedy = remedy_for(error, f"give a directory that uid {os.geteuid()} may write to")
        raise OutputError(f"cannot write to {name}: {error.strerror}; {remedy}") from error
    try:
        _lock(descriptor, name)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, name: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BackupRefusedError(
            f"{name}: another run writes to this backup; wait until it has ended"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise OutputError(
                f"cannot lock {name}: {error.strerror}; give a directory on another filesystem"
            ) from error
