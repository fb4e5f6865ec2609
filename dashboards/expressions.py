"""PromQL that several panels share.

Every selector is limited to the job and the instance chosen at the top of the dashboard. Every sum
keeps them apart, so that several exporters never add up to one store that does not exist. Sums and
joins name only labels of the exporter's own metrics, so that this holds with any labels that an
operator gives to targets, even if only one of those tells two exporters apart.
"""

import re
from collections.abc import Mapping

from alerts.rules import read_rules
from exporter.metrics.catalogue import PREFIX

CHOSEN = 'job=~"$job",instance=~"$instance"'
MATCHING_REPOSITORY = 'repository="$repository"'

_SECONDS_TO_FULL = "instance:docker_registry_filesystem_avail_bytes:secondstofull"
_NAME = re.compile(rf"\b(?:instance:[a-z0-9_:]+|{PREFIX}[a-z0-9_]+)")


def selector(name: str, *matchers: str) -> str:
    """Return a selector of any metric of the chosen exporters."""
    return f"{name}{{{','.join((CHOSEN, *matchers))}}}"


def series(name: str, *matchers: str, **labels: str) -> str:
    """Return a selector of one of the exporter's own metrics, named without its prefix."""
    exact = (f'{label}="{value}"' for label, value in labels.items())
    return selector(f"{PREFIX}{name}", *matchers, *exact)


def store_bytes(offset: str = "") -> str:
    """Return the bytes of blobs and uploads, as a budget counts them.

    ``offset`` is empty or an offset such as `` offset 1d``.
    """
    return (
        f"sum without (state) ({series('blob_bytes')}{offset}) + {series('upload_bytes')}{offset}"
    )


def store_share() -> str:
    """Return the store's share of what is used on its filesystem, as the alerts say it."""
    used = f"({series('filesystem_size_bytes')} - {series('filesystem_free_bytes')})"
    return f"({store_bytes()}) / {used}"


def store_growth() -> str:
    """Return the growth of the store in 24 hours, or since monitoring began if that is later."""
    since_it_is_watched = (
        f"sum without (state) (delta({series('blob_bytes')}[1d]))"
        f" + delta({series('upload_bytes')}[1d])"
    )
    known = series("upload_bytes")
    return f"({store_bytes()}) - ({store_bytes(' offset 1d')}) or {since_it_is_watched} and {known}"


def repository_growth(*matchers: str) -> str:
    """Return the growth of repositories in 24 hours, or since they were first seen.

    A repository younger than a day grew by its whole size, if the exporter ran a day ago and
    exported series for every repository then. The alert rules do the same. The multiplication
    removes the metric's name, so that one line stays one line.
    """
    own = series("repository_exclusive_bytes", *matchers)
    return (
        f"{own} - {own} offset 1d"
        f" or 1 * {own} and ignoring (repository) {series('scan_success')} offset 1d"
        f" unless ignoring (repository) {series('repositories_omitted')} offset 1d > 0"
        f" or delta({own}[1d]) and {own}"
    )


def seconds_to_full(most: int) -> str:
    """Return the seconds until the filesystem is full, as StorageFillingUp estimates them.

    The result is at most ``most``. It is ``most`` if nothing fills lastingly, so that the series
    does not come and go, and 0 if the filesystem is already full.
    """
    estimate = _chosen(_SECONDS_TO_FULL, read_rules().recordings())
    return (
        f"clamp_max({estimate}, {most}) or {most} * ({series('filesystem_avail_bytes')} > bool 0)"
    )


def _chosen(name: str, recordings: Mapping[str, str]) -> str:
    """Return a series of the alert rules for the chosen exporters, without the rules themselves.

    A Prometheus need not have loaded the rules.
    """
    if name not in recordings:
        return selector(name)
    expr = " ".join(recordings[name].split()).replace("( ", "(").replace(" )", ")")
    expr = _NAME.sub(lambda found: _chosen(found[0], recordings), expr)
    return expr if name == _SECONDS_TO_FULL else f"({expr})"


def tags_and_explorers() -> str:
    """Return the tags of repositories, with the address of the explorer as the label ``url``.

    Without an address, that label is absent.
    """
    tags = series("repository_tags")
    explorer = series("explorer_info")
    return (
        f"{tags} * ignoring (repository, url) group_left (url) {explorer} or ignoring (url) {tags}"
    )


def largest_repositories(count: int) -> str:
    """Return the repositories with the most exclusive bytes."""
    return f"topk({count}, {series('repository_exclusive_bytes')})"
