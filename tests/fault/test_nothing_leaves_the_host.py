"""With every service off a whole engine sends nothing beyond loopback and asks no name server, and its stream stays free."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.nats.connection import NatsBus
from decnet.config import Settings, load_settings
from decnet.engine import Engine
from decnet.runtime import KNOWN_WORKERS
from tests.askkit import IDLE_S, lines, log_of, section
from tests.servicekit import ADDRESS

pytestmark = pytest.mark.slow
FIXTURES = Path(__file__).parents[1] / "fixtures" / "cowrie"


def outside(address: Any) -> bool:
    """Whether a socket's address is neither on this host nor a path."""
    if not isinstance(address, tuple):
        return False
    try:
        return not ip_address(str(address[0]).partition("%")[0]).is_loopback
    except ValueError:
        return address[0] != "localhost"


class Guard:
    """Each way out is refused and written down; what stays on this host goes on."""

    def __init__(self) -> None:
        self.left: list[tuple[str, str]] = []

    def refuse(self, name: str, about: Any) -> None:
        text = about.decode() if isinstance(about, bytes) else str(about)
        self.left.append((name, text))
        raise OSError(f"{name} {text}: refused by the test")

    def method(self, name: str, place: int) -> Any:
        """A method of sockets; its address stands at a place of its arguments."""
        real = getattr(socket.socket, name)

        def guard(own: socket.socket, *args: Any) -> Any:
            if outside(args[place]):
                self.refuse(name, args[place][0])
            return real(own, *args)

        return guard

    def resolver(self, owner: Any, name: str) -> Any:
        """Something that looks up a host, its first argument."""
        real = getattr(owner, name)

        def guard(host: Any, *args: Any, **more: Any) -> Any:
            if host is not None and outside((host.decode() if isinstance(host, bytes) else host,)):
                self.refuse(name, host)
            return real(host, *args, **more)

        return guard

    def never(self, name: str) -> Any:
        return lambda *args, **_: self.refuse(name, args[0] if args else "")


@contextmanager
def guarded(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str]]]:
    """What would have left this host, by the name of the way out."""
    guard, loop = Guard(), asyncio.get_running_loop()
    with monkeypatch.context() as patched:
        for name, place in (("connect", 0), ("connect_ex", 0), ("sendto", -1)):
            patched.setattr(socket.socket, name, guard.method(name, place))
        for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex"):
            patched.setattr(socket, name, guard.resolver(socket, name))
        for name in ("gethostbyaddr", "getnameinfo", "getfqdn"):
            patched.setattr(socket, name, guard.never(name))
        patched.setattr(loop, "getaddrinfo", guard.resolver(loop, "getaddrinfo"))
        patched.setattr(loop, "getnameinfo", guard.never("getnameinfo"))
        yield guard.left


def settings_of(folder: Path, **more: Any) -> Settings:
    folder.mkdir(exist_ok=True)
    log_of(folder / "cowrie.json", lines())
    return load_settings(
        data_dir=folder / "data",
        sensors=[
            {"kind": "cowrie", "path": str(folder / "cowrie.json")},
            {"kind": "cowrie", "path": str(FIXTURES / "handmade" / "plugins.json")},
        ],
        **more,
    )


async def ran(settings: Settings) -> tuple[list[str], set[str], int]:
    """Its workers, the places in its stream, and the sessions that it stored."""
    engine = Engine(settings)
    await engine.start()
    try:
        assert await engine.until_idle(IDLE_S) is None
        assert isinstance(engine.bus, NatsBus)
        sessions = len(await engine.repo.list_sessions(limit=0))
        return list(engine.supervisor.runners), set(await engine.bus.durables()), sessions
    finally:
        await engine.stop(5.0)


@pytest.mark.fault(
    fault="a packet leaves the host though every service is off",
    guard="nothing but the client of the services opens a connection",
    control="itself",
    figure="0 packets, 0 names; with one service on the guard of the test sees it",
)
async def test_with_every_service_off_no_packet_leaves_loopback_and_no_name_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with guarded(monkeypatch) as left:
        workers, durables, sessions = await ran(settings_of(tmp_path))
        assert left == []
        # The guard sees what a service that is on would send.
        on, _, _ = await ran(settings_of(tmp_path / "on", greynoise={"enabled": True}))
        assert left[0] == ("getaddrinfo", "api.greynoise.io")
        assert {host for _, host in left} == {"api.greynoise.io"}
    assert workers == on == list(KNOWN_WORKERS)
    assert (sessions, "intel" in durables) == (2, False)


@pytest.mark.fault(
    fault="a place in the stream that nobody reads any more",
    guard="the place of a worker without services is given up",
    control="itself",
    figure="0 places left",
)
async def test_a_service_that_is_turned_off_leaves_no_place_in_the_stream_that_would_fill_it(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path, greynoise=section("http://127.0.0.1:9"))
    _, durables, _ = await ran(settings)
    assert "intel" in durables
    _, durables, _ = await ran(settings.model_copy(update={"greynoise": load_settings().greynoise}))
    assert "intel" not in durables
    assert durables, "the others keep theirs"
    assert ADDRESS in (tmp_path / "cowrie.json").read_text()
