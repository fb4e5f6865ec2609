"""How old the newest complete backup is: of this program, or by the file of another tool."""

import os
import stat
from pathlib import Path

from exporter.backup.status import read_status
from exporter.domain.errors import BackupUnusableError
from exporter.domain.last_runs import LastBackup
from exporter.domain.text import printable


def read_last_backup(place: Path) -> LastBackup:
    """Return the newest complete backup of the whole store.

    ``place`` is a directory that this program has backed up to. Or it is a file that another tool
    writes when it is done: then its modification time counts. If nothing is there, there is none.

    Raises BackupUnusableError if that cannot be known.
    """
    try:
        status = place.stat()
    except (FileNotFoundError, NotADirectoryError):
        return LastBackup()
    except OSError as error:
        raise BackupUnusableError(
            f"cannot look at {printable(str(place))}: {error.strerror}; let uid {os.geteuid()} "
            "read it"
        ) from error
    if not stat.S_ISDIR(status.st_mode):
        return LastBackup(status.st_mtime)
    found = read_status(place)
    run = None if found is None else found.last_complete
    return LastBackup() if run is None else LastBackup(run.ended_at.timestamp(), run.bytes)
