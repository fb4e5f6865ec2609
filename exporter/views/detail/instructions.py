"""What each layer was made by, without the values of environment variables and build arguments.

An image's history repeats its Dockerfile's instructions, and build tools write secrets into it:
``ENV TOKEN=...``, ``ARG TOKEN=...``, and ``|1 TOKEN=... /bin/sh -c make`` for each command that has
a build argument. Rather more is hidden than too little.
"""

import re
from collections.abc import Iterable, Sequence

HIDDEN = "\N{HORIZONTAL ELLIPSIS}"
"""Stands for what is not shown."""

_MOST_READ = 20_000
_SHORTEST_VALUE = 6
_NO_OPERATION = re.compile(r"/bin/sh -c #\(nop\) *")
_SHELL = (
    r"(?:/\S*/)?(?:sh|bash|ash|dash|zsh|ksh)(?: -\S+)* -\w*c|cmd /S /C|\S*powershell\S*(?: -\S+)*"
)
_ANY_SHELL = re.compile(f"(?:^| )(?:{_SHELL}) ")
_RUN = re.compile(f"(?:RUN )?(?:{_SHELL}) ", re.IGNORECASE)
_ARGUMENTS = re.compile(r"(?:RUN )?\|(\d+)(?: |$)", re.IGNORECASE)
_DECLARATION = re.compile(r"((?:ONBUILD )*(?:ENV|ARG)) *(.*)", re.IGNORECASE)
_LABEL = re.compile(r"(?:ONBUILD )*LABEL ", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_ASSIGNMENT = re.compile(r"""(^|[\s;&|(`'"\[,])([A-Za-z_]\w*)=("[^"]*"|'[^']*'|[^\s;&|)'"]+)""")


def instruction(text: str, environment: Sequence[str]) -> str:
    """Return an instruction of an image's history without the values that may be secrets.

    ``environment`` are the image's variables with their values, as its configuration has them:
    none of these values is shown wherever it stands, unless it is very short.
    """
    line = " ".join(text[:_MOST_READ].split()).removesuffix("# buildkit").strip()
    line = _NO_OPERATION.sub("", line, count=1)
    declared = _DECLARATION.fullmatch(line)
    if declared is not None:
        return _declaration(declared[1], declared[2], environment)
    with_arguments = _ARGUMENTS.match(line)
    if with_arguments is not None:
        return _with_arguments(line[with_arguments.end() :], with_arguments[1], environment)
    run = _RUN.match(line)
    if run is not None:
        line = f"RUN {line[run.end() :]}"
    return _without_values(line if _LABEL.match(line) else masked(line), environment)


def masked(text: str) -> str:
    """Return a command with the values hidden that it assigns to variables."""
    return _ASSIGNMENT.sub(rf"\1\2={HIDDEN}", text)


def names_of(environment: Iterable[str]) -> list[str]:
    """Return the names of environment variables."""
    return [each.partition("=")[0] for each in environment]


def _declaration(keyword: str, rest: str, environment: Sequence[str]) -> str:
    """Return a declaration with the names alone: what follows a name may be all of one value."""
    found = _NAME.match(rest)
    if found is None:
        return f"{keyword} {HIDDEN}"
    if rest == found[0]:  # a variable without a value makes no sense: it may be a value itself
        return f"{keyword} {rest if keyword.upper().endswith('ARG') else HIDDEN}"
    names = [found[0]]
    names += [
        name for name in names_of(environment) if name not in names and f" {name}=" in f" {rest}"
    ]
    return f"{keyword} " + " ".join(f"{name}={HIDDEN}" for name in names)


def _with_arguments(rest: str, number: str, environment: Sequence[str]) -> str:
    """Return a command without its build arguments, whose values may hold anything."""
    arguments = "1 build argument" if number == "1" else f"{number[:4]} build arguments"
    shells = list(_ANY_SHELL.finditer(rest))
    command = masked(rest[shells[-1].end() :]) if shells else HIDDEN
    return _without_values(f"RUN ({arguments} hidden) {command}", environment)


def _without_values(text: str, environment: Sequence[str]) -> str:
    values = {
        value for each in environment if len(value := each.partition("=")[2]) >= _SHORTEST_VALUE
    }
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(" ".join(value.split()) or value, HIDDEN)
    return text
