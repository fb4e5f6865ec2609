"""A stand-in for a container of the exporter's image that runs one command.

It has only the variables of the image and of its command line. Whatever a path names must be in a
volume, at the same place as on the host.
"""

import argparse
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.exporter_process import REPOSITORY, run_exporter

IMAGE = "registry.root.example.com:996/captain/img-captain-registry-exporter:1"

_PATH = re.compile(r"(?<![\w:/])/[\w./-]+")
_VARIABLE = re.compile(r"^(?:ENV)? +(REGISTRY_EXPORTER_\w+)=(\S+)", re.MULTILINE)


def run_in_container(
    options: Sequence[str], command: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    """Run a command of the exporter as ``docker run`` does with these options.

    Raises NotImplementedError if an option is unknown, or a path is not in a volume.
    """
    parser = argparse.ArgumentParser(exit_on_error=False)
    for switch in ("--rm", "--read-only"):
        parser.add_argument(switch, action="store_true", required=True)
    for name in ("--network", "--user", "--cap-drop"):
        parser.add_argument(name)
    for name in ("--volume", "--env"):
        parser.add_argument(name, action="append", default=[])
    given = parser.parse_args(options)
    image = dict(_VARIABLE.findall((REPOSITORY / "Dockerfile").read_text()))
    variables = image | dict(each.split("=", 1) for each in given.env)
    volumes = list(_volumes(given.volume))
    configuration = Path(variables["REGISTRY_EXPORTER_CONFIG_FILE"]).read_text()
    for path in _PATH.findall(" ".join([*command, *variables.values(), configuration])):
        if not any(Path(path).is_relative_to(each) for each in volumes):
            raise NotImplementedError(f"{path} is in none of the volumes {volumes}")
    return run_exporter(*command, environment=variables)


def _volumes(given: Sequence[str]) -> Iterator[str]:
    for each in given:
        outside, inside, *_ = each.split(":")
        if outside != inside:
            raise NotImplementedError(f"{each}: another path than on the host")
        yield inside
