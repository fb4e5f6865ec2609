"""The inner parts of libraries that the exporter relies on: one test for each place.

They are not public, so an update may change them. If a test fails here, read the module that it
names before the upper bound in pyproject.toml is raised.
"""

import asyncio
import inspect
import os
import tomllib
from asyncio import sslproto
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from queue import SimpleQueue

import h11
import pytest
import uvicorn
from packaging.requirements import Requirement
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchDescriptor,
)

from exporter.web.server import acceptor
from exporter.web.server.protocol import BoundedProtocol
from tests.exporter_process import REPOSITORY

BOUNDED = ["h11", "uvicorn", "watchdog"]
"""Packages whose inner parts the exporter uses."""


def requirements() -> dict[str, Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    parsed = [Requirement(line) for line in project["dependencies"]]
    return {each.name: each for each in parsed}


@pytest.mark.parametrize("package", BOUNDED)
def test_a_package_has_an_upper_bound_that_the_locked_version_keeps(package: str) -> None:
    specifier = requirements()[package].specifier
    assert any(each.operator == "<" for each in specifier)
    assert specifier.contains(version(package))


def test_the_server_starts_waits_and_stops_by_the_methods_that_are_overridden() -> None:
    """http_server.py replaces these four methods of ``uvicorn.Server``."""
    calls: list[str] = []

    class Recorded(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            calls.append("capture_signals")
            yield

        async def startup(self, sockets: object = None) -> None:
            calls.append(f"startup {sockets}")
            self.started = True

        async def main_loop(self) -> None:
            calls.append("main_loop")

        async def shutdown(self, sockets: object = None) -> None:
            calls.append(f"shutdown {sockets}")

    config = uvicorn.Config(print, log_config=None, lifespan="off", loop="asyncio", http="h11")
    server = Recorded(config)
    assert isinstance(server.server_state, ServerState)
    assert server.server_state.connections == set()
    server.run(sockets=[])
    assert calls == ["capture_signals", "startup []", "main_loop", "shutdown []"]


def test_the_protocol_has_the_methods_and_fields_that_are_used() -> None:
    """protocol.py overrides these methods of ``H11Protocol`` and reads these fields."""
    parameters = {
        name: list(inspect.signature(getattr(H11Protocol, name)).parameters)[1:]
        for name in vars(BoundedProtocol).keys() & vars(H11Protocol).keys()
        if callable(getattr(H11Protocol, name)) and not name.startswith("__")
    }
    assert parameters == {
        "connection_made": ["transport"],
        "connection_lost": ["exc"],
        "data_received": ["data"],
        "on_response_complete": [],
        "send_400_response": ["msg"],
    }

    async def make() -> H11Protocol:
        config = uvicorn.Config(print, log_config=None, lifespan="off", http="h11")
        return H11Protocol(config, ServerState(), {})

    made = asyncio.run(make())
    assert {"loop", "conn", "cycle", "transport", "logger", "connections"} <= vars(made).keys()
    assert callable(made.shutdown)
    assert made.conn.our_state is made.conn.their_state is h11.IDLE
    assert made.conn.trailing_data == (b"", False)


def test_a_cycle_says_whether_its_response_is_complete() -> None:
    """protocol.py reads ``response_complete`` and sets ``disconnected``."""
    fields = RequestResponseCycle.__init__.__code__.co_names
    assert {"response_complete", "disconnected"} <= set(fields)


def test_a_tls_connection_makes_its_buffer_as_large_as_is_set() -> None:
    """acceptor.py sets ``max_size`` of asyncio's ``SSLProtocol``, which is not documented."""
    assert "max_size" in sslproto.SSLProtocol.__init__.__code__.co_names
    assert sslproto.SSLProtocol.max_size == acceptor.TLS_BUFFER_BYTES


class Events:
    """Receives the events of a watch."""

    def __init__(self) -> None:
        self.names: SimpleQueue[bytes] = SimpleQueue()
        self.deleted: SimpleQueue[WatchDescriptor] = SimpleQueue()

    def on_event(self, event: InotifyEvent) -> None:
        self.names.put(event.name)

    def on_queue_overflow(self) -> None:
        raise AssertionError("too many events")

    def on_watch_deleted(self, wd: WatchDescriptor) -> None:
        self.deleted.put(wd)


def test_one_directory_is_watched_without_those_below_it(tmp_path: Path) -> None:
    """watcher.py uses ``InotifyFD`` alone: the observers of watchdog read all directories."""
    (tmp_path / "below").mkdir()
    events, notify = Events(), InotifyFD()
    notify.start()
    mask = Mask(InotifyConstants.IN_CREATE | InotifyConstants.IN_ONLYDIR)
    watch = notify.add_callback(os.fsencode(tmp_path), mask, events, CallbackId(1))
    (tmp_path / "below" / "unseen").touch()
    (tmp_path / "seen").touch()
    assert events.names.get(timeout=30) == b"seen"
    notify.stop()
    assert events.deleted.get(timeout=30) == watch
    notify.join(30)
    assert events.names.empty()
