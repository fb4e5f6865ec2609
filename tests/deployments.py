"""The files of `deploy/`, read as the programs that use them read them.

Knows how Compose substitutes variables, the format of systemd's units, and the commands in a
README. The tests know the expected contents.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

REPOSITORY = Path(__file__).parent.parent
DEPLOY = REPOSITORY / "deploy"

_RENDERED = (
    DEPLOY / "kubernetes/prometheus-rule.yml"
)  # generated from the alerts, whose tests check it
_OF_OPERATORS = {".env", "alertmanager.yml"}  # see .gitignore there

_VARIABLE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")
_CODE_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


class MissingVariableError(Exception):
    """A variable that Compose requires is not set."""


class Mount(NamedTuple):
    """One mount of a container; ``source`` is a path of the host or a volume's name."""

    source: str
    target: str
    read_only: bool

    @property
    def is_path(self) -> bool:
        """Whether it mounts a path of the host, not a volume."""
        return self.source.startswith((".", "/"))


class CodeBlock(NamedTuple):
    """A fenced block of a README."""

    file: Path
    language: str
    text: str


def files() -> list[Path]:
    """List the files of `deploy/` that are written by hand."""
    return sorted(
        path
        for path in DEPLOY.rglob("*")
        if path.is_file() and path != _RENDERED and path.name not in _OF_OPERATORS
    )


def documents(path: Path) -> list[Any]:
    """Read the YAML documents of a file."""
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def document(*parts: str) -> Any:  # noqa: ANN401 - YAML
    """Read the one YAML document of a file below `deploy/`."""
    (only,) = documents(DEPLOY.joinpath(*parts))
    return only


def code_blocks() -> list[CodeBlock]:
    """Find all fenced blocks of all READMEs; their indentation is removed."""
    return [
        CodeBlock(path, language, re.sub(rf"^{indent}", "", text, flags=re.MULTILINE))
        for path in files()
        if path.suffix == ".md"
        for indent, language, text in _CODE_BLOCK.findall(path.read_text("utf-8"))
    ]


def filled_in(node: Any, environment: Mapping[str, str]) -> Any:  # noqa: ANN401 - YAML
    """Substitute variables as Compose does; raise MissingVariableError for a required one."""
    if isinstance(node, dict):
        return {name: filled_in(value, environment) for name, value in node.items()}
    if isinstance(node, list):
        return [filled_in(value, environment) for value in node]
    if not isinstance(node, str):
        return node

    def value_of(match: re.Match[str]) -> str:
        name, operator, argument = match.groups()
        value = environment.get(name, "")
        if not value and operator == ":?":
            raise MissingVariableError(name)
        return value or (argument if operator == ":-" else "")

    return _VARIABLE.sub(value_of, node)


def mounts(service: Mapping[str, Any]) -> list[Mount]:
    """Return the mounts of a service, from Compose's short syntax or its long one."""
    found = []
    for each in service.get("volumes", []):
        if isinstance(each, dict):
            found.append(Mount(each["source"], each["target"], each.get("read_only", False)))
        else:
            source, target, *options = each.split(":")
            found.append(Mount(source, target, "ro" in options))
    return found


def unit(name: str) -> dict[str, list[str]]:
    """Read the directives of a unit or a drop-in, each with all its values in order."""
    directives: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / name).read_text("utf-8").splitlines():
        if line and not line.startswith(("#", ";", "[")):
            directive, _, value = line.partition("=")
            directives.setdefault(directive, []).append(value)
    return directives


def environment_file(path: Path, *, with_examples: bool) -> dict[str, str]:
    """Read a file of variables; ``with_examples``: also those that are commented out."""
    pattern = r"^#?(\w+)=(.*)$" if with_examples else r"^(\w+)=(.*)$"
    return dict(re.findall(pattern, path.read_text("utf-8"), re.MULTILINE))
