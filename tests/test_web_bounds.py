"""The HTTP server under load and abuse: memory stays bounded, and other clients are served."""

import gzip
import http.client
import multiprocessing
import resource
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import httpx
import psutil
import pytest
import trustme

from demo.child_process import wait_until
from demo.store import StoreBuilder
from tests.exporter_process import STOPPED_WITHIN_SECONDS, Exporter
from tests.reliability import Record

CONNECTIONS = 64
REQUEST_SECONDS, RESPONSE_SECONDS = 1.0, 2.0
BOUNDED = (
    *("--web.max-connections", str(CONNECTIONS)),
    *("--web.request-timeout", f"{REQUEST_SECONDS}s"),
    *("--web.response-timeout", f"{RESPONSE_SECONDS}s"),
)
HEAD_BYTES = 16 * 1024
REPOSITORIES = 1_000
HEALTHY_SECONDS = 5.0  # wide, for slow machines: one that is blocked never answers
MOST_GROWTH_BYTES = 48 * 1024 * 1024
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
KEEP_ALIVE_SECONDS = 5.0
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> StoreBuilder:
    builder = StoreBuilder(tmp_path_factory.mktemp("store") / "registry")
    for number in range(REPOSITORIES):
        builder.image(f"team/app-{number}", "1")
    return builder


@pytest.fixture(scope="module")
def exporter(store: StoreBuilder) -> Iterator[Exporter]:
    """Serve with the default limits."""
    with Exporter("--storage.root", store.root) as running:
        yield running


@pytest.fixture
def bounded(store: StoreBuilder) -> Iterator[Exporter]:
    """Serve with low limits."""
    with Exporter("--storage.root", store.root, *BOUNDED) as running:
        yield running


def connect(exporter: Exporter, receive_buffer: int | None = None) -> socket.socket:
    host, _, port = exporter.address.partition(":")
    connected = socket.socket()
    if receive_buffer is not None:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connected.settimeout(20)
    connected.connect((host, int(port)))
    return connected


def closed_within(connected: socket.socket, seconds: float) -> float | None:
    """Return the seconds until the other side closes, or None if it does not."""
    started = time.monotonic()
    connected.settimeout(seconds)
    try:
        while connected.recv(65536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return None
    return time.monotonic() - started


def memory(exporter: Exporter) -> int:
    return psutil.Process(exporter.process_id).memory_info().rss


def connections(exporter: Exporter) -> int:
    _, _, port = exporter.address.partition(":")
    established = psutil.Process(exporter.process_id).net_connections("tcp")
    return sum(
        each.laddr.port == int(port) and each.status != psutil.CONN_LISTEN for each in established
    )


@dataclass(slots=True)
class Seen:
    """Measurements of other clients: maximum seconds of each answer, and memory growth in bytes."""

    healthy: float = 0.0
    scrape: float = 0.0
    growth: int = 0


@contextmanager
def others_are_served(exporter: Exporter) -> Iterator[Callable[[], Seen]]:
    """Yield a function that requests the pages like another client, on new connections."""
    seen = Seen()
    with httpx.Client(trust_env=False) as client:
        client.get(f"{exporter.url}/metrics")
    before = memory(exporter)

    def look() -> Seen:
        for path, name in (("/-/healthy", "healthy"), ("/metrics", "scrape")):
            started = time.monotonic()
            answer = httpx.get(f"{exporter.url}{path}", trust_env=False, timeout=10)
            assert answer.status_code == httpx.codes.OK
            setattr(seen, name, max(getattr(seen, name), time.monotonic() - started))
        seen.growth = max(seen.growth, memory(exporter) - before)
        return seen

    yield look
    look()
    assert seen.healthy < HEALTHY_SECONDS
    assert seen.growth < MOST_GROWTH_BYTES
    assert "level=error" not in exporter.log


def shown(seen: Seen) -> str:
    return (
        f"`/-/healthy` at most {1000 * seen.healthy:.0f} ms, scrapes {1000 * seen.scrape:.0f} ms, "
        f"memory +{seen.growth / MIB:.0f} MiB"
    )


def scrape_at_once(address: str, scrapers: int, rounds: int) -> list[float]:
    """Scrape like the given number of Prometheus servers; return the seconds of each scrape."""

    def scrape(_number: int) -> list[float]:
        took = []
        connection = http.client.HTTPConnection(address, timeout=20)
        for _ in range(rounds):
            started = time.monotonic()
            connection.request("GET", "/metrics", headers={"Accept-Encoding": "gzip"})
            answer = connection.getresponse()
            page = answer.read()
            took.append(time.monotonic() - started)
            assert answer.status == httpx.codes.OK
            assert gzip.decompress(page).count(b"docker_registry_repository_tags{") == REPOSITORIES
        connection.close()
        return took

    with ThreadPoolExecutor(scrapers) as threads:
        return [each for some in threads.map(scrape, range(scrapers)) for each in some]


@pytest.mark.alone
@pytest.mark.reliability("web")
def test_two_hundred_scrapers_are_served_at_once(exporter: Exporter, record: Record) -> None:
    scrapers, rounds = 200, 5
    # in another process, so that the other clients do not wait for the scrapers
    with (
        others_are_served(exporter) as look,
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as elsewhere,
    ):
        all_of_them = elsewhere.submit(scrape_at_once, exporter.address, scrapers, rounds)
        while not all_of_them.done():
            look()
        took = all_of_them.result()
        seen = look()
    assert len(took) == scrapers * rounds
    record(
        f"{scrapers} scrapers at once, each {rounds} times in a row, get whole pages of "
        f"{REPOSITORIES:,} repositories",
        f"median {1000 * quantiles(took)[1]:.0f} ms; {shown(seen)}",
    )


@pytest.mark.reliability("web")
def test_clients_that_do_not_read_are_cut_off_and_cost_no_copy_of_the_page(
    bounded: Exporter, record: Record
) -> None:
    readers = 50
    with others_are_served(bounded) as look, ExitStack() as stack:
        slow = [stack.enter_context(connect(bounded, 4096)) for _ in range(readers)]
        started = time.monotonic()
        for each in slow:
            each.sendall(SCRAPE * 20)  # more than the kernel buffers for a client
        page_bytes = len(bounded.get("/metrics").content)
        while time.monotonic() < started + RESPONSE_SECONDS / 2:
            seen = look()
        assert connections(bounded) >= readers
        wait_until(lambda: connections(bounded) < 5, "slow readers stay", 10 * RESPONSE_SECONDS)
        ended = time.monotonic() - started
        assert RESPONSE_SECONDS <= ended < RESPONSE_SECONDS + KEEP_ALIVE_SECONDS
        seen = look()
    assert seen.growth < readers * page_bytes
    record(
        f"{readers} readers that ask for the page and do not take it are cut off after "
        "`--web.response-timeout`",
        f"after {ended:.1f} s of {RESPONSE_SECONDS:g} s; {shown(seen)}",
    )


@pytest.mark.reliability("web")
@pytest.mark.parametrize(
    "begun", [b"", b"GET /metr", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\0"], ids=repr
)
def test_an_unfinished_request_is_closed(bounded: Exporter, record: Record, begun: bytes) -> None:
    with connect(bounded) as half:
        half.sendall(begun)
        took = closed_within(half, 10 * REQUEST_SECONDS)
    assert took is not None
    assert took < KEEP_ALIVE_SECONDS
    record(
        f"A connection on which `{begun!r}` comes and nothing more is closed after "
        "`--web.request-timeout`, or at once if that cannot become a request",
        f"after {took:.2f} s of {REQUEST_SECONDS:g} s",
    )


@pytest.mark.reliability("web")
def test_a_second_request_that_comes_byte_by_byte_is_cut_off(
    bounded: Exporter, record: Record
) -> None:
    with connect(bounded) as slow:
        slow.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() < started + 10 * REQUEST_SECONDS:
                slow.sendall(b"P")
                time.sleep(0.05)
        took = time.monotonic() - started
    assert took < KEEP_ALIVE_SECONDS
    record(
        "A second request on a kept connection that comes byte by byte is cut off",
        f"after {took:.2f} s of {REQUEST_SECONDS:g} s",
    )


@pytest.mark.reliability("web")
def test_half_open_connections_do_not_block_others(store: StoreBuilder, record: Record) -> None:
    opened = 10 * CONNECTIONS
    limits = ("--web.max-connections", str(CONNECTIONS), "--web.request-timeout", "1h")
    with (
        Exporter("--storage.root", store.root, *limits) as bounded,
        others_are_served(bounded) as look,
        ExitStack() as stack,
    ):
        for number in range(opened):
            stack.enter_context(connect(bounded)).sendall(b"GET / HTTP/1.1\r\n")
            if number % CONNECTIONS == 0:
                look()
        seen = look()
        wait_until(lambda: connections(bounded) <= CONNECTIONS, "too many connections are open")
        assert bounded.log.count("connections are in use") == 1
    record(
        f"{opened} connections on which half a request comes, while {CONNECTIONS} may be open: "
        "the oldest are closed, and new ones are accepted",
        shown(seen),
    )


@pytest.mark.parametrize("in_pieces", [False, True])
@pytest.mark.reliability("web")
def test_a_huge_head_is_refused(exporter: Exporter, record: Record, in_pieces: bool) -> None:
    huge = b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (64 * MIB)
    sent = 0
    with others_are_served(exporter) as look, connect(exporter) as client:
        answer = b""
        with suppress(ConnectionError):
            for start in range(0, len(huge), 4096):
                client.sendall(huge[start : start + 4096])
                sent += 4096
                if in_pieces:
                    time.sleep(0.001)
        with suppress(ConnectionError):
            answer = client.recv(4096)
        seen = look()
    assert sent < len(huge)
    assert not answer or b" 431 " in answer
    record(
        f"A head of 64 MiB{', in pieces' if in_pieces else ''}, is refused as it exceeds "
        "`--web.max-header-bytes`",
        f"closed after {sent / MIB:.2f} MiB were sent; {shown(seen)}",
    )


@pytest.mark.parametrize("size", [HEAD_BYTES - 1000, HEAD_BYTES + 1])
def test_the_size_of_a_head_is_limited_by_the_setting(exporter: Exporter, size: int) -> None:
    answer = exporter.get("/-/healthy", x="x" * size)
    expected = httpx.codes.OK if size < HEAD_BYTES else httpx.codes.REQUEST_HEADER_FIELDS_TOO_LARGE
    assert answer.status_code == expected


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000000000000", b"Transfer-Encoding: chunked"]
)
@pytest.mark.reliability("web")
def test_an_endless_body_is_not_read(exporter: Exporter, record: Record, framing: bytes) -> None:
    chunk = (b"10000\r\n" if b"chunked" in framing else b"") + b"x" * 65536
    chunk += b"\r\n" if b"chunked" in framing else b""
    sent = 0
    with others_are_served(exporter) as look, connect(exporter) as client:
        client.sendall(b"POST /metrics HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n")
        assert b" 405 " in client.recv(4096)
        with suppress(ConnectionError):
            for _ in range(1000):
                client.sendall(chunk)
                sent += len(chunk)
        seen = look()
    assert sent < 1000 * len(chunk)
    record(
        f"A body without end (`{framing.decode()}`) is not read on once its request is answered",
        f"closed after {sent / MIB:.2f} MiB were sent; {shown(seen)}",
    )


@pytest.mark.reliability("web")
def test_pipelined_requests_wait_for_each_other(exporter: Exporter, record: Record) -> None:
    block, blocks, taken = SCRAPE * 1000, 1000, 0
    healthy = b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
    with others_are_served(exporter) as look, connect(exporter, 4096) as client:
        client.settimeout(0.5)
        with suppress(TimeoutError):  # nobody reads the answers, so it stops reading
            for _ in range(blocks):
                client.sendall(block)
                taken += len(block)
        look()
        assert taken < blocks * len(block)
    with connect(exporter) as client:
        client.sendall(healthy * 100 + healthy.replace(b"Host", b"Connection: close\r\nHost"))
        answers = b""
        while piece := client.recv(65536):
            answers += piece
        assert answers.count(b"HTTP/1.1 200 OK") == 101
        seen = look()
    record(
        "Of requests that come one after the other without waiting for answers, only so many are "
        "read as their client takes the answers of",
        f"{taken / MIB:.1f} of {blocks * len(block) / MIB:.0f} MiB were sent; {shown(seen)}",
    )


@pytest.mark.reliability("web")
def test_nonsense_is_refused_without_a_log_line(bounded: Exporter, record: Record) -> None:
    before = len(bounded.log)
    nonsense = (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 10_000,
    )
    for content in nonsense * 10:
        with connect(bounded) as client, suppress(ConnectionError):
            client.sendall(content)
            client.shutdown(socket.SHUT_WR)
            closed_within(client, 10)
    assert bounded.get("/-/healthy").status_code == httpx.codes.OK
    said = bounded.log[before:].splitlines()
    assert not [line for line in said if 'msg="scanned the store"' not in line]
    record(
        "Anything but HTTP is refused without a line in the log", f"{len(nonsense) * 10} attempts"
    )


@dataclass(frozen=True, slots=True)
class Encrypted:
    """The configuration of an exporter with TLS, and its clients."""

    config: Path
    context: ssl.SSLContext

    @property
    def client(self) -> httpx.Client:
        """A new client that trusts the exporter."""
        return httpx.Client(trust_env=False, timeout=10, verify=self.context)


@pytest.fixture
def encrypted(tmp_path: Path) -> Encrypted:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "cert.pem")
    config = tmp_path / "web.yml"
    config.write_text("tls_server_config: {cert_file: cert.pem, key_file: cert.pem}")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return Encrypted(config, context)


@pytest.mark.parametrize("has_tls", [False, True])
@pytest.mark.reliability("web")
def test_it_stops_whatever_its_clients_do(
    store: StoreBuilder, encrypted: Encrypted, record: Record, has_tls: bool
) -> None:
    flags = ("--storage.root", store.root, *(("--web.config.file", encrypted.config) * has_tls))
    scheme = "https" if has_tls else "http"
    with (
        Exporter(*flags, scheme=scheme, client=encrypted.client) as running,
        ExitStack() as stack,
    ):

        def begun() -> socket.socket:
            connected = stack.enter_context(connect(running, 4096))
            if has_tls:
                context = encrypted.context
                connected = context.wrap_socket(connected, server_hostname="127.0.0.1")
            return stack.enter_context(connected)

        some = 5
        for content in (b"", b"GET /", SCRAPE, b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"):
            for _ in range(some):
                begun().sendall(content)
        for _ in range(some):
            stack.enter_context(connect(running)).sendall(b"\x16\x03\x01")
        # the others may have been answered and closed already
        wait_until(lambda: connections(running) >= 3 * some, "they are not there")
        stopped = running.terminate()
        assert stopped.exit_code == 0
        assert stopped.seconds < STOPPED_WITHIN_SECONDS
        assert running.log.splitlines()[-1].endswith("msg=stopped")
        assert "level=error" not in running.log
    record(
        f"It stops though {5 * some} connections{' with TLS' if has_tls else ''} are idle, half a "
        "request or handshake, or do not take their answer",
        f"exit code 0 after {stopped.seconds:.1f} s",
    )


@pytest.mark.reliability("web")
def test_handshakes_that_never_end_do_not_block_others(
    store: StoreBuilder, encrypted: Encrypted, record: Record
) -> None:
    opened = 4 * CONNECTIONS
    flags = ("--storage.root", store.root, *BOUNDED, "--web.config.file", encrypted.config)
    with (
        Exporter(*flags, scheme="https", client=encrypted.client) as running,
        ExitStack() as stack,
    ):
        before = memory(running)
        half = []
        slowest = 0.0
        for number in range(opened):
            half.append(stack.enter_context(connect(running)))
            half[-1].sendall(b"\x16\x03\x01\x02\x00")
            if number % CONNECTIONS == 0:
                started = time.monotonic()
                assert httpx.get(
                    f"{running.url}/-/healthy", verify=encrypted.context, trust_env=False
                ).text
                slowest = max(slowest, time.monotonic() - started)
        growth = memory(running) - before
        wait_until(lambda: connections(running) <= CONNECTIONS, "too many connections are open")
        wait_until(lambda: connections(running) < 5, "handshakes stay")
        assert slowest < HEALTHY_SECONDS
        assert growth < MOST_GROWTH_BYTES
        assert "level=error" not in running.log
    record(
        f"{opened} TLS handshakes that never end, where {CONNECTIONS} may be open",
        f"`/-/healthy` at most {1000 * slowest:.0f} ms, memory +{growth / MIB:.0f} MiB",
    )


def test_connections_leave_enough_file_descriptors_for_files(store: StoreBuilder) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (192, before[1]))  # the exporter inherits it
    try:
        with Exporter("--storage.root", store.root) as running, ExitStack() as stack:
            for _ in range(128):
                stack.enter_context(connect(running)).sendall(b"GET /")
            assert running.get("/-/healthy").status_code == httpx.codes.OK
            wait_until(lambda: connections(running) <= 64, "too many connections are open")
            assert "no more than 64 connections at a time" in running.log
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
