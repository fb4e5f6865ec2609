"""Whether the manifest of a line may be deleted, by what was seen of its repository."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from exporter.analysis.applying.still_right import Candidate, reason_to_leave
from exporter.analysis.deletion.protection import is_protected
from exporter.commands.apply.manifests import Manifests
from exporter.commands.apply.witness import Sight
from exporter.domain.digests import Digest, parse_digest
from exporter.domain.plan_file import PlannedDeletion
from exporter.domain.text import printable


@dataclass(frozen=True, slots=True)
class Judge:
    """Knows what a manifest is judged by.

    Attributes:
        manifests: reads.
        made_at: the moment up to which the plan knows the store, Unix seconds.
        protect: what no plan may delete: patterns of ``repository:tag``, ``repository@digest``.

    """

    manifests: Manifests
    made_at: float
    protect: Sequence["re.Pattern[str]"] = ()

    def reason_against(self, line: PlannedDeletion, sight: Sight) -> str | None:
        """Return why the manifest of a line, which is there, must stay; None if it may go."""
        if sight.doubt is not None:
            return sight.doubt
        names = [str(line), *(f"{line.repository}:{tag}" for tag in line.tags)]
        name = next((each for each in names if is_protected(each, self.protect)), None)
        if name is not None:
            return f"{printable(name)} is protected now, by --retention.protect"
        candidate = candidate_of(line)
        return reason_to_leave(candidate, self.made_at, sight.now, self.manifests.listed_by)


def candidate_of(line: PlannedDeletion) -> Candidate:
    """Return the manifest of a line."""
    return Candidate(digest_of(line), frozenset(line.tags))


def digest_of(line: PlannedDeletion) -> Digest:
    """Return the digest of a line."""
    digest = parse_digest(line.digest)
    assert digest is not None, "the plan was parsed"  # noqa: S101 - for the type
    return digest


def tags_there(line: PlannedDeletion, sight: Sight) -> Collection[str]:
    """Return the tags of a line that point to its manifest."""
    digest, tags = digest_of(line), sight.now.tags
    return [tag for tag in line.tags if tag in tags and tags[tag][0] == digest]
