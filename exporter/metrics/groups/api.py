"""Metrics of the registry's HTTP API."""

from collections.abc import Iterator

from exporter.metrics.metric import Metric, Sample, Subject, one


def _api_up(subject: Subject) -> Iterator[Sample]:
    api = subject.snapshot.api
    return one(None if api is None else api.view is not None)


def _api_repositories(subject: Subject) -> Iterator[Sample]:
    api = subject.snapshot.api
    return one(None if api is None or api.view is None else len(api.view.tags))


def _api_tags(subject: Subject) -> Iterator[Sample]:
    api = subject.snapshot.api
    if api is not None and api.view is not None:
        yield (), sum(map(len, api.view.tags.values()))


def _api_repository_tags(subject: Subject) -> Iterator[Sample]:
    """Give the repositories that have series of their own first, then others by name."""
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


API_METRICS = (
    Metric(
        "docker_registry_api_up",
        "1 where the registry's HTTP API gave a whole answer when last asked, else 0; absent "
        "where no registry.url is configured. Asked once per scan interval.",
        _api_up,
    ),
    Metric(
        "docker_registry_api_repositories",
        "Repositories in the API's catalog. From the last answer; absent while the API is down.",
        _api_repositories,
    ),
    Metric(
        "docker_registry_api_tags",
        "Tags that the API lists, all repositories. From the last answer; absent while the API "
        "is down.",
        _api_tags,
    ),
    Metric(
        "docker_registry_api_repository_tags",
        "Tags of the repository as the API lists them. From the last answer; absent while the "
        "API is down.",
        _api_repository_tags,
        ("repository",),
    ),
    Metric(
        "docker_registry_api_tag_differences",
        "Pairs of repository and tag that only one of disk and API has. From the last scan and "
        "the last answer, which may be one interval apart.",
        lambda subject: one(subject.snapshot.tag_differences),
    ),
    Metric(
        "docker_registry_api_certificate_not_after_timestamp_seconds",
        "When the certificate ends that the registry serves; absent without TLS.",
        _certificate,
    ),
)
