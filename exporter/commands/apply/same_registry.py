"""Make sure that the registry at ``--registry.url`` serves the store at ``--storage.root``."""

from collections.abc import Iterable

from exporter.commands.apply.attempt import Tools
from exporter.commands.apply.deleting import OTHER_REGISTRY
from exporter.commands.apply.judging import digest_of
from exporter.domain.errors import PlanRefusedError
from exporter.domain.plan_file import PlannedDeletion
from exporter.domain.text import printable

_REPOSITORIES = 5
_TRIES = 5


def refuse_other_registry(lines: Iterable[PlannedDeletion], tools: Tools) -> None:
    """Compare a manifest of some repositories. Raises PlanRefusedError if the registry differs.

    Raises ApiUnavailableError, StoreUnreadableError.
    """
    firsts: dict[str, PlannedDeletion] = {}
    for line in lines:
        firsts.setdefault(line.repository, line)
        if len(firsts) == _REPOSITORIES:
            break
    for line in firsts.values():
        if not any(_agrees(line, tools) for _ in range(_TRIES)):
            raise PlanRefusedError(
                f"{OTHER_REGISTRY}: they have different manifests in "
                f"{printable(line.repository)}; nothing was deleted. Give the address of the "
                "registry that keeps its data there"
            )


def _agrees(line: PlannedDeletion, tools: Tools) -> bool:
    """Return whether registry and store have the same manifest; False also if it just changed."""
    digest = digest_of(line)
    sight = tools.witness.look(line.repository, digest)
    if sight.linked_at is None:
        return True  # nothing to compare
    tags = [tag for tag, (target, _) in sight.now.tags.items() if target == digest]
    reference = min(tags, default=line.digest)
    return tools.editor.manifest_digest(line.repository, reference) == line.digest
