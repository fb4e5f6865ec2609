"""Rights that this process has and does not need: it only ever reads the store."""

import os
from dataclasses import dataclass
from pathlib import Path

from exporter.domain.text import printable
from exporter.store.format.layout import BLOBS, REPOSITORIES, VERSION_PATH

_ROOT_REMEDY = (
    "run it as a user who may read the store (Docker: --user 65532:65532; systemd: "
    "DynamicUser=yes); "
    "where only root may, as with CapRover's configuration, drop all capabilities (--cap-drop ALL)"
)
_WRITABLE_REMEDY = (
    "mount it read-only (Docker: -v ...:ro; CapRover and swarm: ReadOnly: true; "
    "systemd: ReadOnlyPaths=), or run it as a user who may only read it"
)


@dataclass(frozen=True, slots=True)
class Privilege:
    """Rights of a process.

    Attributes:
        is_root: whether it runs as root.
        writable: a directory of the store that it may write to; None if there is none.

    """

    is_root: bool
    writable: Path | None


def read_privilege(root: Path) -> Privilege:
    """Return the rights of this process on the store below ``root``.

    On a read-only mount, not even root may write.
    """
    steps = [root.joinpath(*VERSION_PATH[:depth]) for depth in range(len(VERSION_PATH) + 1)]
    places = (*steps, steps[-1] / BLOBS, steps[-1] / REPOSITORIES)
    writable = (place for place in places if os.access(place, os.W_OK, effective_ids=True))
    return Privilege(os.geteuid() == 0, next(writable, None))


def warnings_of(privilege: Privilege) -> list[str]:
    """Return a warning for each right that is not needed, with its remedy."""
    warnings = []
    if privilege.is_root:
        warnings.append(f"running as root: {_ROOT_REMEDY}")
    if privilege.writable is not None:
        place = printable(str(privilege.writable))
        warnings.append(f"the store can be written to, at {place}: {_WRITABLE_REMEDY}")
    return warnings
