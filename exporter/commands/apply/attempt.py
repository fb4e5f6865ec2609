"""The requests to delete one manifest: before each of them it is looked at once more."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from exporter.analysis.applying.still_right import RepositoryNow
from exporter.commands.apply.journal_file import JournalFile
from exporter.commands.apply.judging import Judge, digest_of, tags_there
from exporter.commands.apply.manifests import Manifests
from exporter.commands.apply.witness import Sight, Witness
from exporter.domain.plan_file import PlannedDeletion
from exporter.registry.port import RegistryEditor


class NotRightError(Exception):
    """A deletion is not right any more; raised before its request is sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class GoneError(Exception):
    """A manifest is gone; raised before the request to delete it is sent."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run works with.

    Attributes:
        witness: looks.
        manifests: reads.
        editor: deletes, and puts back.
        journal: records.
        judge: says what may go.
        now: returns Unix seconds.
        undo: the command that takes the deletions back.

    """

    witness: Witness
    manifests: Manifests
    editor: RegistryEditor
    journal: JournalFile
    judge: Judge
    now: Callable[[], float]
    undo: str


class Attempt:
    """The requests to delete one manifest: right before each, the repository is looked at.

    Attributes:
        seen: the last look before a request.
        sent: how many requests were sent, ``sent`` of them by an earlier run.
        own_link: when the manifest's link was written by this program; None if it was not.

    """

    def __init__(self, line: PlannedDeletion, tools: Tools, seen: Sight, sent: int = 0) -> None:
        self._line = line
        self._tools = tools
        self.seen = seen
        self.sent = sent
        self.own_link: float | None = None
        self._created: AbstractSet[str] = frozenset()
        self._was_pushed = False

    def check(self) -> None:
        """Raise NotRightError if the deletion is not right any more, GoneError if it is done."""
        sight = self._tools.witness.look(self._line.repository, digest_of(self._line))
        if sight.linked_at is None:
            self._created |= sight.now.created
            self._was_pushed |= sight.now.was_pushed
            raise GoneError
        line, judged = self._line, sight
        if sight.linked_at == self.own_link:
            judged = replace(sight, now=replace(sight.now, linked_at=0.0))
            # the registry may have removed some of its tags before
            line = replace(line, tags=tuple(tags_there(line, sight)))
        reason = self._tools.judge.reason_against(line, judged)
        if reason is not None:
            raise NotRightError(reason)
        self.seen = sight
        self._created, self._was_pushed = frozenset(), False
        self.sent += 1

    def since_seen(self, after: Sight) -> RepositoryNow:
        """Return the repository after the requests, with what has happened since ``seen``."""
        return replace(
            after.now,
            created=self._created | after.now.created,
            was_pushed=self._was_pushed or after.now.was_pushed,
        )
