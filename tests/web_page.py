"""A page of HTML as a tree, read without the tolerance that browsers have."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset({"br", "img", "input", "link", "meta"})
_BLOCKS = frozenset(
    {"div", "dl", "form", "h1", "h2", "ol", "p", "pre", "section", "table", "ul", "details", "nav"}
)
"""Elements that end a paragraph, whether or not it is closed."""


class WrongPageError(Exception):
    """A page is not well-formed."""


@dataclass(slots=True, eq=False)
class Element:
    """An element.

    Attributes:
        tag: its name.
        attributes: by name; empty for those without a value.
        above: what it is inside; None for the page itself.
        inner: elements and texts.

    """

    tag: str
    attributes: dict[str, str] = field(default_factory=dict)
    above: "Element | None" = None
    inner: "list[Element | str]" = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text inside, with single spaces."""
        return " ".join(
            "".join(each if isinstance(each, str) else f" {each.text} " for each in self.inner)
            .replace("\N{NO-BREAK SPACE}", " ")
            .split()
        )

    def all(self, *tags: str, css: str = "") -> "Iterator[Element]":
        """Yield elements inside, of any of some names and with a class."""
        for each in self.inner:
            if isinstance(each, Element):
                if (not tags or each.tag in tags) and (not css or css in each.classes):
                    yield each
                yield from each.all(*tags, css=css)

    def around(self, is_wanted: "Callable[[Element], bool]") -> "Element | None":
        """Return the nearest element around it that is wanted."""
        above = self.above
        while above is not None and not is_wanted(above):
            above = above.above
        return above

    @property
    def classes(self) -> list[str]:
        """Its classes."""
        return self.attributes.get("class", "").split()

    @property
    def ids(self) -> list[str]:
        """The ids of all elements inside."""
        return [each.attributes["id"] for each in self.all() if "id" in each.attributes]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Element("")
        self._at = self.page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)
        if tag not in _VOID:
            inner = self._at.inner[-1]
            assert isinstance(inner, Element)
            self._at = inner

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._add(tag, attrs)
        inside_svg = self._at.tag == "svg" or self._at.around(lambda each: each.tag == "svg")
        if tag not in _VOID and not inside_svg:
            raise WrongPageError(f"<{tag}/> does not end itself")

    def handle_endtag(self, tag: str) -> None:
        if tag != self._at.tag or self._at.above is None:
            raise WrongPageError(f"</{tag}> at {self.getpos()} ends <{self._at.tag}>")
        self._at = self._at.above

    def handle_data(self, data: str) -> None:
        self._at.inner.append(data)

    def _add(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            raise WrongPageError(f"<{tag}> at {self.getpos()} has an attribute twice: {names}")
        paragraph = self._at.tag == "p" or self._at.around(lambda each: each.tag == "p")
        if tag in _BLOCKS and paragraph:
            raise WrongPageError(f"<{tag}> at {self.getpos()} is inside <p>")
        given = {name: value or "" for name, value in attrs}
        self._at.inner.append(Element(tag, given, self._at))

    def end(self) -> Element:
        self.close()
        if self._at is not self.page:
            raise WrongPageError(f"<{self._at.tag}> is not ended")
        return self.page


def read_page(text: str) -> Element:
    """Return a page. Raises WrongPageError if it is not well-formed."""
    reader = _Reader()
    reader.feed(text)
    page = reader.end()
    ids = page.ids
    if len(ids) != len(set(ids)):
        raise WrongPageError(f"ids are not unique: {ids}")
    for each in page.all():
        for name in ("aria-labelledby", "aria-describedby", "for"):
            for wanted in each.attributes.get(name, "").split():
                if wanted not in ids:
                    raise WrongPageError(f"{name}={wanted} names nothing")
    return page


Key = tuple[str, str, str]
"""Section, row or label, and column of a figure."""


def figures_of(page: Element) -> dict[Key, int]:
    """Return every ``<data>`` of a page: in tables by section, row and column; else by label."""
    found: dict[Key, int] = {}
    for each in page.all("data"):
        section, label, column = _section(each), *_place(each)
        place, key = 1, (section, label, column)
        while key in found:
            place += 1
            key = (section, label, f"{column}{place}")
        found[key] = int(each.attributes["value"])
    return found


def rows_of(page: Element, section: str = "") -> list[dict[str, str]]:
    """Return the texts of the table in a section: of each row by column."""
    tables = [each for each in page.all("table") if _section(each) == section]
    (table,) = tables
    return [
        dict(zip(_columns(table), (each.text for each in row.all("th", "td")), strict=True))
        for body in table.all("tbody")
        for row in body.all("tr")
    ]


def _section(element: Element) -> str:
    section = element.around(lambda each: each.tag == "section")
    if section is None:
        return ""
    given = section.attributes
    return given.get("aria-labelledby") or given.get("aria-label", "")


def _place(element: Element) -> tuple[str, str]:
    row = element.around(lambda each: each.tag == "tr")
    if row is not None:
        cells = list(row.all("th", "td"))
        cell = element.around(lambda each: each.tag in ("td", "th"))
        table = row.around(lambda each: each.tag == "table")
        assert cell is not None
        assert table is not None
        return cells[0].text, _columns(table)[cells.index(cell)]
    box = element.around(lambda each: each.tag == "details" or "level" in each.classes)
    if box is not None:
        names = list(box.all("h2")) or list(box.all("span", css="action-name"))
        return names[0].text, ""
    return "", ""


def _columns(table: Element) -> list[str]:
    head = next(table.all("thead"), None)
    return [] if head is None else [each.text.rstrip(" ▾▴") for each in head.all("th")]
