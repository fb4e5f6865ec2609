"""The order of a repository's tags, newest first: by their times, if these can order them.

Times cannot order tags whose links were written at the same time, as after a restore that gave
every file the same time. Nor can they if the repository looks copied without times: then they tell
in which order the directories were copied. What the images themselves say orders such tags: when
they were created, then their version numbers.
"""

import enum
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from msgspec import structs

from exporter.analysis.deletion.choice import Parts
from exporter.domain.digests import BlobNumber
from exporter.domain.model import Inventory, Repository, Tag

_PAUSE_SECONDS = 300.0
"""Links of one repository that a copy writes follow one another within this time."""

_OLDER_SECONDS = 3600.0
"""A repository that holds anything older than this before the copy was not copied as a whole."""

_SPREAD = 10
"""Times of creation must lie so many times as far apart as those of the links."""

DateReader = Callable[[Inventory, Collection[BlobNumber]], Mapping[BlobNumber, float]]
"""Returns when images were created, in Unix seconds, of those that say so; maybe of others, too."""


OldTimes = Callable[[Inventory, Repository], Mapping[str, float]]
"""Returns when tags that were put back had been pushed, in Unix seconds, by name.

Raises PlanRefusedError if that is unknown.
"""


class Basis(enum.StrEnum):
    """What orders tags whose times cannot."""

    CREATED = "when their images were created"
    NUMBER = "their version numbers"


@dataclass(frozen=True, slots=True)
class Dating:
    """What else than their times can order tags.

    Attributes:
        read: reads when images were created; only called for tags whose times cannot order them.
        is_numbered: whether tags of a repository that are plain numbers count its versions.
        old_times: when tags that were put back had been pushed.

    """

    read: DateReader = lambda _inventory, _manifests: {}
    is_numbered: Callable[[str], bool] = lambda _: False
    old_times: OldTimes = lambda _inventory, _repository: {}


UNDATED = Dating()
"""Times alone order tags."""


class TooManyImagesError(Exception):
    """More images would have to be read than is allowed."""


def remembering(dating: Dating, most: int | None = None) -> Dating:
    """Return a dating that reads each image of one inventory once, also if it says nothing.

    With ``most``, it raises TooManyImagesError before it reads more images than that.
    """
    dates: dict[BlobNumber, float] = {}
    asked: set[BlobNumber] = set()

    def read(inventory: Inventory, manifests: Collection[BlobNumber]) -> Mapping[BlobNumber, float]:
        if asked.issuperset(manifests):
            return dates
        unknown = [number for number in manifests if number not in asked]
        if most is not None and len(asked) + len(unknown) > most:
            raise TooManyImagesError
        dates.update(dating.read(inventory, unknown))
        asked.update(unknown)
        return dates

    return replace(dating, read=read)


def newest_first(repository: Repository) -> list[Tag]:
    """Return all tags of a repository by the time of their links, newest first.

    Tags of the same time are sorted by name; a tag whose time is unknown is the oldest.
    """
    # tags are sorted by name, and stay so if their times are equal
    try:
        return sorted(repository.tags, key=attrgetter("updated_at"), reverse=True)
    except TypeError:  # one has no time
        return sorted(repository.tags, key=_written_at, reverse=True)


def keep_newest(repository: Repository, keep: int) -> Parts:
    """Return the tags beyond the ``keep`` newest by their times, newest first, and the others."""
    if len(repository.tags) <= keep:
        return (), repository.tags
    tags = newest_first(repository)
    return tags[keep:], tags[:keep]


@dataclass(slots=True)
class TagOrder:
    """Orders tags of one inventory, and remembers where their times could not.

    Attributes:
        inventory: of the store.
        dating: what else can order them.
        ordered: the tags of each repository that something else has ordered, and what.
        tied: the tags of each repository of which some would go and some would stay, and that
            nothing orders.

    """

    inventory: Inventory
    dating: Dating = UNDATED
    ordered: dict[str, tuple[Basis, Sequence[Tag]]] = field(default_factory=dict)
    tied: dict[str, Sequence[Tag]] = field(default_factory=dict)

    def keep_newest(self, repository: Repository, keep: int) -> Parts:
        """Return the tags beyond the ``keep`` newest, newest first, and the ``keep`` newest.

        Raises PlanRefusedError if it is unknown when tags that were put back had been pushed.
        """
        if not 0 < keep < len(repository.tags):
            return keep_newest(repository, keep)
        dated = self.dated(repository)
        tags = newest_first(dated)
        if not is_border_clear(tags, keep):
            self._order(dated, tags, keep)
        if dated is not repository:  # only their order is that of the old times
            by_name = {tag.name: tag for tag in repository.tags}
            tags = [by_name[tag.name] for tag in tags]
        return tags[keep:], tags[:keep]

    def dated(self, repository: Repository) -> Repository:
        """Return a repository with the old times of tags that were put back."""
        old = self.dating.old_times(self.inventory, repository)
        if not old:
            return repository
        tags = [
            structs.replace(tag, updated_at=old[tag.name]) if tag.name in old else tag
            for tag in repository.tags
        ]
        return replace(repository, tags=tuple(tags))

    def _order(self, repository: Repository, tags: list[Tag], keep: int) -> None:
        """Order those of ``tags`` anew that their times cannot order around the border."""
        same = _around(tags, keep, 0.0)
        near = _around(tags, keep, _PAUSE_SECONDS)
        if not _is_oldest(repository, tags, near):
            near = same
        targets = {tag.target for tag in tags[near] if tag.target is not None}
        if len(targets) < 2:  # noqa: PLR2004 - one digest ties with no other
            return
        dates = self.dating.read(self.inventory, targets)
        part = near if near == same or _is_copied(tags[near], dates) else same
        if part.stop - part.start > 1:
            self._order_part(repository.name, tags, part, keep, dates)

    def _order_part(
        self,
        name: str,
        tags: list[Tag],
        part: slice,
        keep: int,
        dates: Mapping[BlobNumber, float],
    ) -> None:
        is_numbered = self.dating.is_numbered(name)
        basis, keys = _keys(tags[part], dates, is_numbered=is_numbered)
        tags[part] = sorted(tags[part], key=lambda tag: keys[tag.name], reverse=True)
        border = keys[tags[keep].name]
        going = {tag.target for tag in tags[keep : part.stop] if keys[tag.name] == border}
        staying = {tag.target for tag in tags[part.start : keep] if keys[tag.name] == border}
        if staying and len(going | staying) > 1:
            self.tied[name] = [tag for tag in tags[part] if keys[tag.name] == border]
        elif basis is not None:
            self.ordered[name] = basis, tags[part]


def is_border_clear(tags: Sequence[Tag], keep: int) -> bool:
    """Return whether times alone say which ``keep`` tags are the newest; ``tags`` are sorted."""
    return _written_at(tags[keep - 1]) - _written_at(tags[keep]) > _PAUSE_SECONDS


def _written_at(tag: Tag) -> float:
    return tag.updated_at or 0.0


def _around(tags: Sequence[Tag], keep: int, pause: float) -> slice:
    """Return which tags around the border were written with no longer pause between them."""
    start, stop = keep, keep
    if _written_at(tags[keep - 1]) - _written_at(tags[keep]) > pause:
        return slice(keep, keep)
    while start > 0 and _written_at(tags[start - 1]) - _written_at(tags[start]) <= pause:
        start -= 1
    while stop < len(tags) and _written_at(tags[stop - 1]) - _written_at(tags[stop]) <= pause:
        stop += 1
    return slice(start, stop)


def _is_oldest(repository: Repository, tags: Sequence[Tag], part: slice) -> bool:
    """Return whether the repository holds nothing that is older than some of its tags."""
    if any(tag.updated_at is not None for tag in tags[part.stop :]):
        return False
    since = _written_at(tags[part.stop - 1]) - _OLDER_SECONDS
    times = (revision.linked_at for revision in repository.revisions)
    return all(time is None or time >= since for time in times)


def _is_copied(tags: Sequence[Tag], dates: Mapping[BlobNumber, float]) -> bool:
    """Return whether images were created over so long a time that nobody pushed them meanwhile."""
    created = _known(tags, dates)
    if not created:
        return False
    written = _written_at(tags[0]) - _written_at(tags[-1])
    return max(created) - min(created) > max(_OLDER_SECONDS, _SPREAD * written)


def _known(tags: Sequence[Tag], dates: Mapping[BlobNumber, float]) -> list[float]:
    targets = (tag.target for tag in tags)
    return [dates[each] for each in targets if each is not None and each in dates]


Key = tuple[float, int]


def _keys(
    tags: Sequence[Tag], dates: Mapping[BlobNumber, float], *, is_numbered: bool
) -> tuple[Basis | None, Mapping[str, Key]]:
    """Return what orders tags, and a key for each name; equal keys for those that nothing does."""
    numbers: dict[str, int] = {}
    if is_numbered and all(tag.name.isascii() and tag.name.isdigit() for tag in tags):
        numbers = {tag.name: int(tag.name) for tag in tags}
    created = _known(tags, dates)
    if len(created) < len(tags):
        # one that cannot be placed could stand anywhere among the others
        created = [0.0] * len(tags)
    keys = {
        tag.name: (moment, numbers.get(tag.name, 0))
        for tag, moment in zip(tags, created, strict=True)
    }
    if len(set(created)) > 1:
        return Basis.CREATED, keys
    return (Basis.NUMBER if numbers else None), keys
