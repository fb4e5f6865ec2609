"""*Registry repository*: one repository's tags, bytes, growth and pushes."""

from dashboards.expressions import (
    MATCHING_REPOSITORY,
    repository_growth,
    series,
)
from dashboards.fields import ANY_IS_DOUBTFUL, GREEN, ORANGE, Query, Step, mapping
from dashboards.layout import INSTANCE, JOB, ONE_REPOSITORY, REPOSITORY, Band, Dashboard
from dashboards.panels import Stat, TimeSeries


def _own(name: str) -> str:
    return series(f"repository_{name}", MATCHING_REPOSITORY)


_TAGS = _own("tags")
_API_TAGS = series("api_repository_tags", MATCHING_REPOSITORY)
_EXCLUSIVE = _own("exclusive_bytes")
_REFERENCED = _own("referenced_bytes")
_PUSHED = _own("last_push_timestamp_seconds")

_NUMBERS = Band(
    height=4,
    panels=(
        Stat(
            title="Tags now",
            description="Tags on disk.",
            queries=(Query(_TAGS),),
            unit="short",
            decimals=0,
        ),
        Stat(
            title="Freed if deleted",
            description="Bytes of blobs that only this repository references. Deleting it and then "
            "running the garbage collector would free them.",
            queries=(Query(_EXCLUSIVE),),
            unit="bytes",
        ),
        Stat(
            title="Referenced",
            description="Bytes of all blobs that its manifests reference, including shared blobs.",
            queries=(Query(_REFERENCED),),
            unit="bytes",
        ),
        Stat(
            title="Growth in 24 h",
            description="Change of its exclusive bytes in the last 24 hours. On the first day, the "
            "change since the repository was first seen.",
            queries=(Query(repository_growth(MATCHING_REPOSITORY)),),
            unit="bytes",
            past=False,
        ),
        Stat(
            title="Last push",
            description="When a tag or manifest was last written.",
            queries=(Query(f"1000 * {_PUSHED}"),),
            unit="dateTimeFromNow",
            past=False,
        ),
        Stat(
            title="Pushes in 24 h",
            description="Scans in the last 24 hours that found a push since the previous scan. "
            "Several pushes between two scans count as one.",
            queries=(Query(f"changes({_PUSHED}[1d])"),),
            unit="short",
            decimals=0,
            past=False,
        ),
        Stat(
            title="Untagged manifests now",
            description="Manifests that no tag of the repository reaches. Garbage collection with "
            "--delete-untagged removes them and may break others. First see Reclaimable by garbage "
            "collection on Registry storage.",
            queries=(Query(_own("untagged_manifests")),),
            unit="short",
            decimals=0,
            steps=ANY_IS_DOUBTFUL,
        ),
        Stat(
            title="CapRover app",
            description="Orphaned: CapRover does not know the app of this repository. Something "
            "else may still pull from it.",
            queries=(
                Query(
                    f"1 * {series('repository_orphaned', MATCHING_REPOSITORY)}"
                    f" or 0 * {_TAGS} and ignoring (repository) {series('caprover_up')}"
                ),
            ),
            unit="none",
            past=False,
            no_value="no CapRover",
            steps=(Step(None, GREEN), Step(1, ORANGE)),
            mappings=mapping({"0": ("not orphaned", GREEN), "1": ("orphaned", ORANGE)}),
        ),
    ),
)

_COURSE = Band(
    height=9,
    panels=(
        TimeSeries(
            title="Tags",
            description="Tags on disk, and tags that the registry's API lists. Dashed: threshold "
            "of TagCountHigh.",
            queries=(
                Query(_TAGS, "on disk {{$legend}}"),
                Query(_API_TAGS, "API {{$legend}}"),
            ),
            alert="TagCountHigh",
            unit="short",
            width=12,
            decimals=0,
            least=0,
            stepped=True,
        ),
        TimeSeries(
            title="Bytes",
            description="Bytes of the blobs that its manifests reference, and bytes of the blobs "
            "that no other repository references.",
            queries=(
                Query(_REFERENCED, "referenced {{$legend}}"),
                Query(_EXCLUSIVE, "exclusive {{$legend}}"),
            ),
            unit="bytes",
            width=12,
            least=0,
        ),
    ),
)

_CHANGES = Band(
    height=9,
    panels=(
        TimeSeries(
            title="Growth in 24 h over time",
            description="Growth of its exclusive bytes in the 24 hours before each point. Dashed: "
            "threshold of RepositoryGrowthHigh.",
            queries=(Query(repository_growth(MATCHING_REPOSITORY)),),
            alert="RepositoryGrowthHigh",
            unit="bytes",
        ),
        TimeSeries(
            title="Pushes per hour",
            description="Scans in the hour before each point that found a push since the previous "
            "scan.",
            queries=(Query(f"changes({_PUSHED}[1h])"),),
            unit="short",
            decimals=0,
            least=0,
            stepped=True,
        ),
        TimeSeries(
            title="Manifests",
            description="All manifests of the repository, and those that none of its tags reaches. "
            "An index and each of its images count separately.",
            queries=(
                Query(_own("manifests"), "all {{$legend}}"),
                Query(_own("untagged_manifests"), "untagged {{$legend}}"),
            ),
            unit="short",
            decimals=0,
            least=0,
            stepped=True,
        ),
    ),
)

DASHBOARD = Dashboard(
    uid=REPOSITORY,
    description="One repository: its tags, its bytes, its growth and its pushes.",
    bands=(_NUMBERS, _COURSE, _CHANGES),
    file="repository.json",
    variables=(JOB, INSTANCE, ONE_REPOSITORY),
    since="7d",
    page="/repositories/${repository}",
)
