"""Requests to one registry from synchronous code, with login, rate limit and repetition."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from exporter.domain.errors import ApiUnavailableError, RegistryRefusesError
from exporter.registry.auth import LOGIN_OPTIONS, Authenticator, Login
from exporter.registry.failures import is_lasting
from exporter.registry.http import (
    Answer,
    Connection,
    Content,
    RegistryEndpoint,
    RequestObserver,
    open_transport,
    registry_address,
    shown,
    status_error,
)
from exporter.registry.retries import (
    ATTEMPTS,
    is_passing,
    most_attempts,
    pause_before,
    wished_pause,
)
from exporter.store.format.manifests import MAX_MANIFEST_BYTES
from exporter.support.rate_limit import RateLimit

_ALL_BODIES = frozenset(range(200, 600))
"""Errors have codes in their bodies; a connection with an unread body is not used again."""

_LONGEST_SLEEP_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast requests follow each other, and what the time is; the rest is injected for tests.

    Attributes:
        max_rate: requests per second; None for no limit.
        should_stop: whether waiting and repeating are to end.
        clock: returns monotonic seconds.
        sleep: waits for seconds.
        now: returns Unix seconds.
        chance: returns a number from 0 to 1.

    """

    max_rate: int | None
    should_stop: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time
    chance: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True)
class Request:
    """One request.

    Attributes:
        method: of HTTP.
        endpoint: for the observer, see :class:`RequestObserver`.
        path: below the registry's address, with the query.
        scope: what a token must allow, if the registry does not say so itself.
        headers: beside the usual ones.
        content: begins to read what is sent; None for nothing.
        confirm: called right before it is sent, each time; what it raises is passed on.

    """

    method: str
    endpoint: str
    path: str
    scope: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Callable[[], Content] | None = None
    confirm: Callable[[], None] = lambda: None


class Session:
    """Sends requests to one registry, one after the other."""

    def __init__(
        self,
        runner: asyncio.Runner,
        base: httpx.URL,
        connection: Connection,
        authenticator: Authenticator,
        pace: Pace,
    ) -> None:
        self._runner = runner
        self._base = base
        self._connection = connection
        self._authenticator = authenticator
        self._pace = pace
        self._rate = RateLimit(pace.max_rate, pace.clock, pace.sleep)
        self._tokens: dict[str, Login] = {}

    def ask(self, request: Request) -> Answer:
        """Send a request, and again after passing failures; errors as :meth:`repeat`."""
        return self.repeat(lambda: self.send(request))

    def repeat(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """Make attempts until one has an answer that does not pass.

        Raises ApiUnavailableError if none has or the time has come to stop, at once if the failure
        is not a passing one. RegistryRefusesError is among these.
        """
        number = 0
        while True:
            number += 1
            try:
                answer = self._runner.run(_as_coroutine(attempt))
            except ApiUnavailableError as error:
                if isinstance(error, RegistryRefusesError) or is_lasting(error):
                    raise
                last, wish, most = error, 0.0, ATTEMPTS
            else:
                if not is_passing(answer.status):
                    return answer
                last, most = _passing_error(answer), most_attempts(answer.status)
                wish = wished_pause(answer.headers, self._pace.now())
            if number >= most:
                raise ApiUnavailableError(f"{last} ({number} attempts)") from last
            self._wait(max(pause_before(number, self._pace.chance()), wish))
            if self._pace.should_stop():
                raise last

    async def send(self, request: Request) -> Answer:
        """Make one attempt; after a 401 log in, also if a token has ended, and send it again."""
        self._rate.spend(1, self._pace.should_stop)  # nothing else runs in this loop
        sent = self.login(request)
        answer = await self._send(request, sent)
        if answer.status != httpx.codes.UNAUTHORIZED:
            return answer
        login = await self._authenticator.log_in(answer, request.scope, sent)
        if login is not self._authenticator.basic:
            self._tokens[request.scope] = login
        return await self._send(request, login)

    def login(self, request: Request) -> Login | None:
        """Return the login that a request is sent with; None as long as none was wanted."""
        return self._tokens.get(request.scope) or self._authenticator.basic

    def login_refusal(self, request: Request) -> str:
        """Return what to do if the login of a request is not accepted."""
        login = self.login(request)
        return login.refusal if login else f"set {LOGIN_OPTIONS} if it wants a login"

    async def _send(self, request: Request, login: Login | None) -> Answer:
        path = self._base.raw_path.rstrip(b"/") + request.path.encode("ascii")
        request.confirm()  # may take its time: nothing else runs in this loop
        return await self._connection.send(
            request.method,
            request.endpoint,
            self._base.copy_with(raw_path=path),
            login.header if login else None,
            headers=request.headers,
            content=None if request.content is None else request.content(),
        )

    def _wait(self, seconds: float) -> None:
        pace = self._pace
        until = pace.clock() + seconds
        while (left := until - pace.clock()) > 0 and not pace.should_stop():
            pace.sleep(min(left, _LONGEST_SLEEP_SECONDS))


@contextmanager
def open_session(
    endpoint: RegistryEndpoint, observer: RequestObserver, pace: Pace
) -> Iterator[Session]:
    """Yield a session, and close its connections at the end. Raises ApiUnavailableError."""
    base = registry_address(endpoint)
    transport = open_transport(endpoint)
    connection = Connection(
        transport,
        observer,
        seconds=endpoint.timeout,
        max_body_bytes=MAX_MANIFEST_BYTES,
        read_bodies=_ALL_BODIES,
    )
    with asyncio.Runner() as runner:
        try:
            authenticator = Authenticator(endpoint, base, connection)
            yield Session(runner, base, connection, authenticator, pace)
        finally:
            runner.run(transport.aclose())


def content_of(content: bytes) -> Content:
    """Return a few bytes as the content of a request."""

    async def parts() -> AsyncIterator[bytes]:
        yield content

    return Content(parts(), len(content))


def _passing_error(answer: Answer) -> ApiUnavailableError:
    if answer.status == httpx.codes.TOO_MANY_REQUESTS:
        return ApiUnavailableError(
            f"{shown(answer.url)} answered 429: it gets too many requests; lower --max-rate"
        )
    return status_error(answer, "")


async def _as_coroutine(attempt: Callable[[], Awaitable[Answer]]) -> Answer:
    return await attempt()
