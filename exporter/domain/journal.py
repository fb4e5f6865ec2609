"""The journal of ``apply``: what was deleted, line by line as JSON; and what ``restore`` records.

The first line says what the journal is of, every other line what happened to one manifest. Of
several lines about a manifest the last one counts.
"""

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from exporter.domain.errors import JournalUnusableError

JOURNAL_FORMAT = 1

_BEGINNING = b'{"plan":"'
"""What every journal begins with; a crash may have cut off a part of it."""

_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Result(enum.StrEnum):
    """What happened to a manifest.

    ``asked``: the registry is being asked to delete it. If this is the last line about a manifest,
    ``apply`` was killed meanwhile, or could not finish, as its reason says: it may be deleted, or
    some of its tags. ``deleted``: by ``apply``. ``gone``: it
    was gone already. ``left``: it was not deleted.
    """

    ASKED = "asked"
    DELETED = "deleted"
    GONE = "gone"
    LEFT = "left"


class JournalHead(msgspec.Struct, frozen=True):
    """What a journal is of.

    Attributes:
        plan: the sha256 of the plan's text, in hexadecimal.
        store: identity of the store.
        backup: the absolute path of the backup that was made before; None without one.
        time: when the first run began, Unix seconds.
        format: of the journal.

    """

    plan: str
    store: str
    backup: str | None
    time: float
    format: int = JOURNAL_FORMAT


class JournalLine(msgspec.Struct, frozen=True):
    """What happened to one manifest.

    Attributes:
        time: when, Unix seconds.
        repository: where.
        digest: of the manifest, ``sha256:...``.
        result: what happened.
        media_type: of the manifest, as it is put again; None if its content could not be read.
        tags: that went with it, each with when it was written, Unix seconds; None if unknown.
        linked_at: when its repository got it, Unix seconds; None if unknown.
        reason: why it was left, or what else to know; None if there is nothing.

    """

    time: float
    repository: str
    digest: str
    result: Result
    media_type: str | None = None
    tags: Mapping[str, float | None] = msgspec.field(default_factory=dict)
    linked_at: float | None = None
    reason: str | None = None

    @property
    def manifest(self) -> tuple[str, str]:
        """The repository and the digest."""
        return self.repository, self.digest


@dataclass(frozen=True, slots=True)
class Journal:
    """What was read from a journal.

    Attributes:
        head: what it is of; None if not even its first line is complete.
        lines: the last line about each manifest, by repository and digest, in the order in which
            the manifests were first named.
        length: bytes up to the end of the last complete line; a line that a crash has cut short
            comes after them.

    """

    head: JournalHead | None = None
    lines: Mapping[tuple[str, str], JournalLine] = field(default_factory=dict)
    length: int = 0


def plan_hash(text: str) -> str:
    """Return what names a plan in a journal, from the plan's text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def encode_journal(line: JournalHead | JournalLine) -> bytes:
    """Return one line of a journal."""
    return msgspec.json.encode(line) + b"\n"


def read_journal(content: bytes) -> Journal:
    """Return what a journal says. Raises JournalUnusableError with the line and what to do."""
    if not _BEGINNING.startswith(content[: len(_BEGINNING)]) and b"\n" not in content:
        raise _unusable(1)  # another file, and no first line that a crash has cut short
    length = content.rfind(b"\n") + 1
    if not length:
        return Journal()
    first, *others = content[: length - 1].split(b"\n")
    try:
        head = msgspec.json.decode(first, type=JournalHead)
    except _UNDECODABLE as error:
        raise _unusable(1) from error
    if "\0" in (head.backup or ""):  # no path has it
        raise _unusable(1)
    if head.format != JOURNAL_FORMAT:
        raise JournalUnusableError(
            f"the journal has the format {head.format}, and this version reads {JOURNAL_FORMAT}; "
            "use the version of this program that wrote it"
        )
    lines: dict[tuple[str, str], JournalLine] = {}
    decode = msgspec.json.Decoder(JournalLine).decode
    for place, row in enumerate(others, 2):
        try:
            line = decode(row)
        except _UNDECODABLE as error:
            raise _unusable(place) from error
        lines[line.manifest] = line
    return Journal(head, lines, length)


def _unusable(place: int) -> JournalUnusableError:
    return JournalUnusableError(
        f"line {place} of the journal is not one that `apply` writes; is it another file?"
    )


class RestoredTag(msgspec.Struct, frozen=True):
    """A tag that was put back: one line of the file ``restored.jsonl``.

    Attributes:
        store: identity of the store.
        repository: where the tag is.
        tag: its name.
        digest: of the manifest that it points to.
        restored_at: when it was put back, Unix seconds.
        pushed_at: when it was written before, Unix seconds; None if unknown.

    """

    store: str
    repository: str
    tag: str
    digest: str
    restored_at: float
    pushed_at: float | None
