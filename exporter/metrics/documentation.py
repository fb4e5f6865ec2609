"""The documentation of all metrics, from the declarations that the exporter exposes.

``python -m exporter.metrics.documentation > docs/metrics.md``
"""

import sys
from collections.abc import Iterable

from exporter.metrics.catalogue import CATALOGUE, GROUPS
from exporter.metrics.instruments import INSTRUMENTS, Instrument
from exporter.metrics.metric import Metric

EVERY_METRIC: tuple[Metric | Instrument, ...] = (*CATALOGUE, *INSTRUMENTS)

_HEAD = """# Metrics

All metrics of the store, the registry's API and the exporter begin with `docker_registry_`. The
exporter's process adds the usual `process_*` and `python_*`; `collect` leaves those out, and the
counters of its own requests.

Nothing is measured during a scrape. Values from a scan are as old as
`docker_registry_scan_last_success_timestamp_seconds` says; the API is asked once per
`--scan.interval`, the filesystem every 15 seconds. An unknown value has no series: no number is
ever made up. After a failed scan the values of the last successful one stay.

A blob's **state** is `tagged` when a tag of any repository reaches it, through indexes of any
depth; else `untagged` when it is a manifest that some repository holds, or reachable from one;
else `unreferenced`. While a manifest is missing or cannot be read, or something else may hide
references, blobs that nothing else references count as `untagged`.
"""
_TABLE_HEAD = ("| metric | type | labels | meaning |", "|---|---|---|---|")


def render() -> str:
    """Return the page as Markdown."""
    sections: dict[str, list[Metric | Instrument]] = {}
    for group in GROUPS:
        sections.setdefault(group.section, []).extend(group.metrics)
    for instrument in INSTRUMENTS:
        sections.setdefault(instrument.section, []).append(instrument)
    parts = [_HEAD]
    for title, metrics in sections.items():
        parts.append("\n".join([f"## {title}", "", *_TABLE_HEAD, *_rows(metrics)]) + "\n")
    return "\n".join(parts)


def _rows(metrics: Iterable[Metric | Instrument]) -> Iterable[str]:
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


if __name__ == "__main__":
    sys.stdout.write(render())
