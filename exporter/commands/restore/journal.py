"""Read which manifests ``apply`` has deleted, or may have."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exporter.commands.restore.wanted import WantedManifest
from exporter.domain.digests import parse_digest
from exporter.domain.errors import JournalUnusableError
from exporter.domain.journal import Journal, JournalLine, Result, read_journal
from exporter.domain.text import printable
from exporter.store.format.layout import is_repository_name, is_tag_name

_NOT_DELETED = (Result.LEFT, Result.GONE)
"""``apply`` has not deleted these; whoever did had a reason that it does not know."""


@dataclass(frozen=True, slots=True)
class Deletions:
    """What a journal says.

    Attributes:
        store: identity of the store.
        backup: the directory of the backup that ``apply`` made first; None if it made none.
        manifests: what ``apply`` has deleted, or may have; not what was gone already.

    """

    store: str
    backup: Path | None
    manifests: tuple[WantedManifest, ...]


def read_deletions(path: Path) -> Deletions:
    """Read a journal; a last line that a crash has cut short is left out.

    Raises JournalUnusableError if it cannot be read or is no journal.
    """
    name = printable(str(path))
    try:
        journal = read_journal(path.read_bytes())
    except OSError as error:
        raise JournalUnusableError(
            f"cannot read {name}: {error.strerror}; give the directory of a backup, or the "
            "journal that `apply` has written"
        ) from error
    except JournalUnusableError as error:
        raise JournalUnusableError(f"{name}: {error}") from error
    head = journal.head
    if head is None:
        raise JournalUnusableError(f"{name}: not even the first line of a journal is in it")
    backup = None if head.backup is None else Path(head.backup)
    return Deletions(head.store, backup, tuple(_deleted(journal, name)))


def _deleted(journal: Journal, name: str) -> Iterator[WantedManifest]:
    for line in journal.lines.values():
        if not _is_legal(line):
            raise JournalUnusableError(
                f"{name}: a line about {printable(line.repository)[:100]} holds names that no "
                "registry has; it was not written by `apply`"
            )
        if line.result in _NOT_DELETED:
            continue
        yield WantedManifest(line.repository, line.digest, line.tags, line.linked_at)


def _is_legal(line: JournalLine) -> bool:
    is_legal = is_repository_name(line.repository) and parse_digest(line.digest) is not None
    return is_legal and all(map(is_tag_name, line.tags))
