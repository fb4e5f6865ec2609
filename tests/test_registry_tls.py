"""TLS to a registry: trusted certificates, and the expiry of the served one."""

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from exporter.domain.errors import ApiUnavailableError
from exporter.domain.model import ApiView
from exporter.registry.api_client import (
    RegistryEndpoint,
    poll,
)
from exporter.registry.certificate import certificate_not_after
from tests.fake_registry import (
    TIMEOUT,
    FakeServer,
    Requests,
    endpoint_of,
    failure,
    ignore,
)
from tests.servers import DockerRegistry, free_port

NOT_AFTER = datetime(2040, 2, 3, 4, 5, 6, tzinfo=UTC)
EXPIRED = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture
def tls_registry(
    authority: trustme.CA, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[DockerRegistry]:
    """Run a registry with a certificate that expires at NOT_AFTER or the fixture's parameter."""
    not_after = getattr(request, "param", NOT_AFTER)
    issued = authority.issue_cert(
        "127.0.0.1", not_before=datetime(2019, 1, 1, tzinfo=UTC), not_after=not_after
    )
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    for blob in issued.cert_chain_pems:
        blob.write_to_path(certificate, append=True)
    issued.private_key_pem.write_to_path(key)
    with DockerRegistry(tmp_path / "registry", tls=(certificate, key)) as server:
        yield server


def test_a_certificate_of_a_private_ca_is_trusted_if_the_ca_is_configured(
    tls_registry: DockerRegistry, ca_file: Path
) -> None:
    assert poll(RegistryEndpoint(tls_registry.url, ca_file=ca_file), ignore) == ApiView({})


def test_a_certificate_of_an_unknown_ca_is_refused_with_the_option_to_set(
    tls_registry: DockerRegistry, tmp_path: Path
) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    requests = Requests()
    for endpoint in (
        RegistryEndpoint(tls_registry.url),
        RegistryEndpoint(tls_registry.url, ca_file=other),
    ):
        message = failure(endpoint, requests)
        assert "certificate is not trusted (unable to get local issuer certificate)" in message
        assert "--registry.ca-file" in message
    assert requests.codes == [("ping", "error")] * 2


def test_a_certificate_for_another_host_is_refused(
    tls_registry: DockerRegistry, ca_file: Path
) -> None:
    url = tls_registry.url.replace("127.0.0.1", "localhost")
    assert "not trusted (Hostname mismatch" in failure(RegistryEndpoint(url, ca_file=ca_file))


@pytest.mark.parametrize("tls_registry", [NOT_AFTER, EXPIRED], indirect=True)
def test_insecure_skip_verify_accepts_any_certificate(tls_registry: DockerRegistry) -> None:
    endpoint = RegistryEndpoint(tls_registry.url, insecure_skip_verify=True)
    assert poll(endpoint, ignore) == ApiView({})


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_ca_file_without_certificates_is_an_error_with_its_name(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    message = failure(RegistryEndpoint("https://127.0.0.1:1", ca_file=path))
    assert f"the certificates in {path} cannot be read" in message
    assert "--registry.ca-file" in message


def test_the_error_of_http_to_an_https_server_names_the_scheme(
    tls_registry: DockerRegistry,
) -> None:
    message = failure(RegistryEndpoint(tls_registry.url.replace("https:", "http:")))
    assert "answered 400: a registry does not answer that; check scheme and port" in message


def test_the_error_of_https_to_an_http_server_names_the_scheme(registry: DockerRegistry) -> None:
    endpoint = endpoint_of(registry.url.replace("http:", "https:"))
    assert "TLS failed (WRONG_VERSION_NUMBER); check scheme and port" in failure(endpoint)
    with pytest.raises(ApiUnavailableError, match="served no certificate: TLS failed"):
        certificate_not_after(endpoint)


def test_the_expiry_of_the_served_certificate_is_read(tls_registry: DockerRegistry) -> None:
    assert certificate_not_after(RegistryEndpoint(tls_registry.url)) == NOT_AFTER.timestamp()


@pytest.mark.parametrize("tls_registry", [EXPIRED], indirect=True)
def test_the_expiry_of_an_expired_certificate_is_read_although_it_is_not_trusted(
    tls_registry: DockerRegistry, ca_file: Path
) -> None:
    endpoint = RegistryEndpoint(tls_registry.url, ca_file=ca_file)
    assert certificate_not_after(endpoint) == EXPIRED.timestamp()
    assert "not trusted (certificate has expired)" in failure(endpoint)


def test_the_certificate_for_the_requested_host_is_read(authority: trustme.CA) -> None:
    by_name = authority.issue_cert("localhost", not_after=NOT_AFTER)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("other.example").configure_cert(context)
    named = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    by_name.configure_cert(named)

    def choose(session: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        if name == "localhost":
            session.context = named

    context.sni_callback = choose
    with FakeServer({}, tls=context) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        assert certificate_not_after(RegistryEndpoint(url)) == NOT_AFTER.timestamp()
    assert server.requests == []


def test_plain_http_serves_no_certificate(registry: DockerRegistry) -> None:
    assert certificate_not_after(endpoint_of(registry.url)) is None


def test_the_expiry_is_unknown_for_a_server_that_is_down_or_hangs() -> None:
    with pytest.raises(ApiUnavailableError, match="Connection refused"):
        certificate_not_after(RegistryEndpoint(f"https://127.0.0.1:{free_port()}"))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(ApiUnavailableError, match=r"no certificate within 0\.3 s"):
            certificate_not_after(RegistryEndpoint(url, timeout=TIMEOUT))
