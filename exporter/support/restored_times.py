"""When tags that were put back had been pushed: read from the file that ``restore`` writes.

Without these times, what was restored counts as new, and a plan would delete what is really the
newest. So there is no plan while the file is there and cannot be read.
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from exporter.domain.digests import format_digest
from exporter.domain.errors import PlanRefusedError, remedy_for
from exporter.domain.journal import RestoredTag
from exporter.domain.model import Inventory, Repository
from exporter.domain.text import printable

_PUT_SECONDS = 600.0
"""The registry writes a tag's link within this time after its line was written."""

_CLOCK_SECONDS = 2.0
"""How far the clock of the store's filesystem may be behind."""

_LOOK_SECONDS = 1.0
"""A store may have thousands of repositories: the file is looked at once for all of them."""

_Stamp = tuple[int, int, int]


class RestoredTimes:
    """Returns the old times of one store's tags; reads the file again when it has changed."""

    def __init__(self, path: Path | None, identity: Callable[[], str]) -> None:
        """Read ``path``, if there is one; ``identity`` returns the store's."""
        self._path = path
        self._identity = identity
        self._stamp: _Stamp | None = None
        self._looked_at = float("-inf")
        self._tags: Mapping[str, Mapping[str, RestoredTag]] = {}
        self._refusal: str | None = None

    def of(self, inventory: Inventory, repository: Repository) -> Mapping[str, float]:
        """Return when restored tags had been pushed, Unix seconds, by name.

        Only of those that nobody has pushed since. Raises PlanRefusedError if the file is there
        and cannot be read.
        """
        restored = self._read().get(repository.name)
        if not restored:
            return {}
        found = {}
        for tag in repository.tags:
            old = restored.get(tag.name)
            if old is None or old.pushed_at is None or None in (tag.target, tag.updated_at):
                continue
            is_same = format_digest(inventory.digests[tag.target or 0]) == old.digest
            since = (tag.updated_at or 0.0) - old.restored_at
            if is_same and -_CLOCK_SECONDS <= since <= _PUT_SECONDS:
                found[tag.name] = old.pushed_at
        return found

    def _read(self) -> Mapping[str, Mapping[str, RestoredTag]]:
        now = time.monotonic()
        if self._path is not None and now - self._looked_at >= _LOOK_SECONDS:
            self._refusal = self._look(self._path)
            self._looked_at = now
        if self._refusal is not None:
            raise PlanRefusedError(self._refusal)
        return self._tags

    def _look(self, path: Path) -> str | None:
        """Read the file if it has changed; return why that is not possible."""
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                self._tags = _parse(path.read_bytes(), self._identity())
                self._stamp = stamp
        except (FileNotFoundError, NotADirectoryError):
            self._tags, self._stamp = {}, None
        except OSError as error:
            self._stamp = None
            remedy = remedy_for(error, f"let uid {os.geteuid()} read it")
            return (
                f"no plan, because it is unknown which restored tags are old: "
                f"{printable(str(path))} cannot be read: {error.strerror}; {remedy}"
            )
        return None


def _parse(content: bytes, store: str) -> Mapping[str, Mapping[str, RestoredTag]]:
    """Return the tags of one store by repository and name; a line that was cut short is skipped."""
    tags: dict[str, dict[str, RestoredTag]] = {}
    decoder = msgspec.json.Decoder(RestoredTag)
    for line in content.splitlines():
        try:
            tag = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if tag.store == store:
            tags.setdefault(tag.repository, {})[tag.tag] = tag
    return tags
