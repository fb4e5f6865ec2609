"""CapRover's repository names: which app a repository belongs to."""

from functools import partial

from exporter.domain.uses import OwnershipRules, Use

NAME = "CapRover"

_BUILD = "img-captain-"


def ownership_rules(image_prefix: str) -> OwnershipRules:
    """Return CapRover's rules; it pushes to repositories that begin with ``image_prefix/``."""
    return OwnershipRules(NAME, partial(app_of, image_prefix=image_prefix), frozenset(Use))


def counts_versions(repository: str) -> bool:
    """Return whether CapRover named a repository, whose tags are then the versions of an app."""
    return repository.rpartition("/")[2].startswith(_BUILD)


def app_of(repository: str, image_prefix: str) -> str | None:
    """Return the app that CapRover pushed a repository for; None if CapRover did not push it.

    Before version 1.5.1 CapRover wrote one more hyphen, which no app's name can begin with.
    """
    start = f"{image_prefix}/{_BUILD}"
    if not repository.startswith(start):
        return None
    app = repository[len(start) :].removeprefix("-")
    return app if app and "/" not in app else None
