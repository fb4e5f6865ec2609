"""PromQL that several panels are made of.

Every selector is held to the job and the instance that are chosen above the dashboard, and every
sum keeps them apart, so that several exporters never add up to one store that does not exist.
"""

from exporter.metrics.catalogue import PREFIX

CHOSEN = 'job=~"$job",instance=~"$instance"'
BY_EXPORTER = "by (job, instance)"
ON_EXPORTER = "on (job, instance)"
BY_REPOSITORY = "by (job, instance, repository)"
ON_REPOSITORY = "on (job, instance, repository)"
MATCHING_REPOSITORY = 'repository="$repository"'


def selector(name: str, *matchers: str) -> str:
    """Give a selector of any metric of the chosen exporters."""
    return f"{name}{{{','.join((CHOSEN, *matchers))}}}"


def series(name: str, *matchers: str, **labels: str) -> str:
    """Give a selector of one of the exporter's metrics, named without its prefix."""
    exact = (f'{label}="{value}"' for label, value in labels.items())
    return selector(f"{PREFIX}{name}", *matchers, *exact)


def store_bytes(offset: str = "") -> str:
    """Give the bytes of blobs and uploads, what a budget counts; ``offset`` as `` offset 1d``."""
    return (
        f"sum {BY_EXPORTER} ({series('blob_bytes')}{offset})"
        f" + {ON_EXPORTER} {series('upload_bytes')}{offset}"
    )


def store_growth() -> str:
    """Give the growth of the store in 24 hours, or since it is watched where that is later."""
    since_it_is_watched = (
        f"sum {BY_EXPORTER} (delta({series('blob_bytes')}[1d]))"
        f" + {ON_EXPORTER} delta({series('upload_bytes')}[1d])"
    )
    known = series("upload_bytes")
    return (
        f"({store_bytes()}) - ({store_bytes(' offset 1d')})"
        f" or {since_it_is_watched} and {ON_EXPORTER} {known}"
    )


def repository_growth(*matchers: str) -> str:
    """Give the growth of repositories in 24 hours, or since they are watched.

    A repository that is younger than a day grew by all it has, if the exporter ran a day ago and
    gave every repository its series, as in the alert rules. The multiplication takes the metric's
    name away, so that one line stays one line.
    """
    own = series("repository_exclusive_bytes", *matchers)
    return (
        f"{own} - {own} offset 1d"
        f" or 1 * {own} and {ON_EXPORTER} {series('scan_success')} offset 1d"
        f" unless {ON_EXPORTER} {series('repositories_omitted')} offset 1d > 0"
        f" or delta({own}[1d]) and {own}"
    )


def seconds_to_full(most: int) -> str:
    """Give when the filesystem is full at the growth of the last 6 hours, ``most`` at the most.

    Where nothing grows it gives ``most``, so that the series does not come and go; and 0 where the
    filesystem is full already.
    """
    available = series("filesystem_avail_bytes")
    share_a_second = f"-deriv({available}[6h]) / {available}"
    return (
        f"1 / clamp_min({share_a_second}, 1 / {most}) and {available} > 0 or 0 * ({available} == 0)"
    )


def largest_repositories(count: int) -> str:
    """Give the repositories that alone take the most bytes."""
    return f"topk({count}, {series('repository_exclusive_bytes')})"
