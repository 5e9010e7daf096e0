"""A site with remote sensors: the server of ``bus config``, and what connects to it as whom."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from decnet.bus.factory import get_bus
from decnet.bus.nats.connection import NatsBus
from decnet.config import Settings, load_settings
from tests.natskit import server_of
from tests.programkit import cli

SENSORS = ("east", "west")
_USER = re.compile(r'user: "([^"]+)", password: "([^"]+)"')


def config_text(folder: Path, *more: str, listen: str = "127.0.0.1:-1") -> str:
    """What ``bus config`` prints for two sensors."""
    named = [part for name in SENSORS for part in ("--sensor", name)]
    where = ("--listen", listen, "--store", str(folder / "js"), "--data-dir", str(folder / "data"))
    done = cli(
        "bus", "config", *named, *where, *more
    )  # inside this process it would leave its logging behind
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


class Site:
    """One running server; ``url`` changes with a restart, users and store do not."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.text, self.url = folder, config_text(folder), ""
        self.passwords = dict(_USER.findall(self.text))

    @contextmanager
    def up(self) -> Iterator[str]:
        """The server runs."""
        with server_of(self.folder, self.text) as self.url:
            yield self.url

    def bus(self, user: str, **more: Any) -> dict[str, Any]:
        """Settings of the bus for one user."""
        sensor = user.removeprefix("sensor-") if user.startswith("sensor-") else None
        return {
            "url": self.url, "user": user, "password": self.passwords[user], "sensor": sensor,
            "ack_wait_s": 2.0, "connect_timeout_s": 5.0, "request_timeout_s": 2.0, **more,
        }  # fmt: skip

    def settings(self, user: str, data_dir: Path, **more: Any) -> Settings:
        """Settings of an engine of one user."""
        return load_settings(data_dir=data_dir, bus=self.bus(user), **more)

    def client(self, user: str, **more: Any) -> NatsBus:
        """A bus of one user, not connected yet."""
        bus = get_bus(user, load_settings(bus=self.bus(user, **more)))
        assert isinstance(bus, NatsBus)
        return bus
