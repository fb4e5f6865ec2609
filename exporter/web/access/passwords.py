"""Check passwords against bcrypt hashes, so that many wrong ones do not slow others down."""

import asyncio
import hashlib
import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import bcrypt

_MOST_WAITING = 64
_MOST_WAITING_OF_ONE = 8
_MOST_REMEMBERED = 1024
_MOST_PASSWORD_BYTES = 72
"""bcrypt uses this much of a password; other implementations also ignore the rest."""


class TooManyChecksError(Exception):
    """Too many passwords are waiting to be checked."""


class PasswordChecker:
    """Checks one password at a time in a thread of its own, and remembers the results.

    A check takes as long for an unknown user as for a known one. A result is stored under a keyed
    hash of name, password and bcrypt hash: it cannot be read back or forged without this process's
    key, and a changed bcrypt hash is checked again. Wrong passwords evict only wrong ones. The
    number of waiting checks is limited, for each client and in all; further ones are refused.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="passwords")
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()
        self._running: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting_of: Counter[str] = Counter()

    async def is_right(
        self, users: Mapping[str, str], name: str, password: bytes, client: str
    ) -> bool:
        """Return whether ``password`` is the one of the user ``name``.

        ``users`` maps at least one name to its bcrypt hash; the check counts for ``client``. Raises
        TooManyChecksError.
        """
        known = users.get(name)
        stored = (_hash_of_nobody(users) if known is None else known).encode()
        password = password[:_MOST_PASSWORD_BYTES]
        key = self._keyed(name.encode(), password, stored)
        for remembered in (self._right, self._wrong):
            if key in remembered:
                remembered.move_to_end(key)
                return remembered is self._right
        check = self._running.get(key)
        if check is None:
            check = self._start(key, password, stored, client)
        return await asyncio.shield(
            check
        )  # a client that disconnects does not cancel it for others

    def close(self) -> None:
        """Stop checking."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _start(
        self, key: bytes, password: bytes, stored: bytes, client: str
    ) -> "asyncio.Future[bool]":
        mine = self._waiting_of[client]
        if len(self._running) >= _MOST_WAITING or mine >= _MOST_WAITING_OF_ONE:
            raise TooManyChecksError
        loop = asyncio.get_running_loop()
        check = loop.run_in_executor(self._thread, _check, password, stored)
        self._running[key] = check
        self._waiting_of[client] += 1

        def note(done: "asyncio.Future[bool]") -> None:
            del self._running[key]
            self._waiting_of[client] -= 1
            if not self._waiting_of[client]:
                del self._waiting_of[client]
            if not done.cancelled():
                _remember(self._right if done.result() else self._wrong, key)

        check.add_done_callback(note)
        return check

    def _keyed(self, *parts: bytes) -> bytes:
        digest = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in parts:
            digest.update(len(part).to_bytes(8) + part)
        return digest.digest()


def _check(password: bytes, stored: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, stored)
    except ValueError:  # a password that bcrypt does not accept
        return False


def _hash_of_nobody(users: Mapping[str, str]) -> str:
    """Return a hash that matches no password, and takes as long to check as the slowest."""
    cost = max(stored.split("$")[2] for stored in users.values())
    return f"$2b${cost}${'.' * 53}"


def _remember(remembered: "OrderedDict[bytes, None]", key: bytes) -> None:
    remembered[key] = None
    if len(remembered) > _MOST_REMEMBERED:
        remembered.popitem(last=False)
