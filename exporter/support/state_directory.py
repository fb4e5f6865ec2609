"""The state directory: files that this program keeps between runs, never in the store."""

from collections.abc import Mapping
from pathlib import Path

_DIRECTORY = "registry-storage-exporter"


def state_file(name: str, environment: Mapping[str, str]) -> Path | None:
    """Return the path of a file by the XDG base directories; None if they name no directory."""
    state = Path(environment.get("XDG_STATE_HOME", ""))
    if state.is_absolute():  # the specification ignores relative paths
        return state / _DIRECTORY / name
    home = Path(environment.get("HOME", ""))
    return home / ".local" / "state" / _DIRECTORY / name if home.is_absolute() else None
