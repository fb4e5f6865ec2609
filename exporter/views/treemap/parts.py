"""Which parts of something are shown as tiles: the largest; one tile stands for all the others.

Parts may have parts of their own, which are shown inside them as long as they are large enough.
"""

import enum
import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from exporter.domain.snapshot import RepositoryFigures
from exporter.domain.uses import Use


class TileKind(enum.StrEnum):
    """What a tile stands for.

    ``namespace``: repositories whose names have the same beginning. ``image``: what one or more
    tags of a repository point to. ``shared``: bytes that several repositories, or several images
    of one repository, need. ``untagged``: bytes that only untagged manifests need. ``garbage``:
    blobs that nothing references; ``unknown``: blobs that nothing is known to reference, while
    something could not be read. ``smaller``: all that is too small for a tile of its own.
    """

    NAMESPACE = "namespace"
    REPOSITORY = "repository"
    IMAGE = "image"
    SHARED = "shared"
    UNTAGGED = "untagged"
    GARBAGE = "garbage"
    UNKNOWN = "unknown"
    UPLOADS = "uploads"
    STRAYS = "strays"
    SMALLER = "smaller"


@dataclass(frozen=True, slots=True)
class Part:
    """Something that may become a tile.

    Attributes:
        kind: what it is.
        bytes: its size.
        name: of a namespace, with a slash at the end, or of a repository; the tags of an image.
        digest: of an image.
        repositories: those of a namespace, or the one.
        use: of an image; that of a repository follows from its tags.
        last_push_at: of what is no repository, Unix seconds; None if unknown.

    """

    kind: TileKind
    bytes: int
    name: str = ""
    digest: str | None = None
    repositories: Sequence[RepositoryFigures] = ()
    use: Use | None = None
    last_push_at: float | None = None


@dataclass(frozen=True, slots=True)
class Detail:
    """How much a picture can show.

    Attributes:
        tiles: at most so many.
        least_share: a part with a smaller share of the picture gets no tile.
        opening_share: a namespace with a smaller share of the picture is not divided.

    """

    tiles: int
    least_share: float
    opening_share: float


FINE = Detail(tiles=400, least_share=1 / 2500, opening_share=1 / 60)
"""For a screen."""


@dataclass(slots=True)
class Choice:
    """Parts of one thing, divided into those with a tile and those without.

    Attributes:
        parts: all of them, the largest first.
        shown: how many of them have a tile; no other is larger than these.
        opened: what is shown inside some of them, by their place in ``parts``.

    """

    parts: Sequence[Part]
    shown: int = 0
    opened: dict[int, "Choice"] = field(default_factory=dict)


def by_size(parts: Iterable[Part]) -> list[Part]:
    """Return parts, the largest first, equal ones by name."""
    return sorted(parts, key=lambda part: (-part.bytes, part.name, part.kind))


def choose(parts: Sequence[Part], detail: Detail) -> Choice:
    """Return which of the parts are shown, and what inside them: the largest ones first."""
    root = Choice(parts)
    total = sum(part.bytes for part in parts)
    least, opening = total * detail.least_share, total * detail.opening_share
    room = detail.tiles - 1  # one of each division is for what is smaller
    choices = [root]
    waiting = [(-part.bytes, 0) for part in parts[:1]]
    while waiting and room > 0:
        size, number = heapq.heappop(waiting)
        choice = choices[number]
        part = choice.parts[choice.shown]
        if not size or -size < least:
            break
        choice.shown += 1
        room -= 1
        if choice.shown < len(choice.parts):
            heapq.heappush(waiting, (-choice.parts[choice.shown].bytes, number))
        if part.kind is TileKind.NAMESPACE and -size >= opening and room > 1:
            inner = Choice(divided(part.repositories, part.name))
            choice.opened[choice.shown - 1] = inner
            choices.append(inner)
            heapq.heappush(waiting, (-inner.parts[0].bytes, len(choices) - 1))
            room -= 1
    for choice in choices:
        choice.opened = {place: inner for place, inner in choice.opened.items() if inner.shown}
        if len(choice.parts) - choice.shown == 1 and choice.parts[-1].bytes:
            choice.shown += 1  # a tile "1 smaller" would be as large
    return root


def choose_after(parts: Sequence[Part], skipped: int, detail: Detail) -> int:
    """Return the end of those after the first ``skipped`` parts that can be shown together.

    At least one if there is one with bytes; none of them is too small beside the others.
    """
    end = skipped
    sizes = (part.bytes for part in parts[skipped : skipped + detail.tiles])
    for total in accumulate(sizes):
        if not parts[end].bytes or parts[end].bytes < total * detail.least_share:
            break
        end += 1
    return end


def divided(repositories: Iterable[RepositoryFigures], namespace: str) -> list[Part]:
    """Return the namespaces and repositories directly in a namespace, the largest first.

    A namespace that holds only one thing is left out in favour of that.
    """
    start = len(namespace)
    groups: dict[str, list[RepositoryFigures]] = {}
    parts = []
    for each in repositories:
        first, slash, _ = each.name[start:].partition("/")
        if slash:
            groups.setdefault(first, []).append(each)
        else:
            parts.append(_repository(each))
    parts += [
        _repository(found[0]) if len(found) == 1 else _namespace(found) for found in groups.values()
    ]
    return by_size(parts)


def _repository(figures: RepositoryFigures) -> Part:
    size, name = figures.exclusive_bytes, figures.name
    return Part(TileKind.REPOSITORY, size, name, repositories=(figures,))


def _namespace(repositories: Sequence[RepositoryFigures]) -> Part:
    names = [each.name for each in repositories]
    first, last = min(names), max(names)
    same = 0
    while same < min(len(first), len(last)) and first[same] == last[same]:
        same += 1
    name = first[: first.rfind("/", 0, same) + 1]
    size = sum(each.exclusive_bytes for each in repositories)
    return Part(TileKind.NAMESPACE, size, name, repositories=repositories)
