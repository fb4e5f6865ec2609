"""The command ``verify --backup``: hash a backup's blobs, and look whether all it names is there.

A blob that is not in the backup is a fault only if the backup was made with blobs: one of manifests
alone is enough to undo deletions before the collector has run.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from exporter.backup.blobs import BackupBlobs
from exporter.backup.directory import BLOBS, STATUS, layout_path
from exporter.backup.index import BackupEntry
from exporter.backup.losses import lost_repositories, lost_tags
from exporter.backup.reader import BackupReader
from exporter.backup.status import BackupStatus, read_status
from exporter.commands.verify.hashing import BlobVerifier, Condition, RateLimiter
from exporter.commands.verify.options import Task
from exporter.commands.verify.run import Environment, Verdict
from exporter.domain.digests import Digest, format_digest, parse_digest
from exporter.domain.errors import (
    BackupUnusableError,
    ConfigurationError,
    ManifestUnreadableError,
)
from exporter.domain.text import plural, printable
from exporter.store.format.manifests import parse_manifest
from exporter.support.quantities import format_duration, format_size
from exporter.support.terminal_progress import byte_progress


@dataclass(slots=True)
class _Counts:
    """What was found so far."""

    blobs: int = 0
    bytes: int = 0
    faults: dict[str, int] = field(
        default_factory=lambda: {Condition.CORRUPT: 0, Condition.UNREADABLE: 0, _MISSING: 0}
    )
    left_out: set[str] = field(default_factory=set)


_MISSING = "missing"
_WRONG = "wrong layout"


def verify_backup(task: Task, directory: Path, environment: Environment) -> Verdict:
    """Verify a backup, or the part of it that one repository needs.

    Raises BackupUnusableError if it is none, ConfigurationError if it has no such repository.
    """
    reader = BackupReader(directory)
    names = reader.repositories()
    if task.repository is not None:
        if task.repository not in names:
            problem = (
                f"--repository {printable(task.repository)}: not in this backup; it holds "
                f"{plural(len(names), 'repository', 'repositories')}"
            )
            raise ConfigurationError([problem])
        names = [task.repository]
    return _Run(reader, task, environment).run(names)


class _Run:
    """One verification of a backup."""

    def __init__(self, reader: BackupReader, task: Task, environment: Environment) -> None:
        self._reader = reader
        self._task = task
        self._environment = environment
        self._counts = _Counts()
        self._bad: set[str] = set()
        self._started = environment.clock()

    def run(self, names: Sequence[str]) -> Verdict:
        """Verify the indexes of repositories, what they reference, and the blobs."""
        needed: set[str] = set()
        status = self._status()
        for name, reason in lost_repositories(self._reader, status):
            if self._task.repository is None:
                self._find(_MISSING, name, reason)
        for name in names:
            if self._environment.should_stop():
                return self._interrupted()
            self._check_repository(name, status, needed)
        digests = self._digests(needed)
        if not self._hash(digests):
            return self._interrupted()
        self._print(self._summary())
        return Verdict.DAMAGED if any(self._counts.faults.values()) else Verdict.SOUND

    def _status(self) -> BackupStatus:
        """Return what the runs have recorded; nothing if that is lost, which is a fault."""
        path = self._reader.directory / STATUS
        try:
            status = read_status(self._reader.directory)
        except BackupUnusableError as error:
            self._find(Condition.UNREADABLE, str(path), str(error))
        else:
            if status is not None:
                return status
            reason = "it says what the backup holds; make the backup again"
            self._find(_MISSING, str(path), reason)
        return BackupStatus(store="")

    def _check_repository(self, name: str, status: BackupStatus, needed: set[str]) -> None:
        """Check one index and what it names; add all that it needs to ``needed``."""
        layout = layout_path(self._reader.directory, name)
        try:
            is_linked = (layout / "blobs").samefile(self._reader.directory / BLOBS)
        except OSError:
            is_linked = False
        if not is_linked:
            self._find(
                _WRONG, f"{layout}/blobs", f"does not lead to {BLOBS}; make the backup again"
            )
        try:
            entries = self._reader.entries(name)
        except BackupUnusableError as error:
            self._find(Condition.UNREADABLE, f"{layout}/index.json", str(error))
            return
        reason = lost_tags(status, name, sum(len(each.tags) for each in entries))
        if reason is not None:
            self._find(_MISSING, f"{layout}/index.json", reason)
        for entry in entries:
            self._check_entry(name, entry, needed)

    def _check_entry(self, repository: str, entry: BackupEntry, needed: set[str]) -> None:
        tags = sorted(entry.tags)
        owner = f"{repository}:{tags[0]}" if tags else f"{repository}@{entry.digest}"
        size = self._size(entry.digest)
        if size is None:
            self._lack(entry.digest, owner)
            return
        needed.add(entry.digest)
        if entry.digest in self._bad:
            return
        try:
            content = parse_manifest(self._reader.content(entry.digest))
        except (BackupUnusableError, ManifestUnreadableError):
            self._bad.add(entry.digest)  # hashing reports it
            return
        spare = {*content.foreign, *content.unmarked}
        for digest in content.children:
            self._check_reference(digest, owner, needed, is_needed=True)
        for digest in content.blobs:
            self._check_reference(
                digest, owner, needed, is_needed=entry.with_blobs and digest not in spare
            )

    def _check_reference(
        self, digest: Digest, owner: str, needed: set[str], *, is_needed: bool
    ) -> None:
        text = format_digest(digest)
        if self._size(text) is not None:
            needed.add(text)
        elif is_needed:
            self._lack(text, owner)
        else:
            self._counts.left_out.add(text)

    def _size(self, digest: str) -> int | None:
        """Return the size of a blob; None if it is not there, also if that cannot be known."""
        try:
            return self._reader.blob_size(digest)
        except BackupUnusableError:
            return None

    def _lack(self, digest: str, owner: str) -> None:
        if digest not in self._bad:
            self._bad.add(digest)
            self._find(_MISSING, digest, f"is not in the backup; needed by {owner}")

    def _digests(self, needed: Iterable[str]) -> Sequence[Digest]:
        """Return the blobs to hash: all, or those that one repository needs."""
        if self._task.repository is not None:
            return [digest for text in sorted(needed) if (digest := parse_digest(text)) is not None]
        try:
            digests, others = BackupBlobs(self._reader.directory).list()
        except OSError as error:
            self._find(Condition.UNREADABLE, BLOBS, error.strerror or str(error))
            return ()
        for path in others:
            self._print(f"left over: {printable(str(path))}: no part of a backup")
        return digests

    def _hash(self, digests: Sequence[Digest]) -> bool:
        """Hash blobs; return False if that was interrupted."""
        here, counts = self._environment, self._counts
        total = sum(self._size(format_digest(each)) or 0 for each in digests)
        limiter = RateLimiter(self._task.max_rate, here.clock, here.sleep)
        done = 0
        with byte_progress(0, total, here.clock) as progress:
            verifier = BlobVerifier(
                BackupBlobs(self._reader.directory),
                limiter,
                should_stop=here.should_stop,
                on_read=progress.advance,
            )
            for check in verifier.verify(digests):
                done += 1
                if check.condition in (Condition.SOUND, Condition.CORRUPT):
                    counts.blobs += 1
                    counts.bytes += check.size
                if check.condition is Condition.SOUND:
                    continue
                reason = check.detail
                if check.condition is Condition.CORRUPT:
                    reason = f"its {check.size:,} bytes in the backup hash to {check.detail}"
                with progress.aside():
                    self._find(check.condition, format_digest(check.digest), reason)
        return done == len(digests)

    def _find(self, condition: str, subject: str, reason: str) -> None:
        self._counts.faults[condition] = self._counts.faults.get(condition, 0) + 1
        self._print(f"{condition}: {printable(subject)}: {printable(reason)}")

    def _interrupted(self) -> Verdict:
        self._environment.note("interrupted; the same command starts again")
        return Verdict.INTERRUPTED

    def _summary(self) -> str:
        counts = self._counts
        duration = format_duration(self._environment.clock() - self._started)
        faults = ", ".join(f"{number:,} {what}" for what, number in counts.faults.items())
        line = (
            f"verified {plural(counts.blobs, 'blob')} of the backup, {format_size(counts.bytes)}, "
            f"in {duration}: {faults}"
        )
        if counts.left_out:
            are = "is" if len(counts.left_out) == 1 else "are"
            line += (
                f"; {plural(len(counts.left_out), 'blob')} {are} not in it, because it was made "
                "without blobs"
            )
        return line

    def _print(self, line: str) -> None:
        self._environment.output.write(f"{line}\n")
        self._environment.output.flush()
