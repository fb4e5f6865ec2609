"""``--web.config.file`` on a running exporter: certificates, passwords, headers, renewal."""

import re
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import bcrypt
import httpx
import pytest
import trustme

from demo.store import StoreBuilder
from tests.exporter_process import Exporter, run_exporter
from tests.monitoring import Prometheus
from tests.reliability import Record
from tests.servers import free_port

NAME, PASSWORD = "alice", "correct horse"
COST = 10
TLS = "tls_server_config: {cert_file: cert.pem, key_file: key.pem"
HEALTHY_SECONDS = 5.0  # wide, for slow machines: one that is blocked never answers


def hashed(password: str, cost: int = COST) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


USERS = f"basic_auth_users: {{{NAME}: {hashed(PASSWORD)}}}\n"


class Site:
    """The files of one exporter's web configuration."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(directory / "ca.pem")
        self.config = directory / "web.yml"
        self.issue()

    def issue(self, authority: trustme.CA | None = None) -> None:
        """Renew the certificate: each file is replaced, the key last."""
        issued = (authority or self.authority).issue_cert("127.0.0.1")
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        for name, content in (("cert.pem", chain), ("key.pem", issued.private_key_pem.bytes())):
            (self.directory / "new").write_bytes(content)
            (self.directory / "new").replace(self.directory / name)

    def client(
        self, context: ssl.SSLContext | None = None, auth: tuple[str, str] | None = None
    ) -> httpx.Client:
        """Return a client that trusts the authority."""
        if context is None:
            context = ssl.create_default_context(cafile=self.directory / "ca.pem")
        return httpx.Client(trust_env=False, timeout=10, verify=context, auth=auth)

    def serve(
        self,
        store: StoreBuilder,
        content: str,
        context: ssl.SSLContext | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Exporter:
        """Return an exporter that serves with TLS."""
        self.config.write_text(content)
        client = self.client(context, auth)
        return Exporter(*flags(store, self.config), scheme="https", client=client)


def flags(store: StoreBuilder, config: Path) -> tuple[str | Path, ...]:
    return ("--storage.root", store.root, "--web.config.file", config)


def basic(exporter: Exporter, name: str, password: str, path: str = "/metrics") -> httpx.Response:
    return httpx.get(f"{exporter.url}{path}", auth=(name, password), trust_env=False, timeout=20)


def served_certificate(exporter: Exporter) -> bytes:
    host, _, port = exporter.address.partition(":")
    return ssl.get_server_certificate((host, int(port))).encode()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    builder = StoreBuilder(tmp_path_factory.mktemp("store") / "registry")
    builder.image("shop", "1")
    return builder


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def guarded(store: StoreBuilder, site: Site) -> Iterator[Exporter]:
    """Serve without TLS, for one user."""
    site.config.write_text(USERS)
    client = httpx.Client(trust_env=False, timeout=10, auth=(NAME, PASSWORD))
    with Exporter(*flags(store, site.config), client=client) as running:
        yield running


def test_prometheus_scrapes_with_tls_and_a_password(store: StoreBuilder, site: Site) -> None:
    with site.serve(
        store, f"{TLS}, min_version: TLS13}}\n{USERS}", auth=(NAME, PASSWORD)
    ) as running:
        scrape = {
            "scheme": "https",
            "tls_config": {"ca_file": str(site.directory / "ca.pem")},
            "basic_auth": {"username": NAME, "password": PASSWORD},
        }
        with Prometheus(site.directory, [running.address], scrape=scrape) as prometheus:
            prometheus.wait_for("docker_registry_scan_success == 1")
        healthcheck = run_exporter(
            "healthcheck",
            *("--web.listen-address", running.address, "--web.config.file", site.config),
        )
        assert (healthcheck.returncode, healthcheck.stdout) == (0, "healthy\n"), healthcheck.stderr
        assert not running.complaints


@pytest.mark.parametrize(
    ("setting", "offered", "is_served"),
    [
        ("min_version: TLS13", ssl.TLSVersion.TLSv1_2, False),
        ("min_version: TLS13", ssl.TLSVersion.TLSv1_3, True),
        ("max_version: TLS12", ssl.TLSVersion.TLSv1_3, False),
        ("max_version: TLS12", ssl.TLSVersion.TLSv1_2, True),
        ("min_version: TLS12", ssl.TLSVersion.TLSv1_2, True),
    ],
)
def test_tls_versions_outside_the_configured_range_are_refused(
    store: StoreBuilder, site: Site, setting: str, offered: ssl.TLSVersion, is_served: bool
) -> None:
    with site.serve(store, f"{TLS}, {setting}}}") as running:
        context = ssl.create_default_context(cafile=site.directory / "ca.pem")
        context.minimum_version = context.maximum_version = offered
        with site.client(context) as client:
            if is_served:
                assert client.get(f"{running.url}/-/ready").status_code == httpx.codes.OK
            else:
                with pytest.raises(httpx.TransportError):
                    client.get(f"{running.url}/-/ready")
        assert "Traceback" not in running.log


def test_only_clients_with_a_certificate_of_the_authority_are_served(
    store: StoreBuilder, site: Site
) -> None:
    content = f"{TLS}, client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert}}"
    own = ssl.create_default_context(cafile=site.directory / "ca.pem")
    site.authority.issue_cert("prometheus").configure_cert(own)
    foreign = ssl.create_default_context(cafile=site.directory / "ca.pem")
    trustme.CA().issue_cert("prometheus").configure_cert(foreign)
    with site.serve(store, content, context=own) as running:
        assert running.value("docker_registry_scan_success") == 1
        for context in (None, foreign):
            with site.client(context) as client, pytest.raises(httpx.TransportError):
                client.get(f"{running.url}/metrics")
        healthcheck = run_exporter(
            "healthcheck",
            *("--web.listen-address", running.address, "--web.config.file", site.config),
        )
        assert healthcheck.returncode == 0, healthcheck.stderr
        assert "without a client certificate" in healthcheck.stdout
        assert "level=error" not in running.log


@pytest.mark.reliability("web")
def test_a_renewed_certificate_is_served_at_once_and_a_broken_one_never(
    store: StoreBuilder, site: Site, record: Record
) -> None:
    with site.serve(store, f"{TLS}}}") as running:
        assert served_certificate(running).strip() in (site.directory / "cert.pem").read_bytes()
        kept = site.client()
        kept.get(f"{running.url}/-/ready")
        renewals, current = 5, b""
        for _ in range(renewals):
            site.issue()
            current = (site.directory / "cert.pem").read_bytes()
            assert served_certificate(running).strip() in current
        (site.directory / "cert.pem").write_bytes(b"no certificate")
        for _ in range(3):
            assert served_certificate(running).strip() in current
        (problem,) = re.findall(r"level=error .*", running.log)
        assert "cert.pem" in problem
        assert "stays in use" in problem
        site.issue()
        assert served_certificate(running).strip() in (site.directory / "cert.pem").read_bytes()
        kept.close()
    record(
        "A certificate that is renewed on disk is served from the next handshake on; a broken one "
        "is reported once and never served",
        f"{renewals} of {renewals} renewals, 1 line for 3 handshakes",
    )


def test_users_and_headers_change_without_a_restart_and_tls_does_not(
    guarded: Exporter, site: Site
) -> None:
    assert guarded.get("/metrics").status_code == httpx.codes.OK
    site.config.write_text(f"basic_auth_users: {{bob: {hashed('b', 4)}}}\n")
    assert guarded.get("/metrics").status_code == httpx.codes.UNAUTHORIZED
    assert basic(guarded, "bob", "b").status_code == httpx.codes.OK

    site.config.write_text(f"http_server_config: {{headers: {{X-Frame-Options: deny}}}}\n{USERS}")
    assert guarded.get("/metrics").headers["X-Frame-Options"] == "deny"
    assert basic(guarded, "bob", "b").headers["X-Frame-Options"] == "deny"

    site.config.write_text(f"{TLS}}}\n")
    assert guarded.get("/metrics").headers["X-Frame-Options"] == "deny"
    assert "can be added or removed only by a restart" in guarded.log
    site.config.unlink()
    assert basic(guarded, "bob", "b").status_code == httpx.codes.UNAUTHORIZED
    assert "cannot be read: No such file" in guarded.log


@pytest.mark.parametrize(
    "header",
    [
        None,
        "Basic",
        "Basic !!!",
        "Basic YWxpY2U=",
        "Basic //86YQ==",
        "Bearer YWxpY2U6Y29ycmVjdCBob3JzZQ==",
        "Basic YWxpY2U6Y29ycmVjdA==",
    ],
)
def test_without_the_password_only_the_health_is_visible(
    guarded: Exporter, header: str | None
) -> None:
    for path in ("/", "/metrics", "/-/ready", "/nothing"):
        headers = {} if header is None else {"Authorization": header}
        answer = httpx.get(f"{guarded.url}{path}", headers=headers, trust_env=False)
        assert answer.status_code == httpx.codes.UNAUTHORIZED
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert "docker_registry" not in answer.text
    healthy = httpx.get(f"{guarded.url}/-/healthy", trust_env=False)
    assert (healthy.status_code, healthy.text) == (httpx.codes.OK, "healthy\n")


def test_a_password_is_compared_up_to_the_limit_of_bcrypt(store: StoreBuilder, site: Site) -> None:
    long = "x" * 72
    site.config.write_text(f"basic_auth_users: {{{NAME}: {hashed(long, 4)}}}\n")
    with Exporter(*flags(store, site.config), until_ready=False) as running:
        assert basic(running, NAME, long).status_code == httpx.codes.OK
        assert basic(running, NAME, f"{long}y").status_code == httpx.codes.OK
        assert basic(running, NAME, long[:-1]).status_code == httpx.codes.UNAUTHORIZED
        assert basic(running, NAME, "a\0b").status_code == httpx.codes.UNAUTHORIZED
        assert "Traceback" not in running.log


@pytest.mark.alone
@pytest.mark.reliability("web")
def test_a_right_password_is_hashed_once_and_timing_reveals_no_user(
    guarded: Exporter, record: Record
) -> None:
    def took(name: str, password: str) -> float:
        started = time.perf_counter()
        client.get(f"{guarded.url}/-/ready", auth=(name, password))
        return time.perf_counter() - started

    with httpx.Client(trust_env=False) as client:
        # a password that was never checked costs a hash, for every user name
        known = median(took(NAME, f"wrong {number}") for number in range(7))
        unknown = median(took("nobody", f"wrong {number}") for number in range(7))
        # a password that was checked before costs none
        again = median(took(NAME, PASSWORD) for _ in range(7))
        wrong_again = median(took(NAME, "wrong 1") for _ in range(7))
    assert 0.5 < known / unknown < 2
    assert max(again, wrong_again) < known / 3
    record(
        "A wrong password takes as long for a user as for nobody; one that was checked before is "
        "not hashed again",
        f"{known / unknown:.2f} times as long; {known / again:.0f} times faster",
    )


@pytest.mark.alone
@pytest.mark.reliability("web")
def test_a_flood_of_wrong_passwords_does_not_block_scrapes(
    store: StoreBuilder, site: Site, record: Record
) -> None:
    site.config.write_text(f"basic_auth_users: {{{NAME}: {hashed(PASSWORD, 12)}}}\n")
    client = httpx.Client(trust_env=False, timeout=10, auth=(NAME, PASSWORD))
    with Exporter(*flags(store, site.config), client=client) as running:
        flood = 200
        with ThreadPoolExecutor(40) as threads:
            attacks = [
                threads.submit(basic, running, NAME, f"guess {number}") for number in range(flood)
            ]
            slowest = {"/metrics": 0.0, "/-/healthy": 0.0}
            while not all(attack.done() for attack in attacks):
                for path, before in slowest.items():
                    started = time.perf_counter()
                    assert running.get(path).status_code == httpx.codes.OK
                    slowest[path] = max(before, time.perf_counter() - started)
        codes = [attack.result().status_code for attack in attacks]
        assert set(codes) <= {httpx.codes.UNAUTHORIZED, httpx.codes.SERVICE_UNAVAILABLE}
        rejected = codes.count(httpx.codes.SERVICE_UNAVAILABLE)
        assert rejected > 0
        assert max(slowest.values()) < HEALTHY_SECONDS
    record(
        f"While {flood} wrong passwords come from 40 clients at once, at cost 12, scrapes with the "
        "right one go on",
        f"slowest scrape {1000 * slowest['/metrics']:.0f} ms, slowest `/-/healthy` "
        f"{1000 * slowest['/-/healthy']:.0f} ms, {rejected} turned away unchecked",
    )


def test_a_wrong_file_is_reported_before_anything_is_served(
    store: StoreBuilder, site: Site
) -> None:
    site.config.write_text(f"{TLS}, key: x}}\nbasic_auth_users: {{{NAME}: {PASSWORD}}}\n")
    for command in ("serve", "check-config"):
        address = ("--web.listen-address", f"127.0.0.1:{free_port()}")
        done = run_exporter(command, *flags(store, site.config), *address)
        assert done.returncode == 2
        assert done.stdout == ""
        assert PASSWORD not in done.stderr
        lines = done.stderr.splitlines()
        assert len(lines) == 2
        assert "tls_server_config.key: unknown setting" in lines[0]
        assert f"basic_auth_users.{NAME}: is not a bcrypt hash" in lines[1]


def test_a_healthcheck_succeeds_after_the_file_has_become_wrong(
    store: StoreBuilder, site: Site
) -> None:
    with site.serve(store, f"{TLS}}}") as running:
        address = ("--web.listen-address", running.address)
        site.config.write_text("nonsense")
        done = run_exporter("healthcheck", *address, "--web.config.file", site.config)
        assert (done.returncode, done.stdout) == (0, "healthy\n"), done.stderr
