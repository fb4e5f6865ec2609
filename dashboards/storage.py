"""*Registry storage*: how full, when full, what grows, who owns it, and what can be deleted."""

from dashboards.expressions import (
    largest_repositories,
    repository_growth,
    seconds_to_full,
    selector,
    series,
    store_bytes,
    store_growth,
    store_share,
    tags_and_explorers,
)
from dashboards.fields import (
    ANY_IS_BAD,
    ANY_IS_DOUBTFUL,
    BLUE,
    GREEN,
    OPEN_IN_EXPLORER,
    ORANGE,
    PURPLE,
    RED,
    YELLOW,
    Override,
    Query,
    link,
    mapping,
    mapping_from,
    named,
    steps_to_json,
)
from dashboards.layout import DOCS, REPOSITORY, STORAGE, Band, Dashboard
from dashboards.panels import BarGauge, Gauge, Stat, Table, TimeSeries
from dashboards.storage_details import DETAILS

RUNBOOKS = f"{DOCS}/runbooks"
"""The address of the pages that explain what to do about each alert."""

_TO_REPOSITORY = (
    f"/d/{REPOSITORY}?${{datasource:queryparam}}&${{legend:queryparam}}"
    "&var-job=${__data.fields.job}"
    "&var-instance=${__data.fields.instance}&var-repository=${__data.fields.repository}"
    "&${__url_time_range}"
)
_DAY = 86400
_NEVER_SECONDS = 5 * 365 * _DAY
_SOON_SECONDS = 30 * _DAY
_ROWS = 20

_SIZE = series("filesystem_size_bytes")
_AVAILABLE = series("filesystem_avail_bytes")
_FIRING = selector("ALERTS", 'alertname=~"DockerRegistry.*"', 'alertstate="firing"')
_AMONG_THE_LARGEST = f"and {largest_repositories(_ROWS)}"

_NUMBERS = Band(
    height=4,
    panels=(
        Gauge(
            title="Filesystem used",
            description="Share of the store's filesystem that is not available to users other than "
            "root, whatever uses it: the store, other data or reserved blocks.",
            queries=(Query(f"1 - {_AVAILABLE} / {_SIZE}"),),
            unit="percentunit",
            decimals=1,
            least=0,
            most=1,
        ),
        Stat(
            title="Full in",
            description="Time until the filesystem is full if it continues to fill, as "
            "StorageFillingUp estimates it: from the growth of the last 6 hours if that lasts. A "
            "single push does not count, and neither does growth in the first hours of data.",
            queries=(Query(seconds_to_full(_NEVER_SECONDS)),),
            unit="s",
            decimals=1,
            # One less, because 1 / (1 / x) may be slightly less than x.
            mappings=mapping_from(_NEVER_SECONDS - 1, "not filling"),
        ),
        Stat(
            title="Store",
            description="Bytes of all blobs and unfinished uploads, each blob once, and their "
            "share of what is used on the filesystem. If that is small, something else fills it.",
            queries=(
                Query(store_bytes(), "bytes {{$legend}}"),
                Query(store_share(), "of what is used {{$legend}}"),
            ),
            unit="bytes",
            overrides=(Override("byFrameRefID", "B", {"unit": "percentunit", "decimals": 0}),),
        ),
        Stat(
            title="Budget used",
            description="Blobs and uploads as a share of storage.limit.",
            queries=(Query(f"({store_bytes()}) / {series('storage_limit_bytes')}"),),
            unit="percentunit",
            decimals=0,
            width=2,
            no_value="no limit",
        ),
        Stat(
            title="Growth in 24 h",
            description="Change of the bytes of blobs and uploads in the last 24 hours. On the "
            "first day, the change since they were first seen.",
            queries=(Query(store_growth()),),
            unit="bytes",
            past=False,
        ),
        Stat(
            title="Reclaimable by garbage collection",
            description="Bytes that a run of the registry's garbage collector would free, without "
            "and with --delete-untagged, and what the deletions of plan --untagged add to the "
            "plain run. If tags are at risk, a run leaves them without manifests or layers: do not "
            "run it with --delete-untagged, and see the runbook of "
            "DockerRegistryGarbageCollectionUnsafe.",
            queries=(
                Query(series("gc_reclaimable_bytes", mode="default"), "plain run {{$legend}}"),
                Query(
                    series("gc_reclaimable_bytes", mode="delete_untagged"),
                    "--delete-untagged {{$legend}}",
                ),
                Query(series("untagged_reclaimable_bytes"), "after plan --untagged {{$legend}}"),
                Query(
                    f"max without (mode) ({series('gc_endangered_tags')})",
                    "tags at risk {{$legend}}",
                ),
            ),
            unit="bytes",
            width=5,
            past=False,
            no_value="unknown",
            overrides=(
                Override(
                    "byFrameRefID",
                    "C",
                    {"unit": "short", "thresholds": steps_to_json(ANY_IS_DOUBTFUL)},
                ),
            ),
        ),
        Stat(
            title="Orphaned",
            description="Bytes needed only by apps that CapRover does not know.",
            queries=(Query(series("use_bytes", use="orphaned")),),
            unit="bytes",
            width=2,
            past=False,
            no_value="no CapRover",
        ),
        Stat(
            title="Broken",
            description="Tags that cannot be pulled, images that CapRover runs or can roll back to "
            "but this store cannot serve, and partial tags: those that can be pulled for some "
            "platforms, and not for others.",
            queries=(
                Query(series("broken_tags"), "tags {{$legend}}"),
                Query(f"sum without (use) ({series('missing_images')})", "images {{$legend}}"),
                Query(series("partial_tags"), "partial tags {{$legend}}"),
            ),
            unit="short",
            past=False,
            steps=ANY_IS_BAD,
            overrides=(
                Override("byFrameRefID", "C", {"thresholds": steps_to_json(ANY_IS_DOUBTFUL)}),
            ),
        ),
    ),
)

_COURSE = Band(
    height=7,
    panels=(
        TimeSeries(
            title="Space available",
            description="Share of the filesystem that is available. Dashed: thresholds of "
            "StorageAlmostFull.",
            queries=(Query(f"{_AVAILABLE} / {_SIZE}"),),
            alert="StorageAlmostFull",
            unit="percentunit",
            width=6,
            least=0,
        ),
        TimeSeries(
            title="Time until full",
            description="Time until full as StorageFillingUp estimates it from growth that lasts, "
            "at most 30 days; a single push does not count. Dashed: the thresholds of that alert, "
            "which fires below them after 30 minutes if less than 40 % is left.",
            queries=(Query(seconds_to_full(_SOON_SECONDS)),),
            alert="StorageFillingUp",
            unit="s",
            width=6,
            least=0,
        ),
        TimeSeries(
            title="Bytes by state",
            description="Tagged: blobs that a tag reaches. Untagged: blobs that only manifests "
            "without a tag reach. Unreferenced: blobs that no manifest references; the next "
            "garbage collection frees them. Uploads: unfinished uploads.",
            queries=(
                Query(
                    f"sum without () ({series('blob_bytes')})",
                    "{{state}} {{$legend}}",
                ),
                Query(series("upload_bytes"), "uploads {{$legend}}"),
            ),
            unit="bytes",
            width=6,
            least=0,
            stacked=True,
            overrides=named(tagged=GREEN, untagged=YELLOW, unreferenced=ORANGE, uploads=PURPLE),
        ),
        TimeSeries(
            title="Tagged bytes by use",
            description="Bytes that tags reach, by their use in CapRover. Running: apps that run. "
            "Rollback: versions to roll back to. Superseded: older versions. Unmanaged: "
            "repositories that never belonged to an app. Orphaned: apps CapRover does not know. "
            "Empty without caprover.config-dir.",
            queries=(Query(series("use_bytes"), "{{use}} {{$legend}}"),),
            unit="bytes",
            width=6,
            least=0,
            stacked=True,
            overrides=named(
                running=GREEN, rollback=BLUE, unmanaged=PURPLE, superseded=YELLOW, orphaned=ORANGE
            ),
        ),
    ),
)

_WHOSE = Band(
    height=10,
    panels=(
        Table(
            title="Largest repositories",
            description="Sorted by exclusive bytes: the bytes that deleting the repository and "
            "then collecting garbage would free. Referenced includes bytes shared with other "
            "repositories, so the sum of that column can exceed the bytes on disk. Repositories "
            "without series of their own are not listed. Click a repository to open its dashboard, "
            "and open to see it in the explorer, if web.external-url is set.",
            queries=(
                Query(f"topk({_ROWS}, sum without () ({series('repository_exclusive_bytes')}))"),
                Query(
                    f"sum without () ({series('repository_referenced_bytes')}) {_AMONG_THE_LARGEST}"
                ),
                Query(
                    f"sum without () ({tags_and_explorers()})"
                    f" and ignoring (url) {largest_repositories(_ROWS)}"
                ),
                Query(f"sum without () ({repository_growth()}) {_AMONG_THE_LARGEST}"),
                Query(
                    f"1000 * sum without () "
                    f"({series('repository_last_push_timestamp_seconds')}) {_AMONG_THE_LARGEST}"
                ),
            ),
            unit="bytes",
            width=11,
            columns={
                "repository": "repository",
                "Value #A": "exclusive",
                "Value #B": "referenced",
                "Value #C": "tags",
                "Value #D": "growth in 24 h",
                "Value #E": "last push",
                "url": "explorer",
                "instance": "instance",
                "job": "job",
            },
            sort_by="exclusive",
            overrides=(
                Override("byName", "repository", {"links": link("Repository", _TO_REPOSITORY)}),
                Override("byName", "exclusive", {"decimals": 1}),
                Override("byName", "referenced", {"decimals": 1}),
                Override("byName", "tags", {"unit": "short", "custom.width": 60}),
                Override("byName", "growth in 24 h", {"decimals": 1}),
                Override("byName", "last push", {"unit": "dateTimeFromNow"}),
                Override("byName", "explorer", OPEN_IN_EXPLORER),
                # The link needs the job.
                Override("byName", "job", {"custom.hidden": True}),
            ),
        ),
        BarGauge(
            title="Fastest growing repositories",
            description="Exclusive bytes gained in the last 24 hours. On the first day, since the "
            "repository was first seen.",
            queries=(
                Query(
                    f"topk(10, sum without () ({repository_growth()}) > 0)",
                    "{{repository}} {{$legend}}",
                ),
            ),
            unit="bytes",
            width=6,
            least=0,
            no_value="no growth",
        ),
        Table(
            title="Firing alerts",
            description="Alerts of this registry that are firing. Click an alert to open its "
            "runbook. Only rules that Prometheus evaluates are listed; for rules that Grafana "
            "evaluates, see Alerting.",
            queries=(Query(f"max without (alertstate, mode, use) ({_FIRING})"),),
            unit="none",
            width=7,
            no_value="none firing",
            columns={
                "alertname": "alertname",
                "severity": "severity",
                "repository": "repository",
                "instance": "instance",
            },
            dropped=("Time", "Value", "job"),
            sort_by="severity",
            falling=False,
            overrides=(
                Override(
                    "byName",
                    "alertname",
                    {"links": link("Runbook", f"{RUNBOOKS}/${{__value.text}}.md")},
                ),
                Override(
                    "byName",
                    "severity",
                    {
                        "custom.displayMode": "color-text",
                        "custom.width": 80,
                        "mappings": mapping(
                            {
                                "critical": ("critical", RED),
                                "warning": ("warning", ORANGE),
                                "info": ("info", BLUE),
                            }
                        ),
                    },
                ),
            ),
        ),
    ),
)

DASHBOARD = Dashboard(
    uid=STORAGE,
    description="How full the registry's disk is, when it will be full, what grows, who owns it, "
    "and what can be deleted.",
    bands=(_NUMBERS, _COURSE, _WHOSE, *DETAILS),
    file="registry-storage.json",
    since="7d",
)
