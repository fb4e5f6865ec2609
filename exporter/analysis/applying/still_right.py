"""Whether a planned deletion is still right, by what its repository looks like now.

A deletion by digest removes every tag of that manifest. So it is right only if the manifest's tags
are exactly those that the plan names, and nothing else needs the manifest: no other tag, directly
or through an index of any depth, and no app. In doubt it is not.
"""

from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime

from exporter.domain.digests import Digest, format_digest
from exporter.domain.text import first_of, printable

TagLinks = Mapping[str, tuple[Digest | None, float | None]]
"""By tag: what it points to, None if its link cannot be understood, and when that was written."""

ListedBy = Callable[[Digest], Collection[Digest] | None]
"""Returns the manifests that a manifest lists; None if that cannot be read."""

_CLOCK_TICK = 0.02
"""File times are those of the kernel's last tick, up to 10 ms before the time of day."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A manifest that the plan deletes.

    Attributes:
        digest: of it.
        tags: that the plan names.

    """

    digest: Digest
    tags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Running:
    """What apps run from one repository now.

    Attributes:
        tags: the images that they name by tag.
        digests: those that they name by digest.

    """

    tags: frozenset[str] = frozenset()
    digests: frozenset[Digest] = frozenset()


@dataclass(frozen=True, slots=True)
class RepositoryNow:
    """One repository, as it was just seen.

    Attributes:
        tags: all of them.
        linked_at: when the candidate's link was written, Unix seconds.
        running: what apps run.
        damaged: tags whose links were damaged before: nobody can pull them.
        created: tags that were created since the look before, as far as is known; they may be gone
            again.
        was_pushed: whether the candidate was pushed since the look before, as far as is known.

    """

    tags: TagLinks
    linked_at: float
    running: Running = Running()
    damaged: AbstractSet[str] = field(default_factory=frozenset)
    created: AbstractSet[str] = field(default_factory=frozenset)
    was_pushed: bool = False


def reason_to_leave(
    candidate: Candidate, made_at: float, now: RepositoryNow, listed_by: ListedBy
) -> str | None:
    """Return why a manifest must not be deleted; None if it may.

    ``made_at`` is the moment up to which the plan knows the store, Unix seconds.
    """
    return (
        _tags_differ(candidate, now.tags)
        or _is_newer(candidate, made_at, now)
        or _runs(candidate, now.running)
        or needed_by(candidate.digest, now, listed_by, made_at)
    )


def needed_by(
    digest: Digest, now: RepositoryNow, listed_by: ListedBy, made_at: float
) -> str | None:
    """Return what needs a manifest, beside its own tags; None if nothing does."""
    unread = [(name, at) for name, (target, at) in now.tags.items() if target is None]
    for name, updated_at in unread:
        is_old = updated_at is None or updated_at < made_at - _CLOCK_TICK
        if not (is_old and name in now.damaged):
            return f"what the tag {printable(name)} points to cannot be read"
    for root, tag in _roots(digest, now).items():
        found = _lists(root, digest, listed_by)
        if found is None:
            return f"what {_needer(tag)} needs cannot be read"
        if found:
            return f"{_needer(tag)} needs it, through the index {format_digest(root)}"
    return None


def _tags_differ(candidate: Candidate, tags: TagLinks) -> str | None:
    pointing = {name for name, (target, _) in tags.items() if target == candidate.digest}
    if pointing == candidate.tags:
        return None
    added = _names(pointing - candidate.tags)
    if added:
        return f"it now has tags that the plan does not name: {added}"
    return "tags that the plan names point to something else now, or are gone: " + _names(
        candidate.tags - pointing
    )


def _is_newer(candidate: Candidate, made_at: float, now: RepositoryNow) -> str | None:
    known_until = made_at - _CLOCK_TICK
    if now.linked_at >= known_until:
        return f"it was pushed again at {_moment(now.linked_at)}, after the plan was made"
    for name in sorted(candidate.tags):
        updated_at = now.tags[name][1]
        if updated_at is None or updated_at >= known_until:
            moment = "" if updated_at is None else f" at {_moment(updated_at)}"
            return f"its tag {printable(name)} was written again{moment}, after the plan was made"
    return None


def _runs(candidate: Candidate, running: Running) -> str | None:
    if candidate.digest in running.digests:
        return "an app runs it, by its digest"
    tags = _names(candidate.tags & running.tags)
    return f"an app runs it, as {tags}" if tags else None


def _roots(digest: Digest, now: RepositoryNow) -> Mapping[Digest, str | None]:
    """Return what may list a manifest, with a tag that needs it; None for an app."""
    roots: dict[Digest | None, str | None] = dict.fromkeys(now.running.digests)
    roots |= {target: name for name, (target, _) in now.tags.items()}
    return {root: tag for root, tag in roots.items() if root is not None and root != digest}


def _needer(tag: str | None) -> str:
    return "an app" if tag is None else f"the tag {printable(tag)}"


def _lists(root: Digest, digest: Digest, listed_by: ListedBy) -> bool | None:
    """Return whether a manifest lists another, at any depth; None if that cannot be read."""
    children = listed_by(root)
    if not children:
        return None if children is None else False
    seen, pending = {root}, list(children)
    is_known = True
    while pending:
        each = pending.pop()
        if each == digest:
            return True
        if each not in seen:
            seen.add(each)
            below = listed_by(each)
            is_known &= below is not None
            pending += below or ()
    return False if is_known else None


@dataclass(frozen=True, slots=True)
class Rescue:
    """What has to be put back after a deletion, because somebody needed it in that moment.

    Attributes:
        tags: tags to put back, which point to the deleted manifest.
        reason: what needs it.

    """

    tags: tuple[str, ...]
    reason: str


def rescue_after(
    candidate: Candidate,
    before: RepositoryNow,
    after: RepositoryNow,
    is_held: Callable[[Digest], bool],
    listed_by: ListedBy,
) -> Rescue | None:
    """Return what has to be put back after a deletion; None if nothing has.

    A tag that pointed elsewhere before and is gone now, although its manifest is still there, was
    moved to the deleted manifest in between, and was removed with it; or somebody removed that tag.
    The same holds for a tag that was created since and is gone now. So it is put back only if the
    manifest was pushed in between, which comes before a tag that points to it; else the manifest
    is put back without a tag. ``is_held`` says whether a manifest is still there.
    """
    moved = {
        name
        for name, (target, _) in before.tags.items()
        if name not in after.tags and target is not None and is_held(target)
    }
    lost = sorted((moved | after.created) - after.tags.keys() - candidate.tags)
    if lost and not after.was_pushed:
        return Rescue(
            (),
            f"the tag {_names(lost)} was removed in this moment, by somebody or with it (if with "
            "it, push that tag again)",
        )
    if lost:
        return Rescue(tuple(lost), f"the tag {_names(lost)} was pushed for it in this moment")
    pointing = {name: link for name, link in after.tags.items() if link[0] == candidate.digest}
    written = [name for name, link in pointing.items() if link != before.tags.get(name)]
    if written:
        return Rescue((), f"the tag {_names(written)} was written in this moment")
    for root, tag in _roots(candidate.digest, after).items():
        if _lists(root, candidate.digest, listed_by):
            return Rescue((), f"{_needer(tag)} needs it since this moment")
    return None


def _names(names: Collection[str]) -> str:
    return first_of([printable(each) for each in sorted(names)])


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
