"""Metrics of the registry's HTTP API."""

from collections.abc import Iterator

from exporter.metrics.metric import Metric, Sample, Subject, metric_group, one

SECTION = "Registry API"


def _up(subject: Subject) -> Iterator[Sample]:
    api = subject.snapshot.api
    return one(None if api is None else api.view is not None)


def _repositories(subject: Subject) -> Iterator[Sample]:
    api = subject.snapshot.api
    return one(None if api is None or api.view is None else len(api.view.tags))


def _tags(subject: Subject) -> Iterator[Sample]:
    api = subject.snapshot.api
    if api is not None and api.view is not None:
        yield (), sum(map(len, api.view.tags.values()))


def _repository_tags(subject: Subject) -> Iterator[Sample]:
    """Yield the repositories that have series of their own first, then others by name."""
    api, selector = subject.snapshot.api, subject.selector
    if api is None or api.view is None:
        return
    rank = {repository.name: place for place, repository in enumerate(subject.repositories)}
    let_in = filter(selector.lets_in, api.view.tags)
    names = sorted(let_in, key=lambda name: (rank.get(name, len(rank)), name))
    for name in names[: selector.most]:
        yield (name,), len(api.view.tags[name])


def _certificate(subject: Subject) -> Iterator[Sample]:
    api = subject.snapshot.api
    return one(None if api is None else api.certificate_not_after)


GROUP = metric_group(
    SECTION,
    (
        Metric(
            "docker_registry_api_up",
            "1 if the registry's HTTP API gave a complete answer when it was last asked, else 0; "
            "absent if registry.url is not configured.",
            _up,
            source="Asked once per scan interval.",
        ),
        Metric(
            "docker_registry_api_repositories",
            "Repositories in the API's catalog.",
            _repositories,
        ),
        Metric(
            "docker_registry_api_tags",
            "Tags that the API lists, all repositories.",
            _tags,
        ),
        Metric(
            "docker_registry_api_repository_tags",
            "Tags of the repository as the API lists them.",
            _repository_tags,
            ("repository",),
        ),
        Metric(
            "docker_registry_api_tag_differences",
            "Pairs of repository and tag that only one of disk and API has.",
            lambda subject: one(subject.snapshot.tag_differences),
            source="From the last scan and the last answer, which may be one interval apart.",
        ),
        Metric(
            "docker_registry_api_certificate_not_after_timestamp_seconds",
            "When the certificate that the registry serves expires; absent without TLS.",
            _certificate,
            source="From the last answer.",
        ),
    ),
    # the store too: its largest repositories are those that have series here
    depends_on=lambda snapshot: (snapshot.store, snapshot.api, snapshot.tag_differences),
    source="From the last answer; absent while the API is down.",
)
