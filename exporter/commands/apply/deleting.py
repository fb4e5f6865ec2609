"""Delete one manifest: look, ask the registry, look again, and put back what somebody needed."""

from contextlib import suppress
from dataclasses import dataclass

from exporter.analysis.applying.still_right import Rescue, rescue_after
from exporter.commands.apply.attempt import Attempt, GoneError, NotRightError, Tools
from exporter.commands.apply.judging import candidate_of, digest_of, tags_there
from exporter.commands.apply.witness import Sight
from exporter.domain.errors import (
    ApiUnavailableError,
    ContentRefusedError,
    PlanRefusedError,
    RegistryRefusesError,
)
from exporter.domain.journal import JournalLine, Result
from exporter.domain.plan_file import PlannedDeletion
from exporter.domain.text import printable

OTHER_REGISTRY = "--registry.url does not serve the store at --storage.root"
_GONE_ON_DISK = "the store does not hold it any more, but the registry still serves it; restart it"
_TAGS_ONLY = "the store holds its tags, but not the manifest; push it again"
_PUSHED = "it was pushed again in the moment of its deletion; it is there, perhaps without tags"

_TRIES = 5

UNDOABLE = (Result.ASKED, Result.DELETED)
"""What ``restore`` puts back if it is not there: its deletion has at least begun."""


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
        """Record that a line is left, unless its deletion has begun: then that stays on record."""
        self._record(line, Result.LEFT, None, reason)
        return Outcome(Result.LEFT, reason, is_there=True)

    def _delete(self, line: PlannedDeletion) -> tuple[Outcome, "_About | None"]:
        tools, digest = self._tools, digest_of(line)
        # by the last look; the next one comes right before the request
        before = tools.witness.recall(line.repository, digest)
        reason = tools.judge.reason_against(line, before)
        if reason is not None or before.linked_at is None:
            before = tools.witness.look(line.repository, digest)
            reason = tools.judge.reason_against(line, before)
        if before.linked_at is None:
            return self._gone(line, before)
        if reason is not None:
            return Outcome(Result.LEFT, reason, is_there=True), None
        about = _About(before, tools.manifests.content(digest))
        self._record(line, Result.ASKED, about, None)
        return self._until_done(line, Attempt(line, tools, before), about), about

    def _gone(self, line: PlannedDeletion, seen: Sight) -> tuple[Outcome, "_About | None"]:
        """Return the outcome for a manifest that the store does not hold."""
        known = self._tools.journal.known.get((line.repository, line.digest))
        if known is not None and known.result is Result.ASKED:
            return self._resume(line, seen, known)
        if tags_there(line, seen):
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
        if not tags_there(line, seen):
            return Outcome(Result.DELETED), about
        if about.content is None:
            return Outcome(Result.LEFT, _TAGS_ONLY, is_there=True), None
        attempt = Attempt(line, self._tools, seen, sent=1)
        self._put_again(line, attempt, about)
        return self._until_done(line, attempt, about), about

    def _until_done(self, line: PlannedDeletion, attempt: Attempt, about: "_About") -> Outcome:
        """Ask the registry to delete a manifest, again if it leaves its tags.

        Version 2 removes the manifest first. Then it reads the links of all tags, and gives up on
        one that is just being written: it answers 500, and the tags stay.
        """
        for _ in range(_TRIES):
            try:
                was_there = self._ask(line, attempt)
            except NotRightError as error:
                # a request that was sent may have removed some of its tags
                result = Result.ASKED if attempt.sent else Result.LEFT
                return Outcome(result, error.reason, is_there=True)
            outcome, after = self._look_again(line, attempt, about, was_there=was_there)
            if outcome.is_there or not tags_there(line, after):
                return outcome
            self._put_again(line, attempt, about)
        raise ApiUnavailableError(
            f"the registry did not remove the tags of {printable(str(line))} in {_TRIES} attempts; "
            "run the same command again while nobody pushes"
        )

    def _ask(self, line: PlannedDeletion, attempt: Attempt) -> bool:
        """Ask the registry; return whether it had the manifest.

        Raises NotRightError, ApiUnavailableError.
        """
        editor = self._tools.editor
        try:
            was_there = editor.delete_manifest(line.repository, line.digest, attempt.check)
        except GoneError:
            return attempt.sent > 0
        except RegistryRefusesError:
            raise
        except ApiUnavailableError:
            # a push of the same manifest in this moment makes version 2 answer 400
            with suppress(GoneError):
                attempt.check()
                raise
            return True
        return was_there or attempt.sent > 1  # an attempt without an answer has deleted it

    def _put_again(self, line: PlannedDeletion, attempt: Attempt, about: "_About") -> None:
        """Put back a manifest whose tags were left, so that it can be deleted with them."""
        self._put_back(line, Rescue((), "the registry has left its tags"), about)
        attempt.own_link = self._tools.witness.linked_at(line.repository, digest_of(line))

    def _look_again(
        self, line: PlannedDeletion, attempt: Attempt, about: "_About", *, was_there: bool
    ) -> tuple[Outcome, Sight]:
        """Return the outcome of a deletion, after putting back what is needed after all."""
        tools, digest = self._tools, digest_of(line)
        before, after = attempt.seen, tools.witness.look(line.repository, digest)
        result = Result.DELETED if was_there else Result.GONE
        if after.linked_at is not None and after.linked_at == before.linked_at:
            raise PlanRefusedError(
                f"the registry says that it does not have {printable(str(line))} any more, and the "
                f"store still holds it: {OTHER_REGISTRY}; nothing more was tried"
                + (self._return_to_other(line, about) if was_there else "")
            )
        rescue = rescue_after(
            candidate_of(line),
            before.now,
            attempt.since_seen(after),
            lambda target: tools.witness.linked_at(line.repository, target) is not None,
            tools.manifests.listed_by,
        )
        if rescue is None or not attempt.sent:
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

    def _return_to_other(self, line: PlannedDeletion, about: "_About") -> str:
        """Put back what was deleted from a registry that is not that of the store; say so.

        A tag that is there is left alone: it may point to something else in that registry.
        """
        editor, name = self._tools.editor, line.repository
        problem = "its content could not be read"
        if about.content is not None:
            try:
                editor.put_manifest(name, line.digest, *about.content)
                for tag in line.tags:
                    if editor.manifest_digest(name, tag) is None:
                        editor.put_manifest(name, tag, *about.content)
            except (ApiUnavailableError, ContentRefusedError) as error:
                problem = str(error)
            else:
                return (
                    ". It was deleted from that registry, and put back there with the tags of the "
                    "plan; if it had other tags there, push them again"
                )
        return (
            f". It was deleted from that registry, and could not be put back there: {problem}. To "
            f"put it back: {self._tools.undo}"
        )

    def is_there(self, line: PlannedDeletion) -> bool:
        """Return whether the store holds the manifest of a line. Raises StoreUnreadableError."""
        return self._tools.witness.linked_at(line.repository, digest_of(line)) is not None

    def _record(
        self, line: PlannedDeletion, result: Result, about: "_About | None", reason: str | None
    ) -> None:
        known = self._tools.journal.known.get((line.repository, line.digest))
        if result is Result.LEFT and known is not None and known.result in UNDOABLE:
            return  # `restore` needs it to put back the tags that are gone
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
