"""Whether the manifest of a line may be deleted, by what was seen of its repository."""

from collections.abc import Collection

from exporter.analysis.applying.still_right import Candidate, reason_to_leave
from exporter.commands.apply.manifests import Manifests
from exporter.commands.apply.witness import Sight
from exporter.domain.digests import Digest, parse_digest
from exporter.domain.plan_file import PlannedDeletion


def reason_against(
    line: PlannedDeletion, sight: Sight, manifests: Manifests, made_at: float
) -> str | None:
    """Return why the manifest of a line, which is there, must stay; None if it may go."""
    if sight.doubt is not None:
        return sight.doubt
    return reason_to_leave(candidate_of(line), made_at, sight.now, manifests.listed_by)


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
