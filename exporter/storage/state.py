"""Where this program keeps what it remembers between runs: never in the store."""

import os
from collections.abc import Mapping
from pathlib import Path

from exporter.storage.layout import VERSION_PATH

_DIRECTORY = "registry-storage-exporter"


def state_file(name: str, environment: Mapping[str, str]) -> Path | None:
    """Give the place that the XDG base directories have for it; None where they have none."""
    state = Path(environment.get("XDG_STATE_HOME", ""))
    if state.is_absolute():  # others are to be ignored, says the specification
        return state / _DIRECTORY / name
    home = Path(environment.get("HOME", ""))
    return home / ".local" / "state" / _DIRECTORY / name if home.is_absolute() else None


def is_in_store(path: Path, root: Path) -> bool:
    """Tell whether a file is in the store whose root directory is ``root``.

    The way down to the version directory may be symbolic links to anywhere.
    """
    place = Path(os.path.realpath(path))
    steps = [root.joinpath(*VERSION_PATH[:depth]) for depth in range(len(VERSION_PATH) + 1)]
    return any(place.is_relative_to(os.path.realpath(step)) for step in steps)
