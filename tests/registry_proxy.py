"""A proxy in front of a real registry: below a path, with tokens, or failing now and then."""

import json
import re
from collections.abc import Callable, Mapping

import httpx

from tests.fake_registry import FakeServer, Reply, Request

Gate = Callable[[Request], Reply | None]
"""Answers a request instead of the registry, or returns None to pass it on."""

_OF_THE_CONNECTION = frozenset(
    {"connection", "content-length", "date", "host", "keep-alive", "transfer-encoding"}
)
_REPOSITORY = re.compile(r"/v2/(.+)/(?:manifests|blobs)/")


class RegistryProxy(FakeServer):
    """Passes requests below ``prefix`` on to a registry, unless ``gate`` answers them."""

    def __init__(self, registry: str, *, prefix: str = "", gate: Gate = lambda _: None) -> None:
        super().__init__({})
        self.url += prefix
        self._registry = registry
        self._prefix = prefix
        self._gate = gate

    def answer(self, request: Request) -> Reply:
        reply = self._gate(request)
        if reply is not None:
            return reply
        if not request.target.startswith(f"{self._prefix}/v2/"):
            return Reply(b"<html>not found</html>", 404, {"Content-Type": "text/html"})
        return pass_on(request, self._registry + request.target.removeprefix(self._prefix))


def pass_on(request: Request, url: str) -> Reply:
    """Send a request to another address; return its answer."""
    answer = httpx.request(
        request.method,
        url,
        headers=_end_to_end(request.headers),
        content=request.body,
        trust_env=False,
        timeout=30,
    )
    return Reply(answer.content, answer.status_code, _end_to_end(answer.headers))


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in headers.items() if name.lower() not in _OF_THE_CONNECTION
    }


class Tokens:
    """A gate that requires tokens; each is good for one scope, and for few requests.

    Attributes:
        scopes: that were asked for, in order.
        address: of the proxy, which serves the tokens too.

    """

    def __init__(self, requests: int, *, refused: str = "") -> None:
        """``refused`` is an action that no token allows."""
        self.scopes: list[str] = []
        self.address = ""
        self._requests = requests
        self._refused = refused
        self._tokens: dict[str, tuple[str, int]] = {}

    def __call__(self, request: Request) -> Reply | None:
        if request.path == "/auth":
            return self._issue(" ".join(request.query["scope"]))
        wanted = _scope_of(request)
        token = (request.authorization or "").removeprefix("Bearer ")
        scope, left = self._tokens.get(token, ("", 0))
        if scope == wanted and left:
            self._tokens[token] = (scope, left - 1)
            return None
        challenge = f'Bearer realm="{self.address}/auth",service="r",scope="{wanted}"'
        return Reply(b'{"errors":[{"code":"UNAUTHORIZED"}]}', 401, {"WWW-Authenticate": challenge})

    def _issue(self, scope: str) -> Reply:
        self.scopes.append(scope)
        token = f"token-{len(self.scopes)}"
        actions = scope.rpartition(":")[2].split(",")
        self._tokens[token] = ("" if self._refused in actions else scope, self._requests)
        return Reply(json.dumps({"token": token}).encode())


def _scope_of(request: Request) -> str:
    match = _REPOSITORY.match(request.path)
    if match is None:
        return ""
    actions = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}
    return f"repository:{match[1]}:{actions.get(request.method, 'pull,push')}"


def failing(every: int, *replies: Reply) -> Gate:
    """Return a gate that answers each such request with the next of ``replies``."""
    count = 0

    def gate(_: Request) -> Reply | None:
        nonlocal count
        count += 1
        number, rest = divmod(count, every)
        return None if rest else replies[number % len(replies)]

    return gate
