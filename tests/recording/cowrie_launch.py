"""Start Cowrie inside an environment of its own; run by that environment's interpreter, never imported by
tests.

Does three things before handing over to ``twistd``: reads ``etc/cowrie.cfg`` of the current directory (2.x
wheels look elsewhere), tells a 2.x wheel where its own data are, and sends the downloads of ``wget`` and
``curl`` to a bait server on loopback, because Cowrie itself refuses loopback and the test machine must not
reach anything else. Everything that ends up in the log is Cowrie's own doing.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

BAIT_ADDRESS = "203.0.113.254"
"""What names resolve to on their way to the bait server; never contacted."""


def read_config() -> None:
    """Lay the run's own settings over whatever this version has read."""
    config = import_module("cowrie.core.config").CowrieConfig
    data = Path(import_module("cowrie").__file__ or "").parent / "data"
    if not (data / "etc").is_dir():
        config.read_dict(_bundled_paths(data))
    config.read("etc/cowrie.cfg")


def _bundled_paths(data: Path) -> dict[str, dict[str, str]]:
    contents = data / "honeyfs"
    return {
        "honeypot": {
            "contents_path": str(contents) if contents.is_dir() else "honeyfs",
            "txtcmds_path": str(data / "txtcmds"),
            "data_path": str(data),
            "share_path": str(data),
        },
        "shell": {"filesystem": str(data / "fs.pickle"), "processes": str(data / "cmdoutput.json")},
    }


def send_downloads_to(port: int) -> None:
    """Make ``wget`` and ``curl`` of the honeypot talk to the bait server on ``port``, whatever the URL says."""
    _connect_only_to(port)
    _resolve_examples()
    defer = import_module("twisted.internet.defer")
    for name, allowed in (("wget", True), ("curl", True), ("tftp", False)):
        module = import_module(f"cowrie.commands.{name}")
        module.communication_allowed = lambda _address, a=allowed: defer.succeed(a)  # type: ignore[attr-defined]
    with contextlib.suppress(ImportError):
        download = import_module("cowrie.core.download")
        download.resolve_allowed = lambda address: defer.succeed(_stand_in(address))  # type: ignore[attr-defined]


def _stand_in(address: str) -> str:
    return address if address.replace(".", "").isdigit() else BAIT_ADDRESS


def _connect_only_to(port: int) -> None:
    reactor = import_module("twisted.internet.posixbase").PosixReactorBase
    genuine = reactor.connectTCP

    def connect(self: Any, host: str, asked: int, *args: Any, **kwargs: Any) -> Any:
        del host, asked
        return genuine(self, "127.0.0.1", port, *args, **kwargs)

    reactor.connectTCP = connect


def _resolve_examples() -> None:
    genuine: Callable[..., Any] = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        return genuine(BAIT_ADDRESS if name.endswith(".example") else host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


def main() -> None:
    read_config()
    bait = os.environ.get("DECNET_BAIT_PORT", "")
    if bait:
        send_downloads_to(int(bait))
    sys.argv = ["twistd", "--umask=0022", "--nodaemon", "--pidfile=", "-l", "-", "cowrie"]
    import_module("twisted.scripts.twistd").run()


if __name__ == "__main__":
    main()
