"""Dependencies are locked, listed and audited, and a failed audit is reported."""

import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import ClassVar

import pytest
import trustme

from exporter import __version__
from requirements.audit import AFFECTED, CLEAN, SERVICES, UNKNOWN, Service, audit
from requirements.locks import IMAGE, LOCKS, LockedPackage, canonical_name, read_lock
from requirements.sbom import direct_dependencies, write_sbom
from tests.reliability import Record
from tests.servers import free_port

ROOT = Path(__file__).parent.parent


@pytest.fixture
def tools() -> Path:
    """Return the environment of pip-audit and cyclonedx-bom."""
    path = ROOT / ".tools"
    if not (path / ".made").exists():
        message = "no pip-audit and no cyclonedx-bom; to have them: make .tools/.made"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.mark.reliability("supply")
def test_every_package_is_locked_to_one_version_and_its_hashes(record: Record) -> None:
    packages = [package for lock in LOCKS for package in read_lock(lock)]
    lines = sum(lock.read_text(encoding="utf-8").count("==") for lock in LOCKS)
    markers = sum(lock.read_text(encoding="utf-8").count(" == '") for lock in LOCKS)
    assert len(packages) == lines - markers
    assert [each.name for each in packages if not each.hashes] == []
    record(
        "Every package of the image, the build, the tests and the tools is locked to one version "
        "and the hashes of its files",
        f"{len(packages)} packages, {sum(len(each.hashes) for each in packages)} hashes",
    )


def test_a_lock_file_is_parsed(tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    first, second = "a" * 64, "b" * 64
    lock.write_text(
        "# by uv\n"
        f"One_Name==1.0.post1 ; python_full_version < '3.12' \\\n    --hash=sha256:{first} \\\n"
        f"    --hash=sha256:{second}\n"
        f"two==2 \\\n    --hash=sha256:{second}\n"
        "three==3\n"
    )
    assert read_lock(lock) == [
        LockedPackage("one-name", "1.0.post1", frozenset({first, second})),
        LockedPackage("two", "2", frozenset({second})),
        LockedPackage("three", "3", frozenset()),
    ]


@pytest.mark.reliability("supply")
def test_the_sbom_lists_all_packages_of_the_image(
    tools: Path, tmp_path: Path, record: Record
) -> None:
    output = tmp_path / "sbom.cdx.json"
    write_sbom(tools, output)
    sbom = json.loads(output.read_bytes())

    assert sbom["bomFormat"] == "CycloneDX"
    exporter = sbom["metadata"]["component"]
    assert (exporter["name"], exporter["version"]) == ("registry-storage-exporter", __version__)
    listed = {
        LockedPackage(canonical_name(each["name"]), each["version"], frozenset(hashes_in(each)))
        for each in sbom["components"]
    }
    assert listed == set(read_lock(IMAGE))
    (needed,) = (each["dependsOn"] for each in sbom["dependencies"] if "dependsOn" in each)
    assert len(needed) == len(direct_dependencies())
    record(
        "The SBOM names the exporter, and each package of the image with version and hashes",
        f"{len(listed)} components, {sum(len(each.hashes) for each in listed)} hashes",
    )


def hashes_in(value: object) -> Iterator[str]:
    """Yield all sha256 hashes of a component, wherever the specification puts them."""
    if isinstance(value, dict):
        if value.get("alg") == "SHA-256":
            yield value["content"]
        for each in value.values():
            yield from hashes_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from hashes_in(each)


# Advisories


class Osv:
    """An advisory service on loopback, with the API of OSV and fixed advisories."""

    def __init__(self, advisories: Mapping[str, Mapping[str, object]], status: int) -> None:
        self.advisories = advisories
        self.status = status
        self.asked: set[str] = set()

    def answer(self, query: Mapping[str, Mapping[str, str]]) -> bytes:
        name = query["package"]["name"]
        self.asked.add(canonical_name(name))
        known = self.advisories.get(name)
        return json.dumps({"vulns": [known]} if known else {}).encode()


@contextmanager
def serving(osv: Osv) -> Iterator[Service]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            body = osv.answer(json.loads(self.rfile.read(length)))
            self.send_response(osv.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Log nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield service_at(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def service_at(port: int) -> Service:
    url = f"http://127.0.0.1:{port}/v1/query"
    return Service("loopback", ("--vulnerability-service", "osv", "--osv-url", url))


ADVISORY = {
    "id": "PYSEC-2026-1",
    "summary": "made up",
    "details": "made up",
    "aliases": ["CVE-2026-1"],
    "modified": "2026-01-01T00:00:00Z",
    "affected": [
        {
            "package": {"name": "httpx", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        }
    ],
}


def test_packages_without_advisories_are_clean_and_the_next_service_replaces_a_failed_one(
    tools: Path,
) -> None:
    with serving(osv := Osv({}, 200)) as service:
        verdict = audit(tools, [IMAGE], [service_at(free_port()), service])
    assert (verdict.exit_code, verdict.advisories, verdict.unknown) == (CLEAN, [], [])
    assert osv.asked == {each.name for each in read_lock(IMAGE)}
    assert verdict.checked == f"{len(osv.asked)} packages, at loopback"


def test_an_advisory_is_reported_with_its_fix(tools: Path) -> None:
    with serving(Osv({"httpx": ADVISORY}, 200)) as service:
        verdict = audit(tools, [IMAGE], [service])
    assert verdict.exit_code == AFFECTED
    (reported,) = verdict.advisories
    assert reported.startswith("httpx ")
    assert reported.endswith("(image.txt): PYSEC-2026-1 = CVE-2026-1; fixed in 99.0")


def test_a_failed_service_is_never_a_clean_result(tools: Path) -> None:
    with serving(Osv({}, 503)) as service:
        verdict = audit(tools, [IMAGE], [service])
    assert verdict.exit_code == UNKNOWN
    assert verdict.checked == "no package"
    assert verdict.unknown[0].startswith("loopback did not answer: ")
    assert "the packages were not checked" in verdict.unknown[-1]


class PypiMirror(BaseRequestHandler):
    """A proxy to a mirror of pypi.org that has only some of the packages."""

    known: ClassVar[frozenset[str]] = frozenset()
    tls: ClassVar[ssl.SSLContext]

    def handle(self) -> None:
        read_head(self.request)
        self.request.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
        with self.tls.wrap_socket(self.request, server_side=True) as client:
            name = read_head(client).split("/")[2]
            body = b'{"vulnerabilities": []}'
            status = "200 OK" if name in self.known else "404 Not Found"
            head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)


def read_head(client: socket.socket) -> str:
    head = b""
    while b"\r\n\r\n" not in head and (piece := client.recv(4096)):
        head += piece
    return head.decode()


@pytest.mark.parametrize("missing", ["all", "httpx"])
def test_an_unknown_package_is_not_clean(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("pypi.org").configure_cert(tls)
    names = {each.name for each in read_lock(IMAGE)} - {"httpx"}
    known = frozenset() if missing == "all" else frozenset(names)
    handler = type("Mirror", (PypiMirror,), {"known": known, "tls": tls})
    with ThreadingTCPServer(("127.0.0.1", 0), handler) as mirror:
        thread = Thread(target=mirror.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{mirror.server_address[1]}")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
        verdict = audit(tools, [IMAGE], SERVICES[:1])
        mirror.shutdown()
        thread.join()
    assert verdict.exit_code == UNKNOWN
    reported = "did not answer: it knows none" if missing == "all" else "does not know it"
    assert f"pypi.org {reported}" in verdict.unknown[0]
    if missing != "all":
        assert verdict.unknown[0].startswith("httpx ")
        assert verdict.checked == f"{len(names)} packages, at pypi.org"


def test_without_the_network_the_command_reports_it_and_exits_with_3(
    tools: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    done = subprocess.run(
        [sys.executable, "-m", "requirements.audit", tools],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == UNKNOWN
    assert done.stdout == "looked up no package: see above\n"
    assert "NOT KNOWN: pypi.org did not answer" in done.stderr
    assert "NOT KNOWN: api.osv.dev did not answer" in done.stderr
