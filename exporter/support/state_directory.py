"""Where this program keeps what it remembers between runs: never in the store."""

from collections.abc import Mapping
from pathlib import Path

_DIRECTORY = "registry-storage-exporter"


def state_file(name: str, environment: Mapping[str, str]) -> Path | None:
    """Give the place that the XDG base directories have for it; None where they have none."""
    state = Path(environment.get("XDG_STATE_HOME", ""))
    if state.is_absolute():  # others are to be ignored, says the specification
        return state / _DIRECTORY / name
    home = Path(environment.get("HOME", ""))
    return home / ".local" / "state" / _DIRECTORY / name if home.is_absolute() else None
