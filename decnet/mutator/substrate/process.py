"""Facts about processes of this host, read from /proc: which one is ours, and where it listens.

Nothing here trusts a remembered process id: ids are used again, so a process is known by an argument
of its command line that no other one has.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

Socket = tuple[str, str, int]
"""Transport, address, port."""
_LISTEN = "0A"
_TABLES = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}
_PROC = Path("/proc")


def runs(pid: int, mark: str) -> bool:
    """Whether a process exists that has ``mark`` among its arguments; a dead one that nobody buried has none."""
    try:
        return mark.encode() in (_PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def find(mark: str) -> list[int]:
    """All processes that have ``mark`` among their arguments."""
    return [int(entry) for entry in os.listdir(_PROC) if entry.isdigit() and runs(int(entry), mark)]


def bury(pid: int) -> None:
    """Takes note of the end of a child, so that it does not stay as a zombie; no child of ours is no harm."""
    with suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)


def listening(pid: int) -> set[Socket]:
    """Where a process accepts connections or datagrams; empty when it is gone."""
    inodes = _inodes(pid)
    found: set[Socket] = set()
    for transport, tables in _TABLES.items():
        for table in tables:
            found |= {at for inode, at in _table(pid, transport, table) if inode in inodes}
    return found


def open_here() -> set[Socket]:
    """Where any process of this host's network accepts connections or datagrams."""
    own = os.getpid()
    return {
        at
        for transport, tables in _TABLES.items()
        for table in tables
        for _, at in _table(own, transport, table)
    }


def _inodes(pid: int) -> set[str]:
    inodes: set[str] = set()
    with suppress(OSError):
        for entry in os.listdir(_PROC / str(pid) / "fd"):
            with suppress(OSError):
                target = os.readlink(_PROC / str(pid) / "fd" / entry)
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
    return inodes


def _table(pid: int, transport: str, table: str) -> list[tuple[str, Socket]]:
    """(inode, socket) of one table of the process's network."""
    try:
        lines = (_PROC / str(pid) / "net" / table).read_text("ascii").splitlines()[1:]
    except (OSError, UnicodeDecodeError):
        return []
    rows = []
    for line in lines:
        fields = line.split()
        if len(fields) > 9 and (transport == "udp" or fields[3] == _LISTEN):
            rows.append((fields[9], (transport, *_address(fields[1]))))
    return rows


def _address(text: str) -> tuple[str, int]:
    """Address and port of ``0100007F:1F90``: groups of four bytes in the host's order."""
    raw, _, port = text.partition(":")
    words = struct.pack(f"={len(raw) // 8}I", *(int(raw[i : i + 8], 16) for i in range(0, len(raw), 8)))
    return str(ip_address(words)), int(port, 16)


def refusal(at: Socket) -> str:
    """Why a socket cannot be opened now; empty when it can."""
    transport, address, port = at
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(family, kind) as probe:
            if transport == "tcp":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
            if transport == "tcp":
                probe.listen(1)
    except OSError as error:
        return error.strerror or str(error)
    return ""
