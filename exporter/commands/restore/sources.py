"""What is to be restored, and where its content is: from a backup, or from a journal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from exporter.backup.index import BackupEntry
from exporter.backup.losses import lost_repositories
from exporter.backup.reader import BackupReader
from exporter.backup.status import read_status
from exporter.commands.restore.contents import BackupContents, Contents
from exporter.commands.restore.journal import read_deletions
from exporter.commands.restore.options import RestoreRequest
from exporter.commands.restore.wanted import WantedManifest
from exporter.domain.errors import BackupUnusableError, ConfigurationError
from exporter.domain.text import printable


@dataclass(frozen=True, slots=True)
class Source:
    """A backup or a journal.

    Attributes:
        name: where it is, safe to print.
        store: identity of the store that it is of; None if that is unknown.
        wanted: every manifest in it.
        contents: the backup that has the content; None if there is none.

    """

    name: str
    store: str | None
    wanted: tuple[WantedManifest, ...]
    contents: Contents | None


def open_source(request: RestoreRequest, note: Callable[[str], None]) -> Source:
    """Read what the request names.

    ``note`` receives that a journal's backup is not there: the store's files may have what is
    needed. Raises BackupUnusableError, JournalUnusableError, and ConfigurationError if the options
    do not fit it.
    """
    if _is_directory(request.source):
        if request.backup is not None:
            problem = "only with a journal; the directory of a backup is enough by itself"
            raise ConfigurationError([f"--backup: {problem}"])
        return _backup(request)
    journal = read_deletions(request.source)
    contents = None
    directory = request.backup or journal.backup
    if directory is not None:
        try:
            contents = BackupContents(BackupReader(directory))
        except BackupUnusableError as error:
            if request.backup is not None:
                raise
            note(f"{error}; if it was moved, give its place as --backup")
    return Source(printable(str(request.source)), journal.store, journal.manifests, contents)


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # reading it as a journal fails too, with a message
        return False


def _backup(request: RestoreRequest) -> Source:
    reader = BackupReader(request.source)
    status = read_status(request.source)
    for name, reason in () if status is None else lost_repositories(reader, status):
        if not request.repositories or name in request.repositories:
            raise BackupUnusableError(
                f"{printable(name)}: {reason}; --repository NAME restores another repository"
            )
    wanted = tuple(
        WantedManifest(repository, entry.digest, entry.tags, entry.linked_at)
        for repository in reader.repositories()
        for entry in _entries(reader, repository, request)
    )
    store = None if status is None else status.store
    return Source(printable(str(request.source)), store, wanted, BackupContents(reader))


def _entries(
    reader: BackupReader, repository: str, request: RestoreRequest
) -> Sequence[BackupEntry]:
    """Return what a backup holds of a repository.

    Nothing if that cannot be read and it is not asked for. Raises BackupUnusableError.
    """
    try:
        return reader.entries(repository)
    except BackupUnusableError as error:
        if request.repositories and repository not in request.repositories:
            return ()
        raise BackupUnusableError(
            f"{error}; --repository NAME restores another repository without it"
        ) from error
