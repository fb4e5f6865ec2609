"""Locked packages can be installed, today and after newer versions have appeared."""

import re
from importlib import metadata
from pathlib import Path

import pytest

LOCKS = sorted(
    path
    for path in (Path(__file__).parent.parent / "requirements").glob("*.txt")
    if path.name != "tools.txt"  # which is installed without resolving dependencies
)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_no_locked_package_requires_another_with_an_extra(lock: Path) -> None:
    # pip resolves such a requirement again, finds a version that is newer than the locked one, and
    # refuses it because it has no hashes. So a release of that package breaks the installation.
    locked = re.findall(r"^([\w.-]+)==", lock.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(locked) > 5
    asked = [f"{name}: {each}" for name in locked for each in _requirements(name) if "[" in each]
    assert asked == []


def _requirements(name: str) -> list[str]:
    try:
        found = metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # for another Python or another machine
        return []
    return [each.split(";")[0] for each in found if "extra ==" not in each]
