"""Put manifests back, each after what it needs.

A manifest is sent first, and its blobs are looked for only if the registry refuses it: before a
collector run the registry has all of them. For a manifest that is there, all of them are looked
for: an earlier run may have ended in between.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from exporter.commands.restore.contents import ContentMissingError, Contents
from exporter.domain.digests import format_digest, parse_digest
from exporter.domain.errors import (
    ApiUnavailableError,
    ContentRefusedError,
    ManifestUnreadableError,
    RegistryRefusesError,
)
from exporter.registry.port import RegistryEditor
from exporter.store.format.manifests import ManifestContent, media_type_of, parse_manifest
from exporter.store.port import Blobs

_MOST_LEVELS = 32
"""Indexes in indexes; the registry has no limit, and nobody nests them deeper than twice."""

_SCHEMA_2 = 2

_RESTART = (
    "restart the registry, and run this again: after a collector run it answers for blobs that it "
    "no longer has"
)


_OTHER_REGISTRY = (
    "the registry at --registry.url does not have what the store at --storage.root has: it keeps "
    "its data elsewhere; what it has written is not looked at"
)


class StoppedError(Exception):
    """It was asked to stop."""


@dataclass(slots=True)
class Tally:
    """What was restored, or would be.

    Attributes:
        manifests: how many.
        manifests_there: how many of those that are wanted were there already.
        blobs: how many were sent.
        bytes: their sizes added up.
        tags: how many.
        tags_there: how many were there already.

    """

    manifests: int = 0
    manifests_there: int = 0
    blobs: int = 0
    bytes: int = 0
    tags: int = 0
    tags_there: int = 0


@dataclass(frozen=True, slots=True)
class Control:
    """How manifests are restored, and how that is stopped.

    Attributes:
        should_stop: whether to end with StoppedError.
        dry_run: whether nothing is to be changed.
        note: receives a remark for people.

    """

    should_stop: Callable[[], bool] = lambda: False
    dry_run: bool = False
    note: Callable[[str], None] = lambda _: None


class ManifestRestorer:
    """Puts manifests back into one registry."""

    def __init__(
        self,
        editor: RegistryEditor,
        contents: Contents,
        disk: Blobs | None,
        control: Control,
        tally: Tally,
        named: Collection[tuple[str, str]] = (),
    ) -> None:
        """Prepare it; ``disk`` is the store of that registry, None if it cannot be read.

        ``named`` are the manifests that backup or journal name, by repository and digest.
        """
        self._editor = editor
        self._contents = contents
        self._disk = disk
        self._control = control
        self._tally = tally
        self._manifests: dict[tuple[str, str], str | None] = {}
        self._blobs: dict[tuple[str, str], str | None] = {}
        self._holders: dict[str, str] = {}
        self._named = named
        self._incomplete: dict[tuple[str, str], str] = {}

    def lacks(self, repository: str, digest: str) -> str | None:
        """Return what is not there of an index that is there itself; None if nothing is known.

        Of the manifests that it lists, only those count that backup or journal name: an image may
        lack platforms on purpose, and some registries take that.
        """
        return self._incomplete.get((repository, digest))

    def restore(self, repository: str, digest: str) -> str | None:
        """Put a manifest back unless it is there; return why that is not possible, else None.

        Raises StoppedError, and ApiUnavailableError as the editor does.
        """
        return self._restore(repository, digest, _MOST_LEVELS)

    def _restore(self, repository: str, digest: str, levels: int) -> str | None:
        key = (repository, digest)
        if key not in self._manifests:
            self._stop_if_asked()
            self._manifests[key] = self._try(repository, digest, levels)
        return self._manifests[key]

    def _try(self, repository: str, digest: str, levels: int) -> str | None:
        is_there = self._editor.manifest_digest(repository, digest) is not None
        try:
            content = self._contents.manifest(digest)
            parsed, media_type = parse_manifest(content), media_type_of(content)
        except (ContentMissingError, ManifestUnreadableError) as error:
            self._tally.manifests_there += is_there
            return None if is_there else str(error)
        if not levels:
            return "is an index below too many others"
        unlisted = self._restore_listed(repository, digest, parsed, levels)
        if is_there or self._control.dry_run:
            self._tally.manifests_there += is_there
            self._tally.manifests += not is_there
            return next(self._missing(repository, parsed), None)
        try:
            return self._put(repository, digest, content, media_type, parsed, unlisted)
        except ApiUnavailableError as error:
            is_known = parsed.schema == _SCHEMA_2 or isinstance(error, RegistryRefusesError)
            if is_known or self._control.should_stop():
                raise
            return str(error)  # the registry answers 500 to a manifest that it does not know

    def _restore_listed(
        self, repository: str, digest: str, parsed: ManifestContent, levels: int
    ) -> Sequence[str]:
        """Put back what an index lists; return why some of it is not there."""
        unlisted = []
        for child in map(format_digest, parsed.children):
            reason = self._restore(repository, child, levels - 1) or self.lacks(repository, child)
            if reason is None:
                continue
            unlisted.append(f"it lists {child}: {reason}")
            if (repository, child) in self._named:
                self._incomplete.setdefault((repository, digest), unlisted[-1])
        return unlisted

    def _put(
        self,
        repository: str,
        digest: str,
        content: bytes,
        media_type: str,
        parsed: ManifestContent,
        unlisted: Sequence[str],
    ) -> str | None:
        try:
            self._editor.put_manifest(repository, digest, content, media_type)
        except ContentRefusedError as error:
            if "BLOB_UNKNOWN" not in error.code:
                return str(error)
            self._compare(repository, parsed)
            reason = next(iter(unlisted), None) or next(self._missing(repository, parsed), None)
            if reason is not None:
                return reason
            try:
                self._editor.put_manifest(repository, digest, content, media_type)
            except ContentRefusedError as again:
                remedy = f"; {_RESTART}" if "BLOB_UNKNOWN" in again.code else ""
                return f"{again}{remedy}"
        if self._disk is not None:
            if not self._is_on_disk(digest):
                return (
                    f"the registry took it, and did not write it to --storage.root; {_RESTART}; if "
                    "it keeps its data elsewhere, give that place as --storage.root"
                )
            reason = next(self._missing(repository, parsed), None)
            if reason is not None:
                return reason
        self._tally.manifests += 1
        return None

    def _compare(self, repository: str, parsed: ManifestContent) -> None:
        """Stop relying on the store at hand if the registry misses what that has.

        It is then not the registry's: that was given another address, or the store moved.
        """
        for digest in map(format_digest, parsed.blobs):
            if self._is_linked(repository, digest) and not self._editor.has_blob(
                repository, digest
            ):
                self._disk = None
                self._blobs.clear()
                self._holders.clear()
                self._control.note(_OTHER_REGISTRY)
                return

    def _missing(self, repository: str, parsed: ManifestContent) -> Iterator[str]:
        """Put back the blobs of a manifest; yield why some cannot be."""
        for blob in dict.fromkeys(parsed.blobs):
            if blob not in parsed.foreign:
                reason = self._blob(repository, format_digest(blob))
                if reason is not None:
                    yield reason

    def _blob(self, repository: str, digest: str) -> str | None:
        """Put a blob back unless it is there; return why that is not possible."""
        key = (repository, digest)
        if key not in self._blobs:
            self._stop_if_asked()
            self._blobs[key] = reason = self._try_blob(repository, digest)
            if reason is None:
                self._holders[digest] = repository
        return self._blobs[key]

    def _try_blob(self, repository: str, digest: str) -> str | None:
        if self._is_served(repository, digest):
            return None
        source = self._holders.get(digest)
        if source is not None and (
            self._control.dry_run or self._editor.mount_blob(repository, digest, source)
        ):
            return None
        size = self._contents.blob_size(digest)
        if size is None:
            return f"it needs {digest}, which neither the registry nor the backup has"
        if not self._control.dry_run:
            try:
                self._editor.put_blob(repository, digest, size, lambda: self._parts(digest))
            except (ContentRefusedError, ContentMissingError) as error:
                return f"it needs {digest}: {error}"
        self._tally.blobs += 1
        self._tally.bytes += size
        return None

    def _is_served(self, repository: str, digest: str) -> bool:
        if self._disk is not None and not self._is_on_disk(digest):
            return False
        return self._is_linked(repository, digest) or self._editor.has_blob(repository, digest)

    def _is_linked(self, repository: str, digest: str) -> bool:
        """Return whether the store at hand serves a blob in the repository."""
        packed = parse_digest(digest)
        if self._disk is None or packed is None or not self._is_on_disk(digest):
            return False
        return self._disk.is_layer_of(repository, packed)

    def _is_on_disk(self, digest: str) -> bool:
        packed = parse_digest(digest)
        if self._disk is None or packed is None:
            return False
        try:
            with self._disk.open(packed):
                return True
        except OSError:
            return False

    def _parts(self, digest: str) -> Iterator[bytes]:
        for part in self._contents.blob_parts(digest):
            self._stop_if_asked()
            yield part

    def _stop_if_asked(self) -> None:
        if self._control.should_stop():
            raise StoppedError
