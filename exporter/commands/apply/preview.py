"""Which lines of a plan are right now, before anything is deleted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from exporter.analysis.applying.sequence import Place, before_each, in_sequence
from exporter.commands.apply.judging import Judge, digest_of
from exporter.commands.apply.witness import Sight, Witness
from exporter.domain.journal import JournalLine, Result
from exporter.domain.model import Inventory
from exporter.domain.plan_file import PlanFile, PlannedDeletion
from exporter.domain.text import printable
from exporter.store.port import TagLink

DONE = (Result.DELETED, Result.GONE)
THERE_AGAIN = "it is there again, after it was deleted"


@dataclass(frozen=True, slots=True)
class Left:
    """A line that is left out.

    Attributes:
        line: of the plan.
        reason: why.

    """

    line: PlannedDeletion
    reason: str

    def __str__(self) -> str:
        return f"{printable(str(self.line))}: {self.reason}"


@dataclass(slots=True)
class Preview:
    """What a plan would do now.

    Attributes:
        going: places of the lines to carry out, in their order.
        left: by place, the lines that are left out.
        done: places of the lines that earlier runs have carried out, with the result.
        earlier: by place, the lines that a line must not outlive.

    """

    going: list[Place] = field(default_factory=list)
    left: dict[Place, Left] = field(default_factory=dict)
    done: dict[Place, Result] = field(default_factory=dict)
    earlier: Mapping[Place, Collection[Place]] = field(default_factory=dict)


def look_ahead(
    plan: PlanFile,
    known: Mapping[tuple[str, str], JournalLine],
    inventory: Inventory,
    witness: Witness,
    judge: Judge,
) -> Preview:
    """Return what a plan would do now; ``known`` is what earlier runs did.

    Raises StoreUnreadableError.
    """
    preview = Preview(earlier=before_each(inventory, plan.lines))
    repositories = _Repositories(witness)
    for place in in_sequence(len(plan.lines), preview.earlier):
        line = plan.lines[place]
        before = known.get((line.repository, line.digest))
        if before is not None and before.result in DONE:
            if witness.linked_at(line.repository, digest_of(line)) is None:
                preview.done[place] = before.result
            else:
                preview.left[place] = Left(line, THERE_AGAIN)
            continue
        sight = repositories.look(line)
        reason = reason_to_outlive(place, preview.earlier, preview.left)
        if reason is None and sight.linked_at is not None:
            reason = judge.reason_against(line, sight)
        if reason is not None:
            preview.left[place] = Left(line, reason)
        else:
            repositories.forget(line)
            preview.going.append(place)
    return preview


def reason_to_outlive(
    place: Place, earlier: Mapping[Place, Collection[Place]], left: Mapping[Place, Left]
) -> str | None:
    """Return why a line has to stay because another one does; None if none does."""
    staying = [left[each].line for each in earlier.get(place, ()) if each in left]
    if not staying:
        return None
    return f"it belongs to {staying[0].digest}, which is left out"


def count_tags(lines: Sequence[PlannedDeletion]) -> int:
    """Return how many tags go with lines."""
    return sum(len(line.tags) for line in lines)


class _Repositories:
    """Repositories as they would look after the deletions so far; each is looked at once."""

    def __init__(self, witness: Witness) -> None:
        self._witness = witness
        self._seen: dict[str, Sight] = {}
        self._tags: dict[str, dict[str, TagLink]] = {}

    def look(self, line: PlannedDeletion) -> Sight:
        digest = digest_of(line)
        if line.repository not in self._seen:
            seen = self._witness.look(line.repository, digest)
            tags = self._tags[line.repository] = dict(seen.now.tags)
            self._seen[line.repository] = replace(seen, now=replace(seen.now, tags=tags))
        seen = self._seen[line.repository]
        linked_at = self._witness.linked_at(line.repository, digest)
        return replace(seen, linked_at=linked_at, now=replace(seen.now, linked_at=linked_at or 0.0))

    def forget(self, line: PlannedDeletion) -> None:
        """Remove the tags of a line that goes."""
        for tag in line.tags:
            self._tags[line.repository].pop(tag, None)
