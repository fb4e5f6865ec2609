"""From an inventory to the figures of a store."""

from collections import Counter
from collections.abc import Iterable, Mapping

from exporter.analysis.blob_states import Ledger
from exporter.analysis.garbage_collection import simulate_runs
from exporter.analysis.integrity import PullCheck
from exporter.domain.model import (
    Inventory,
    IssueCause,
    Upload,
)
from exporter.domain.snapshot import (
    BlobState,
    BlobTotal,
    BrokenTag,
    CollectorRun,
    Dialect,
    GcMode,
    Integrity,
    StoreFigures,
    UploadFigures,
)


def analyse(
    inventory: Inventory, dialect: Dialect = 2, ledger: Ledger | None = None
) -> StoreFigures:
    """Draw all figures from one inventory; ``dialect`` is that of the registry's collector.

    ``ledger`` has the accounts of the inventory, where they were drawn up before.
    """
    ledger = ledger or Ledger.of(inventory)
    blobs = by_reach = ledger.blobs
    if not inventory.references_known:
        # somebody deletes data on the word "unreferenced"
        hidden, untagged = blobs[BlobState.UNREFERENCED], blobs[BlobState.UNTAGGED]
        blobs = {
            **blobs,
            BlobState.UNTAGGED: BlobTotal(
                untagged.blobs + hidden.blobs, untagged.bytes + hidden.bytes
            ),
            BlobState.UNREFERENCED: BlobTotal(),
        }
    issues = Counter(issue.cause for issue in inventory.issues)
    integrity, collector = integrity_and_runs(inventory, ledger, dialect, by_reach)
    return StoreFigures(
        blobs=blobs,
        logical_bytes=ledger.logical_bytes,
        shared_bytes=ledger.shared_bytes,
        repositories=tuple(
            sorted(ledger.repositories(), key=lambda each: (-each.referenced_bytes, each.name))
        ),
        uploads=count_uploads(
            upload for repository in inventory.repositories for upload in repository.uploads
        ),
        strays=inventory.layout.strays,
        issues={cause: issues[cause] for cause in IssueCause},
        complete=inventory.complete,
        integrity=integrity,
        collector=collector,
    )


def integrity_and_runs(
    inventory: Inventory,
    ledger: Ledger,
    dialect: Dialect,
    blobs: Mapping[BlobState, BlobTotal],
) -> tuple[Integrity | None, Mapping[GcMode, CollectorRun] | None]:
    """Tell what is not whole, and what the registry's collector would do.

    ``blobs`` are the totals by what reaches them.
    """
    check = PullCheck(inventory)
    broken: Iterable[BrokenTag] = ()
    if not (check.is_faultless and ledger.has_sound_links):
        broken = (
            tag
            for repository, reach in zip(inventory.repositories, ledger.reaches, strict=True)
            for tag in check.broken_tags(repository, reach)
        )
    integrity = None
    if not inventory.is_cache:
        integrity = Integrity(check.missing_blobs(), tuple(broken))
    return integrity, simulate_runs(inventory, ledger, check, dialect, blobs)


def count_uploads(uploads: Iterable[Upload]) -> UploadFigures:
    """Add up unfinished uploads."""
    uploads = list(uploads)
    return UploadFigures(
        uploads=len(uploads),
        bytes=sum(upload.size for upload in uploads),
        unpurgeable=sum(not upload.purgeable for upload in uploads),
        oldest_start_at=min((upload.started_at for upload in uploads), default=None),
    )
