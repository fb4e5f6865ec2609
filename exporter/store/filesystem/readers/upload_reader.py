"""Read the unfinished uploads of a repository."""

import os
import stat

from exporter.domain.model import Upload
from exporter.store.filesystem.readers.safe_files import (
    GONE,
    WRONG_KIND,
    IssueLog,
    is_directory,
    look_at,
    open_directory,
    read_file,
)
from exporter.store.filesystem.readers.stray_files import StrayCounter
from exporter.store.format.layout import REPOSITORIES, UPLOADS, is_upload_id, parse_started_at

_MAX_STARTED_AT_BYTES = 64


class UploadReader:
    """Reads the uploads of the store whose version directory is open as ``store``.

    They are read in every scan: no directory shows that their files grow.
    """

    def __init__(self, store: int, issues: IssueLog, strays: StrayCounter) -> None:
        self._store = store
        self._issues = issues
        self._strays = strays

    def read(self, name: str) -> tuple[Upload, ...] | None:
        """Read the uploads of one repository; None if they could not be listed completely."""
        path = f"{REPOSITORIES}/{name}/{UPLOADS}"
        uploads = []
        try:
            with open_directory(path, self._store) as parent, os.scandir(parent) as entries:
                for entry in entries:
                    if is_upload_id(entry.name) and is_directory(entry):
                        upload = self._read_upload(entry.name, parent, f"{path}/{entry.name}")
                        if upload is not None:
                            uploads.append(upload)
                    else:
                        self._strays.add_foreign(entry, parent, f"{path}/{entry.name}")
        except GONE:
            return ()
        except OSError as error:
            self._issues.add_error(error, path, hides=False)  # an upload references nothing
            return None
        return tuple(uploads)

    def _read_upload(self, upload_id: str, parent: int, path: str) -> Upload | None:
        """Measure one unfinished upload; None if it has just been finished or cancelled."""
        started_at = self._read_started_at(upload_id, parent, path)
        directory = look_at(upload_id, parent, path, self._issues)
        if directory is None:
            return None
        size, oldest = 0, directory.st_mtime
        data = look_at(f"{upload_id}/data", parent, path, self._issues)
        if data is not None and stat.S_ISREG(data.st_mode):
            size, oldest = data.st_size, min(oldest, data.st_mtime)
        return Upload(
            size, oldest if started_at is None else started_at, purgeable=started_at is not None
        )

    def _read_started_at(self, upload_id: str, parent: int, path: str) -> float | None:
        try:
            note, _ = read_file(f"{upload_id}/startedat", parent, _MAX_STARTED_AT_BYTES)
        except GONE:
            return None
        except OSError as error:
            if error.errno not in WRONG_KIND:
                self._issues.add_error(error, f"{path}/startedat", hides=False)
            return None
        return parse_started_at(note)
