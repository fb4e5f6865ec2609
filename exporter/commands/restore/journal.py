"""Read the journal of ``apply``: which manifests it has deleted, or found deleted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from exporter.commands.restore.wanted import WantedManifest
from exporter.domain.digests import parse_digest
from exporter.domain.errors import BackupUnusableError
from exporter.domain.text import printable
from exporter.store.format.layout import is_repository_name, is_tag_name

_FORMAT = 1
_GONE = frozenset({"asked", "deleted", "gone"})
"""``asked``: `apply` was killed before the answer came; it may be gone."""


class _Head(msgspec.Struct):
    format: int
    store: str
    backup: str | None = None


class _Line(msgspec.Struct):
    repository: str
    digest: str
    result: str
    tags: dict[str, float | None] = {}
    linked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """What a journal says.

    Attributes:
        store: identity of the store.
        backup: the directory of the backup that ``apply`` made first; None if it made none.
        deleted: what is no longer there.

    """

    store: str
    backup: Path | None
    deleted: tuple[WantedManifest, ...]


def read_journal(path: Path) -> Journal:
    """Read a journal; a last line that a crash has cut short is left out.

    Raises BackupUnusableError if it cannot be read or is no journal.
    """
    name = printable(str(path))
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise BackupUnusableError(
            f"cannot read {name}: {error.strerror}; give the directory of a backup, or the "
            "journal that `apply` has written"
        ) from error
    try:
        head = msgspec.json.decode(lines[0], type=_Head)
    except (ValueError, RecursionError) as error:
        raise BackupUnusableError(
            f"{name} is not a journal of `apply`: its first line is not that of one"
        ) from error
    if head.format != _FORMAT:
        raise BackupUnusableError(
            f"{name} is of format {head.format}, this version reads {_FORMAT}; use the version "
            "that has written it"
        )
    deleted: dict[tuple[str, str], WantedManifest] = {}
    for each in _deleted(lines[1:], name):
        key = (each.repository, each.digest)
        deleted[key] = _join(deleted[key], each) if key in deleted else each
    return Journal(
        head.store, None if head.backup is None else Path(head.backup), tuple(deleted.values())
    )


def _deleted(lines: list[bytes], name: str) -> Iterator[WantedManifest]:
    for number, text in enumerate(lines[:-1], 2):  # what follows the last line feed is no line
        try:
            line = msgspec.json.decode(text, type=_Line)
            _check(line)
        except (ValueError, RecursionError) as error:
            raise BackupUnusableError(
                f"line {number} of {name} is damaged ({printable(str(error))[:200]}); remove the "
                "line to put back the others"
            ) from error
        if line.result in _GONE:
            yield WantedManifest(line.repository, line.digest, line.tags, line.linked_at)


def _join(first: WantedManifest, second: WantedManifest) -> WantedManifest:
    """Return what two lines say of one manifest: either run of `apply` may know more tags."""
    linked_at = first.linked_at or second.linked_at
    tags = {**second.tags, **first.tags}
    return WantedManifest(first.repository, first.digest, tags, linked_at)


def _check(line: _Line) -> None:
    if not is_repository_name(line.repository):
        raise ValueError("its repository has no legal name")
    if parse_digest(line.digest) is None:
        raise ValueError("its digest is none")
    if not all(map(is_tag_name, line.tags)):
        raise ValueError("a tag has no legal name")
