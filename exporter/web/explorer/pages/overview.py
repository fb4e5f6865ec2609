"""The page ``/``: the store at a glance."""

from collections.abc import Iterable

from exporter.domain.errors import NotReadYetError
from exporter.views.chart.time_chart import time_chart
from exporter.views.overview import OF_THE_DISK, Overview, Part, PartKind, overview
from exporter.web.explorer.periods import period_links, read_period
from exporter.web.explorer.question import Question
from exporter.web.explorer.rendering import Page

_PAGES = {
    PartKind.RUNNING: {"use": "running"},
    PartKind.ROLLBACK: {"use": "rollback"},
    PartKind.SUPERSEDED: {"use": "superseded"},
    PartKind.ORPHANED: {"use": "orphaned"},
    PartKind.UNMANAGED: {"use": "unmanaged"},
    PartKind.TAGGED: {},
}
"""Filters of the table of repositories, by the part of the disk that they explain."""

_LARGE_RATIO = 0.3

_ELSEWHERE = {
    PartKind.UNTAGGED: "/clean-up",
    PartKind.GARBAGE: "/clean-up",
    PartKind.UPLOADS: "/issues",
    PartKind.STRAYS: "/issues",
}


def make(question: Question) -> Page:
    """Return the overview; before the first scan, how far that is."""
    period = read_period(question.parameters)
    try:
        shown = overview(question.view, period)
    except NotReadYetError as error:
        return Page("starting.html", "Starting", {"reason": str(error)})
    return Page(
        "overview.html",
        "Overview",
        {
            "overview": shown,
            "disk_bar": _bar(shown.parts),
            "store_bar": _store_bar(shown),
            "addresses": _addresses(question, shown),
            "store_chart": time_chart(shown.trend.store_points),
            "avail_chart": time_chart(shown.trend.avail_points),
            "periods": period_links(question.links, "/", {}, period, "grew"),
        },
    )


def _addresses(question: Question, shown: Overview) -> dict[PartKind, str]:
    addresses = {}
    for part in shown.parts:
        if part.kind in _PAGES:
            addresses[part.kind] = question.links.to("/repositories", _PAGES[part.kind])
        elif part.kind in _ELSEWHERE:
            addresses[part.kind] = question.links.to(_ELSEWHERE[part.kind])
    return addresses


def _store_bar(shown: Overview) -> list[tuple[PartKind, float, float]]:
    """Return the parts of the store alone; none if those of the disk show them well enough."""
    if shown.disk is not None and shown.store_bytes >= _LARGE_RATIO * shown.disk.total:
        return []
    return _bar(each for each in shown.parts if each.kind not in OF_THE_DISK)


def _bar(parts: Iterable[Part]) -> list[tuple[PartKind, float, float]]:
    """Return the parts with their start and length in a bar, in per cent."""
    listed = list(parts)
    total = sum(each.bytes for each in listed) or 1
    bar, start = [], 0.0
    for part in listed:
        length = 100 * part.bytes / total
        if part.bytes:
            bar.append((part.kind, start, length))
        start += length
    return bar
