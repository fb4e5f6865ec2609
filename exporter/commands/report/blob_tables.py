"""The report of one blob for people: tables on a terminal."""

from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from exporter.commands.report.tables import MEANINGS, console_on
from exporter.support.quantities import format_size
from exporter.views.blob_answer import MISSING, BlobAnswer

_MISSING_MEANS = "referenced, but not on disk"
_UNKNOWN_MEANS = "not known: a part of the store could not be read"


def print_blob(answer: BlobAnswer, top: int | None, output: TextIO) -> None:
    """Print what a blob is and what needs it; ``top``: how many tags and manifests at most."""
    console = console_on(output)
    console.print(f"[bold]{answer.digest}[/]", soft_wrap=True)
    for name, text in _facts(answer):
        console.print(f"{name + ':':<10} {escape(text)}", soft_wrap=True)
    headers = ["Repository", "Tag"]
    tags = [[each.repository, each.tag] for each in answer.tags]
    if any(each.use is not None for each in answer.tags):
        headers.append("Use")
        tags = [[*row, each.use or ""] for row, each in zip(tags, answer.tags, strict=True)]
    _print_table(console, "Tags that need it", headers, tags, top)
    headers = ["Digest", "Kind", "Repositories"]
    manifests = [
        [each.digest, each.kind, ", ".join(each.repositories)] for each in answer.manifests
    ]
    _print_table(console, "Manifests and indexes that need it", headers, manifests, top)
    if answer.apps is not None:
        apps = [[each.app, each.use, each.image] for each in answer.apps]
        _print_table(console, "Apps that need it", ["App", "Use", "Image"], apps)


def _facts(answer: BlobAnswer) -> Iterator[tuple[str, str]]:
    yield "Kind", answer.kind + ("" if answer.media_type is None else f" ({answer.media_type})")
    if answer.bytes is not None:
        yield "Size", f"{format_size(answer.bytes)} ({answer.bytes:,} bytes)"
    meanings = {MISSING: _MISSING_MEANS, **{str(state): text for state, text in MEANINGS.items()}}
    if answer.state is None:
        yield "State", _UNKNOWN_MEANS
    else:
        yield "State", f"{answer.state}: {meanings[answer.state]}"
    linked = (f"{each.repository} ({' and '.join(each.links)})" for each in answer.repositories)
    yield "Linked in", ", ".join(linked) or "no repository"


def _print_table(
    console: Console,
    title: str,
    headers: Sequence[str],
    rows: Sequence[Sequence[str]],
    top: int | None = None,
) -> None:
    if not rows:
        console.print(f"\n[bold]{title}[/]: none")
        return
    console.print(f"\n[bold]{title}[/]")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows[:top]:
        table.add_row(*map(escape, row))
    console.print(table)
    if top is not None and len(rows) > top:
        console.print(f"and {len(rows) - top} more")
