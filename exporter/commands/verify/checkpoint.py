"""The checkpoint file: how far a verification is, so that the next run continues there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from exporter.commands.verify.tally import Tally
from exporter.domain.digests import parse_digest
from exporter.domain.errors import ConfigurationError, OutputError
from exporter.domain.text import printable
from exporter.store.port import Store
from exporter.support.output_files import replace_file
from exporter.support.state_directory import state_file

_VERSION = 1
_MODE = 0o600
_NAME = "verify.json"


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    root: str
    repository: str | None
    tally: Tally


class _Version(msgspec.Struct):
    version: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The checkpoint file of one store and selection.

    Attributes:
        path: where it is; None if there is no place for it.
        store: identifies the store that is verified.
        repository: the one that is verified; None for the whole store.

    """

    path: Path | None
    store: str
    repository: str | None

    def load(self, note: Callable[[str], None]) -> Tally | None:
        """Return what the last run left; None if nothing fits, with a ``note`` of the reason."""
        if self.path is None:
            return None
        try:
            encoded = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            note(f"{self._name} cannot be read: {error.strerror}; starting again")
            return None
        content, problem = self._decode(encoded)
        if problem is not None:
            note(f"{self._name} {problem}; starting again")
        return None if content is None else content.tally

    def save(self, tally: Tally) -> str | None:
        """Write the file; return the reason if that is not possible."""
        if self.path is None:
            return "there is no place for a checkpoint: neither XDG_STATE_HOME nor HOME is set"
        content = _Content(_VERSION, self.store, self.repository, tally)
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.path.exists() and not self.path.is_file():
                return f"{self._name} is not a regular file"
            replace_file(self.path, msgspec.json.encode(content), _MODE)
        except OSError as error:
            return f"{self._name} cannot be written: {error.strerror}"
        except OutputError as error:
            return str(error)
        return None

    def remove(self) -> None:
        """Remove the file, if it is there and may be removed."""
        if self.path is None or not self.path.is_file():
            return
        try:
            self.path.unlink()
        except OSError:
            return  # that it cannot be written was reported before

    @property
    def _name(self) -> str:
        return f"the checkpoint {printable(str(self.path))}"

    def _decode(self, encoded: bytes) -> tuple[_Content | None, str | None]:
        """Return the content, or why it cannot be used."""
        try:
            if msgspec.json.decode(encoded, type=_Version).version != _VERSION:
                return None, "is of another version of this program"
            content = msgspec.json.decode(encoded, type=_Content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return None, f"is damaged ({error})"
        position = content.tally.position
        if position is not None and parse_digest(position) is None:
            return None, "is damaged (its position is not a digest)"
        if content.root != self.store:
            return None, f"is of another store, {printable(content.root)}"
        if content.repository != self.repository:
            return None, f"is of another selection, {_selection(content.repository)}"
        return content, None


def _selection(repository: str | None) -> str:
    return "the whole store" if repository is None else f"repository {printable(repository)}"


def default_path(environment: Mapping[str, str]) -> Path | None:
    """Return its usual place; None if there is none."""
    return state_file(_NAME, environment)


def refuse_inside_store(path: Path, store: Store) -> None:
    """Raise ConfigurationError if ``path`` is in the store, which is only ever read."""
    if store.holds(path):
        problem = (
            f"--checkpoint {printable(str(path))}: is in the store {store.location}, "
            "which is never written to; give a file elsewhere"
        )
        raise ConfigurationError([problem])
