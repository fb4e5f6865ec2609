"""Write a CycloneDX SBOM of the image's contents, without its base image: ``make sbom``."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exporter import __version__
from requirements.locks import DIRECTORY, IMAGE, canonical_name

_SPECIFICATION = "1.6"
_ENVIRONMENT = os.environ | {"PYTHONWARNINGS": "ignore"}  # they are about what _connect adds


def write_sbom(tools: Path, output: Path) -> None:
    """Write the packages of the image's lock with their hashes, and the exporter itself.

    ``tools`` is the virtual environment that ``requirements/tools.txt`` was installed into. Raises
    CalledProcessError if the result would be invalid.
    """
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "pyproject.toml"
        project.write_text(_project(), encoding="utf-8")
        command: list[str | Path] = [
            *(tools / "bin" / "cyclonedx-py", "requirements", IMAGE),
            *("--pyproject", project, "--mc-type", "application"),
            *("--spec-version", _SPECIFICATION, "--output-format", "JSON", "--validate"),
            *("--output-reproducible", "--output-file", output),
        ]
        subprocess.run(command, check=True, env=_ENVIRONMENT)  # noqa: S603 - our own environment's
    _connect(output)


def direct_dependencies() -> list[str]:
    """List the packages that pyproject.toml requires."""
    required = _pyproject()["dependencies"]
    return sorted(canonical_name(re.split(r"[^\w.-]", each, maxsplit=1)[0]) for each in required)


def _project() -> str:
    """Return pyproject.toml's description of the exporter, with the version that a build adds."""
    project = _pyproject()
    fields = {"name": project["name"], "version": __version__}
    fields |= {name: project[name] for name in ("description", "license")}
    return "[project]\n" + "".join(
        f"{name} = {json.dumps(text)}\n" for name, text in fields.items()
    )


def _pyproject() -> dict[str, Any]:
    text = (DIRECTORY.parent / "pyproject.toml").read_text(encoding="utf-8")
    project: dict[str, Any] = tomllib.loads(text)["project"]
    return project


def _connect(output: Path) -> None:
    """Add the dependencies of the exporter itself, which is in no lock."""
    sbom = json.loads(output.read_bytes())
    references = {canonical_name(each["name"]): each["bom-ref"] for each in sbom["components"]}
    for entry in sbom["dependencies"]:
        if entry["ref"] == sbom["metadata"]["component"]["bom-ref"]:
            entry["dependsOn"] = [references[name] for name in direct_dependencies()]
    output.write_text(f"{json.dumps(sbom, indent=2)}\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> None:
    """Write the SBOM to the file that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", type=Path, help="virtual environment of the tools")
    parser.add_argument("output", type=Path, help="file to write")
    parsed = parser.parse_args(arguments)
    write_sbom(parsed.tools, parsed.output)


if __name__ == "__main__":
    main(sys.argv[1:])
