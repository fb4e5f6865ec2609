"""When the maintenance routine last succeeded: read from the file that it writes."""

import math
import os
import stat
from pathlib import Path

from exporter.domain.errors import ResultFileUnusableError
from exporter.domain.last_runs import LastMaintenance
from exporter.domain.text import printable

COMPLETED_AT = "docker_registry_maintenance_last_success_timestamp_seconds"
FREED_BYTES = "docker_registry_maintenance_freed_bytes"

_MOST_BYTES = 64 * 1024


def read_last_maintenance(path: Path) -> LastMaintenance:
    """Return the last run of the routine that succeeded; none without the file.

    Raises ResultFileUnusableError if the file cannot be read or is malformed.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _malformed(path, "it is not a file")
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return LastMaintenance()
    except OSError as error:
        raise ResultFileUnusableError(
            f"cannot read {printable(str(path))}: {error.strerror}; let uid {os.geteuid()} read it"
        ) from error
    if len(content) > _MOST_BYTES:
        raise _malformed(path, f"it is larger than {_MOST_BYTES} bytes")
    try:
        values = _values(content.decode())
    except ValueError as error:
        raise _malformed(path, printable(str(error))) from error
    return LastMaintenance(values[COMPLETED_AT], int(values[FREED_BYTES]))


def _values(text: str) -> dict[str, float]:
    """Return both values of a text in Prometheus' format. Raises ValueError."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name in (COMPLETED_AT, FREED_BYTES):
            found[name] = _value(name, value)
    for name in (COMPLETED_AT, FREED_BYTES):
        if name not in found:
            raise ValueError(f"it has no line {name!r} with a value")
    return found


def _value(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"the value of {name} is {text!r}, and not a number from 0 up")
    return value


def _malformed(path: Path, reason: str) -> ResultFileUnusableError:
    return ResultFileUnusableError(
        f"{printable(str(path))} is not what maintenance.sh writes: {reason}; delete it, and run "
        "maintenance.sh --yes again"
    )
