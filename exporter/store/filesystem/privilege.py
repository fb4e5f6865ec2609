"""What this process may do and never needs: it reads, and neither writes to the store nor rules."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from exporter.domain.text import printable
from exporter.store.format.layout import BLOBS, REPOSITORIES, VERSION_PATH

_log = logging.getLogger(__name__)

_ROOT_MEND = (
    "take a user who may read the store (Docker: --user 65532:65532; systemd: DynamicUser=yes); "
    "where only root may, as with CapRover's configuration, drop all capabilities (--cap-drop ALL)"
)
_WRITABLE_MEND = (
    "mount it read-only (Docker: -v ...:ro; CapRover and swarm: ReadOnly: true; "
    "systemd: ReadOnlyPaths=), or take a user who may only read it"
)


@dataclass(frozen=True, slots=True)
class Privilege:
    """What a process may do.

    Attributes:
        is_root: whether it acts as root.
        writable: a directory of the store that it may write to; None where there is none.

    """

    is_root: bool
    writable: Path | None


def read_privilege(root: Path) -> Privilege:
    """Tell what this process may do to the store below ``root``.

    Nobody, root included, may write to what is mounted read-only.
    """
    steps = [root.joinpath(*VERSION_PATH[:depth]) for depth in range(len(VERSION_PATH) + 1)]
    places = (*steps, steps[-1] / BLOBS, steps[-1] / REPOSITORIES)
    writable = (place for place in places if os.access(place, os.W_OK, effective_ids=True))
    return Privilege(os.geteuid() == 0, next(writable, None))


def warnings_of(privilege: Privilege) -> list[str]:
    """Say what of it is too much, each with the mend."""
    warnings = []
    if privilege.is_root:
        warnings.append(f"running as root: {_ROOT_MEND}")
    if privilege.writable is not None:
        place = printable(str(privilege.writable))
        warnings.append(f"the store can be written to, at {place}: {_WRITABLE_MEND}")
    return warnings


def warn_of_privilege(root: Path) -> None:
    """Log what this process may do beyond reading the store below ``root``."""
    for warning in warnings_of(read_privilege(root)):
        _log.warning(warning)
