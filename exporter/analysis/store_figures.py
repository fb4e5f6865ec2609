"""The figures of a store, computed from an inventory."""

from collections import Counter
from collections.abc import Iterable, Mapping

from exporter.analysis.blob_states import BlobStates
from exporter.analysis.deletion.artifacts import count_artifacts
from exporter.analysis.garbage_collection import simulate_runs
from exporter.analysis.integrity import PullCheck
from exporter.domain.artifacts import ArtifactFigures
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
    PartialTag,
    StoreFigures,
    UploadFigures,
)


def analyse(
    inventory: Inventory, dialect: Dialect = 2, states: BlobStates | None = None
) -> StoreFigures:
    """Compute all figures of one inventory; ``dialect`` is that of the registry's collector.

    ``states`` has counted the inventory already, if it is given.
    """
    states = states or BlobStates.of(inventory)
    blobs = by_reach = states.blobs
    if not inventory.references_known:
        # operators delete data because it is called unreferenced
        hidden, untagged = blobs[BlobState.UNREFERENCED], blobs[BlobState.UNTAGGED]
        blobs = {
            **blobs,
            BlobState.UNTAGGED: BlobTotal(
                untagged.blobs + hidden.blobs, untagged.bytes + hidden.bytes
            ),
            BlobState.UNREFERENCED: BlobTotal(),
        }
    issues = Counter(issue.cause for issue in inventory.issues)
    integrity, collector = integrity_and_runs(inventory, states, dialect, by_reach)
    return StoreFigures(
        blobs=blobs,
        logical_bytes=states.logical_bytes,
        shared_bytes=states.shared_bytes,
        repositories=tuple(
            sorted(states.repositories(), key=lambda each: (-each.referenced_bytes, each.name))
        ),
        uploads=count_uploads(
            upload for repository in inventory.repositories for upload in repository.uploads
        ),
        strays=inventory.layout.strays,
        issues={cause: issues[cause] for cause in IssueCause},
        complete=inventory.complete,
        integrity=integrity,
        collector=collector,
        artifacts=(
            count_artifacts(inventory, states.reaches)
            if states.may_have_artifacts
            else ArtifactFigures()
        ),
        is_untagged_needless=(
            not inventory.unread
            and inventory.references_known
            and states.is_orderly
            and not states.may_have_artifacts
        ),
    )


def integrity_and_runs(
    inventory: Inventory,
    states: BlobStates,
    dialect: Dialect,
    blobs: Mapping[BlobState, BlobTotal],
) -> tuple[Integrity | None, Mapping[GcMode, CollectorRun] | None]:
    """Return what is broken, and what the registry's collector would do.

    ``blobs`` are the totals by state.
    """
    check = PullCheck(inventory)
    faulty: list[BrokenTag | PartialTag] = []
    if not (check.is_faultless and states.has_sound_links):
        faulty = [
            tag
            for repository, reach in zip(inventory.repositories, states.reaches, strict=True)
            for tag in check.faulty_tags(repository, reach)
        ]
    integrity = None
    if not inventory.is_cache:
        integrity = Integrity(
            check.missing_blobs(),
            tuple(tag for tag in faulty if isinstance(tag, BrokenTag)),
            tuple(tag for tag in faulty if isinstance(tag, PartialTag)),
        )
    return integrity, simulate_runs(inventory, states, check, dialect, blobs)


def count_uploads(uploads: Iterable[Upload]) -> UploadFigures:
    """Add up unfinished uploads."""
    uploads = list(uploads)
    return UploadFigures(
        uploads=len(uploads),
        bytes=sum(upload.size for upload in uploads),
        unpurgeable=sum(not upload.purgeable for upload in uploads),
        oldest_start_at=min((upload.started_at for upload in uploads), default=None),
    )
