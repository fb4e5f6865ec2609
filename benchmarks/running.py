"""The running exporter: how soon it is ready, and how much memory it takes."""

from pathlib import Path
from statistics import median

from benchmarks.measure import peak_bytes
from benchmarks.pushes import retagged
from benchmarks.serve_process import Serve
from benchmarks.setting import Bench, say
from benchmarks.store import blobs_of
from benchmarks.table import Findings, Median, seconds_text

_RETAGGED_SHARE = 0.01
_SCRAPES = 10
_INTERVAL = "200ms"
_MEGABYTE = 10**6


def measure_restart(bench: Bench) -> Findings:
    """Compare a restart with the cache of the run before with a first start."""
    root = bench.root
    firsts, seconds = [], []
    for number in bench.numbers():
        with bench.scratch() as state:
            times = []
            for name in ("first start", "restart"):
                with Serve(root, state) as serve:
                    times.append(serve.wait_until_ready())
                say(f"{name} {seconds_text(times[-1])}")
            if number:
                firsts.append(times[0])
                seconds.append(times[1])
    first, second = median(firsts), median(seconds)
    return Findings(
        {"restart": second / first},
        medians=[
            Median("first start until ready (M)", seconds_text(first)),
            Median("restart until ready (M)", seconds_text(second)),
        ],
    )


def measure_memory(bench: Bench) -> Findings:
    """Measure peak memory, and how it grows with the store."""
    root = bench.root
    peaks = []
    for number in bench.numbers():
        peak = _peak(bench, root)
        if number:
            peaks.append(peak)
    usual = median(peaks)
    findings = Findings({"memory": usual / _MEGABYTE})
    if not bench.is_large:
        return findings | Findings(unmeasured={"growth": "needs 20 GB of disk, see --large"})
    larger = bench.larger_root
    print("ten times the store", end="", flush=True)
    peak = _peak(bench, larger)
    print()
    blobs = blobs_of(larger) - blobs_of(root)
    return findings | Findings(
        {"growth": (peak - usual) / blobs},  # bytes a blob are megabytes a million blobs
        medians=[Median("peak memory of `serve` (ten times M)", f"{peak / _MEGABYTE:,.0f} MB")],
    )


def _peak(bench: Bench, root: Path) -> int:
    """Return the peak memory of a ``serve`` that does all of its work."""
    with bench.scratch() as state, Serve(root, state, "--scan.interval", _INTERVAL) as serve:
        serve.wait_until_ready()
        serve.page()  # from now on ``serve`` renders what it publishes
        serve.wait_for_scans(1)
        with retagged(root, _RETAGGED_SHARE):
            serve.wait_for_scans(2)  # the first may have begun before
            for _ in range(_SCRAPES):
                serve.page()
        peak = peak_bytes(serve.pid)
    say(f"{peak / _MEGABYTE:.0f} MB")
    return peak
