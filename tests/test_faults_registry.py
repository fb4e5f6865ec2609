"""The registry stopped, restarted, with invalid certificates, or with an unknown name.

The exporter serves its store meanwhile. Everything is real: the registry's own program, the
certificates that it serves, and a name server that does not answer.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from demo.child_process import wait_until
from demo.store import StoreBuilder, noise
from tests.exporter_process import STOPPED_WITHIN_SECONDS, Exporter, Metrics
from tests.faults import (
    INTERVAL_SECONDS,
    OFTEN,
    Scrapes,
    assert_answers,
    lines,
    scanned_again,
    seconds_until,
)
from tests.mounts import Mounts
from tests.name_server import NameServer
from tests.reliability import Record
from tests.servers import DockerRegistry

pytestmark = pytest.mark.reliability("faults")

RESOLVER_SECONDS = 3
UP = "docker_registry_api_up"
NOT_AFTER = "docker_registry_api_certificate_not_after_timestamp_seconds"
FAILED = "asking the registry's API failed: "
WORKS_AGAIN = "asking the registry's API works again"
OF_THE_API = ("repositories", "tags", "tag_differences", "repository_tags")
HOST = "127.0.0.1"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the root of a store with two tags."""
    store = StoreBuilder(tmp_path / "registry")
    for tag in ("1", "2"):
        store.image("shop/web", tag, [noise(tag, 100)])
    return store.root


def is_up(metrics: Metrics) -> bool:
    return metrics.value(UP) == 1


def is_down(metrics: Metrics) -> bool:
    return metrics.value(UP) == 0


def seconds_until_up(exporter: Exporter) -> float:
    return seconds_until(exporter, is_up, "the API is not queried again")


def assert_absent(metrics: Metrics) -> None:
    """Assert that no value of the API is shown, as it may be old."""
    names = {f"docker_registry_api_{each}" for each in OF_THE_API}
    assert not {name for name, _ in metrics if name in names}


def assert_whole(metrics: Metrics) -> None:
    assert metrics.value("docker_registry_api_tags") == 2
    assert metrics.value("docker_registry_api_tag_differences") == 0


# Stopped and restarted


def test_a_stopped_registry_is_logged_once_and_queried_again_after_its_start(
    root: Path, record: Record
) -> None:
    with (
        DockerRegistry(root) as registry,
        Exporter("--storage.root", root, "--registry.url", registry.url, *OFTEN) as exporter,
        Scrapes(exporter) as scrapes,
    ):
        before = exporter.wait_for(is_up)
        registry.stop()
        down = exporter.wait_for(is_down)
        exporter.wait_for(scanned_again(down))
        failed = requests_failed(down)
        later = exporter.wait_for(lambda page: requests_failed(page) >= failed + 3)
        registry.start()
        seconds = seconds_until_up(exporter)
        wait_until(lambda: WORKS_AGAIN in exporter.log, "the recovery is not logged")
        after, log = exporter.metrics(), exporter.log
    assert_answers(scrapes)
    assert_whole(before)
    assert_absent(down)
    assert_absent(later)
    assert_whole(after)
    (line,) = lines(log, FAILED)
    assert f"{registry.url}/v2/ did not answer: Connection refused; check that a server" in line
    assert len(lines(log, WORKS_AGAIN)) == 1
    record(
        "A registry that is stopped and started again: its API's metrics are absent meanwhile, "
        "one line in the log says so, scans go on, and it is asked again by itself",
        f"{seconds:.2f} s after the start, with --scan.interval {INTERVAL_SECONDS} s",
    )


def requests_failed(metrics: Metrics) -> float:
    requests = "docker_registry_api_requests_total"
    return metrics.value(requests, endpoint="ping", code="error") or 0


# Certificates


class Served(NamedTuple):
    """A certificate with its key, its reason and fix in the log, and its end of validity."""

    certificate: bytes
    key: bytes
    reason: str
    fix: str
    not_after: datetime


PAST, FUTURE = datetime(2019, 1, 1, tzinfo=UTC), datetime(2040, 2, 3, tzinfo=UTC)
EXPIRED = datetime(2020, 2, 3, tzinfo=UTC)


def issued(
    authority: trustme.CA,
    reason: str,
    fix: str,
    name: str = HOST,
    not_before: datetime = PAST,
    not_after: datetime = FUTURE,
) -> Served:
    leaf = authority.issue_cert(name, not_before=not_before, not_after=not_after)
    chain = b"".join(each.bytes() for each in leaf.cert_chain_pems)
    return Served(chain, leaf.private_key_pem.bytes(), reason, fix, not_after)


def self_signed(reason: str, fix: str) -> Served:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    signed = builder.not_valid_before(PAST).not_valid_after(FUTURE).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return Served(signed.public_bytes(pem), key.private_bytes(pem, *plain), reason, fix, FUTURE)


def bad_certificates(authority: trustme.CA) -> dict[str, Served]:
    ca_file = "give the CA that signed it, or the certificate itself, as --registry.ca-file"
    soon = datetime.now(tz=UTC) + timedelta(days=3)
    return {
        "expired": issued(
            authority,
            "certificate has expired",
            "renew it, and restart the registry so that it serves the new one",
            not_after=EXPIRED,
        ),
        "not yet valid": issued(
            authority,
            "certificate is not yet valid",
            "it is not valid yet: compare the clocks of both hosts",
            not_before=soon,
        ),
        "for another name": issued(
            authority,
            "IP address mismatch",
            "--registry.url must have a name that is in it",
            name="other.example",
        ),
        "self-signed": self_signed("self-signed certificate", ca_file),
        "of another authority": issued(
            trustme.CA(), "unable to get local issuer certificate", ca_file
        ),
    }


def is_logged(exporter: Exporter, known: int, text: str) -> Callable[[], bool]:
    """Return a predicate: the log holds a text after the first ``known`` characters."""
    return lambda: text in exporter.log[known:]


def shows_end(served: Served) -> Callable[[Metrics], bool]:
    """Return a predicate: a page shows the end of this certificate."""
    return lambda page: page.value(NOT_AFTER) == served.not_after.timestamp()


class TlsRegistry:
    """A registry that restarts with another certificate."""

    def __init__(self, root: Path, home: Path, served: Served) -> None:
        self._files = home / "certificate.pem", home / "key.pem"
        self._write(served)
        self.server = DockerRegistry(root, tls=self._files)

    def serve(self, served: Served) -> None:
        self.server.stop()
        self._write(served)
        self.server.start()

    def _write(self, served: Served) -> None:
        for path, content in zip(self._files, served[:2], strict=True):
            path.write_bytes(content)


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """Return a CA and write its certificate to ``ca.pem``."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return authority


def test_each_invalid_certificate_is_logged_with_its_fix_until_it_is_renewed(
    authority: trustme.CA, root: Path, tmp_path: Path, record: Record
) -> None:
    good = issued(authority, "", "")
    registry = TlsRegistry(root, tmp_path, good)
    slowest = 0.0
    bad = bad_certificates(authority)
    flags = ("--registry.url", registry.server.url, "--registry.ca-file", tmp_path / "ca.pem")
    with (
        registry.server,
        Exporter("--storage.root", root, *flags, *OFTEN) as exporter,
        Scrapes(exporter) as scrapes,
    ):
        assert_whole(exporter.wait_for(is_up))
        for name, served in bad.items():
            known = len(exporter.log)
            registry.serve(served)
            wait_until(is_logged(exporter, known, served.reason), f"{name}: not logged")
            down = exporter.wait_for(scanned_again(exporter.wait_for(shows_end(served))))
            registry.serve(good)
            slowest = max(slowest, seconds_until_up(exporter))
            assert is_down(down)
            assert_absent(down)
            assert down.value(NOT_AFTER) == served.not_after.timestamp()
            (line,) = lines(exporter.log[known:], FAILED, "certificate is not trusted")
            assert f"certificate is not trusted ({served.reason}" in line
            assert line.endswith(f'{served.fix}"')
        after = exporter.wait_for(shows_end(good), "the renewed certificate is not shown")
    assert_answers(scrapes)
    assert_whole(after)
    record(
        f"A certificate that is {', '.join(bad)}: one line each with the fix, the API's metrics "
        "are absent, the end of the served certificate is reported, and once it is renewed the "
        "registry is asked again",
        f"within {slowest:.2f} s",
    )


# Names


@pytest.fixture
def plain_registry(root: Path) -> Iterator[DockerRegistry]:
    """Yield a running registry on the store."""
    with DockerRegistry(root) as registry:
        yield registry


def test_an_unknown_name_is_logged_once_until_it_exists(
    plain_registry: DockerRegistry, root: Path, tmp_path: Path, mounts: Mounts, record: Record
) -> None:
    del mounts  # the name server needs the right to mount
    url = plain_registry.url.replace(HOST, "registry.invalid")
    flags = ("--storage.root", root, "--registry.url", url, *OFTEN)
    with (
        NameServer("unknown") as names,
        Exporter(*flags, under=names.prefix(tmp_path, RESOLVER_SECONDS)) as exporter,
        Scrapes(exporter) as scrapes,
    ):
        down = exporter.wait_for(is_down)
        later = exporter.wait_for(scanned_again(down))
        names.mode = "address"
        seconds = seconds_until_up(exporter)
        after, log = exporter.metrics(), exporter.log
    assert_answers(scrapes)
    assert names.queries > 0
    assert_absent(later)
    assert_whole(after)
    (line,) = lines(log, FAILED)
    assert "did not answer: Name or service not known; check the host in --registry.url" in line
    record(
        "The registry's name does not exist: one line says so, scans go on, and it is asked again",
        f"{seconds:.2f} s after the name is there",
    )


def test_a_silent_name_server_blocks_neither_scans_nor_scrapes_nor_stopping(
    plain_registry: DockerRegistry, root: Path, tmp_path: Path, mounts: Mounts, record: Record
) -> None:
    del mounts  # as above
    url = plain_registry.url.replace(HOST, "registry.example")
    flags = ("--storage.root", root, "--registry.url", url, "--registry.timeout", "1s", *OFTEN)
    with (
        NameServer("silent") as names,
        Exporter(*flags, under=names.prefix(tmp_path, RESOLVER_SECONDS)) as exporter,
    ):
        with Scrapes(exporter) as scrapes:
            scanning = exporter.wait_for(scanned_again(exporter.metrics()))
            down = exporter.wait_for(is_down)
            names.mode = "address"
            seconds = seconds_until_up(exporter)
        after = exporter.metrics()
        names.mode = "silent"
        queries = names.queries
        wait_until(lambda: names.queries > queries, "no name is looked up")
        stopped = exporter.terminate()
        log = exporter.log
    assert_answers(scrapes)
    assert scanning.value(UP) is None  # it still waits for the first answer
    assert_absent(down)
    assert_whole(after)
    line = lines(log, FAILED)[0]
    assert "did not answer within 1 s; there was no connection yet: check whether the name" in line
    assert stopped.exit_code == 0
    assert stopped.seconds < STOPPED_WITHIN_SECONDS
    assert "Traceback" not in log
    record(
        "While the name server does not answer, scans and scrapes go on",
        f"{scrapes.count} answers, the slowest in {1000 * scrapes.slowest:.0f} ms",
    )
    record("The registry is asked again when it does", f"after {seconds:.2f} s")
    record("SIGTERM ends it while a name is looked up", f"in {stopped.seconds:.1f} s")
