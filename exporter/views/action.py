"""Actions: what an operator can do, with its commands and warnings."""

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.analysis.analyst import AnalysisOptions
from exporter.domain.snapshot import Dialect, GcMode, Integrity, StoreReading
from exporter.domain.text import first_of, plural
from exporter.platforms.port import STANDALONE, OperatorCommands

UNTAGGED = "untagged"
SPACE = "free-space"
_CONFIGURATIONS = {2: "/etc/docker/registry/config.yml", 3: "/etc/distribution/config.yml"}
QUIET = "nobody may push while the collector runs; stop deploys first"
QUIET_OR_SCRIPT = f"{QUIET}, or collect by collect-garbage.sh, which closes the registry meanwhile"
"""For a run without ``--delete-untagged``, which the script never gives."""
UNKNOWN = "unknown: a part of the store could not be read"
_BLOCKED = "nothing is freed while the collector aborts: see garbage-collect"
_CACHE = (
    "a pull-through cache answers 405 to every deletion; it removes an image by itself some time "
    "after it was cached"
)


@dataclass(frozen=True, slots=True)
class Action:
    """Something an operator can do.

    Attributes:
        action: ``garbage-collect``, ``garbage-collect --delete-untagged``, ``free-space``,
            ``untagged``, ``detached``, the name of a policy, ``orphaned`` for all orphaned
            repositories if there are several, and ``orphaned`` with the name of each.
        frees_bytes: what its commands free; None if unknown. An action after the
            collector's own: beyond what a collector run frees anyway.
        commands: what to run, in this order.
        warnings: what to know before.
        is_dangerous: whether it must not be run as things are.

    """

    action: str
    frees_bytes: int | None
    commands: tuple[str, ...]
    warnings: tuple[str, ...]
    is_dangerous: bool = False


@dataclass(frozen=True, slots=True)
class CommandLines:
    """What an operator runs here.

    Attributes:
        plan: runs ``plan`` on the same store with the same settings.
        operator: runs the registry's collector, and restarts the registry.
        apply: carries out the plan in the file ``plan.txt``, after a backup.

    """

    plan: str
    operator: OperatorCommands = STANDALONE
    apply: str = "apply plan.txt"


def collector_commands(
    operator: OperatorCommands, dialect: Dialect, *options: str
) -> tuple[str, str]:
    """Return the commands that run the registry's collector, and restart the registry."""
    words = " ".join(["registry", "garbage-collect", *options, _CONFIGURATIONS[dialect]])
    return f"docker exec {operator.container} {words}", operator.restart


class CommandWriter:
    """Writes the commands that can be run as things are, and what to know before."""

    def __init__(
        self,
        reading: StoreReading,
        options: AnalysisOptions,
        commands: CommandLines,
        integrity: Integrity | None,
    ) -> None:
        self._runs = reading.figures.collector
        self._is_cache = reading.inventory.is_cache
        self._dialect = options.dialect
        self._operator = commands.operator
        self._plan, self._apply = commands.plan, commands.apply
        self.platform = "" if options.ownership is None else options.ownership.platform
        self.broken = tuple(_broken(integrity))

    def collector(self, *options: str) -> tuple[str, ...]:
        """Return the commands that run the registry's collector."""
        return collector_commands(self._operator, self._dialect, *options)

    def deletion(self, name: str, frees: int | None, selection: str, *warnings: str) -> Action:
        """Return the action that carries out a plan; only the collector then frees anything."""
        if self._runs is None:
            return Action(name, None, (), (*warnings, UNKNOWN))
        if self._is_cache:
            return Action(name, 0, (), (_CACHE,))
        is_blocked = bool(self._runs[GcMode.DEFAULT].blockers)
        return Action(
            name,
            frees,
            (
                f"{self._plan} {selection} --output plan.txt",
                self._apply,
                *(() if is_blocked else self.collector()),
            ),
            (*warnings, *self.broken, _BLOCKED if is_blocked else QUIET_OR_SCRIPT),
        )


def _broken(integrity: Integrity | None) -> Iterator[str]:
    """Yield a warning about tags that are broken already: a run may delete more of them."""
    if integrity is not None and integrity.broken_tags:
        tags = first_of([f"{each.repository}:{each.tag}" for each in integrity.broken_tags])
        yield (
            f"{plural(len(integrity.broken_tags), 'tag')} cannot be pulled whole ({tags}): fix "
            "those that you need first: a collector run may delete the rest of them"
        )
