"""What can be done about a full disk: what it frees, how, and when not to. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.analysis.garbage import Dialect
from exporter.snapshot import CollectorRun, GcMode, Snapshot, StoreReading

_TAGS_NAMED = 3
_CONFIGURATIONS = {2: "/etc/docker/registry/config.yml", 3: "/etc/distribution/config.yml"}
_MAY_BE_PULLED = (
    "not referenced by this CapRover is all that is known: other hosts, base images and compose "
    "files may still pull from it"
)
_QUIET = "nobody may push while the collector runs; stop deploys first"


@dataclass(frozen=True, slots=True)
class Action:
    """Something an operator can do.

    Attributes:
        action: ``garbage-collect``, ``garbage-collect --delete-untagged``, the name of a policy, or
            ``orphaned`` with the name of a repository.
        frees_bytes: what it frees; None where that is not known. An action after the collector's
            own: on top of what a collector run frees anyway.
        commands: what to run, in this order.
        warnings: what to know before.
        is_dangerous: whether it must not be run as things are.

    """

    action: str
    frees_bytes: int | None
    commands: tuple[str, ...]
    warnings: tuple[str, ...]
    is_dangerous: bool = False


def actions_of(
    reading: StoreReading, snapshot: Snapshot, dialect: Dialect, *, has_caprover: bool
) -> tuple[Action, ...]:
    """Give all actions: the collector in both modes, each policy, each orphaned repository."""
    collect = _Collector(dialect, has_caprover=has_caprover)
    return (
        *_collections(reading, collect),
        *_policies(snapshot, collect),
        *_orphaned(reading, snapshot, collect),
    )


class _Collector:
    """Writes the commands that run the registry's collector."""

    def __init__(self, dialect: Dialect, *, has_caprover: bool) -> None:
        self._configuration = _CONFIGURATIONS[dialect]
        self._has_caprover = has_caprover

    def commands(self, *options: str) -> tuple[str, ...]:
        words = " ".join(["registry", "garbage-collect", *options, self._configuration])
        if self._has_caprover:
            container = "$(docker ps -q -f name=captain-registry)"
            restart = "docker service update --force captain-registry"
        else:
            container, restart = "registry", "docker restart registry"
        return f"docker exec {container} {words}", restart


def _collections(reading: StoreReading, collect: _Collector) -> Iterator[Action]:
    for mode, option in ((GcMode.DEFAULT, ()), (GcMode.DELETE_UNTAGGED, ("--delete-untagged",))):
        name = " ".join(["garbage-collect", *option])
        runs = reading.figures.collector
        if runs is None:
            warning = "not known: a part of the store could not be read"
            yield Action(name, None, (), (warning,))
            continue
        warnings = tuple(_warnings(runs[mode]))
        is_dangerous = bool(runs[mode].endangered)
        commands = () if is_dangerous else collect.commands(*option)
        yield Action(name, runs[mode].frees.bytes, commands, warnings, is_dangerous)


def _warnings(run: CollectorRun) -> Iterator[str]:
    if run.endangered:
        first = ", ".join(str(each) for each in run.endangered[:_TAGS_NAMED])
        more = f" and {len(run.endangered) - _TAGS_NAMED} more" * (
            len(run.endangered) > _TAGS_NAMED
        )
        yield (
            f"DO NOT RUN: it would break {len(run.endangered)} tags ({first}{more}): the registry "
            "deletes manifests that they need"
        )
    for blocker in run.blockers[:_TAGS_NAMED]:
        yield f"it aborts and frees nothing: {blocker.path} {blocker.reason}"
    if len(run.blockers) > _TAGS_NAMED:
        yield f"and {len(run.blockers) - _TAGS_NAMED} more places on which it aborts"
    if not (run.endangered or run.blockers):
        yield _QUIET


def _policies(snapshot: Snapshot, collect: _Collector) -> Iterator[Action]:
    for policy in snapshot.policies or ():
        keep = policy.policy.rpartition("-")[2]
        plan = f"registry-storage-exporter plan --keep-last {keep} --output plan.txt"
        delete = "delete each manifest that plan.txt names, as its first lines say"
        yield Action(
            policy.policy,
            policy.reclaimable_bytes,
            (plan, f"# {delete}", *collect.commands()),
            (f"{policy.candidate_tags} tags would go", _QUIET),
        )


def _orphaned(reading: StoreReading, snapshot: Snapshot, collect: _Collector) -> Iterator[Action]:
    if snapshot.uses is None:
        return
    for repository in reading.figures.repositories:
        if repository.name in snapshot.uses.orphaned_repositories:
            pattern = repository.name.replace(".", r"\.")
            plan = f"registry-storage-exporter plan --orphaned --match '{pattern}:.*'"
            yield Action(
                f"orphaned {repository.name}",
                repository.exclusive_bytes,
                (f"{plan} --output plan.txt", "# delete each manifest that plan.txt names",
                 *collect.commands()),
                (_MAY_BE_PULLED, _QUIET),
            )  # fmt: skip
