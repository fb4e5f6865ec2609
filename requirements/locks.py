"""The locks: every package with one version and the hashes of its files."""

import re
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = Path(__file__).parent
IMAGE = DIRECTORY / "image.txt"
"""The packages that the exporter needs to run, in the image and elsewhere."""

LOCKS = tuple(DIRECTORY / f"{name}.txt" for name in ("image", "build", "test", "tools"))

_PACKAGE = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)[^\\\n]*(?P<hashes>(?:\\\n +--hash=\S+ ?)*)",
    re.MULTILINE,
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")


@dataclass(frozen=True, slots=True)
class LockedPackage:
    """One line of a lock.

    Attributes:
        name: in the canonical form, see :func:`canonical_name`.
        version: the only version that may be installed.
        hashes: sha256 of each file that may be installed, in hexadecimal.

    """

    name: str
    version: str
    hashes: frozenset[str]


def read_lock(path: Path) -> list[LockedPackage]:
    """Read a lock that ``make lock`` wrote."""
    return [
        LockedPackage(
            canonical_name(match["name"]), match["version"], frozenset(_HASH.findall(match[0]))
        )
        for match in _PACKAGE.finditer(path.read_text(encoding="utf-8"))
    ]


def canonical_name(name: str) -> str:
    """Return a package's name in canonical form (a rule of the packaging specifications)."""
    return re.sub(r"[-_.]+", "-", name).lower()
