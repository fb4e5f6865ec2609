"""Selections: which tags, artifacts or untagged manifests a deletion plan is to delete."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from exporter.analysis.deletion.choice import Parts, keep_all
from exporter.analysis.deletion.order import TagOrder
from exporter.domain.model import Repository, Tag
from exporter.domain.uses import UseFigures


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tags, or untagged manifests, are to go: those for which all given conditions hold.

    Artifacts are not selected: they go with their image. Only those without an image are.

    Attributes:
        keep_last: not among the ``keep_last`` newest of its repository.
        orphaned: in a repository whose app the platform does not know.
        match: ``repository:tag`` as a whole matches it; ``repository@digest`` without a tag.
        older_than: seconds since it was written.
        untagged: manifests that no tag reaches, in place of tags.
        detached: tags of artifacts whose image is gone, in place of other tags.
        changed_at: when the platform's configuration last changed, in Unix seconds: of an orphaned
            repository, what was pushed later stays. None if unknown.

    """

    keep_last: int | None = None
    orphaned: bool = False
    match: "re.Pattern[str] | None" = None
    older_than: float | None = None
    untagged: bool = False
    detached: bool = False
    changed_at: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no condition is given."""
        return self == Selection()

    @property
    def has_conditions(self) -> bool:
        """Whether :meth:`holds_for` may be false."""
        is_dated = self.orphaned and self.changed_at is not None
        return is_dated or self.older_than is not None or self.match is not None

    def part(
        self, repository: Repository, uses: UseFigures | None, now: float, order: TagOrder
    ) -> Parts:
        """Divide the tags of images in a repository; ``now`` is in Unix seconds."""
        if self.untagged or self.detached or not self.is_in(repository, uses):
            return keep_all(repository)
        old, new = order.keep_newest(repository, self.keep_last or 0)
        going, staying = self._divide(repository, old, now)
        return going, [*new, *staying]

    def part_detached(self, repository: Repository, uses: UseFigures | None, now: float) -> Parts:
        """Divide the tags of artifacts whose image is gone."""
        if self.untagged or not self.is_in(repository, uses):
            return keep_all(repository)
        if self.keep_last is not None:  # they have no place among the newest
            return keep_all(repository)
        return self._divide(repository, repository.tags, now)

    def holds_for(self, name: str, written_at: float | None, now: float) -> bool:
        """Return whether the conditions on a name and an age hold."""
        if (
            self.orphaned
            and self.changed_at is not None
            # a configuration that is older than a push may not know its app
            and (written_at is None or written_at > self.changed_at)
        ):
            return False
        if self.older_than is not None and not (
            written_at is not None and now - written_at > self.older_than
        ):
            return False
        return self.match is None or self.match.fullmatch(name) is not None

    def is_in(self, repository: Repository, uses: UseFigures | None) -> bool:
        """Return whether anything of a repository may be selected."""
        if not self.orphaned:
            return True
        return uses is not None and repository.name in uses.orphaned_repositories

    def _divide(self, repository: Repository, tags: Sequence[Tag], now: float) -> Parts:
        if not self.has_conditions:
            return tags, ()
        going: list[Tag] = []
        staying: list[Tag] = []
        for tag in tags:
            chosen = self.holds_for(f"{repository.name}:{tag.name}", tag.updated_at, now)
            (going if chosen else staying).append(tag)
        return going, staying
