"""The format of ``--web.config.file``, compared with promtool."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from exporter.domain.errors import ConfigurationError
from exporter.web.access.config_file import ClientAuth
from exporter.web.access.live_config import LiveWebConfig
from tests.servers import require

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
TLS = "tls_server_config: {cert_file: cert.pem, key_file: key.pem"


@dataclass(frozen=True, slots=True)
class Case:
    """A file and its expected error.

    Attributes:
        name: name of the case.
        text: the content; ``%`` represents a hash.
        error: a part of the error; empty if the file is accepted.

    """

    name: str
    text: str
    error: str = ""

    @property
    def content(self) -> str:
        """The content of the file."""
        return self.text.replace("%", HASH)


ACCEPTED = (
    Case("nothing", ""),
    Case("a comment", "# nothing yet\n"),
    Case("empty groups", "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\n"),
    Case("a certificate", f"{TLS}}}"),
    Case("the least version", f"{TLS}, min_version: TLS13}}"),
    Case("the most version", f"{TLS}, min_version: TLS12, max_version: TLS12}}"),
    Case("client certificates", f"{TLS}, client_ca_file: ca.pem, "
         "client_auth_type: RequireAndVerifyClientCert}"),
    Case("client certificates if given", f"{TLS}, client_ca_file: ca.pem, "
         "client_auth_type: VerifyClientCertIfGiven}"),
    Case("asking for client certificates", f"{TLS}, client_auth_type: RequestClientCert}}"),
    Case("no client certificates", f"{TLS}, client_auth_type: NoClientCert}}"),
    Case("suites", f"{TLS}, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "
         "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, TLS_AES_128_GCM_SHA256]}"),
    Case("a curve", f"{TLS}, curve_preferences: [CurveP384]}}"),
    Case("the client's order", f"{TLS}, prefer_server_cipher_suites: no}}"),
    Case("a user", "basic_auth_users: {alice: %}"),
    Case("a user with a quoted hash", "basic_auth_users: {alice: '%'}"),
    Case("users", "basic_auth_users:\n  alice: %\n  'bob smith': %\n"),
    Case("headers", "http_server_config: {headers: {X-Frame-Options: deny, "
         "X-Content-Type-Options: nosniff, Strict-Transport-Security: max-age=31536000}}"),
    Case("all headers", "http_server_config: {headers: {Content-Security-Policy: default-src, "
         "X-XSS-Protection: '0'}}"),
    Case("no HTTP/2", "http_server_config: {http2: false}"),
    Case("a version without a certificate", "tls_server_config: {min_version: TLS12}"),
)  # fmt: skip

REFUSED = (
    Case("no YAML", "{", "line"),
    Case("a list", "[]", "holds no settings"),
    Case("an unknown group", "rate_limit: {interval: 1s}", "rate_limit: unknown setting"),
    Case("an unknown setting", f"{TLS}, cert: x}}", "tls_server_config.cert: unknown setting"),
    Case("no key", "tls_server_config: {cert_file: cert.pem}", "key_file: is missing"),
    Case("no certificate", "tls_server_config: {key_file: key.pem}", "cert_file: is missing"),
    Case("a certificate that is not there", "tls_server_config: {cert_file: no.pem, "
         "key_file: key.pem}", "no.pem: cannot be read: No such file"),
    Case("a certificate that is none", "tls_server_config: {cert_file: web.yml, "
         "key_file: key.pem}", "not a certificate and its private key"),
    Case("another certificate's key", "tls_server_config: {cert_file: cert.pem, "
         "key_file: other.pem}", "not a certificate and its private key"),
    Case("an unknown version", f"{TLS}, min_version: TLS14}}", "min_version"),
    Case("a version's number", f"{TLS}, min_version: 771}}", "min_version"),
    Case("an unknown client auth", f"{TLS}, client_auth_type: Sometimes}}", "client_auth_type"),
    Case("authorities without client auth", f"{TLS}, client_ca_file: ca.pem}}", "has no effect"),
    Case("authorities with no client auth", f"{TLS}, client_ca_file: ca.pem, "
         "client_auth_type: NoClientCert}", "has no effect"),
    Case("authorities that are not there", f"{TLS}, client_ca_file: no.pem, "
         "client_auth_type: RequireAndVerifyClientCert}", "no.pem: cannot be read"),
    Case("an unknown suite", f"{TLS}, cipher_suites: [TLS_NONE]}}", "TLS_NONE is not offered"),
    Case("an unknown curve", f"{TLS}, curve_preferences: [CurveP1]}}", "curve_preferences"),
    Case("neither true nor false", f"{TLS}, prefer_server_cipher_suites: perhaps}}",
         "neither true nor false"),
    Case("no hash", "basic_auth_users: {alice: secret}", "alice: is not a bcrypt hash"),
    Case("an empty hash", "basic_auth_users: {alice: ''}", "alice: is not a bcrypt hash"),
    Case("no password", "basic_auth_users: {alice: }", "alice: is not a bcrypt hash"),
    Case("a hash cut short", "basic_auth_users: {alice: '$2b$10$abc'}", "is not a bcrypt hash"),
    Case("a list of users", "basic_auth_users: [alice]", "basic_auth_users"),
    Case("an unknown header", "http_server_config: {headers: {Server: x}}", "Server cannot be set"),
    Case("a header in lower case", "http_server_config: {headers: {x-frame-options: deny}}",
         "x-frame-options cannot be set"),
    Case("a header's wrong value", "http_server_config: {headers: {X-Frame-Options: maybe}}",
         "X-Frame-Options is deny or sameorigin"),
    Case("a key that occurs twice", "basic_auth_users: {a: %}\nbasic_auth_users: {}\n", "twice"),
)  # fmt: skip

STRICTER = (
    Case("two lines in a header",
         'http_server_config: {headers: {Content-Security-Policy: "a\\nb"}}',
         "contains characters that no header may have"),
    Case("authorities that are none", f"{TLS}, client_ca_file: key.pem, "
         "client_auth_type: RequireAndVerifyClientCert}", "contains no certificate"),
    Case("a broken version", f"{TLS}, min_version: TLS10}}", "TLS10 is broken"),
    Case("any client certificate", f"{TLS}, client_auth_type: RequireAnyClientCert}}",
         "verifies nothing"),
    Case("versions that exclude each other", f"{TLS}, min_version: TLS13, max_version: TLS12}}",
         "is below min_version"),
    Case("more than one curve", f"{TLS}, curve_preferences: [CurveP256, X25519]}}",
         "more than one"),
    Case("a suite without forward secrecy",
         f"{TLS}, cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]}}", "is not offered"),
    Case("a hash that takes for ever",
         f"basic_auth_users: {{alice: {HASH.replace('$04$', '$31$')}}}", "cost 04 to 15"),
)  # fmt: skip


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("web")
    authority = trustme.CA()
    issued, other = authority.issue_cert("127.0.0.1"), authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(path / "ca.pem")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(path / "cert.pem", append=True)
    issued.private_key_pem.write_to_path(path / "key.pem")
    other.private_key_pem.write_to_path(path / "other.pem")
    return path


def problems_of(path: Path) -> list[str]:
    try:
        LiveWebConfig(path)
    except ConfigurationError as error:
        return error.problems
    return []


def promtool_accepts(path: Path) -> bool:
    command = [require("promtool"), "check", "web-config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ("SUCCESS" in done.stderr + done.stdout) == (done.returncode == 0)
    return done.returncode == 0


@pytest.mark.parametrize("case", [*ACCEPTED, *REFUSED, *STRICTER], ids=lambda case: case.name)
def test_promtool_accepts_accepted_files_and_its_errors_are_errors_here(
    case: Case, directory: Path
) -> None:
    path = directory / "web.yml"
    path.write_text(case.content)

    problems = problems_of(path)

    assert bool(problems) == bool(case.error)
    assert case.error in "\n".join(problems)
    assert all(each.startswith(f"--web.config.file {path}: ") for each in problems)
    assert HASH not in "\n".join(problems)
    assert promtool_accepts(path) == (case in ACCEPTED or case in STRICTER)


def test_all_problems_are_reported_at_once(directory: Path) -> None:
    path = directory / "web.yml"
    path.write_text("tls_server_config: {min_version: SSL3}\nbasic_auth_users: {a: b, c: d}\n")
    assert len(problems_of(path)) == 3


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "no.yml")
    assert problem.endswith("/no.yml: cannot be read: No such file or directory")
    (tmp_path / "large.yml").write_bytes(b"#" * (1024 * 1024 + 1))
    (problem,) = problems_of(tmp_path / "large.yml")
    assert "is larger than 1048576 bytes" in problem
    (tmp_path / "latin.yml").write_bytes(b"basic_auth_users: {caf\xe9: x}")
    (problem,) = problems_of(tmp_path / "latin.yml")
    assert problem.endswith("is not UTF-8")


def test_a_key_with_a_password_is_refused_without_a_prompt(directory: Path) -> None:
    key = serialization.load_pem_private_key((directory / "key.pem").read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (directory / "encrypted.pem").write_bytes(encrypted)
    path = directory / "web.yml"
    path.write_text("tls_server_config: {cert_file: cert.pem, key_file: encrypted.pem}")
    (problem,) = problems_of(path)
    assert "without a password" in problem


def test_the_settings_of_the_file_are_used(directory: Path) -> None:
    path = directory / "web.yml"
    path.write_text(
        f"{TLS}, client_ca_file: ca.pem, client_auth_type: VerifyClientCertIfGiven}}\n"
        f"basic_auth_users: {{alice: {HASH}}}\n"
        "http_server_config: {headers: {X-Frame-Options: deny}}\n"
    )
    config = LiveWebConfig(path).config
    assert config.tls is not None
    assert config.tls.cert == directory / "cert.pem"
    assert config.tls.client_auth is ClientAuth.IF_GIVEN
    assert config.users == {"alice": HASH}
    assert config.headers == {"X-Frame-Options": "deny"}
    assert HASH not in repr(config)
