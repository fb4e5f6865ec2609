"""*Registry storage exporter*: whether the figures on the other dashboards are reliable."""

from dashboards.expressions import selector, series
from dashboards.fields import GREEN, ONE_IS_GOOD, RED, Override, Query, mapping
from dashboards.layout import EXPORTER, Band, Dashboard
from dashboards.panels import Stat, Table, TimeSeries

_CERTIFICATE_ENDS = series("api_certificate_not_after_timestamp_seconds")
_LAST_SUCCESS = series("scan_last_success_timestamp_seconds")


def _yes_or_no(
    title: str, description: str, expr: str, words: tuple[str, str], no_value: str | None = None
) -> Stat:
    yes, no = words
    return Stat(
        title=title,
        description=description,
        queries=(Query(expr),),
        unit="none",
        past=False,
        colored="background",
        steps=ONE_IS_GOOD,
        mappings=mapping({"0": (no, RED), "1": (yes, GREEN)}),
        no_value=no_value,
    )


def _quantile(share: float) -> Query:
    buckets = series("api_request_duration_seconds_bucket")
    return Query(
        f"histogram_quantile({share}, rate({buckets}[$__rate_interval]))",
        f"p{share * 100:.0f} {{{{endpoint}}}} {{{{$legend}}}}",
    )


_NUMBERS = Band(
    height=4,
    panels=(
        _yes_or_no(
            "Exporter",
            "Whether Prometheus can scrape the exporter. If it is down, everything here is old, "
            "and no alert except ExporterDown can fire.",
            selector("up"),
            ("up", "down"),
        ),
        _yes_or_no(
            "Last scan",
            "Whether the last scan of the store succeeded. After a failed scan, the figures of the "
            "last successful one stay.",
            series("scan_success"),
            ("succeeded", "failed"),
            no_value="none yet",
        ),
        _yes_or_no(
            "Scan complete",
            "Whether the last successful scan could read everything that it found. If not, see "
            "Scan issues. Anything that may be hidden counts as needed.",
            series("scan_complete"),
            ("complete", "incomplete"),
            no_value="none yet",
        ),
        Stat(
            title="Last successful scan",
            description="When the last successful scan ended. This is the age of the figures about "
            "the store.",
            queries=(Query(f"1000 * {_LAST_SUCCESS}"),),
            unit="dateTimeFromNow",
            past=False,
            no_value="no scan yet",
        ),
        _yes_or_no(
            "Registry API",
            "Whether the registry's HTTP API answered the last query completely.",
            series("api_up"),
            ("up", "down"),
            no_value="not configured",
        ),
        _yes_or_no(
            "CapRover configuration",
            "Whether CapRover's configuration was read and lists apps. If not, the last "
            "configuration that was read stays in use.",
            series("caprover_up"),
            ("read", "not read"),
            no_value="not configured",
        ),
        Stat(
            title="Certificate expires",
            description="When the certificate that the registry serves expires.",
            queries=(Query(f"1000 * {_CERTIFICATE_ENDS}"),),
            unit="dateTimeFromNow",
            past=False,
            no_value="no TLS",
        ),
        Stat(
            title="Repositories omitted",
            description="Repositories that metrics.include-repositories or "
            "metrics.exclude-repositories leave out, or that exceed metrics.max-repositories. They "
            "count in all totals, but have no series and raise no alerts of their own.",
            queries=(Query(series("repositories_omitted")),),
            unit="short",
            decimals=0,
            past=False,
        ),
    ),
)

_SCANS = Band(
    heading="Scans of the store",
    height=7,
    panels=(
        Stat(
            title="Full scan",
            description="Progress of the full scan that is running. The first scan is a full one, "
            "and so is one an hour. There are no figures about the store before the first one "
            "ends.",
            queries=(Query(series("scan_progress_ratio")),),
            unit="percentunit",
            width=4,
            decimals=0,
            no_value="not running",
        ),
        TimeSeries(
            title="Age of the last successful scan",
            description="Dashed: threshold of ScanStale.",
            queries=(Query(f"time() - {_LAST_SUCCESS}"),),
            alert="ScanStale",
            unit="s",
            width=5,
            least=0,
        ),
        TimeSeries(
            title="Duration of a scan",
            description="How long the last successful scan took, including the analysis.",
            queries=(Query(series("scan_duration_seconds")),),
            unit="s",
            width=5,
            least=0,
        ),
        TimeSeries(
            title="Scans",
            description="Scans that ended per minute, and how many of them failed. With "
            "scan.watch, each change in the store starts a scan.",
            queries=(
                Query(f"60 * rate({series('scans_total')}[$__rate_interval])", "ended {{$legend}}"),
                Query(
                    f"60 * rate({series('scan_failures_total')}[$__rate_interval])",
                    "failed {{$legend}}",
                ),
            ),
            unit="opm",
            width=5,
            least=0,
        ),
        TimeSeries(
            title="Scan issues",
            description="Parts of the store that are unreadable or invalid, by cause. The "
            "exporter's log names each of them.",
            queries=(Query(series("scan_issues"), "{{cause}} {{$legend}}"),),
            unit="short",
            width=5,
            decimals=0,
            least=0,
            stepped=True,
        ),
    ),
)

_API = Band(
    heading="Requests to the registry",
    height=7,
    panels=(
        TimeSeries(
            title="Requests",
            description="The exporter's own requests to the registry's API, by endpoint and status "
            "code. The code is error if there was no answer.",
            queries=(
                Query(
                    f"rate({series('api_requests_total')}[$__rate_interval])",
                    "{{endpoint}} {{code}} {{$legend}}",
                ),
            ),
            unit="reqps",
            width=6,
            least=0,
        ),
        TimeSeries(
            title="Duration of requests",
            description="The times within which 50 % and 95 % of the requests were answered.",
            queries=(_quantile(0.5), _quantile(0.95)),
            unit="s",
            width=6,
            least=0,
        ),
        TimeSeries(
            title="Tags on disk and in the API",
            description="The number of tags on disk and in the API, and the pairs of repository "
            "and tag that only one of them has. Lasting differences mean that the exporter and the "
            "registry do not see the same store.",
            queries=(
                Query(series("tags"), "disk {{$legend}}"),
                Query(series("api_tags"), "API {{$legend}}"),
                Query(series("api_tag_differences"), "differences {{$legend}}"),
            ),
            unit="short",
            width=6,
            decimals=0,
            least=0,
            stepped=True,
        ),
        TimeSeries(
            title="Certificate: time left",
            description="Time until the certificate that the registry serves expires. Empty "
            "without TLS. Dashed: thresholds of CertificateExpiring.",
            queries=(Query(f"{_CERTIFICATE_ENDS} - time()"),),
            alert="CertificateExpiring",
            unit="s",
            width=6,
            least=0,
        ),
    ),
)

_PROCESS = Band(
    heading="Process and configuration",
    height=8,
    panels=(
        TimeSeries(
            title="Memory",
            description="Resident memory of the exporter's process.",
            queries=(Query(selector("process_resident_memory_bytes")),),
            unit="bytes",
            width=6,
            least=0,
        ),
        TimeSeries(
            title="CPU",
            description="Share of one core that the exporter's process uses.",
            queries=(Query(f"rate({selector('process_cpu_seconds_total')}[$__rate_interval])"),),
            unit="percentunit",
            width=6,
            least=0,
        ),
        Table(
            title="Alert thresholds",
            description="The thresholds of the alert rules, from the exporter's configuration. "
            "Each is in the unit of its alert: seconds, bytes, shares or counts.",
            queries=(Query(f"max without () ({series('alert_threshold')})"),),
            unit="none",
            width=6,
            columns={
                "alert": "alert",
                "severity": "severity",
                "Value": "threshold",
                "instance": "instance",
            },
            dropped=("Time", "job"),
            sort_by="alert",
            falling=False,
        ),
        Table(
            title="Versions",
            description="The versions of the exporter and of Python, and when the process started.",
            queries=(
                Query(
                    f"1000 * {series('exporter_build_info')}"
                    " * ignoring (version, python_version) group_left ()"
                    f" {selector('process_start_time_seconds')}"
                ),
            ),
            unit="none",
            width=6,
            columns={
                "instance": "instance",
                "version": "version",
                "python_version": "Python",
                "Value": "started",
            },
            dropped=("Time", "job"),
            sort_by="instance",
            falling=False,
            overrides=(Override("byName", "started", {"unit": "dateTimeFromNow"}),),
        ),
    ),
)

DASHBOARD = Dashboard(
    uid=EXPORTER,
    description="Whether the figures on the other dashboards are fresh and complete: scans, the "
    "registry's API, the exporter itself.",
    bands=(_NUMBERS, _SCANS, _API, _PROCESS),
    file="exporter.json",
)
