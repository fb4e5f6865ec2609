"""The page ``/issues``: what is wrong, where, and what to do."""

from exporter.views.health.findings import FindingKind, findings
from exporter.web.explorer.question import Question
from exporter.web.explorer.rendering import Page
from exporter.web.explorer.tables import pager


def make(question: Question) -> Page:
    """Return the first findings of each kind, or a page of one kind."""
    kind = question.parameters.choice("kind", FindingKind)
    page = question.parameters.number("page", 1)
    found = findings(question.view, kind, page)
    pages = None
    if kind is not None:
        pages = pager(question.links, "/issues", {"kind": kind}, page, found.groups[0].pages)
    return Page("issues.html", "Issues", {"found": found, "kind": kind, "pager": pages})
