"""The exporter leaks no configured secret: in no page, log, file, output or repr."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from demo.child_process import wait_until
from demo.store import StoreBuilder, noise
from exporter.registry.auth import Login
from exporter.settings.model import RegistrySettings, Settings
from tests.exporter_process import Exporter, run_exporter
from tests.fake_registry import BASIC, FakeServer, Reply, Request, Route, routes_of
from tests.reliability import Record
from tests.servers import PASSWORD, USERNAME

URL = "https://registry.example.com"
TOKEN = "s3cret-token"
OF_CAPROVER = "s3cret-of-caprover"
SECRETS = (
    *(PASSWORD, BASIC, BASIC.removeprefix("Basic "), TOKEN, OF_CAPROVER),
    *(base64.b64encode(each.encode()).decode() for each in (PASSWORD, OF_CAPROVER)),
)
API_UP = "docker_registry_api_up"


def secrets_in(*texts: str | bytes) -> list[str]:
    """Return the secrets that any of the texts contains."""
    found = [text if isinstance(text, str) else text.decode("latin-1") for text in texts]
    return [secret for secret in SECRETS for text in found if secret in text]


class BearerRegistry:
    """A registry that requires a token, which its own token endpoint issues for a login."""

    def __init__(self) -> None:
        self.url = ""
        self.token_status = 200

    def routes(self) -> dict[str, Route]:
        guarded = {path: self._guarded(route) for path, route in routes_of(app=["1"]).items()}
        return {**guarded, "/token": self._issue_token}

    def _guarded(self, route: Route) -> Route:
        challenge = f'Bearer realm="{self.url}/token?hint={TOKEN}",service="s"'

        def answer(request: Request) -> Reply:
            assert isinstance(route, Reply)
            if request.authorization == f"Bearer {TOKEN}":
                return route
            return Reply(status=401, headers={"WWW-Authenticate": challenge})

        return answer

    def _issue_token(self, request: Request) -> Reply:
        status = self.token_status if request.authorization == BASIC else 401
        return Reply(json.dumps({"token": TOKEN}).encode(), status)


@pytest.fixture
def registry() -> Iterator[tuple[FakeServer, BearerRegistry]]:
    tokens = BearerRegistry()
    with FakeServer({}) as server:
        tokens.url = server.url
        server.routes.update(tokens.routes())
        yield server, tokens


@pytest.fixture
def flags(tmp_path: Path, registry: tuple[FakeServer, BearerRegistry]) -> list[str]:
    """Write a store, a password and CapRover's configuration; return the flags for all."""
    store = StoreBuilder(tmp_path / "registry")
    store.image("captain/img-captain-shop", "1", [noise("layer", 100)])
    password = tmp_path / "password"
    password.write_text(f"{PASSWORD}\n")
    captain = tmp_path / "captain"
    captain.mkdir()
    app = {
        "deployedVersion": 1,
        "versions": [{"version": 1, "deployedImageName": "captain/img-captain-shop:1"}],
        "envVars": [{"key": "TOKEN", "value": OF_CAPROVER}],
    }
    configuration = {"appDefinitions": {"shop": app}, "hashedPassword": OF_CAPROVER}
    (captain / "config-captain.json").write_text(json.dumps(configuration))
    return [
        *("--storage.root", str(store.root), "--log.level", "debug"),
        *("--caprover.config-dir", str(captain)),
        *("--registry.url", registry[0].url, "--registry.username", USERNAME),
        *("--registry.password-file", str(password)),
    ]


@pytest.mark.reliability("privilege")
def test_serve_leaks_no_secret(
    tmp_path: Path,
    registry: tuple[FakeServer, BearerRegistry],
    flags: list[str],
    record: Record,
) -> None:
    _, tokens = registry
    state = tmp_path / "state"
    paths = ("/", "/metrics", "/-/ready", "/-/healthy", "/nothing")
    environment = {"XDG_STATE_HOME": str(state)}
    with Exporter(*flags, "--scan.interval", "200ms", environment=environment) as exporter:
        exporter.wait_for(lambda page: page.value(API_UP) == 1, "the registry is not read")
        pages = [exporter.get(path).text for path in paths]
        tokens.token_status = 500
        exporter.wait_for(lambda page: page.value(API_UP) == 0, "the registry is still read")
        wait_until(lambda: "asking the registry's API failed" in exporter.log, "it logs nothing")
        pages += [exporter.get(path).text for path in paths]
        process = Path(f"/proc/{exporter.process_id}/cmdline").read_bytes()
        exporter.terminate()
        log = exporter.log
    kept = [path.read_bytes() for path in state.rglob("*") if path.is_file()]
    assert kept
    assert "captain/img-captain-shop" in pages[1]
    assert secrets_in(*pages, log, process, *kept) == []
    record(
        f"Of {len(SECRETS)} spellings of the registry's password, its token and a secret of "
        "CapRover's, none is in what `serve` shows, logs at level debug, keeps, or is started with",
        f"0 in {len(pages)} pages, {len(log.splitlines())} lines of the log, {len(kept)} files",
    )


@pytest.mark.parametrize("command", ["collect", "report --format json", "report", "check-config"])
@pytest.mark.parametrize("status", [200, 500])
def test_other_commands_leak_no_secret(
    registry: tuple[FakeServer, BearerRegistry], flags: list[str], command: str, status: int
) -> None:
    server, tokens = registry
    tokens.token_status = status
    done = run_exporter(*command.split(), *flags)
    assert done.returncode == 0
    assert secrets_in(done.stdout, done.stderr) == []
    was_asked = bool(server.asked("/token"))
    assert was_asked is (command != "check-config")
    assert (f"/token answered {status}" in done.stderr) is (was_asked and status == 500)


def test_no_repr_contains_a_secret() -> None:
    settings = Settings(
        registry=RegistrySettings(url=URL, username=USERNAME, password=SecretStr(PASSWORD))
    )
    texts = [str(settings), repr(settings), settings.model_dump_json(), str(settings.model_dump())]
    assert all(URL in each for each in texts)
    assert (
        secrets_in(*texts, repr(Login(BASIC, "refused")), repr(Login(f"Bearer {TOKEN}", ""))) == []
    )
