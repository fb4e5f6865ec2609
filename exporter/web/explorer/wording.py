"""How values are written on pages."""

from datetime import UTC, datetime

from exporter.support.quantities import format_duration, format_size
from exporter.views.overview import PartKind

UNKNOWN = "unknown"

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

PARTS = {
    PartKind.RUNNING: "running",
    PartKind.ROLLBACK: "rollback",
    PartKind.SUPERSEDED: "superseded",
    PartKind.ORPHANED: "orphaned",
    PartKind.UNMANAGED: "unmanaged",
    PartKind.TAGGED: "tagged",
    PartKind.UNTAGGED: "untagged",
    PartKind.GARBAGE: "garbage",
    PartKind.UPLOADS: "uploads",
    PartKind.STRAYS: "stray files",
    PartKind.OTHER: "everything else",
    PartKind.RESERVED: "reserved",
    PartKind.FREE: "free",
}
"""Names of the parts of a disk."""

MEANINGS = {
    PartKind.RUNNING: "images that apps run",
    PartKind.ROLLBACK: "images that apps can be rolled back to",
    PartKind.SUPERSEDED: "older images of existing apps",
    PartKind.ORPHANED: "images of apps that are not known",
    PartKind.UNMANAGED: "images that no app is known to need, or not to need",
    PartKind.TAGGED: "images that a tag points to",
    PartKind.UNTAGGED: "manifests without a tag, and what only they need",
    PartKind.GARBAGE: "blobs that nothing references: the collector frees them",
    PartKind.UPLOADS: "unfinished pushes",
    PartKind.STRAYS: "files that the registry did not write",
    PartKind.OTHER: "not the registry's, and its directories and links",
    PartKind.RESERVED: "free, but only for root",
    PartKind.FREE: "free for everybody",
}


def size(value: float | None) -> str:
    """Return bytes as ``1.5 GiB``."""
    return UNKNOWN if value is None else format_size(value)


def growth(value: float | None) -> str:
    """Return a change in bytes with its sign."""
    if value is None:
        return UNKNOWN
    return f"{'+' if value > 0 else ''}{format_size(value)}".replace("-", "\N{MINUS SIGN}")


def count(value: int | None) -> str:
    """Return a number with its thousands separated: ``12,345``."""
    return UNKNOWN if value is None else f"{value:,}"


def percent(ratio: float) -> str:
    """Return a share, 0 to 1, as ``12 %``; never 0 or 100 for what only nearly is."""
    if 0 < ratio < 0.001:  # noqa: PLR2004 - a tenth of a per cent
        return "< 0.1 %"
    if 0 < ratio < 0.1 or 0.99 < ratio < 1:  # noqa: PLR2004 - where a whole number says little
        return f"{min(100 * ratio, 99.9) if ratio < 1 else 100:.1f} %"
    return f"{100 * ratio:.0f} %"


def age(moment: float | None, now: float) -> str:
    """Return how long ago a moment was, both in Unix seconds."""
    if moment is None:
        return UNKNOWN
    seconds = now - moment
    return "just now" if seconds < 1 else f"{format_duration(seconds)} ago"


def duration(seconds: float) -> str:
    """Return seconds as ``24h`` or ``30d``."""
    return format_duration(seconds)


def moment(seconds: float | None) -> str:
    """Return a moment, in Unix seconds, as ``2026-11-29 10:21:09 UTC``."""
    if seconds is None:
        return UNKNOWN
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return UNKNOWN


def minute(seconds: float | None) -> str:
    """Return a moment, in Unix seconds, without its seconds and its time zone, which is UTC."""
    return moment(seconds)[: len("2026-11-29 10:21")] if seconds is not None else UNKNOWN


def mark(seconds: float) -> str:
    """Return a round moment as an axis has it: ``14:00``, ``3 Nov``, ``1 Jan 2027``; UTC."""
    at = datetime.fromtimestamp(seconds, UTC)
    if at.hour or at.minute:
        return f"{at:%H:%M}"
    is_year = at.day == at.month == 1
    return f"{at.day} {_MONTHS[at.month - 1]}{f' {at.year}' if is_year else ''}"


def day(seconds: float | None) -> str:
    """Return the day of a moment, in Unix seconds."""
    return moment(seconds)[: len("2026-11-29")] if seconds is not None else UNKNOWN


def short(digest: str) -> str:
    """Return the beginning of a digest, enough to search for."""
    algorithm, colon, encoded = digest.partition(":")
    return f"{algorithm}{colon}{encoded[:12]}" if colon else digest[:12]
