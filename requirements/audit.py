"""Look up security advisories for all locked packages: ``make audit``.

Exit code 0 if all packages were looked up and none has an advisory, 1 if one has, 3 if that is
unknown: a missing answer never counts as a good one.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from requirements.locks import LOCKS, LockedPackage, canonical_name, read_lock

CLEAN, AFFECTED, UNKNOWN = 0, 1, 3

_ADVICE = (
    "the packages were not checked; run `make audit` on a machine that can reach "
    "https://pypi.org or https://api.osv.dev (HTTPS_PROXY is used)"
)
_SECONDS = 300.0
_ANSWERED = (0, 1)
_LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Service:
    """A service that knows advisories.

    Attributes:
        name: for messages.
        flags: options that make pip-audit use it.

    """

    name: str
    flags: tuple[str, ...]


SERVICES = (
    Service("pypi.org", ("--vulnerability-service", "pypi")),
    Service("api.osv.dev", ("--vulnerability-service", "osv")),
)


class _Advisory(msgspec.Struct):
    id: str
    fix_versions: list[str]
    aliases: list[str] = []


class _Package(msgspec.Struct):
    name: str
    version: str | None = None
    vulns: list[_Advisory] | None = None


class _Report(msgspec.Struct):
    dependencies: list[_Package]


class _NoAnswerError(Exception):
    """A service did not answer."""


@dataclass(slots=True)
class Verdict:
    """Result of an audit.

    Attributes:
        checked: how many packages were looked up, and the service that answered.
        advisories: one line for each advisory.
        unknown: one line for each package without an answer, or service that did not answer.

    """

    checked: str = "no package"
    advisories: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """Exit code of the process."""
        if self.advisories:
            return AFFECTED
        return UNKNOWN if self.unknown else CLEAN


def audit(
    tools: Path, locks: Sequence[Path] = LOCKS, services: Sequence[Service] = SERVICES
) -> Verdict:
    """Query one service after the other, until one answers for all locks.

    ``tools`` is the virtual environment that ``requirements/tools.txt`` was installed into.
    """
    failures = []
    for service in services:
        try:
            return _judge(tools, locks, service)
        except _NoAnswerError as error:
            failures.append(f"{service.name} did not answer: {error}")
    return Verdict(unknown=[*failures, _ADVICE])


def _judge(tools: Path, locks: Sequence[Path], service: Service) -> Verdict:
    verdict = Verdict()
    seen: set[tuple[str, str]] = set()
    for lock in locks:
        packages = read_lock(lock)
        found = {canonical_name(each.name): each for each in _ask(tools, packages, service)}
        for package in packages:
            answer = found.get(package.name)
            place = f"{package.name} {package.version} ({lock.name})"
            if answer is None or answer.vulns is None or answer.version != package.version:
                verdict.unknown.append(f"{place}: {service.name} does not know it")
                continue
            seen.add((package.name, package.version))
            verdict.advisories += [f"{place}: {_describe(each)}" for each in answer.vulns]
    if not seen:  # pip-audit itself would report this as clean
        raise _NoAnswerError(
            "it knows none of the packages; perhaps it is a mirror without advisories"
        )
    verdict.checked = f"{len(seen)} packages, at {service.name}"
    return verdict


def _describe(advisory: _Advisory) -> str:
    names = " = ".join((advisory.id, *advisory.aliases))
    fixed = ", ".join(advisory.fix_versions)
    return f"{names}; {f'fixed in {fixed}' if fixed else 'no fixed version'}"


def _ask(tools: Path, packages: Sequence[LockedPackage], service: Service) -> list[_Package]:
    """Look up all packages with pip-audit, also those that this machine would not install."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted, output = Path(scratch) / "wanted.txt", Path(scratch) / "report.json"
        wanted.write_text("".join(map(_requirement, packages)), encoding="utf-8")
        command: list[str | Path] = [
            *(tools / "bin" / "pip-audit", "--requirement", wanted, "--require-hashes"),
            *("--disable-pip", "--progress-spinner", "off", "--timeout", "20", *service.flags),
            *("--format", "json", "--output", output, "--cache-dir", Path(scratch) / "cache"),
        ]
        try:
            done = subprocess.run(  # noqa: S603 - a program of our own environment
                command, capture_output=True, text=True, check=False, timeout=_SECONDS
            )
        except subprocess.TimeoutExpired:
            raise _NoAnswerError(f"no answer within {_SECONDS:g} s") from None
        if done.returncode not in _ANSWERED or not output.exists():
            lines = done.stderr.strip().splitlines() or ["pip-audit failed without a message"]
            raise _NoAnswerError(lines[-1][:_LONGEST_REASON])
        try:
            return msgspec.json.decode(output.read_bytes(), type=_Report).dependencies
        except msgspec.DecodeError as error:
            raise _NoAnswerError(f"cannot parse pip-audit's report: {error}") from error


def _requirement(package: LockedPackage) -> str:
    hashes = "".join(f" \\\n    --hash=sha256:{each}" for each in sorted(package.hashes))
    return f"{package.name}=={package.version}{hashes}\n"


def main(arguments: Sequence[str]) -> int:
    """Look up all packages, print the result, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tools", type=Path, help="virtual environment of the tools")
    verdict = audit(parser.parse_args(arguments).tools)
    for line in verdict.advisories:
        print(f"ADVISORY: {line}")
    for line in verdict.unknown:
        print(f"NOT KNOWN: {line}", file=sys.stderr)
    words = "none has an advisory" if verdict.exit_code == CLEAN else "see above"
    print(f"looked up {verdict.checked}: {words}", flush=True)
    return verdict.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
