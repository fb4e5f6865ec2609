"""Parse the runbooks: headings, links and commands."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).parent.parent / "docs" / "runbooks"
INDEX = DIRECTORY / "README.md"
FREEING_SPACE = DIRECTORY / "freeing-space.md"
PAGES = sorted(DIRECTORY.glob("*.md"))
ALERT_PAGES = [page for page in PAGES if page not in {INDEX, FREEING_SPACE}]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#+) (.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE_SPAN = re.compile(r"`([^`]+)`")
# not the name of the service or image, which options of another program may follow
_COMMAND = re.compile(r"(?:\bregistry-storage-exporter|\$EXPORTER) (?!-)([^\n]*)")
_NEXT_QUERY = re.compile(r"\n+(?=\S)")
_END_OF_COMMAND = {"|", ">", ">>", ";", "&&", "||", "&", "2>"}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, its language, and the heading above it."""

    language: str
    content: str
    heading: str


def prose_of(page: str) -> str:
    """Return a page without its fenced blocks."""
    return _BLOCK.sub("", page)


def headings_of(page: str, level: int) -> list[str]:
    """Return the headings of one level, in order."""
    return [text for marks, text in _HEADING.findall(prose_of(page)) if len(marks) == level]


def anchors_of(page: str) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    texts = [text for _, text in _HEADING.findall(prose_of(page))]
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}


def links_of(page: str) -> list[str]:
    """Return the links of a page, without those to other sites."""
    return [each for each in _LINK.findall(prose_of(page)) if "://" not in each]


def blocks_of(page: str, language: str | None = None) -> list[Block]:
    """Return the fenced blocks in order, of all languages or of one."""
    blocks = []
    for match in _BLOCK.finditer(page):
        before = _HEADING.findall(prose_of(page[: match.start()]))
        heading = before[-1][1] if before else ""
        blocks.append(Block(match[1], match[2], heading))
    return [block for block in blocks if language in {None, block.language}]


def commands_below(page: str, heading: str) -> list[str]:
    """Return the shell blocks below a heading; raise ValueError if there is none."""
    found = [block.content for block in blocks_of(page, "sh") if block.heading == heading]
    if not found:
        raise ValueError(f"no shell block below {heading!r}")
    return found


def queries_of(page: str) -> list[str]:
    """Return the queries of a page: each unindented line begins a new one."""
    blocks = [block.content for block in blocks_of(page, "promql")]
    return [query for block in blocks for query in _NEXT_QUERY.split(block.strip())]


def exporter_commands_of(page: str) -> Iterator[list[str]]:
    """Yield the arguments of every command line of the exporter, in shell blocks and in the text.

    Shown sessions are left out: they may be there for their error.
    """
    spans = [" ".join(span.split()) for span in _CODE_SPAN.findall(prose_of(page))]
    texts = [block.content.replace("\\\n", " ") for block in blocks_of(page, "sh")]
    for text in (*spans, *texts):
        for match in _COMMAND.finditer(text):
            yield list(_arguments(match[1]))


def _arguments(line: str) -> Iterator[str]:
    words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
    words.whitespace_split = True
    for word in words:
        if word in _END_OF_COMMAND or word.startswith((")", "<")):
            return
        yield word
