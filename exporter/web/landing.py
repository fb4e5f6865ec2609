"""The page for people at ``/``."""

from datetime import UTC, datetime
from html import escape

from exporter import __version__
from exporter.domain.model import LEAVES_UNREAD
from exporter.domain.scan_progress import ScanProgress
from exporter.domain.snapshot import BlobState, GcMode, Integrity, Snapshot, StoreFigures
from exporter.support.quantities import format_duration, format_size

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Registry storage exporter</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif }}
body {{ margin: 2rem auto; max-width: 46rem; padding: 0 1rem }}
table {{ border-collapse: collapse }}
th, td {{ padding: .25rem 1.5rem .25rem 0; text-align: left; vertical-align: top }}
th {{ font-weight: 600 }}
.bad {{ color: #b00020 }}
</style>
</head>
<body>
<h1>Registry storage exporter</h1>
<table>
{rows}
</table>
<p>
<a href="/metrics">Metrics</a> ·
<a href="/-/healthy">Healthy</a> ·
<a href="/-/ready">Ready</a>
</p>
</body>
</html>
"""


def landing_page(snapshot: Snapshot, store: str, progress: ScanProgress | None = None) -> str:
    """Return the page; ``progress`` is that of the running full scan, if one runs."""
    rows = [("Version", __version__), ("Store", store), ("Last scan", _last_scan(snapshot))]
    if progress is not None:
        name = "First scan" if snapshot.store is None else "Full scan"
        rows.append((name, f"{progress} …"))
    if snapshot.scan.failure is not None:
        rows.append(("Last failure", snapshot.scan.failure))
    rows += _figures(snapshot)
    cells = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return _PAGE.format(rows="\n".join(cells))


def _last_scan(snapshot: Snapshot) -> str:
    scan = snapshot.scan
    if scan.last_success_at is None or scan.duration_seconds is None:
        return "the first scan is not done yet" if scan.failure is None else "none succeeded yet"
    moment = datetime.fromtimestamp(scan.last_success_at, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC, in {format_duration(scan.duration_seconds)}"


def _figures(snapshot: Snapshot) -> list[tuple[str, str]]:
    rows = []
    if snapshot.store is not None:
        figures = snapshot.store.figures
        total = format_size(figures.total_bytes)
        unreferenced = format_size(figures.blobs[BlobState.UNREFERENCED].bytes)
        unread = sum(figures.issues[cause] for cause in LEAVES_UNREAD)
        odd = sum(figures.issues.values()) - unread
        rows += [
            ("Blobs", f"{total}, of which {unreferenced} unreferenced"),
            ("Reclaimable", _reclaimable(figures)),
            ("Repositories", f"{len(figures.repositories)}"),
            ("Broken tags", _broken_tags(snapshot.integrity)),
            ("Unread", f"{unread} parts of the store could not be read"),
            ("Odd", f"{odd} parts of the store are not as the registry makes them; they were read"),
        ]
    if snapshot.platform is not None:
        rows.append((snapshot.platform.name, snapshot.platform.failure or "read"))
    if snapshot.filesystem is not None:
        available = format_size(snapshot.filesystem.avail_bytes)
        size = format_size(snapshot.filesystem.size_bytes)
        rows.append(("Filesystem", f"{available} available of {size}"))
    if snapshot.api is not None:
        rows.append(("Registry API", snapshot.api.failure or "answers"))
    return rows


def _broken_tags(integrity: Integrity | None) -> str:
    if integrity is None:
        return "unknown for a pull-through cache"
    partial = len(integrity.partial_tags)
    more = f", and {partial} of which only some platforms can be pulled" if partial else ""
    return f"{len(integrity.broken_tags)}{more}"


def _reclaimable(figures: StoreFigures) -> str:
    """Return what a run of the registry's collector would do."""
    if figures.collector is None:
        return "unknown: a part of the store could not be read"
    run, untagged = (figures.collector[mode] for mode in GcMode)
    if run.blockers:
        return f"nothing: the registry's collector aborts on {run.blockers[0].path}"
    text = f"{format_size(run.frees.bytes)} by the registry's collector"
    if untagged.blockers:
        return text
    with_untagged = f"{text}, {format_size(untagged.frees.bytes)} with --delete-untagged"
    if untagged.endangered:
        return f"{with_untagged}, which would break {len(untagged.endangered)} tags: do not run it"
    return with_untagged
