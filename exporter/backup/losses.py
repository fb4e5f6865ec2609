"""What a backup has lost of what its runs have recorded, beside the blobs."""

from collections.abc import Iterator

from exporter.backup.directory import STATUS
from exporter.backup.reader import BackupReader
from exporter.backup.status import BackupStatus
from exporter.domain.text import plural

_ON_PURPOSE = f"if it was removed on purpose, remove its line from `repositories` in {STATUS}"


def lost_repositories(reader: BackupReader, status: BackupStatus) -> Iterator[tuple[str, str]]:
    """Yield the name of each repository that is not in the backup any more, and what to do.

    Raises BackupUnusableError.
    """
    found = set(reader.repositories())
    for name, tags in sorted(status.repositories.items()):
        if name not in found:
            reason = (
                f"the backup has lost this repository, with {plural(tags, 'tag')}: make the backup "
                f"again, or restore it from a copy; {_ON_PURPOSE}"
            )
            yield name, reason


def lost_tags(status: BackupStatus, repository: str, tags: int) -> str | None:
    """Return that an index lists fewer tags than a run has written, and what to do; None if not.

    ``tags`` is how many it lists.
    """
    recorded = status.repositories.get(repository, 0)
    if tags >= recorded:
        return None
    return (
        f"lists {plural(tags, 'tag')}, and {recorded:,} were saved: make the backup again, or "
        "restore this file from a copy"
    )
