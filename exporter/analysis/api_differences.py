"""Differences between the tags on disk and the tags that the registry's HTTP API lists."""

from collections.abc import Iterable

from exporter.domain.model import ApiView, Repository


def count_tag_differences(repositories: Iterable[Repository], api: ApiView) -> int:
    """Count the (repository, tag) pairs that only one of disk and API has."""
    on_disk = {
        repository.name: {tag.name for tag in repository.tags} for repository in repositories
    }
    nothing: frozenset[str] = frozenset()
    return sum(
        len(on_disk.get(name, nothing) ^ api.tags.get(name, nothing))
        for name in on_disk.keys() | api.tags.keys()
    )
