"""Ten thousand deletions: the rate that they reach, and the memory."""

import os
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo.store import StoreBuilder, noise
from tests.applied import Place
from tests.exporter_process import REPOSITORY
from tests.random_stores import temporary_directory
from tests.servers import DockerRegistry, RegistryClient

NUMBER = int(os.environ.get("APPLY_DELETIONS", "10000"))
_REPOSITORIES = 20
_MOST_MIB = 400


@pytest.mark.soak
def test_ten_thousand_deletions_from_twenty_repositories(tmp_path: Path) -> None:
    """The registry reads all tags of a repository for each deletion, and sets the pace."""
    old = time.time() - 86400
    with temporary_directory() as root:
        store = StoreBuilder(root)
        for number in range(NUMBER):
            name = f"team/app-{number % _REPOSITORIES}"
            store.image(name, f"old-{number}", [noise(f"{number}", 100)], at=old)
        store.image("team/app-0", "stays", [b"stays"], at=old)
        with DockerRegistry(root) as registry, RegistryClient(registry.url) as client:
            place = Place(registry, client, tmp_path, registry.url)
            assert len(place.plan("--match=.*:old-.*")) == NUMBER
            command = [sys.executable, "-m", "exporter"]
            command += map(str, place.flags("--yes", "--no-backup", "--max-rate", "100000"))
            began = time.monotonic()
            with subprocess.Popen(
                command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                output = process.stdout.read()
                _, status, usage = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            seconds = time.monotonic() - began
            assert process.returncode == 0
            assert re.search(rf"deleted {NUMBER:,} manifests with {NUMBER:,} tags", output)
            assert client.tags("team/app-0") == ["stays"]
    mib = _mib(usage)
    print(f"{NUMBER:,} deletions in {seconds:.0f} s: {NUMBER / seconds:.0f}/s, {mib:.0f} MiB")  # noqa: T201
    assert mib < _MOST_MIB


def _mib(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024
