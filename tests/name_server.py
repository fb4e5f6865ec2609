"""A name server with one answer, or none, for a process that uses no other."""

import random
import socket
import struct
import threading
from pathlib import Path
from typing import Self

_RESOLVER = "/etc/resolv.conf"
_PORT = 53
_HEADER = struct.Struct(">6H")
_ADDRESS_RECORD = struct.Struct(">3HIH4s")
_QUESTION_TAIL_BYTES = 4
_TYPE_A = 1
_NO_SUCH_NAME = 3
_IS_ANSWER = 0x8180
_POLL_SECONDS = 0.1


class NameServer:
    """Answers each name with 127.0.0.1, or as ``mode`` says.

    Attributes:
        mode: ``address``, ``unknown`` (no such name), or ``silent``.
        queries: how many it has received.

    """

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.queries = 0
        numbers = (random.randint(1, 254) for _ in range(3))  # noqa: S311 - not a secret
        self._address = f"127.{'.'.join(map(str, numbers))}"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._socket.bind((self._address, _PORT))
        self._socket.settimeout(_POLL_SECONDS)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._socket.close()

    def prefix(self, home: Path, timeout_seconds: int) -> tuple[str, ...]:
        """Return a prefix that runs a command that uses only this server."""
        resolver = home / "resolv.conf"
        options = f"options timeout:{timeout_seconds} attempts:1"
        resolver.write_text(f"nameserver {self._address}\n{options}\n")
        script = f'mount --bind "$0" {_RESOLVER} && exec "$@"'
        return ("unshare", "--mount", "sh", "-c", script, str(resolver))

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                query, client = self._socket.recvfrom(512)
            except TimeoutError:
                continue
            self.queries += 1
            if self.mode != "silent":
                self._socket.sendto(self._answer(query), client)

    def _answer(self, query: bytes) -> bytes:
        number = _HEADER.unpack_from(query)[0]
        end = query.index(0, _HEADER.size) + 1 + _QUESTION_TAIL_BYTES
        question = query[_HEADER.size : end]
        kind = struct.unpack_from(">H", question, len(question) - _QUESTION_TAIL_BYTES)[0]
        if self.mode == "unknown":
            return _HEADER.pack(number, _IS_ANSWER | _NO_SUCH_NAME, 1, 0, 0, 0) + question
        if kind != _TYPE_A:
            return _HEADER.pack(number, _IS_ANSWER, 1, 0, 0, 0) + question
        record = _ADDRESS_RECORD.pack(0xC00C, _TYPE_A, 1, 0, 4, socket.inet_aton("127.0.0.1"))
        return _HEADER.pack(number, _IS_ANSWER, 1, 1, 0, 0) + question + record
