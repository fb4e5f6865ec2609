"""What a deletion plan would delete and free, by repository, without the plan itself.

Equals the sums over the plan's lines, and costs a fraction of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporter.analysis.deletion.order import Basis
from exporter.analysis.deletion.plan import Chosen, blockers_of
from exporter.analysis.deletion.retention import CollectorAfter
from exporter.domain.model import Inventory
from exporter.domain.snapshot import Blocker


@dataclass(frozen=True, slots=True)
class RepositoryShare:
    """What a plan would delete in one repository.

    Attributes:
        name: of the repository.
        manifests: how many.
        tags: how many go with them.
        frees_bytes: what a collector run then frees beyond the repositories before it.

    """

    name: str
    manifests: int
    tags: int
    frees_bytes: int


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """What a plan would delete.

    Attributes:
        repositories: those in which it deletes manifests, in the plan's order.
        kept_tags: see :class:`exporter.analysis.deletion.plan.Plan`.
        children_left: likewise.
        recent_tags: likewise.
        blockers: likewise.
        ordered: likewise.
        tied: likewise.

    """

    repositories: tuple[RepositoryShare, ...]
    kept_tags: int
    children_left: int
    recent_tags: int
    blockers: tuple[Blocker, ...]
    ordered: Mapping[Basis, Sequence[str]]
    tied: Mapping[str, int]

    @property
    def manifests(self) -> int:
        """How many manifests it deletes."""
        return sum(each.manifests for each in self.repositories)

    @property
    def tags(self) -> int:
        """How many tags go with them."""
        return sum(each.tags for each in self.repositories)

    @property
    def freed_bytes(self) -> int:
        """What a collector run then frees, beyond what it frees anyway."""
        return sum(each.frees_bytes for each in self.repositories)


def summarize_plan(inventory: Inventory, collector: CollectorAfter, chosen: Chosen) -> PlanSummary:
    """Return what the plan with the same arguments would delete and free."""
    return PlanSummary(
        tuple(_by_repository(inventory, collector, chosen)),
        chosen.kept_tags,
        chosen.children_left,
        chosen.recent_tags,
        blockers_of(collector),
        chosen.ordered,
        chosen.tied,
    )


def _by_repository(
    inventory: Inventory, collector: CollectorAfter, chosen: Chosen
) -> Iterator[RepositoryShare]:
    deleted = {name: numbers for name, numbers in chosen.deleted().items() if numbers}
    if not deleted:
        return
    freed = collector.freed_bytes(deleted)
    for repository in inventory.repositories:
        numbers = deleted.get(repository.name)
        if numbers:
            tags = chosen.gone_tags.get(repository.name)
            if tags is None:  # untagged manifests may have artifacts with tags
                tags = sum(tag.target in numbers for tag in repository.tags)
            yield RepositoryShare(
                repository.name, len(numbers), tags, freed.get(repository.name, 0)
            )
