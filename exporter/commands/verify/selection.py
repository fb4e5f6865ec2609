"""Selection of the blobs to verify."""

from collections.abc import Sequence
from dataclasses import dataclass

from exporter.analysis.reachability import reach_of
from exporter.commands.repository_option import find_repository, unread_below
from exporter.commands.verify.hashing import Condition
from exporter.commands.verify.tally import Finding
from exporter.domain.digests import (
    Digest,
    format_digest,
    parse_digest,
)
from exporter.domain.model import ABSENT, Inventory
from exporter.store.format.layout import BLOBS, DATA, REPOSITORIES


@dataclass(frozen=True, slots=True)
class Selection:
    """What is to be verified.

    Attributes:
        digests: in the order of their text.
        places: what could not be read; blobs in it, or reached from it, are missed.

    """

    digests: Sequence[Digest]
    places: Sequence[Finding]


def select(inventory: Inventory, repository: str | None) -> Selection:
    """Choose all blobs on disk, or those that one repository reaches by tags and revisions.

    Raises ConfigurationError if there is no such repository.
    """
    if repository is None:
        numbers = list(range(len(inventory.sizes)))
        issues = unread_below(inventory, BLOBS)
    else:
        found = find_repository(inventory, repository)
        numbers = list(reach_of(inventory.manifests, found).all)
        issues = unread_below(inventory, f"{REPOSITORIES}/{repository}", "/_")
    digests = {inventory.digests[each] for each in numbers if inventory.sizes[each] != ABSENT}
    places = []
    for issue in issues:
        # a blob that could not be measured is verified like the others, to find the reason
        digest = _digest_at(issue.path)
        if digest is None:
            places.append(Finding(Condition.UNREADABLE, issue.path, detail=issue.detail))
        else:
            digests.add(digest)
    return Selection(sorted(digests, key=format_digest), places)


def _digest_at(path: str) -> Digest | None:
    """Return the digest of a blob from the path of its data; None if it is another path."""
    match path.split("/"):
        case [start, algorithm, _, hexadecimal, end] if start == BLOBS and end == DATA:
            return parse_digest(f"{algorithm}:{hexadecimal}")
    return None
