"""The lower part of *Registry storage*: what one looks at after the first screen."""

from dashboards.expressions import BY_EXPORTER, ON_EXPORTER, series, store_bytes, store_growth
from dashboards.fields import Override, Query
from dashboards.layout import Band
from dashboards.panels import Table, TimeSeries

_BLOBS = f"sum {BY_EXPORTER} ({series('blob_bytes')})"

_GROWTH = Band(
    heading="Growth and room",
    height=7,
    panels=(
        TimeSeries(
            title="Growth in 24 h, of the filesystem",
            description="By how much blobs and uploads grew in the 24 hours before, as a share of "
            "the filesystem. Dashed: where StorageGrowthHigh fires.",
            queries=(
                Query(f"({store_growth()}) / {ON_EXPORTER} {series('filesystem_size_bytes')}"),
            ),
            alert="StorageGrowthHigh",
            unit="percentunit",
        ),
        TimeSeries(
            title="Budget used over time",
            description="Blobs and uploads as a share of storage.limit; nothing without one. "
            "Dashed: where StorageLimitApproaching fires.",
            queries=(Query(f"({store_bytes()}) / {ON_EXPORTER} {series('storage_limit_bytes')}"),),
            alert="StorageLimitApproaching",
            unit="percentunit",
            least=0,
        ),
        TimeSeries(
            title="Room for a backup",
            description="How often the store fits into the space available. CapRover's backup "
            "needs it twice. Dashed: where BackupHeadroomLow fires, if CapRover is configured.",
            queries=(
                Query(f"{series('filesystem_avail_bytes')} / {ON_EXPORTER} ({store_bytes()})"),
            ),
            alert="BackupHeadroomLow",
            unit="short",
            least=0,
        ),
    ),
)

_WHAT_CAN_GO = Band(
    heading="What can go",
    height=7,
    panels=(
        TimeSeries(
            title="Reclaimable share",
            description="Share of all blob bytes that a run of the registry's garbage collector "
            "would free, without and with --delete-untagged. Dashed: where ReclaimableHigh fires "
            "for the latter, if it is more than 1 GiB.",
            queries=(
                Query(
                    f"{series('gc_reclaimable_bytes')} / {ON_EXPORTER} group_left () {_BLOBS}",
                    "{{mode}} {{instance}}",
                ),
            ),
            alert="ReclaimableHigh",
            unit="percentunit",
            width=6,
            least=0,
        ),
        TimeSeries(
            title="Garbage collection: risks",
            description="Blockers: links and manifests on which a run aborts and frees nothing. "
            "At risk: tags that can be pulled now and could not after a run of that mode.",
            queries=(
                Query(series("gc_blockers"), "blockers {{instance}}"),
                Query(series("gc_endangered_tags"), "at risk, {{mode}} {{instance}}"),
            ),
            unit="short",
            width=6,
            decimals=0,
            least=0,
            stepped=True,
        ),
        Table(
            title="Retention policies",
            description="What deleting all but the newest tags of each repository would free "
            "after a garbage collection, on top of what it frees anyway; tags that run always "
            "stay. Policies come from retention.keep-last.",
            queries=(
                Query(f"sum by (job, instance, policy) ({series('retention_candidate_tags')})"),
                Query(f"sum by (job, instance, policy) ({series('retention_reclaimable_bytes')})"),
            ),
            unit="bytes",
            width=6,
            columns={
                "policy": "policy",
                "Value #A": "tags to delete",
                "Value #B": "frees",
                "instance": "instance",
            },
            dropped=("Time", "job"),
            sort_by="frees",
            no_value="no policy",
            overrides=(Override("byName", "tags to delete", {"unit": "short"}),),
        ),
        TimeSeries(
            title="Orphaned bytes",
            description="Bytes that only apps need which CapRover no longer has. "
            "Dashed: where OrphanedRepositories fires.",
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
            description="Share of the filesystem's inodes that is free. "
            "Dashed: where InodesAlmostExhausted fires.",
            queries=(Query(f"{series('filesystem_files_free')} / {series('filesystem_files')}"),),
            alert="InodesAlmostExhausted",
            unit="percentunit",
            least=0,
        ),
        TimeSeries(
            title="Age of the oldest upload",
            description="Time since the oldest unfinished upload began; nothing without one. The "
            "registry purges uploads after 7 days, if it can. Dashed: where UploadsAbandoned "
            "fires.",
            queries=(Query(f"time() - {series('upload_oldest_start_timestamp_seconds')}"),),
            alert="UploadsAbandoned",
            unit="s",
            least=0,
        ),
        TimeSeries(
            title="Broken and left behind",
            description="Tags that cannot be pulled whole, blobs that are referenced and not on "
            "disk, images that CapRover counts on and this store cannot serve; unfinished uploads "
            "that the registry never purges, files that are no part of its layout; 1 where the "
            "filesystem is read-only.",
            queries=(
                Query(series("broken_tags"), "broken tags {{instance}}"),
                Query(series("missing_blobs"), "missing blobs {{instance}}"),
                Query(series("missing_images"), "missing images, {{use}} {{instance}}"),
                Query(series("unpurgeable_uploads"), "unpurgeable uploads {{instance}}"),
                Query(series("stray_files"), "stray files {{instance}}"),
                Query(series("filesystem_readonly"), "read-only {{instance}}"),
            ),
            unit="short",
            decimals=0,
            least=0,
            stepped=True,
        ),
    ),
)

DETAILS = (_GROWTH, _WHAT_CAN_GO, _LIMITS)
