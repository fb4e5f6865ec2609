"""The composition root: the only place that turns settings into objects.

Modules that only some commands need are imported by their functions, so that ``collect`` starts
fast.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from exporter.analysis.analyst import AnalysisOptions, Analyst
from exporter.analysis.deletion.order import Dating
from exporter.commands.one_scan import scan_once
from exporter.domain.alert_threshold import AlertThreshold
from exporter.domain.errors import ConfigurationError
from exporter.domain.last_runs import LastRunReading
from exporter.domain.model import DeletionAnswer
from exporter.domain.snapshot import VERSION_2, ApiStatus, Snapshot
from exporter.domain.text import printable
from exporter.metrics.metric import Subject
from exporter.metrics.repository_selection import RepositorySelector
from exporter.platforms.port import STANDALONE, OperatorCommands, Platform
from exporter.settings.model import Settings, WebSettings
from exporter.store.filesystem.follow_options import FollowOptions
from exporter.store.filesystem.store import FilesystemStore
from exporter.store.port import Store
from exporter.support.host_platform import host_platform
from exporter.support.state_directory import state_file
from exporter.support.terminal_progress import terminal_progress

if TYPE_CHECKING:
    from exporter.commands.apply.run import Subject as ApplySubject
    from exporter.domain.census import Census
    from exporter.history.port import History
    from exporter.registry.http import RegistryEndpoint, RequestObserver
    from exporter.registry.port import RegistryEditor
    from exporter.views.action import CommandLines
    from exporter.views.deletion_plan.request import RetentionPolicy

_log = logging.getLogger(__name__)

_CACHE_NAME = "inventory.sqlite"
_HISTORY_NAME = "history.sqlite"  # beside the cache
_RESTORED_NAME = "restored.jsonl"  # the same


@dataclass(frozen=True, slots=True)
class Scanned:
    """One scan, and what it was made with.

    Attributes:
        store: the store.
        options: how it was analysed.
        operator: the commands of its operator.
        subject: the snapshot, and what else metrics are read from.

    """

    store: Store
    options: AnalysisOptions
    operator: OperatorCommands
    subject: Subject


def open_store(settings: Settings, follow: FollowOptions | None = None) -> Store:
    """Return the store that the settings name."""
    return FilesystemStore(settings.storage.root, follow)


def open_platform(settings: Settings) -> Platform | None:
    """Return the platform that runs the images; None if none is configured."""
    if not settings.caprover.config_dir:
        return None
    from exporter.platforms.caprover.platform import Caprover

    return Caprover(settings.caprover.config_dir, settings.caprover.image_prefix)


def analysis_options(
    settings: Settings, platform: Platform | None, store: Store
) -> AnalysisOptions:
    """Return what the settings say about the analysis; dates of images are read from ``store``."""
    from exporter.platforms.caprover.naming import counts_versions
    from exporter.store.image_dates import ImageDates
    from exporter.support.restored_times import RestoredTimes

    restored = RestoredTimes(restored_path(settings), lambda: store.identity)
    return AnalysisOptions(
        dialect=settings.registry.gc_dialect,
        ownership=None if platform is None else platform.ownership,
        keep_last=settings.retention.keep_last,
        protect=settings.retention.protect,
        platform=host_platform(),
        dating=Dating(ImageDates(store).read, counts_versions, restored.of),
    )


def subject_of(settings: Settings, snapshot: Snapshot) -> Subject:
    """Return what metrics are read from."""
    return Subject(
        snapshot=snapshot,
        thresholds=_thresholds(settings),
        storage_limit=settings.storage.limit,
        selector=RepositorySelector(
            settings.metrics.max_repositories,
            settings.metrics.include_repositories,
            settings.metrics.exclude_repositories,
        ),
        explorer_url=settings.web.external_url if settings.web.explorer else None,
    )


def _thresholds(settings: Settings) -> tuple[AlertThreshold, ...]:
    """Return the thresholds of the alerts that can fire: a threshold switches its alert on."""
    places = {
        "BackupMissing": settings.backup.dir,
        "MaintenanceFailing": settings.maintenance.result_file,
    }
    found = settings.alerts.thresholds(settings.scan.interval)
    return tuple(each for each in found if places.get(each.alert, ".") is not None)


def registry_question(
    settings: Settings, observer: "RequestObserver"
) -> Callable[[], ApiStatus] | None:
    """Return a function that asks the registry's API; None if no registry is configured."""
    endpoint = _endpoint(settings)
    if endpoint is None:
        return None
    from exporter.registry.status import ask_registry

    return lambda: ask_registry(endpoint, settings.registry.password_file, observer)


def last_runs(settings: Settings) -> tuple[LastRunReading, ...]:
    """Return what says when the backup and the maintenance last ended well, where configured."""
    from exporter.backup.last import read_last_backup
    from exporter.maintenance.result_file import read_last_maintenance

    places = (
        ("backup", settings.backup.dir, read_last_backup),
        ("maintenance", settings.maintenance.result_file, read_last_maintenance),
    )
    return tuple(
        LastRunReading(name, partial(read, place))
        for name, place, read in places
        if place is not None
    )


def deletion_question(settings: Settings) -> Callable[[str], DeletionAnswer] | None:
    """Return a function that asks whether a repository's manifests can be deleted.

    Only for ``plan``: it sends a DELETE that can delete nothing. None if no registry is configured.
    """
    endpoint = _endpoint(settings)
    if endpoint is None:
        return None
    from exporter.registry.deletion import ask_deletion

    file = settings.registry.password_file
    return lambda repository: ask_deletion(endpoint, file, repository, lambda *_: None)


@contextmanager
def registry_editor(
    settings: Settings, max_rate: int, should_stop: Callable[[], bool]
) -> "Iterator[RegistryEditor]":
    """Yield what changes the registry, with ``max_rate`` requests per second at most.

    Only for commands that a person starts to change it, never for ``serve``. Raises
    ConfigurationError if no registry is configured, ApiUnavailableError if the password or the
    certificates cannot be read.
    """
    endpoint = _endpoint(settings)
    if endpoint is None:
        problem = "registry.url: missing; give the address of the registry that is to be changed"
        raise ConfigurationError([problem])
    from exporter.registry.editor import open_editor
    from exporter.registry.session import Pace

    file, pace = settings.registry.password_file, Pace(max_rate, should_stop)
    with open_editor(endpoint, file, lambda *_: None, pace) as editor:
        yield editor


def _endpoint(settings: Settings) -> "RegistryEndpoint | None":
    registry = settings.registry
    if registry.url is None:
        return None
    from exporter.registry.http import RegistryEndpoint

    return RegistryEndpoint(
        url=registry.url,
        username=registry.username,
        password=registry.password,
        ca_file=registry.ca_file,
        insecure_skip_verify=registry.insecure_skip_verify,
        timeout=registry.timeout,
    )


def scan(
    settings: Settings,
    *,
    layer_links: bool = True,
    asks_api: bool = True,
    should_stop: Callable[[], bool] = lambda: False,
) -> Scanned:
    """Scan once, with progress on the terminal.

    Raises StoreUnreadableError, ScanCancelledError soon after ``should_stop`` says so.
    ``asks_api``: whether the registry's API, if one is configured, is asked for its tags.
    ``layer_links``: whether it looks at them, whatever it may cost. The collector of version 3
    aborts on damaged ones: what it would free is not known without.
    """
    platform = open_platform(settings)
    limit = settings.scan.max_ops_per_second
    store = open_store(settings, FollowOptions(max_ops_per_second=limit))
    options = analysis_options(settings, platform, store)
    ask = registry_question(settings, lambda *_: None) if asks_api else None
    with terminal_progress() as on_progress:
        snapshot = scan_once(
            store,
            platform,
            Analyst(options),
            ask_registry=ask,
            last_runs=last_runs(settings),
            on_progress=on_progress,
            layer_links=layer_links or options.dialect != VERSION_2,
            should_stop=should_stop,
        )
    operator = STANDALONE if platform is None else platform.commands
    return Scanned(store, options, operator, subject_of(settings, snapshot))


def subject_to_apply(
    settings: Settings, undo: str, should_stop: Callable[[], bool]
) -> "ApplySubject":
    """Scan once, and return what ``apply`` changes; ``undo`` is the command that takes it back.

    Raises StoreUnreadableError, ScanCancelledError soon after ``should_stop`` says so.
    """
    from exporter.commands.apply.report import NextSteps
    from exporter.commands.apply.run import Subject as ApplySubject
    from exporter.views.action import collector_commands

    scanned = scan(settings, asks_api=False, should_stop=should_stop)
    return ApplySubject(
        store=scanned.store,
        snapshot=scanned.subject.snapshot,
        options=scanned.options,
        platform=open_platform(settings),
        open_editor=lambda stop, rate: registry_editor(settings, rate, stop),
        steps=NextSteps(
            collector_commands(scanned.operator, scanned.options.dialect),
            undo,
        ),
    )


def census(settings: Settings) -> tuple[Store, "Census | None"]:
    """Take a census of the disk, with progress on the terminal. Raises StoreUnreadableError."""
    from exporter.commands.one_scan import take_census_once
    from exporter.support.terminal_progress import count_progress

    store = open_store(settings)
    with count_progress("Counting files and directories") as show:
        return store, take_census_once(store, show, settings.scan.max_ops_per_second)


def command_lines(settings: Settings, program: str, operator: OperatorCommands) -> "CommandLines":
    """Return what an operator runs here; ``program`` is the exporter's own name."""
    from exporter.settings.command_lines import apply_command, plan_command
    from exporter.views.action import CommandLines

    plan, carry_out = plan_command(settings, program), apply_command(settings, program)
    return CommandLines(plan, operator, carry_out)


def retention_policy(settings: Settings) -> "RetentionPolicy":
    """Return what ``plan --policy`` selects."""
    from exporter.views.deletion_plan.request import RetentionPolicy

    retention = settings.retention
    return RetentionPolicy(retention.keep_last, retention.untagged, retention.orphaned)


def route_prefix(web: WebSettings) -> str:
    """Return what comes before the path of each page: empty, or a path without a final slash."""
    if web.route_prefix is not None:
        return web.route_prefix
    return external_path(web)


def external_path(web: WebSettings) -> str:
    """Return the path of the address under which the exporter is reached from outside."""
    return urlsplit(web.external_url or "").path


def history_of(settings: Settings) -> tuple["History | None", str]:
    """Return what ``serve`` records of the store, and where; None if no history is kept."""
    from exporter.history.reader import HistoryReader

    path = history_path(settings)
    store = open_store(settings)
    history = None if path is None else HistoryReader(path, lambda: store.identity)
    return history, printable(str(path))


def history_path(settings: Settings) -> Path | None:
    """Return the file that keeps figures over time; None if that is switched off."""
    cache = cache_path(settings)
    if cache is None or not settings.history.max_size:
        return None
    return cache.with_name(_HISTORY_NAME)


def restored_path(settings: Settings) -> Path | None:
    """Return the file that keeps the old times of restored tags; None if there is no place."""
    cache = cache_path(settings)
    return None if cache is None else cache.with_name(_RESTORED_NAME)


def cache_path(settings: Settings) -> Path | None:
    """Return the file that keeps what a scan knows; None if nothing says where it may be."""
    return settings.cache.path or state_file(_CACHE_NAME, os.environ)
