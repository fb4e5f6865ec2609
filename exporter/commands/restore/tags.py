"""Restore tags, the oldest first."""

from collections.abc import Callable

from exporter.commands.restore.contents import ContentMissingError, Contents
from exporter.commands.restore.manifests import Tally
from exporter.commands.restore.wanted import WantedTag
from exporter.domain.errors import (
    ApiUnavailableError,
    ContentRefusedError,
    ManifestUnreadableError,
    RegistryRefusesError,
)
from exporter.registry.port import RegistryEditor
from exporter.store.format.manifests import media_type_of


class TagRestorer:
    """Restores tags in one registry that has their manifests."""

    def __init__(
        self,
        editor: RegistryEditor,
        contents: Contents,
        tally: Tally,
        *,
        force: bool,
        dry_run: bool,
        on_put: Callable[[WantedTag], None],
        is_damaged: Callable[[WantedTag], bool],
    ) -> None:
        """Prepare it; ``on_put`` is called just before a tag is put.

        ``is_damaged`` looks whether what a tag points to cannot be understood.
        """
        self._editor = editor
        self._contents = contents
        self._tally = tally
        self._force = force
        self._dry_run = dry_run
        self._on_put = on_put
        self._is_damaged = is_damaged

    def restore(self, tag: WantedTag) -> str | None:
        """Restore a tag unless it is there; return why that is not possible, else None.

        Raises ApiUnavailableError as the editor does.
        """
        current = self._current(tag)
        if current == tag.digest:
            self._tally.tags_there += 1
            return None
        if current is not None and not self._force:
            return f"it points to {current} now; --force moves it back to {tag.digest}"
        if not self._dry_run:
            try:
                content, media_type = self._manifest(tag)
                self._on_put(tag)
                self._editor.put_manifest(tag.repository, tag.name, content, media_type)
            except (ContentRefusedError, ContentMissingError, ManifestUnreadableError) as error:
                return str(error)
        self._tally.tags += 1
        return None

    def _current(self, tag: WantedTag) -> str | None:
        """Return what a tag points to; None if it is not there, or damaged: a PUT mends it."""
        try:
            return self._editor.manifest_digest(tag.repository, tag.name)
        except RegistryRefusesError:
            raise
        except ApiUnavailableError:
            if not self._is_damaged(tag):
                raise
            return None

    def _manifest(self, tag: WantedTag) -> tuple[bytes, str]:
        """Return the content of a tag's manifest and its media type, the registry's if need be."""
        try:
            content = self._contents.manifest(tag.digest)
        except ContentMissingError:
            served = self._editor.manifest(tag.repository, tag.digest)
            if served is None:
                raise
            return served.content, served.media_type
        return content, media_type_of(content)
