"""The plan file: which manifests to delete, as ``plan`` writes it and ``apply`` reads it.

Lines that begin with ``#`` are comments. Three of them are read: the format, the store, and the
moment up to which the plan knows the store. Every other line is one manifest::

    # Plan format: 2
    # Store: /captain/data/registry
    # Made: 2026-11-24T02:39:10.123456+00:00
    team/app@sha256:f5ce...	595768	1.0,1.1
    team/app@sha256:bdd9...	0	-
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.domain.digests import parse_digest
from exporter.domain.errors import PlanRefusedError
from exporter.domain.text import printable

PLAN_FORMAT = 2

_FORMAT, _STORE, _MADE = "# Plan format: ", "# Store: ", "# Made: "
_AGAIN = "make the plan again with `plan`"
_NO_TAGS = "-"
_SHOWN = 80
_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True)
class PlannedDeletion:
    """One manifest to delete.

    Attributes:
        repository: where.
        digest: of the manifest, ``sha256:...``.
        freed_bytes: what a collector run then frees beyond the deletions before it.
        tags: the tags that point to it and go with it; none for an untagged manifest.

    """

    repository: str
    digest: str
    freed_bytes: int
    tags: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class PlanFile:
    """A plan as it was written.

    Attributes:
        store: identity of the store that it was made from.
        made_at: when the scan that it was made from began, Unix seconds. What was pushed later is
            newer than the plan.
        lines: what to delete, in this order; no manifest twice.

    """

    store: str
    made_at: float
    lines: tuple[PlannedDeletion, ...]


def digests_by_repository(lines: Iterable[PlannedDeletion]) -> Mapping[str, Collection[str]]:
    """Return the digests of lines, by repository."""
    digests: dict[str, set[str]] = {}
    for line in lines:
        digests.setdefault(line.repository, set()).add(line.digest)
    return digests


def plan_header(store: str, made_at: float) -> tuple[str, str, str]:
    """Return the comments that :func:`read_plan` reads; see :class:`PlanFile`."""
    moment = datetime.fromtimestamp(made_at, UTC).isoformat(timespec="microseconds")
    return f"{_FORMAT}{PLAN_FORMAT}", f"{_STORE}{store}", f"{_MADE}{moment}"


def plan_line(line: PlannedDeletion) -> str:
    """Return the line of one manifest."""
    return f"{line}\t{line.freed_bytes}\t{','.join(line.tags) or _NO_TAGS}"


def read_plan(text: str) -> PlanFile:
    """Return a plan. Raises PlanRefusedError with the line and what to do."""
    rows = [row.removesuffix("\r") for row in text.split("\n")]
    _check_format(rows)
    store, made = _value(rows, _STORE), _value(rows, _MADE)
    return PlanFile(store, _moment(made), tuple(_lines(rows)))


def _check_format(rows: Sequence[str]) -> None:
    found = next((row for row in rows if row.startswith(_FORMAT)), None)
    if found is None:
        raise PlanRefusedError(
            f"the plan has no line `{_FORMAT}{PLAN_FORMAT}`: it is of an older version, or no "
            f"plan; {_AGAIN}"
        )
    value = found.removeprefix(_FORMAT)
    if value != str(PLAN_FORMAT):
        raise PlanRefusedError(
            f"the plan has the format {_shown(value)}, and this version reads {PLAN_FORMAT}; "
            f"{_AGAIN} of this version"
        )


def _value(rows: Sequence[str], name: str) -> str:
    """Return the first comment of a name: notes of the plan come after the header."""
    for row in rows:
        if row.startswith(name):
            return row.removeprefix(name)
    raise PlanRefusedError(f"the plan has no line `{name.rstrip()}`; {_AGAIN}")


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise PlanRefusedError(_wrong_moment(text)) from error
    if moment.tzinfo is None:
        raise PlanRefusedError(_wrong_moment(text))
    return moment.timestamp()


def _wrong_moment(text: str) -> str:
    return f"the plan's line `{_MADE}{_shown(text)}` holds no time with a time zone; {_AGAIN}"


def _lines(rows: Sequence[str]) -> Iterator[PlannedDeletion]:
    places: dict[str, int] = {}
    for place, row in enumerate(rows, 1):
        if not row or row.startswith("#"):
            continue
        line = _line(row)
        if line is None:
            raise PlanRefusedError(
                f"line {place} of the plan is not `REPOSITORY@DIGEST TAB BYTES TAB TAGS`: "
                f"{_shown(row)}; {_AGAIN}"
            )
        before = places.setdefault(str(line), place)
        if before != place:
            raise PlanRefusedError(
                f"lines {before} and {place} of the plan name the same manifest, "
                f"{printable(str(line))}; {_AGAIN}"
            )
        yield line


def _line(row: str) -> PlannedDeletion | None:
    """Return what a line says; None if it makes no sense."""
    fields = row.split("\t")
    if len(fields) != len(("image", "bytes", "tags")):
        return None
    image, size, tags = fields
    repository, at, digest = image.partition("@")
    is_size = size.isascii() and size.isdigit() and len(size) <= _MOST_DIGITS
    if not (repository and at and is_size and tags) or parse_digest(digest) is None:
        return None
    names = () if tags == _NO_TAGS else tuple(tags.split(","))
    if not all(names) or len(set(names)) < len(names):
        return None
    return PlannedDeletion(repository, digest, int(size), names)


def _shown(text: str) -> str:
    return printable(text[:_SHOWN])
