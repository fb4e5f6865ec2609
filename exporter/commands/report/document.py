"""The report for programs: JSON and CSV."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from exporter.commands.report.store_report import StoreReport
from exporter.domain.snapshot import ApiStatus, PlatformStatus, RepositoryFigures
from exporter.domain.uses import OwnershipRules, UseFigures
from exporter.views.blob_answer import BlobAnswer
from exporter.views.tag_rows import TagRow


def report_json(report: StoreReport) -> bytes:
    """Return the report as one JSON object: bytes, Unix seconds, null for unknown."""
    snapshot, reading = report.snapshot, report.reading
    uses = snapshot.uses
    figures = msgspec.to_builtins(reading.figures, str_keys=True)
    del figures["is_untagged_needless"]  # the actions say what follows from it
    document: dict[str, Any] = {
        "root": report.location,
        "scanned_at": snapshot.scan.last_success_at,
        "scan_duration_seconds": snapshot.scan.duration_seconds,
        "storage_limit_bytes": report.storage_limit,
        **figures,
        "integrity": msgspec.to_builtins(snapshot.integrity),
        "repositories": [_repository(each, uses, report.ownership) for each in report.repositories],
        "issues": reading.inventory.issues,
        "filesystem": snapshot.filesystem,
        "api": _api(snapshot.api, snapshot.tag_differences),
        "caprover": _platform(snapshot.platform),
        "uses": None if uses is None else msgspec.to_builtins(uses.totals, str_keys=True),
        "missing_images": None if uses is None else dict(uses.missing_images),
        "policies": snapshot.policies,
        "actions": report.actions,
    }
    return encode_json(document)


def repository_json(
    figures: RepositoryFigures,
    rows: Sequence[TagRow],
    uses: UseFigures | None,
    ownership: OwnershipRules | None,
) -> bytes:
    """Return one repository with its tags as one JSON object."""
    return encode_json({"repository": _repository(figures, uses, ownership), "tags": rows})


def blob_json(answer: BlobAnswer, top: int | None) -> bytes:
    """Return one blob, with the first ``top`` tags and manifests, as one JSON object."""
    return encode_json(replace(answer, tags=answer.tags[:top], manifests=answer.manifests[:top]))


def encode_json(document: object) -> bytes:
    """Return a document as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _repository(
    figures: RepositoryFigures, uses: UseFigures | None, ownership: OwnershipRules | None
) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(figures)
    document["owner"] = None if ownership is None else ownership.owner_of(figures.name)
    document["uses"] = (
        None if uses is None else dict(Counter(map(str, uses.repositories[figures.name].values())))
    )
    document["orphaned"] = None if uses is None else figures.name in uses.orphaned_repositories
    return document


def _platform(platform: PlatformStatus | None) -> dict[str, Any] | None:
    if platform is None:
        return None
    apps = None if platform.images is None else len(platform.images.apps)
    return {"up": platform.failure is None, "apps": apps, "failure": platform.failure}


def _api(api: ApiStatus | None, tag_differences: int | None) -> dict[str, Any] | None:
    if api is None:
        return None
    view = api.view
    return {
        "up": view is not None,
        "repository_tags": None
        if view is None
        else {name: len(tags) for name, tags in sorted(view.tags.items())},
        "tag_differences": tag_differences,
        "certificate_not_after": api.certificate_not_after,
    }


def report_csv(repositories: Sequence[RepositoryFigures]) -> str:
    """Return one line per repository: bytes and Unix seconds."""
    return csv_text(
        RepositoryFigures.__slots__, [msgspec.to_builtins(each) for each in repositories]
    )


def repository_csv(rows: Sequence[TagRow]) -> str:
    """Return one line per tag: bytes and Unix seconds, platforms separated by spaces."""
    lines = [msgspec.to_builtins(each) for each in rows]
    for line in lines:
        line["platforms"] = " ".join(line["platforms"])
        apps = line["apps"] or ()
        line["apps"] = " ".join(f"{each['app']}:{each['use']}" for each in apps)
    return csv_text(TagRow.__slots__, lines)


def csv_text(fields: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """Return a header of ``fields``, and one line per mapping."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
