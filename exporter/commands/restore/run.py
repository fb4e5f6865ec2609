"""The command ``restore``: manifests, then tags, and what cannot be restored.

It may be killed at any moment and run again: what is there is not sent again. A tag is restored
only after its manifest, and a manifest only after what it needs.
"""

import enum
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TextIO

from exporter.commands.restore.contents import (
    ContentMissingError,
    Contents,
    FirstOf,
    StoreContents,
)
from exporter.commands.restore.manifests import Control, ManifestRestorer, StoppedError, Tally
from exporter.commands.restore.options import RestoreRequest
from exporter.commands.restore.record import RestoredTags
from exporter.commands.restore.sources import Source
from exporter.commands.restore.tags import TagRestorer
from exporter.commands.restore.wanted import (
    WantedManifest,
    WantedTag,
    select,
    tags_in_order,
)
from exporter.domain.digests import format_digest
from exporter.domain.errors import (
    ApiUnavailableError,
    ConfigurationError,
    ManifestUnreadableError,
    RegistryRefusesError,
    StoreUnreadableError,
)
from exporter.domain.text import plural, printable
from exporter.registry.port import RegistryEditor
from exporter.store.format.manifests import parse_manifest
from exporter.store.port import Blobs, Store
from exporter.support.quantities import format_size
from exporter.support.step_progress import StepProgress, step_progress

_MOST_FAILURES = 5
"""After so many failures one after the other the registry's storage fails, not a manifest."""


class Verdict(enum.Enum):
    """How a run ended."""

    RESTORED = enum.auto()
    PARTLY = enum.auto()
    INTERRUPTED = enum.auto()


@dataclass(frozen=True, slots=True)
class Environment:
    """Injected I/O: output, clock, stop signal.

    Attributes:
        output: receives what is not restored, and the summary.
        note: receives remarks for people.
        clock: returns Unix seconds.
        should_stop: whether the run is to end.
        record: the file that keeps the old times of tags; None if there is no place for it.

    """

    output: TextIO
    note: Callable[[str], None]
    clock: Callable[[], float]
    should_stop: Callable[[], bool]
    record: Path | None


def restore(
    request: RestoreRequest,
    source: Source,
    store: Store,
    editor: RegistryEditor,
    environment: Environment,
) -> Verdict:
    """Restore what the request asks for of the source.

    ``store`` is read if it can be and is the one that the source is of. Raises ConfigurationError
    if nothing is asked for, or if it is another store; ApiUnavailableError as the editor does.
    """
    with ExitStack() as opened:
        disk = _open_disk(request, source, store, opened, environment.note)
        contents = _contents(source, disk)
        wanted = select(
            source.wanted, request.repositories, request.match, lambda d: _subject(contents, d)
        )
        _refuse_nothing(request, source, wanted)
        identity = source.store or store.identity
        named = {(each.repository, each.digest) for each in source.wanted}
        is_damaged = partial(_is_damaged, store) if disk is not None else lambda _: False
        run = _Run(request, editor, contents, disk, environment, identity, named, is_damaged)
        return run.run(wanted)


def _open_disk(
    request: RestoreRequest,
    source: Source,
    store: Store,
    opened: ExitStack,
    note: Callable[[str], None],
) -> Blobs | None:
    """Open the files of the store that the source is of; None if that is not possible."""
    try:
        blobs = opened.enter_context(store.open_blobs())
    except StoreUnreadableError as error:
        if source.contents is None:
            note(f"there is no backup, and the store's files cannot be read: {error}")
        return None
    if source.store == store.identity:
        return blobs
    if source.store is not None and not request.force:
        problem = (
            f"is the store {store.identity}, but {source.name} is of {printable(source.store)}; "
            "give --force if the registry at --registry.url is to get it nevertheless"
        )
        raise ConfigurationError([f"--storage.root {store.location}: {problem}"])
    return None


def _contents(source: Source, disk: Blobs | None) -> Contents:
    places: list[Contents] = [] if source.contents is None else [source.contents]
    return FirstOf([*places, *([] if disk is None else [StoreContents(disk)])])


def _subject(contents: Contents, digest: str) -> str | None:
    try:
        subject = parse_manifest(contents.manifest(digest)).subject
    except (ContentMissingError, ManifestUnreadableError):
        return None
    return None if subject is None else format_digest(subject)


def _is_damaged(store: Store, tag: WantedTag) -> bool:
    """Return whether the link of a tag is there, and says nothing that can be understood."""
    try:
        with store.open_looker() as looker:
            return looker.tags(tag.repository).get(tag.name, ("", None))[0] is None
    except StoreUnreadableError:
        return False


def _refuse_nothing(
    request: RestoreRequest, source: Source, wanted: Sequence[WantedManifest]
) -> None:
    """Raise ConfigurationError if an option, or the source, names nothing to restore."""
    if not source.wanted:
        problem = f"{source.name}: nothing is in it that could be restored"
        raise ConfigurationError([problem])
    held = {each.repository for each in source.wanted}
    nothing = [f"--repository {each}" for each in request.repositories if each not in held]
    if not nothing and not wanted:
        nothing = ["--match"]
    some = ", ".join(sorted(held)[:5])
    problem = f"matches nothing in {source.name}, which has repositories such as {some}"
    if nothing:
        raise ConfigurationError([f"{printable(each)}: {problem}" for each in nothing])


@dataclass(slots=True)
class _Run:
    """One run."""

    request: RestoreRequest
    editor: RegistryEditor
    contents: Contents
    disk: Blobs | None
    environment: Environment
    store: str
    named: Collection[tuple[str, str]]
    is_damaged: Callable[[WantedTag], bool]
    failures: int = 0
    tally: Tally = field(default_factory=Tally)
    left: int = 0
    record: RestoredTags | None = None

    def run(self, wanted: Sequence[WantedManifest]) -> Verdict:
        """Restore everything that can be, and sum up."""
        tags = tags_in_order(wanted)
        steps = len(wanted) + len(tags)
        with step_progress("Restoring", steps) as progress:
            pending = self._steps(wanted, tags, progress)
            done = 0
            try:
                for _ in pending:
                    done += 1
                    progress.advance()
            except (StoppedError, ApiUnavailableError) as error:
                progress.close()
                self._note_end(steps - done)
                if isinstance(error, StoppedError) or self.environment.should_stop():
                    return Verdict.INTERRUPTED
                raise
        self._print(self._summary())
        if self.tally.tags and not self.request.dry_run:
            self._print_times()
        return Verdict.PARTLY if self.left else Verdict.RESTORED

    def _steps(
        self,
        wanted: Sequence[WantedManifest],
        tags: Sequence[WantedTag],
        progress: StepProgress,
    ) -> Iterator[None]:
        """Restore one manifest or tag for each item. Raises as :func:`restore`, or stops."""
        here, request = self.environment, self.request
        control = Control(here.should_stop, request.dry_run, here.note)
        manifests = ManifestRestorer(
            self.editor, self.contents, self.disk, control, self.tally, self.named
        )
        away = set()
        for each in wanted:
            reason = self._try(manifests.restore, each.repository, each.digest)
            if reason is not None:
                away.add((each.repository, each.digest))
            reason = reason or manifests.lacks(each.repository, each.digest)
            if reason is not None:
                self._leave(str(each), reason, progress)
            yield
        if tags and not request.dry_run:
            self.record = RestoredTags(here.record, self.store, here.clock, here.note)
        restorer = TagRestorer(
            self.editor,
            self.contents,
            self.tally,
            force=request.force,
            dry_run=request.dry_run,
            on_put=self._record,
            is_damaged=self.is_damaged,
        )
        for tag in tags:
            if here.should_stop():
                raise StoppedError
            is_away = (tag.repository, tag.digest) in away
            reason = "its manifest is not there"
            if not is_away:
                reason = self._try(restorer.restore, tag)
            if reason is not None:
                self._leave(str(tag), reason, progress)
            yield

    def _try(self, restore: Callable[..., str | None], *what: object) -> str | None:
        """Restore one thing; return why that is not possible.

        A registry may fail at one manifest again and again, and serve all others. Only if it fails
        at everything, or at several one after the other, is that a reason to end.
        """
        try:
            reason = restore(*what)
        except RegistryRefusesError:
            raise
        except ApiUnavailableError as error:
            self.failures += 1
            if self.environment.should_stop() or self.failures == _MOST_FAILURES:
                raise
            try:
                self.editor.ping()
            except ApiUnavailableError:
                raise error from None
            return str(error)
        self.failures = 0
        return reason

    def _record(self, tag: WantedTag) -> None:
        if self.record is not None:
            self.record.add(tag)

    def _print_times(self) -> None:
        """Say that what was restored has new times."""
        place = None if self.record is None else self.record.place
        kept = "" if place is None else f"; the old times of tags are recorded in {place}"
        self._print(f"the registry dates what was restored with the present time{kept}")

    def _leave(self, name: str, reason: str, progress: StepProgress) -> None:
        self.left += 1
        with progress.aside():
            self._print(f"not restored: {name}: {printable(reason)}")

    def _note_end(self, left: int) -> None:
        self.environment.note(
            f"ended before {plural(left, 'manifest or tag', 'manifests and tags')}; "
            "the same command goes on"
        )

    def _summary(self) -> str:
        tally = self.tally
        verb = "would restore" if self.request.dry_run else "restored"
        sent = f"{plural(tally.blobs, 'blob')} sent ({format_size(tally.bytes)})"
        there = tally.manifests_there + tally.tags_there
        parts = [
            f"{verb} {plural(tally.manifests, 'manifest')} and {plural(tally.tags, 'tag')}",
            sent if not self.request.dry_run else sent.replace("sent", "to send"),
            f"{there:,} were there already",
        ]
        if self.left:
            parts.append(f"{self.left:,} not restored, see above")
        return "; ".join(parts)

    def _print(self, line: str) -> None:
        self.environment.output.write(f"{line}\n")
        self.environment.output.flush()
