"""Delete one manifest: look, ask the registry, look again, and put back what somebody needed."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from exporter.analysis.applying.still_right import (
    Candidate,
    Rescue,
    reason_to_leave,
    rescue_after,
)
from exporter.commands.apply.journal_file import JournalFile
from exporter.commands.apply.manifests import Manifests
from exporter.commands.apply.witness import Sight, Witness
from exporter.domain.digests import Digest, parse_digest
from exporter.domain.errors import (
    ApiUnavailableError,
    ContentRefusedError,
    PlanRefusedError,
    RegistryRefusesError,
)
from exporter.domain.journal import JournalLine, Result
from exporter.domain.plan_file import PlannedDeletion
from exporter.domain.text import printable
from exporter.registry.port import RegistryEditor

OTHER_REGISTRY = "--registry.url does not serve the store at --storage.root"
_GONE_ON_DISK = "the store does not hold it any more, but the registry still serves it; restart it"
_TAGS_ONLY = "the store holds its tags, but not the manifest; push it again"
_PUSHED = "it was pushed again in the moment of its deletion; it is there, perhaps without tags"

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to a line of the plan.

    Attributes:
        result: what the journal says.
        reason: why it was left, or what else to know.
        is_there: whether the manifest is in the store after all.

    """

    result: Result
    reason: str | None = None
    is_there: bool = False


class _NotRightError(Exception):
    """A deletion is not right any more; raised before its request is sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _GoneError(Exception):
    """A manifest is gone; raised before the request to delete it is sent."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a run works with.

    Attributes:
        witness: looks.
        manifests: reads.
        editor: deletes, and puts back.
        journal: records.
        made_at: the moment up to which the plan knows the store, Unix seconds.
        now: returns Unix seconds.

    """

    witness: Witness
    manifests: Manifests
    editor: RegistryEditor
    journal: JournalFile
    made_at: float
    now: Callable[[], float]


def reason_against(
    line: PlannedDeletion, sight: Sight, manifests: Manifests, made_at: float
) -> str | None:
    """Return why the manifest of a line, which is there, must stay; None if it may go."""
    if sight.doubt is not None:
        return sight.doubt
    return reason_to_leave(candidate_of(line), made_at, sight.now, manifests.listed_by)


def candidate_of(line: PlannedDeletion) -> Candidate:
    """Return the manifest of a line."""
    return Candidate(digest_of(line), frozenset(line.tags))


def digest_of(line: PlannedDeletion) -> Digest:
    """Return the digest of a line."""
    digest = parse_digest(line.digest)
    assert digest is not None, "the plan was parsed"  # noqa: S101 - for the type
    return digest


class Deleter:
    """Deletes manifests, one after the other."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def delete(self, line: PlannedDeletion) -> Outcome:
        """Delete the manifest of a line, if that is still right, and record the result.

        Raises ApiUnavailableError, StoreUnreadableError, OutputError, and PlanRefusedError if the
        registry is not that of the store. A repetition continues after any of them.
        """
        outcome, about = self._delete(line)
        self._record(line, outcome.result, about, outcome.reason)
        return outcome

    def leave(self, line: PlannedDeletion, reason: str) -> Outcome:
        """Record that a line is left."""
        self._record(line, Result.LEFT, None, reason)
        return Outcome(Result.LEFT, reason, is_there=True)

    def _delete(self, line: PlannedDeletion) -> tuple[Outcome, "_About | None"]:
        tools, digest = self._tools, digest_of(line)
        # by the last look; the next one comes right before the request
        before = tools.witness.recall(line.repository, digest)
        reason = reason_against(line, before, tools.manifests, tools.made_at)
        if reason is not None or before.linked_at is None:
            before = tools.witness.look(line.repository, digest)
            reason = reason_against(line, before, tools.manifests, tools.made_at)
        if before.linked_at is None:
            return self._gone(line, before)
        if reason is not None:
            return Outcome(Result.LEFT, reason, is_there=True), None
        about = _About(before, tools.manifests.content(digest))
        self._record(line, Result.ASKED, about, None)
        return self._until_done(line, _Attempt(line, tools, before), about), about

    def _gone(self, line: PlannedDeletion, seen: Sight) -> tuple[Outcome, "_About | None"]:
        """Return the outcome for a manifest that the store does not hold."""
        known = self._tools.journal.known.get((line.repository, line.digest))
        if known is not None and known.result is Result.ASKED:
            return self._resume(line, seen, known)
        if _has_tags(line, seen):
            return Outcome(Result.LEFT, _TAGS_ONLY, is_there=True), None
        if self._tools.editor.manifest_digest(line.repository, line.digest) is not None:
            return Outcome(Result.LEFT, _GONE_ON_DISK, is_there=True), None
        return Outcome(Result.GONE), None

    def _resume(
        self, line: PlannedDeletion, seen: Sight, known: JournalLine
    ) -> tuple[Outcome, "_About | None"]:
        """Return the outcome for a manifest that an earlier run has asked the registry to delete.

        Tags that the registry has left are removed now.
        """
        about = _About(None, self._tools.manifests.content(digest_of(line)), known)
        if not _has_tags(line, seen):
            return Outcome(Result.DELETED), about
        if about.content is None:
            return Outcome(Result.LEFT, _TAGS_ONLY, is_there=True), None
        attempt = _Attempt(line, self._tools, seen)
        self._put_again(line, attempt, about)
        return self._until_done(line, attempt, about), about

    def _until_done(self, line: PlannedDeletion, attempt: "_Attempt", about: "_About") -> Outcome:
        """Ask the registry to delete a manifest, again if it leaves its tags.

        Version 2 removes the manifest first. Then it reads the links of all tags, and gives up on
        one that is just being written: it answers 500, and the tags stay.
        """
        for _ in range(_TRIES):
            try:
                was_there = self._ask(line, attempt)
            except _NotRightError as error:
                return Outcome(Result.LEFT, error.reason, is_there=True)
            outcome, after = self._look_again(line, attempt, about, was_there=was_there)
            if outcome.is_there or not _has_tags(line, after):
                return outcome
            self._put_again(line, attempt, about)
        raise ApiUnavailableError(
            f"the registry did not remove the tags of {printable(str(line))} in {_TRIES} attempts; "
            "run the same command again while nobody pushes"
        )

    def _ask(self, line: PlannedDeletion, attempt: "_Attempt") -> bool:
        """Ask the registry; return whether it had the manifest.

        Raises _NotRightError, ApiUnavailableError.
        """
        editor = self._tools.editor
        try:
            was_there = editor.delete_manifest(line.repository, line.digest, attempt.check)
        except _GoneError:
            return attempt.sent > 0
        except RegistryRefusesError:
            raise
        except ApiUnavailableError:
            # a push of the same manifest in this moment makes version 2 answer 400
            with suppress(_GoneError):
                attempt.check()
                raise
            return True
        return was_there or attempt.sent > 1  # an attempt without an answer has deleted it

    def _put_again(self, line: PlannedDeletion, attempt: "_Attempt", about: "_About") -> None:
        """Put back a manifest whose tags were left, so that it can be deleted with them."""
        self._put_back(line, Rescue((), "the registry has left its tags"), about)
        attempt.own_link = self._tools.witness.linked_at(line.repository, digest_of(line))

    def _look_again(
        self, line: PlannedDeletion, attempt: "_Attempt", about: "_About", *, was_there: bool
    ) -> tuple[Outcome, Sight]:
        """Return the outcome of a deletion, after putting back what is needed after all."""
        tools, digest = self._tools, digest_of(line)
        before, after = attempt.seen, tools.witness.look(line.repository, digest)
        result = Result.DELETED if was_there else Result.GONE
        if after.linked_at is not None and after.linked_at == before.linked_at:
            raise PlanRefusedError(
                f"the registry says that it does not have {printable(str(line))} any more, and the "
                f"store still holds it: {OTHER_REGISTRY}; nothing more was tried"
            )
        rescue = rescue_after(
            candidate_of(line),
            before.now,
            after.now,
            lambda target: tools.witness.linked_at(line.repository, target) is not None,
            tools.manifests.listed_by,
        )
        if rescue is None:
            is_there = after.linked_at is not None
            return Outcome(result, _PUSHED if is_there else None, is_there), after
        self._put_back(line, rescue, about)
        return Outcome(result, f"{rescue.reason}; it was put back", is_there=True), after

    def _put_back(self, line: PlannedDeletion, rescue: Rescue, about: "_About") -> None:
        """Put a manifest back, under the tags that it needs. Raises ApiUnavailableError."""
        problem = "its content could not be read"
        if about.content is not None:
            content, media_type = about.content
            try:
                for reference in rescue.tags or (line.digest,):
                    self._tools.editor.put_manifest(line.repository, reference, content, media_type)
            except (ApiUnavailableError, ContentRefusedError) as error:
                problem = str(error)
            else:
                return
        names = ", ".join(map(printable, rescue.tags)) or "no tag"
        raise ApiUnavailableError(
            f"{rescue.reason}, and {printable(str(line))} could not be put back: {problem}; push "
            f"it again, with {names}"
        )

    def _record(
        self, line: PlannedDeletion, result: Result, about: "_About | None", reason: str | None
    ) -> None:
        tags: dict[str, float | None] = dict.fromkeys(line.tags)
        media_type, linked_at = None, None
        if about is not None and about.known is not None:
            tags, media_type = dict(about.known.tags), about.known.media_type
            linked_at = about.known.linked_at
        elif about is not None and about.before is not None:
            seen = about.before
            tags = {tag: seen.now.tags[tag][1] for tag in line.tags}
            media_type = None if about.content is None else about.content[1]
            linked_at = seen.linked_at
        self._tools.journal.write(
            JournalLine(
                time=self._tools.now(),
                repository=line.repository,
                digest=line.digest,
                result=result,
                media_type=media_type,
                tags=tags,
                linked_at=linked_at,
                reason=reason,
            )
        )


@dataclass(frozen=True, slots=True)
class _About:
    """What is recorded about a manifest: as it was seen, or as an earlier run recorded it."""

    before: Sight | None
    content: tuple[bytes, str] | None
    known: JournalLine | None = None


class _Attempt:
    """The requests to delete one manifest: right before each, the repository is looked at.

    Attributes:
        seen: the last look before a request.
        sent: how many requests were sent.
        own_link: when the manifest's link was written by this program; None if it was not.

    """

    def __init__(self, line: PlannedDeletion, tools: Tools, seen: Sight) -> None:
        self._line = line
        self._tools = tools
        self.seen = seen
        self.sent = 0
        self.own_link: float | None = None

    def check(self) -> None:
        """Raise _NotRightError if the deletion is not right any more, _GoneError if it is done."""
        sight = self._tools.witness.look(self._line.repository, digest_of(self._line))
        if sight.linked_at is None:
            raise _GoneError
        judged = sight
        if sight.linked_at == self.own_link:
            judged = replace(sight, now=replace(sight.now, linked_at=0.0))
        reason = reason_against(self._line, judged, self._tools.manifests, self._tools.made_at)
        if reason is not None:
            raise _NotRightError(reason)
        self.seen = sight
        self.sent += 1


def _has_tags(line: PlannedDeletion, sight: Sight) -> bool:
    """Return whether a tag of a line points to its manifest."""
    digest = digest_of(line)
    return any(tag in sight.now.tags and sight.now.tags[tag][0] == digest for tag in line.tags)
