"""The lower part of *Registry storage*: details below the first screen."""

from dashboards.expressions import series, store_bytes, store_growth
from dashboards.fields import Override, Query
from dashboards.layout import Band
from dashboards.panels import Table, TimeSeries

_BLOBS = f"sum without (state) ({series('blob_bytes')})"

_GROWTH = Band(
    heading="Growth and free space",
    height=7,
    panels=(
        TimeSeries(
            title="Growth in 24 h as a share of the filesystem",
            description="Growth of blobs and uploads in the 24 hours before each point, as a share "
            "of the filesystem. Dashed: thresholds of StorageGrowthHigh.",
            queries=(Query(f"({store_growth()}) / {series('filesystem_size_bytes')}"),),
            alert="StorageGrowthHigh",
            unit="percentunit",
            width=6,
        ),
        TimeSeries(
            title="Budget used over time",
            description="Blobs and uploads as a share of storage.limit. Empty without a limit. "
            "Dashed: thresholds of StorageLimitApproaching.",
            queries=(Query(f"({store_bytes()}) / {series('storage_limit_bytes')}"),),
            alert="StorageLimitApproaching",
            unit="percentunit",
            width=6,
            least=0,
        ),
        TimeSeries(
            title="Space for a backup",
            description="How many times the store fits into the available space. CapRover's backup "
            "needs room for two copies. Dashed: threshold of BackupHeadroomLow, which fires only "
            "if CapRover is configured.",
            queries=(Query(f"{series('filesystem_avail_bytes')} / ({store_bytes()})"),),
            alert="BackupHeadroomLow",
            unit="short",
            width=6,
            least=0,
        ),
        TimeSeries(
            title="Age of the newest backup",
            description="Time since the newest complete backup of the whole store. Empty without "
            "backup.dir, and if there is none. Dashed: threshold of BackupMissing.",
            queries=(Query(f"time() - ({series('backup_last_success_timestamp_seconds')} > 0)"),),
            alert="BackupMissing",
            unit="s",
            width=6,
            least=0,
        ),
    ),
)

_WHAT_CAN_GO = Band(
    heading="What can be deleted",
    height=7,
    panels=(
        TimeSeries(
            title="Reclaimable share",
            description="Share of all blob bytes that a run of the registry's garbage collector "
            "would free, without and with --delete-untagged. Dashed: threshold of ReclaimableHigh, "
            "which fires for the run with --delete-untagged if that frees more than 1 GiB.",
            queries=(
                Query(
                    f"{series('gc_reclaimable_bytes')} / ignoring (mode) group_left () {_BLOBS}",
                    "{{mode}} {{$legend}}",
                ),
            ),
            alert="ReclaimableHigh",
            unit="percentunit",
            width=6,
            least=0,
        ),
        TimeSeries(
            title="Garbage collection: risks",
            description="Blockers: links and manifests that make a run abort and free nothing. At "
            "risk: tags that can be pulled now but not after a run in that mode.",
            queries=(
                Query(series("gc_blockers"), "blockers {{$legend}}"),
                Query(series("gc_endangered_tags"), "at risk, {{mode}} {{$legend}}"),
            ),
            unit="short",
            width=6,
            decimals=0,
            least=0,
            stepped=True,
        ),
        Table(
            title="Retention policies",
            description="Bytes that deleting all but the newest tags of each repository would free "
            "after a garbage collection, beyond the bytes that the collection frees anyway. Tags "
            "that apps run always stay. Policies come from retention.keep-last.",
            queries=(
                Query(f"sum without () ({series('retention_candidate_tags')})"),
                Query(f"sum without () ({series('retention_reclaimable_bytes')})"),
            ),
            unit="bytes",
            width=6,
            columns={
                "policy": "policy",
                "Value #A": "tags to delete",
                "Value #B": "freed",
                "instance": "instance",
            },
            dropped=("Time", "job"),
            sort_by="freed",
            no_value="no policy",
            overrides=(Override("byName", "tags to delete", {"unit": "short"}),),
        ),
        TimeSeries(
            title="Orphaned bytes",
            description="Bytes needed only by apps that CapRover does not know. Dashed: threshold "
            "of OrphanedRepositories.",
            queries=(Query(series("use_bytes", use="orphaned")),),
            alert="OrphanedRepositories",
            unit="bytes",
            width=6,
            least=0,
        ),
    ),
)

_LIMITS = Band(
    heading="Inodes, uploads, integrity",
    height=7,
    panels=(
        TimeSeries(
            title="Inodes free",
            description="Share of the filesystem's inodes that are free. Dashed: thresholds of "
            "InodesAlmostExhausted.",
            queries=(Query(f"{series('filesystem_files_free')} / {series('filesystem_files')}"),),
            alert="InodesAlmostExhausted",
            unit="percentunit",
            least=0,
        ),
        TimeSeries(
            title="Age of the oldest upload",
            description="Time since the oldest unfinished upload began. Empty if there is none. "
            "The registry purges uploads after 7 days, if it can. Dashed: threshold of "
            "UploadsAbandoned.",
            queries=(Query(f"time() - {series('upload_oldest_start_timestamp_seconds')}"),),
            alert="UploadsAbandoned",
            unit="s",
            least=0,
        ),
        TimeSeries(
            title="Damage and leftovers",
            description="Tags that cannot be pulled, or only for some platforms. Blobs that are "
            "referenced but not on disk. Images that CapRover needs but this store cannot serve. "
            "Unfinished uploads that the registry never purges. Files that are not part of the "
            "registry's layout. Read-only: 1 if the filesystem is read-only.",
            queries=(
                Query(series("broken_tags"), "broken tags {{$legend}}"),
                Query(series("partial_tags"), "partial tags {{$legend}}"),
                Query(series("missing_blobs"), "missing blobs {{$legend}}"),
                Query(series("missing_images"), "missing images, {{use}} {{$legend}}"),
                Query(series("unpurgeable_uploads"), "unpurgeable uploads {{$legend}}"),
                Query(series("stray_files"), "stray files {{$legend}}"),
                Query(series("filesystem_readonly"), "read-only {{$legend}}"),
            ),
            unit="short",
            decimals=0,
            least=0,
            stepped=True,
        ),
    ),
)

_DISK = Band(
    heading="The disk and its maintenance",
    height=7,
    panels=(
        TimeSeries(
            title="On disk, by kind",
            description="What the filesystem allocates for everything below the registry's root "
            "directory, counted once a day. Links, history and directories that grow while blobs "
            "do not are left over: report --disk says what they are. Empty before the first "
            "census.",
            queries=(Query(series("disk_allocated_bytes"), "{{kind}} {{$legend}}"),),
            unit="bytes",
            width=16,
            least=0,
            stacked=True,
        ),
        TimeSeries(
            title="Time since the last maintenance",
            description="Time since the maintenance routine last succeeded. Empty without "
            "maintenance.result-file, and if it never did. Dashed: threshold of "
            "MaintenanceFailing.",
            queries=(
                Query(f"time() - ({series('maintenance_last_success_timestamp_seconds')} > 0)"),
            ),
            alert="MaintenanceFailing",
            unit="s",
            least=0,
        ),
    ),
)

DETAILS = (_GROWTH, _WHAT_CAN_GO, _LIMITS, _DISK)
