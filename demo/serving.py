"""Serve the sample store: the exporter alone, or with servers that show its alerts.

The exporter gets a storage limit that the sample store nearly fills, so that a shipped rule fires.
"""

import os
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import httpx

from demo.errors import DemoError
from demo.firing import Firing, runbook_of
from demo.ports import HOST
from demo.stack import FOR_SECONDS, Installed, Stack
from demo.supervisor import Program, Supervisor

LIMIT = "75MB"
EXPECTED_ALERT = "DockerRegistryStorageLimitApproaching"
READY_SECONDS = 15.0

_LOOK_AT = """\
Open http://{host}:{port}/ in a browser: what fills the disk, whose it is, what can go.
http://{host}:{port}/metrics has the metrics. Look at
  docker_registry_blob_bytes{{state="unreferenced"}}   what the next garbage collection frees
  docker_registry_repository_exclusive_bytes         what deleting each repository would free
  docker_registry_unpurgeable_uploads                uploads that the registry never cleans up
  docker_registry_gc_endangered_tags                 tags that --delete-untagged would break
  docker_registry_use_bytes                          bytes by use, such as those of orphaned apps
Ctrl-C stops it. The same as a report, with what can be freed and how:
  {program} report --storage.root {registry} --caprover.config-dir {captain}"""

_LOOK_AT_ALERTS = """\
Within a minute {alert} (critical) fires, as the store
has nearly used up its --storage.limit of {limit}. Runbook: {runbook}
  Prometheus    {prometheus} - the shipped rules, but each `for` is at most {seconds}s
  Alertmanager  {alertmanager}
Their configuration, data and logs are in {home}"""


def look_at(registry: Path, port: int) -> str:
    """Return the text that says where the exporter serves, and what to look at."""
    return _LOOK_AT.format(
        host=HOST,
        port=port,
        registry=registry,
        captain=registry.parent / "captain",
        program=_program(),
    )


def _program() -> str:
    """Return the relative path of the exporter's command, which need not be on PATH."""
    return os.path.relpath(Path(sys.executable).with_name("registry-storage-exporter"))


def serve_alone(registry: Path, port: int) -> NoReturn:
    """Replace this process with the exporter.

    Raises:
        DemoError: the exporter cannot be started.

    """
    command = _exporter_command(registry, port)
    try:
        os.execv(sys.executable, command)  # noqa: S606 - the point is to become the exporter
    except OSError as error:
        raise DemoError(f"cannot start {' '.join(command)}: {error}") from error


def serve_stack(registry: Path, stack: Stack, installed: Installed) -> int:
    """Run all servers until a signal comes or the exporter ends; return its exit status.

    Raises:
        DemoError: a server cannot be set up or started.

    """
    stack.write()
    exporter = Program("The exporter", tuple(_exporter_command(registry, stack.exporter)))
    firing = Firing(stack.prometheus_url, stack.alertmanager_url)
    with closing(firing), Supervisor() as supervisor:
        if installed.alertmanager is not None:
            supervisor.start(stack.alertmanager_program(installed.alertmanager))
        if installed.prometheus is not None:
            prometheus = stack.prometheus_program(installed.prometheus)
            supervisor.start(prometheus)
            url = f"{stack.prometheus_url}/-/ready"
            if supervisor.wait_for(lambda: _answers(url), prometheus, READY_SECONDS):
                print(_look_at_alerts(stack, installed), flush=True)
        return supervisor.run(exporter, lambda: firing.report_changes(time.monotonic()))


def _exporter_command(registry: Path, port: int) -> list[str]:
    command = [sys.executable, "-m", "exporter", "serve", "--storage.root", str(registry)]
    command += ["--cache.path", str(registry.parent / "inventory.sqlite")]
    command += ["--storage.limit", LIMIT]
    command += ["--caprover.config-dir", str(registry.parent / "captain")]
    command += ["--retention.keep-last", "5"]
    command += ["--web.listen-address", f"{HOST}:{port}"]
    command += ["--web.external-url", f"http://{HOST}:{port}"]
    return command


def _look_at_alerts(stack: Stack, installed: Installed) -> str:
    return _LOOK_AT_ALERTS.format(
        alert=EXPECTED_ALERT,
        limit=LIMIT,
        runbook=runbook_of(EXPECTED_ALERT),
        prometheus=_alerts_page(stack.prometheus_url),
        seconds=FOR_SECONDS,
        alertmanager=_alertmanager_page(stack, installed),
        home=stack.home,
    )


def _alerts_page(url: str) -> str:
    """Return the URL of the page of alerts; Debian's Prometheus 2 has only the classic one."""
    return f"{url}/alerts" if _answers(f"{url}/alerts") else f"{url}/classic/alerts"


def _alertmanager_page(stack: Stack, installed: Installed) -> str:
    url = stack.alertmanager_url
    if url is None:
        return "is not installed"
    if installed.amtool is None:
        return f"{url}/ - or: curl {url}/api/v2/alerts"
    # Debian leaves the pages out of its package, and says so at this address.
    return f"{url}/ - or: amtool --alertmanager.url={url} alert query"


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=1).is_success
    except httpx.TransportError:
        return False
