"""A registry that a killed script has left closed is opened by the next run."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.collecting_host import APP, DONE, PLACES, host_with

KILLS = int(os.environ.get("COLLECT_KILLS", "1"))
"""How often each script is killed."""

KILLED = PLACES if KILLS > 1 else ("caprover", "systemd")
"""The scripts differ only in the commands of their platform."""


@pytest.mark.parametrize("place", KILLED)
def test_a_run_after_a_killed_one_opens_the_registry(tmp_path: Path, place: str) -> None:
    source = random.Random(place)  # noqa: S311 - not a secret
    with host_with(tmp_path / "host", place) as host:
        started = time.monotonic()
        assert host.run("--yes")[0] == DONE
        seconds = time.monotonic() - started
        kills = 0
        while kills < KILLS:
            host.add_garbage(b"%d" % kills)
            killed = host.start("--yes", output=subprocess.DEVNULL)
            kill = source.choice([os.kill, os.killpg])
            try:
                killed.wait(source.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                kill(killed.pid, signal.SIGKILL)
                kills += 1
            killed.wait()
            option = source.choice(["--open", "--yes"])
            code, output = host.run(option)
            while "is locked" in output:  # by what the killed run started, which goes on
                code, output = host.run(option)
            assert code == DONE, f"kill {kills}, by {kill.__name__}: {output}"
            host.assert_open()
            assert host.client.manifest(APP, "1")
