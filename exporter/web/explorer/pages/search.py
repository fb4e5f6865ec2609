"""The page ``/search``: repositories, tags, digests and apps."""

from exporter.views.search import MOST_HITS, search
from exporter.web.explorer.question import Question
from exporter.web.explorer.rendering import Page


def make(question: Question) -> Page:
    """Return what was found."""
    query = question.parameters.text("q")
    found = search(question.view, query)
    values = {"found": found, "most": MOST_HITS, "searched": query}
    return Page("search.html", f"Search: {query}" if query else "Search", values)
